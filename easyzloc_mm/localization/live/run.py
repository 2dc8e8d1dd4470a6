"""One live run from its first frame to the closed store: the part that hands out blocks and writes the table."""

from __future__ import annotations

import errno
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._processes import interrupts_noted
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, LocalizerError
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.localization.detection.threshold import FRAMES as THRESHOLD_FRAMES
from easyzloc_mm.localization.live.intake import Intake
from easyzloc_mm.localization.live.status import LiveStatus, StatusMeter
from easyzloc_mm.localization.pipeline import LocalizeReport, run_metadata
from easyzloc_mm.localization.table_sink import TableSink
from easyzloc_mm.localization.workers.messages import Block, FindThreshold, LocalizeBlock, Localized, ThresholdFound
from easyzloc_mm.localization.workers.protocol import WorkerPool
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import I64, U16, Frame, Progress

OnStatus = Callable[[LiveStatus], None]

BLOCK_FRAMES = 16
PATIENCE_S = 0.02
STATUS_S = 0.5
INTERRUPTED_DRAIN_S = 10.0
"""After Ctrl-C, so long is spent on frames that have come but are not localised.
A second Ctrl-C ends that."""


class Told:
    """Passes the status on to whoever wants it, about twice a second."""

    def __init__(self, progress: Progress | None, on_status: OnStatus | None) -> None:
        self._progress, self._on_status = progress, on_status
        self._next_s = 0.0

    def tell(self, look: Callable[[], LiveStatus], *, now: bool = False) -> None:
        """Look and tell, if it is time or `now` is."""
        if (self._progress is None and self._on_status is None) or (time.monotonic() < self._next_s and not now):
            return
        self._next_s = time.monotonic() + STATUS_S
        status = look()
        if self._on_status:
            self._on_status(status)
        if self._progress:
            done = status.frames if status.camera_running else status.localized
            self._progress(f"live: {status.line()}", min(done / max(status.frames_expected, 1), 1.0))


