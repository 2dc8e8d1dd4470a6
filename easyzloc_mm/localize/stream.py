"""The live loop: frames are stored as they come and localised beside it, by another thread.

The thread that takes frames from the camera does nothing else but store them and queue them. When localisation falls
behind and raw frames are kept, the queue holds only their numbers, and pixels are read back from disk: raw data never
waits for the network. Without raw frames the queue is bounded, and it is the camera's own buffer that waits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.localize.fit import warm_up
from easyzloc_mm.localize.pipeline import Localizer, LocalizeReport, run_attributes
from easyzloc_mm.localize.threshold import automatic_threshold
from easyzloc_mm.network import ModelBundle
from easyzloc_mm.profile import Profile
from easyzloc_mm.records import Frame
from easyzloc_mm.store.frames import FrameWriter
from easyzloc_mm.store.localizations import LocalizationWriter
from easyzloc_mm.store.output import claim_stream

Progress = Callable[[str, float], None]

THRESHOLD_FRAMES = 20
"""Frames that are looked at before localisation begins, when the profile sets no threshold."""
BATCH_FRAMES = 24
MEMORY_BYTES = 512 * 2**20
"""Pixels that may wait in memory."""
IDLE_S = 0.2
INTERRUPTED_DRAIN_S = 10.0
"""After Ctrl-C, so long is spent on frames that have come but are not localised."""


def localize_stream(
    source: Iterator[Frame],
    bundle: ModelBundle,
    out: Path,
    *,
    profile: Profile,
    frames: int,
    keep_raw: bool = True,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> LocalizeReport:
    """Localise frames while they come, into ``RUN.zarr``.

    Whatever ends the run - the last frame, an error, Ctrl-C - what has come is stored and the store is closed.

    Parameters
    ----------
    source : iterator of Frame
        Frame numbers rise; a gap counts as lost frames.
    bundle : ModelBundle
    out : Path
        ``RUN.zarr``, written in place.
    profile : Profile
        Camera units, pixel size and `localize`.
    frames : int
        How many frames are expected.
    keep_raw : bool
        Store the frames too.
    provenance : mapping, optional
        More attributes for the run.
    """
    first_needed = profile.localize.min_net_gradient is None
    warm_up(profile.localize.box_px)
    bundle.warm_up()
    out = claim_stream(out, overwrite=overwrite)
    shape = (profile.camera.height_px, profile.camera.width_px)
    settings = profile.localize
    attributes = run_attributes(
        bundle,
        profile.camera.units,
        settings,
        shape,
        profile.optics.pixel_size_nm,
        {"profile": profile.model_dump(mode="json"), **(provenance or {})},
    )
    table = LocalizationWriter(out, attributes)
    raw = (
        FrameWriter(
            out,
            shape,
            pixel_size_nm=profile.optics.pixel_size_nm,
            interval_ms=profile.imaging.exposure_ms,
            expected=frames,
        )
        if keep_raw
        else None
    )
    localizer = Localizer(
        bundle, profile.camera.units, settings.box_px, 0.0 if first_needed else float(settings.min_net_gradient or 0)
    )
    worker = _Worker(localizer, table, raw, find_threshold=first_needed)
    begin = time.monotonic()
    received, last = 0, -1
    completed = False
    try:
        try:
            for frame in source:
                if raw is not None:
                    raw.append(frame.index, frame.pixels)
                received, last = received + 1, frame.index
                worker.put(frame)
                if progress:
                    progress(
                        f"{received} frames, {worker.rows} localisations, {worker.waiting} frames waiting",
                        received / frames,
                    )
            completed = True
        finally:
            with suppress(AttributeError):
                source.close()  # type: ignore[attr-defined]
            worker.finish(None if completed else INTERRUPTED_DRAIN_S)
    finally:
        lost = last + 1 - received
        table.update_attributes(
            complete=completed and worker.error is None and received + lost >= frames,
            frames=received,
            frames_localized=worker.frames,
            frames_lost=lost,
            min_net_gradient=localizer.min_net_gradient,
            fits_rejected=worker.rejected,
        )
        table.close()
        if raw is not None:
            raw.close()
    if worker.error is not None:
        raise worker.error
    return LocalizeReport(
        frames=received,
        frames_lost=lost,
        frames_per_s=received / max(time.monotonic() - begin, 1e-9),
        localizations=worker.rows,
        fits_rejected=worker.rejected,
        p95_latency_s=float(np.quantile(worker.latencies, 0.95)) if worker.latencies else 0.0,
        min_net_gradient=localizer.min_net_gradient,
    )


class _Worker:
    """The thread that localises; it alone writes the table until it has finished."""

    def __init__(
        self, localizer: Localizer, table: LocalizationWriter, raw: FrameWriter | None, *, find_threshold: bool
    ) -> None:
        self._localizer, self._table, self._raw = localizer, table, raw
        self._find_threshold = find_threshold
        self._queue: deque[tuple[int, NDArray[np.uint16] | None, float]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._no_more = False
        self._give_up_s: float | None = None
        self.frames = 0
        self.rejected = 0
        self.latencies: list[float] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="localiser", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        """Localisations so far."""
        return self._table.rows

    @property
    def waiting(self) -> int:
        """Frames that have come and are not localised."""
        return len(self._queue)

    def put(self, frame: Frame) -> None:
        """Queue a frame; blocks only where no raw frames are kept and memory is full."""
        size = frame.pixels.nbytes
        with self._changed:
            if self._raw is None:
                # Woken now and then, so that Ctrl-C is heard.
                while self._bytes + size > MEMORY_BYTES and self.error is None:
                    self._changed.wait(IDLE_S)
                pixels: NDArray[np.uint16] | None = frame.pixels
            else:
                pixels = frame.pixels if self._bytes + size <= MEMORY_BYTES else None
            if self.error is not None and self._raw is None:
                raise self.error
            self._queue.append((frame.index, pixels, frame.received_s))
            self._bytes += size if pixels is not None else 0
            self._changed.notify_all()

    def finish(self, drain_s: float | None) -> None:
        """Wait until everything queued is localised; give up after `drain_s` seconds if given."""
        with self._changed:
            self._no_more = True
            self._give_up_s = None if drain_s is None else time.monotonic() + drain_s
            self._changed.notify_all()
        while self._thread.is_alive():
            self._thread.join(IDLE_S)

    def _take(self, wanted: int) -> list[tuple[int, NDArray[np.uint16] | None, float]]:
        """Up to BATCH_FRAMES frames, at least `wanted` unless no more come; empty after a moment without any."""
        with self._changed:
            if len(self._queue) < wanted and not self._no_more:
                self._changed.wait(IDLE_S)
            if len(self._queue) < wanted and not self._no_more:
                return []
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), max(wanted, BATCH_FRAMES)))]
            self._bytes -= sum(pixels.nbytes for _, pixels, _ in taken if pixels is not None)
            self._changed.notify_all()
            return taken

    def _run(self) -> None:
        try:
            wanted = THRESHOLD_FRAMES if self._find_threshold else 1
            while True:
                taken = self._take(wanted)
                if not taken:
                    self._table.flush_if_due()
                    with self._changed:
                        if self._no_more and not self._queue:
                            return
                    continue
                wanted = 1
                self._localize(taken)
                if self._give_up_s is not None and time.monotonic() > self._give_up_s:
                    return
        except BaseException as error:
            # Told to the user by the thread that takes frames; those go on being stored.
            self.error = error

    def _localize(self, taken: list[tuple[int, NDArray[np.uint16] | None, float]]) -> None:
        numbers = np.array([number for number, _, _ in taken])
        stack = np.stack([self._pixels(number, pixels) for number, pixels, _ in taken])
        if self._find_threshold:
            self._find_threshold = False
            self._localizer.min_net_gradient = automatic_threshold(stack, self._localizer.box_px)
        rows, rejected = self._localizer.localize(stack, numbers)
        self._table.append(rows)
        now = time.monotonic()
        self.latencies += [now - received for _, _, received in taken]
        self.frames += len(taken)
        self.rejected += rejected

    def _pixels(self, number: int, pixels: NDArray[np.uint16] | None) -> NDArray[np.uint16]:
        if pixels is not None:
            return pixels
        assert self._raw is not None
        return self._raw.read(number)
