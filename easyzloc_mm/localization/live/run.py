"""One live run from its first frame to the closed store: the part that hands out blocks and writes the table."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm._processes import interrupts_noted
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, LocalizerError
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.runs.metadata import NoiseCheck, Refreshment
from easyzloc_mm.io.writing.atomic import disk_fault
from easyzloc_mm.localization.config import given_threshold, threshold_name
from easyzloc_mm.localization.detection.threshold import FRAMES as THRESHOLD_FRAMES
from easyzloc_mm.localization.live.intake import Intake
from easyzloc_mm.localization.live.status import LiveStatus, StatusCallback, StatusMeter, StatusReporter
from easyzloc_mm.localization.noise import noise_figures, warn_of_noise
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.table_sink import TableSink
from easyzloc_mm.localization.workers.messages import Block, FindThreshold, LocalizeBlock, Localized, ThresholdFound
from easyzloc_mm.localization.workers.protocol import WorkerPool
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.typing import I64, U16, IfExists, Progress

logger = logging.getLogger(__name__)

BLOCK_FRAMES = 16
PATIENCE_S = 0.02
INTERRUPTED_DRAIN_S = 10.0
"""Longest time after Ctrl-C for localising the frames that were received; a second Ctrl-C ends it."""


@dataclass(frozen=True)
class Successor:
    """Workers with the model of the sample, and where that came from."""

    pool: WorkerPool
    refreshment: Refreshment


@dataclass(frozen=True)
class LiveOptions:
    """How a live run is done.

    Attributes
    ----------
    frames : int
        Frames that are expected.
    keep_raw : bool
        Store the frames too.
    if_exists : {'error', 'overwrite'}
        What becomes of a run that is there already.
    progress : callable, optional
        Given a line for the terminal and the fraction done.
    on_status : callable, optional
        Given a `LiveStatus` about twice a second.
    stop : threading.Event
        Ends the stream of frames early and cleanly; set on Ctrl-C.
    workers : WorkerPool, optional
        From `stream.live_pool`, to be used for several runs; without it the run has a pool of its own.
    on_rows : callable, optional
        Given the localisations of each block, in the order of frames.
    mark_rows : callable, optional
        Given the localisations of a block before they are written; returns those that are.
    alarms : callable, optional
        Gives what else calls for attention, one phrase each.
    successor : callable, optional
        Gives the pool that the run goes on with, once there is one; started.
    """

    frames: int
    keep_raw: bool = True
    if_exists: IfExists = "error"
    progress: Progress | None = None
    on_status: StatusCallback | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    workers: WorkerPool | None = None
    on_rows: Callable[[pd.DataFrame], None] | None = None
    mark_rows: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    alarms: Callable[[], tuple[str, ...]] = tuple
    successor: Callable[[], Successor | None] = lambda: None


class LiveRun:
    """One live run, from the first frame to the closed store.

    Parameters
    ----------
    intake : Intake
        Frames as they come, not started yet.
    table : LocalizationWriter
        Where localisations go.
    raw : FrameWriter or None
        Where `intake` stores frames.
    localize : LocalizeSettings
        Threshold and running background of detection.
    options : LiveOptions
    pool : WorkerPool
        Started.
    """

    def __init__(
        self,
        intake: Intake,
        table: LocalizationWriter,
        raw: FrameWriter | None,
        localize: LocalizeSettings,
        options: LiveOptions,
        pool: WorkerPool,
    ) -> None:
        self._intake, self._table, self._raw, self._pool = intake, table, raw, pool
        self._out, self._frames, self._stop = table.path, options.frames, options.stop
        self._window = localize.background_frames or 0
        found_by = {"detection": pool.settings.localize.detection}
        self._threshold = given_threshold(localize.model_copy(update=found_by))
        self._threshold_name = threshold_name(pool.settings.localize)
        self._reporter = StatusReporter(options.progress, options.on_status)
        self._meter = StatusMeter(options.frames, table.metadata.area_um2)
        self._on_rows, self._mark_rows, self._alarms = options.on_rows, options.mark_rows, options.alarms
        self._successor = options.successor
        self._next: Successor | None = None
        self._changed: Refreshment | None = None
        self._sink = TableSink(table, self._see)
        self._interrupts: list[int] = []
        self._received: dict[int, float] = {}
        self._started = False
        self._blocks = 0
        self._most_waiting = 0
        self._replaced_before = len(pool.replaced)
        self._lost_workers = 0
        self._noise: NoiseCheck | None = None
        self._localizer_fault: LocalizerError | None = None
        self._begin = self._camera_end = time.monotonic()

    def run(self) -> RunReport:
        """Take frames to the last one, localise them, close the store, and return the report.

        Raises
        ------
        HardwareError
            The camera failed or the disk is full; what was acquired is kept.
        LocalizerError
            Localisation failed; what was acquired is kept.
        """
        completed = False
        self._begin = self._camera_end = time.monotonic()
        self._intake.start(lambda frame: self._meter.arrived(frame.received_s))
        with interrupts_noted() as self._interrupts:
            try:
                self._work(None)
                completed = True
            except OSError as error:  # the table cannot be written
                self._stop.set()
                self._intake.join()
                self._intake.disk_fault = self._intake.disk_fault or error
            except BaseException:
                # Ctrl-C or a defect: let the camera come to its end, localise what was received, and raise.
                self._interrupts.clear()
                self._stop.set()
                self._intake.join()
                self._drain()
                raise
            finally:
                self._stop.set()
                self._intake.join()
                self._close(completed)
        self._raise_faults()
        warn_of_noise(self._noise, self._pool.settings.response, "in the images of this run")
        return self._report()

    def _marked(self, localized: Localized) -> Localized:
        if self._mark_rows is None:
            return localized
        return dataclasses.replace(localized, rows=self._mark_rows(localized.rows))

    def _see(self, rows: pd.DataFrame, last_frame: int, frames: int) -> None:
        self._meter.see(rows, last_frame, frames)
        if self._on_rows is not None:
            self._on_rows(rows)

    def _drain(self) -> None:
        try:
            self._work(time.monotonic() + INTERRUPTED_DRAIN_S)
        except (Exception, KeyboardInterrupt) as error:  # what ended the run counts, and is raised by the caller
            logger.warning("localising the rest ended with %s", type(error).__name__, exc_info=True)

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
                            self._table.update(**{self._threshold_name: threshold})
                            self._submit(outcome.block.frames, outcome.block.source)
                        case Localized() as localized:
                            self._sink.take(outcome.block, self._marked(localized), self._received)
                            self._release(outcome.block)
                    self._judge_noise()
                self._change_over()
                self._hand_out()
                self._note_replacements()
            except LocalizerError as error:
                self._give_up_localizing(error)
            self._sink.flush_if_due()
            if self._intake.camera_running:
                self._camera_end = time.monotonic()
            self._most_waiting = max(self._most_waiting, self._waiting)
            self._reporter.report(self._status)
            if self._localizer_fault is not None:
                time.sleep(PATIENCE_S)
            if self._intake.over and not self._intake.waiting and not self._pool.busy:
                break
        self._sink.flush()
        self._reporter.report(self._status, at_once=True)

    def _judge_noise(self) -> None:
        """Hold the camera's units against the noise, once enough molecules came; what comes then is made for it."""
        if self._noise is None:
            self._noise = self._sink.noise.check
            if self._noise is not None:
                self._table.update(noise=self._noise)

    def _change_over(self) -> None:
        """Go on with another model, once there is one: blocks are held back until those under way are done."""
        if self._changed is None:
            self._next = self._next or self._successor()
        if self._next is None or self._pool.busy:
            return
        self._note_replacements()
        # The other pool is idle from now on: whoever made it ends it, when no frame waits.
        self._pool, self._changed, self._next = self._next.pool, self._next.refreshment, None
        self._replaced_before = len(self._pool.replaced) - self._lost_workers

    def _note_change(self, frame: int) -> None:
        """Keep with the run which frame is the first that the other model localises."""
        if self._changed is not None and self._table.metadata.refreshed is None:
            self._table.update(refreshed=self._changed.model_copy(update={"from_frame": frame}))

    def _hand_out(self) -> None:
        if self._next is not None:
            return
        while self._localizer_fault is None and self._pool.free > 0:
            wanted = 1
            if not self._started:
                # Picasso's threshold is found from, and the first background taken of, so many frames.
                by_frames = self._threshold is None and self._threshold_name == "min_net_gradient"
                wanted = max(THRESHOLD_FRAMES if by_frames else 1, self._window)
            elif self._threshold is None:
                return
            block = self._intake.next_block(max(BLOCK_FRAMES, wanted), wanted)
            if not block:
                return
            self._started = True
            numbers = np.array([frame.index for frame in block], np.int64)
            self._note_change(int(numbers[0]))
            self._received.update((frame.index, frame.received_s) for frame in block)
            self._submit(numbers, np.stack([frame.pixels for frame in block]) if self._raw is None else self._out)

    def _submit(self, numbers: I64, source: Path | U16) -> None:
        available = self._intake.stored + self._intake.lost
        if self._threshold is None:
            # The same frames come again as the first block, under the same number.
            self._pool.submit(FindThreshold(self._blocks, numbers, source, available))
        else:
            noise_ratio = 1.0 if self._noise is None else self._noise.applied
            self._pool.submit(LocalizeBlock(self._blocks, numbers, source, available, self._threshold, noise_ratio))
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
            warnings.warn(f"{error}; raw frames are still being stored", EasyZlocWarning, stacklevel=2)

    @property
    def _waiting(self) -> int:
        return 0 if self._localizer_fault is not None else self._intake.frames - self._sink.frames

    @property
    def _lost(self) -> int:
        """Frames that did not come: their numbers are missing, or their images are one value all over."""
        return self._intake.lost + self._sink.blank

    def _status(self) -> LiveStatus:
        oldest = min(self._received.values(), default=None) or self._intake.oldest_s
        status = self._meter.status(
            frames=self._intake.frames,
            frames_lost=self._lost,
            localized=self._sink.frames,
            waiting=self._waiting,
            oldest_waiting_s=oldest,
            localizations=self._sink.rows,
            camera_running=self._intake.camera_running,
            stopping=self._stop.is_set(),
            threshold={self._threshold_name: self._threshold},
            noise=self._sink.noise.check,
        )
        return dataclasses.replace(status, alarms=(*self._alarms(), *status.alarms))

    def _close(self, completed: bool) -> None:
        intake, closing = self._intake, []
        whole = completed and not (intake.fault or intake.disk_fault or self._localizer_fault)
        steps: list[Callable[[], object]] = [
            lambda: self._table.update(
                complete=whole and intake.frames + intake.lost >= self._frames,
                frames=intake.frames,
                frames_stored=intake.stored if self._raw is not None else 0,
                frames_localized=self._sink.frames,
                frames_lost=self._lost,
                fits_rejected=self._sink.rejected,
                workers_replaced=self._lost_workers,
                **{self._threshold_name: self._threshold},
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

    @property
    def _commit_lag_s(self) -> float:
        return max(self._table.commit_lag_s, 0.0 if self._raw is None else self._raw.commit_lag_s)

    def _raise_faults(self) -> None:
        intake = self._intake
        kept = (
            f"({intake.stored if self._raw is not None else intake.frames} frames and "
            f"{self._table.n_committed} localisations are kept in {self._out})"
        )
        if intake.disk_fault is not None:
            raise HardwareError(f"{disk_fault(intake.disk_fault, self._out)} {kept}") from intake.disk_fault
        if isinstance(intake.fault, HardwareError):
            raise HardwareError(f"{intake.fault} {kept}") from intake.fault
        if intake.fault is not None:
            raise intake.fault
        if self._localizer_fault is not None:
            later = "; `easyzloc-mm localize` can localise the raw frames" if self._raw is not None else ""
            raise LocalizerError(f"{self._localizer_fault} {kept}{later}") from self._localizer_fault

    def _report(self) -> RunReport:
        end = time.monotonic()
        return RunReport(
            out=self._out,
            frames=self._intake.frames,
            frames_lost=self._lost,
            frames_per_s=self._intake.frames / max(end - self._begin, 1e-9),
            localizations=self._sink.rows,
            fits_rejected=self._sink.rejected,
            p95_latency_s=self._sink.p95_latency_s(),
            most_waiting=self._most_waiting,
            catch_up_s=end - self._camera_end,
            workers_replaced=self._lost_workers,
            commit_lag_s=self._commit_lag_s,
        ).model_copy(update={self._threshold_name: float(self._threshold or 0.0), **noise_figures(self._noise)})