class LiveRun:
    """One live run, from the first frame to the closed store."""

    def __init__(
        self,
        source: Iterator[Frame],
        card: ModelCard,
        out: Path,
        profile: Profile,
        frames: int,
        keep_raw: bool,
        provenance: Mapping[str, Any],
        told: Told,
        stop: threading.Event,
        pool: WorkerPool,
    ) -> None:
        self._out, self._frames, self._told, self._stop, self._pool = out, frames, told, stop, pool
        self._window = profile.localize.background_frames or 0
        self._threshold = profile.localize.min_net_gradient
        shape = (profile.camera.height_px, profile.camera.width_px)
        if keep_raw:
            _warn_of_a_small_disk(out, 2 * frames * shape[0] * shape[1])
        pixel_nm = profile.optics.pixel_size_nm
        known = {"profile": profile.model_dump(mode="json"), **provenance}
        metadata = run_metadata(card, pool.settings, shape, pixel_nm, **known)
        self._table = LocalizationWriter.create(out, metadata)
        interval_ms = profile.imaging.exposure_ms
        self._raw = (
            FrameWriter(out, shape, pixel_size_nm=pixel_nm, interval_ms=interval_ms, expected=frames)
            if keep_raw
            else None
        )
        self._meter = StatusMeter(frames)
        self._sink = TableSink(self._table, self._meter.see)
        self._interrupts: list[int] = []
        self._received: dict[int, float] = {}
        self._started = False
        self._blocks = 0
        self._most_waiting = 0
        self._replaced_before = len(pool.replaced)
        self._lost_workers = 0
        self._localizer_fault: LocalizerError | None = None
        self._begin = time.monotonic()
        self._camera_end = self._begin
        self._intake = Intake(source, self._raw, stop, lambda frame: self._meter.arrived(frame.received_s))

    def go(self) -> LocalizeReport:
        """Run to the end, close the store, raise what went wrong, or report."""
        completed = False
        with interrupts_noted() as self._interrupts:
            try:
                self._work(None)
                completed = True
            except OSError as error:  # the table cannot be written
                self._stop.set()
                self._intake.join()
                self._intake.disk_fault = self._intake.disk_fault or error
            except BaseException:
                # Ctrl-C, or a mistake of ours: let the camera come to its end, and use what has come.
                self._interrupts.clear()
                self._stop.set()
                self._intake.join()
                with suppress(Exception, KeyboardInterrupt):
                    self._work(time.monotonic() + INTERRUPTED_DRAIN_S)
                raise
            finally:
                self._stop.set()
                self._intake.join()
                self._close(completed)
        self._raise_faults()
        return self._report()

    # --- while it runs --------------------------------------------------------------------------------------

    def _work(self, until_s: float | None) -> None:
        """Hand out frames and take localisations until there are no more, or until the time is up."""
        while until_s is None or time.monotonic() < until_s:
            if self._interrupts:
                raise KeyboardInterrupt
            try:
                for outcome in self._pool.outcomes(PATIENCE_S):
                    match outcome.answer:
                        case ThresholdFound(threshold):
                            self._threshold = threshold
                            self._table.update(min_net_gradient=threshold)
                            self._submit(outcome.block.frames, outcome.block.source)
                        case Localized() as localized:
                            self._sink.take(outcome.block, localized, self._received)
                            self._release(outcome.block)
                self._hand_out()
                self._note_replacements()
            except LocalizerError as error:
                self._give_up_localizing(error)
            self._sink.flush_if_due()
            if self._intake.camera_running:
                self._camera_end = time.monotonic()
            self._most_waiting = max(self._most_waiting, self._waiting)
            self._told.tell(self._status)
            if self._localizer_fault is not None:
                time.sleep(PATIENCE_S)
            if self._intake.over and not self._intake.waiting and not self._pool.busy:
                break
        self._sink.flush()
        self._told.tell(self._status, now=True)

    def _hand_out(self) -> None:
        while self._localizer_fault is None and self._pool.free > 0:
            wanted = 1
            if not self._started:
                # The threshold is found from, and the first background taken of, so many frames.
                wanted = max(THRESHOLD_FRAMES if self._threshold is None else 1, self._window)
            elif self._threshold is None:
                return
            block = self._intake.next_block(max(BLOCK_FRAMES, wanted), wanted)
            if not block:
                return
            self._started = True
            numbers = np.array([frame.index for frame in block], np.int64)
            self._received.update((frame.index, frame.received_s) for frame in block)
            self._submit(numbers, np.stack([frame.pixels for frame in block]) if self._raw is None else self._out)

    def _submit(self, numbers: I64, source: Path | U16) -> None:
        available = self._intake.stored + self._intake.lost
        if self._threshold is None:
            # The same frames come again as the first block, under the same number.
            self._pool.submit(FindThreshold(self._blocks, numbers, source, available))
        else:
            self._pool.submit(LocalizeBlock(self._blocks, numbers, source, available, self._threshold))
            self._blocks += 1

    def _release(self, block: Block) -> None:
        """Let go of a block that is localised."""
        if not isinstance(block.source, Path):
            self._intake.release(block.source)
        for number in block.frames:
            self._received.pop(int(number), None)

    def _note_replacements(self) -> None:
        died = self._pool.replaced[self._replaced_before + self._lost_workers :]
        for death in died:
            warnings.warn(
                f"a localising process died ({death}) and was replaced; no frame is left out",
                EasyZlocWarning,
                stacklevel=2,
            )
        self._lost_workers += len(died)

    def _give_up_localizing(self, error: LocalizerError) -> None:
        self._localizer_fault = error
        self._pool.close()
        self._intake.abandon()
        if self._raw is None:
            self._stop.set()  # without raw frames there is nothing left to record
        else:
            warnings.warn(f"{error}; raw frames go on being stored", EasyZlocWarning, stacklevel=2)

    @property
    def _waiting(self) -> int:
        return 0 if self._localizer_fault is not None else self._intake.frames - self._sink.frames

    def _status(self) -> LiveStatus:
        oldest = min(self._received.values(), default=None) or self._intake.oldest_s
        return self._meter.status(
            frames=self._intake.frames,
            frames_lost=self._intake.lost,
            localized=self._sink.frames,
            waiting=self._waiting,
            oldest_waiting_s=oldest,
            localizations=self._sink.rows,
            camera_running=self._intake.camera_running,
        )

    # --- at the end -----------------------------------------------------------------------------------------

    def _close(self, completed: bool) -> None:
        intake, closing = self._intake, []
        whole = completed and not (intake.fault or intake.disk_fault or self._localizer_fault)
        steps: list[Callable[[], object]] = [
            lambda: self._table.update(
                complete=whole and intake.frames + intake.lost >= self._frames,
                frames=intake.frames,
                frames_stored=intake.stored if self._raw is not None else 0,
                frames_localized=self._sink.frames,
                min_net_gradient=self._threshold,
                frames_lost=intake.lost,
                fits_rejected=self._sink.rejected,
                workers_replaced=self._lost_workers,
            ),
            self._table.close,
        ]
        if self._raw is not None:
            steps.append(self._raw.close)
        for step in steps:
            try:
                step()
            except OSError as error:  # a full disk: what was committed before stays readable
                closing.append(error)
        if closing and intake.disk_fault is None:
            intake.disk_fault = closing[0]

    def _raise_faults(self) -> None:
        intake = self._intake
        kept = (
            f"({intake.stored if self._raw is not None else intake.frames} frames and "
            f"{self._table.n_committed} localisations are kept in {self._out})"
        )
        if intake.disk_fault is not None:
            raise HardwareError(f"{_disk_words(intake.disk_fault, self._out)} {kept}") from intake.disk_fault
        if isinstance(intake.fault, HardwareError):
            raise HardwareError(f"{intake.fault} {kept}") from intake.fault
        if intake.fault is not None:
            raise intake.fault
        if self._localizer_fault is not None:
            later = "; `easyzloc-mm localize` can localise the raw frames" if self._raw is not None else ""
            raise LocalizerError(f"{self._localizer_fault} {kept}{later}") from self._localizer_fault

    def _report(self) -> LocalizeReport:
        end = time.monotonic()
        return LocalizeReport(
            frames=self._intake.frames,
            frames_lost=self._intake.lost,
            frames_per_s=self._intake.frames / max(end - self._begin, 1e-9),
            localizations=self._sink.rows,
            fits_rejected=self._sink.rejected,
            p95_latency_s=self._sink.p95_latency_s(),
            min_net_gradient=float(self._threshold or 0.0),
            most_waiting=self._most_waiting,
            catch_up_s=end - self._camera_end,
            workers_replaced=self._lost_workers,
        )


def _warn_of_a_small_disk(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out.absolute().parent).free
    if free < needed:
        warnings.warn(
            f"the disk of {out} has {free / 1e9:.1f} GB free, and the raw frames may take {needed / 1e9:.1f}: the run "
            "stops when it is full",
            EasyZlocWarning,
            stacklevel=2,
        )


def _disk_words(error: BaseException, out: Path) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"the disk of {out} is full: free some space, or write elsewhere with `out`"
    return f"frames could not be stored in {out}: {error}"
