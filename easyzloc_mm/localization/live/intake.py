"""From the camera to disk: one thread empties the camera's buffer, another stores. Neither waits for the network."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.typing import U16, Frame

logger = logging.getLogger(__name__)

MEMORY_BYTES = 512 * 2**20
"""Frames that may wait in memory for the disk, or where none are stored, for localisation. Beyond that it is the
camera's own buffer that waits, and its overflow that is reported."""
IDLE_S = 0.2

Arrived = Callable[[Frame], None]


class Intake:
    """Takes frames from `source` until it ends, fails, or `stop` is set.

    Parameters
    ----------
    source : iterator of Frame
        It alone touches the camera, in a thread of its own.
    raw : FrameWriter or None
        Where frames are stored before anything else happens to them.
    stop : threading.Event
        Set from outside to end the run; set here when frames cannot be stored.
    """

    def __init__(self, source: Iterator[Frame], raw: FrameWriter | None, stop: threading.Event) -> None:
        self._source, self._raw, self._stop = source, raw, stop
        self._changed = threading.Condition()
        self._unstored: deque[Frame] = deque()
        self._ready: deque[Frame] = deque()
        self._held = 0
        self._taking = self._storing = True
        self._abandoned = False
        self.frames = 0
        self.last = -1
        self.fault: BaseException | None = None
        """Why no more frames come."""
        self.disk_fault: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self, arrived: Arrived) -> None:
        """Start taking frames, and storing them.

        Parameters
        ----------
        arrived : callable
            Called with each frame, in the thread that takes it.
        """
        self._threads = [threading.Thread(target=self._take, args=(arrived,), name="camera", daemon=True)]
        if self._raw is not None:
            self._threads.append(
                threading.Thread(target=self._store, args=(self._raw,), name="raw frames", daemon=True)
            )
        for thread in self._threads:
            thread.start()

    @property
    def lost(self) -> int:
        """Frames that the numbering shows to be missing."""
        return self.last + 1 - self.frames

    @property
    def camera_running(self) -> bool:
        """Whether frames may still come."""
        return self._taking

    @property
    def over(self) -> bool:
        """Whether every frame that came is stored."""
        return not self._taking and (self._raw is None or not self._storing)

    @property
    def waiting(self) -> int:
        """Frames that may be localised."""
        return len(self._ready)

    @property
    def oldest_s(self) -> float | None:
        """When the oldest frame that waits for localisation came."""
        with suppress(IndexError):
            return self._ready[0].received_s
        return None

    def next_block(self, most: int, fewest: int = 1) -> list[Frame]:
        """Take up to `most` frames that wait for localisation; none if there are not yet `fewest`.

        Frames that are stored come without pixels.
        """
        with self._changed:
            if len(self._ready) < fewest and not self.over:
                return []
            return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def release(self, pixels: U16) -> None:
        """Count the memory of pixels that `next_block` gave as free again."""
        with self._changed:
            self._held -= pixels.nbytes
            self._changed.notify_all()

    def abandon(self) -> None:
        """Give out no more frames and hold none back: localisation has failed."""
        with self._changed:
            self._abandoned = True
            self._ready.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the camera has stopped and everything that came is stored; every step has its own deadline."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(IDLE_S)  # returns now and then: on Windows a thread that waits for ever gets no Ctrl-C

    def _take(self, arrived: Arrived) -> None:
        try:
            for frame in self._source:
                with self._changed:
                    # After a stop the camera's last frames are taken in whatever they cost.
                    while self._held + frame.pixels.nbytes > MEMORY_BYTES and not self._must_not_wait():
                        self._changed.wait(IDLE_S)
                    self.frames, self.last = self.frames + 1, frame.index
                    self._held += frame.pixels.nbytes
                    if not (self._raw is None and self._abandoned):
                        (self._ready if self._raw is None else self._unstored).append(frame)
                    self._changed.notify_all()
                arrived(frame)
        except BaseException as error:  # handed to the thread that supervises the run
            logger.error("no more frames come: %s", type(error).__name__, exc_info=True)
            self.fault = error
        finally:
            self._close_source()
            logger.info("the camera has stopped: %d frames received, %d lost", self.frames, self.lost)
            with self._changed:
                self._taking = False
                self._changed.notify_all()

    def _close_source(self) -> None:
        try:
            self._source.close()  # type: ignore[attr-defined]
        except (
            Exception
        ):  # whatever it is, the camera's own fault was noted before, and the microscope is made safe later
            logger.exception("the stream of frames could not be closed")

    def _must_not_wait(self) -> bool:
        return self._stop.is_set() or self.disk_fault is not None or (self._raw is None and self._abandoned)

    def _store(self, raw: FrameWriter) -> None:
        try:
            while True:
                with self._changed:
                    while not self._unstored and self._taking:
                        self._changed.wait(IDLE_S)
                    if not self._unstored:
                        return
                    frame = self._unstored[0]
                raw.append(frame.index, frame.pixels)
                with self._changed:
                    self._unstored.popleft()
                    self._held -= frame.pixels.nbytes
                    if not self._abandoned:
                        self._ready.append(Frame(frame.index, np.empty((0, 0), np.uint16), frame.received_s))
                    self._changed.notify_all()
        except BaseException as error:  # handed to the thread that supervises the run
            logger.error("frames cannot be stored: %s", type(error).__name__, exc_info=True)
            self.disk_fault = error
            self._stop.set()
        finally:
            with self._changed:
                self._storing = False
                self._changed.notify_all()

    @property
    def stored(self) -> int:
        """Frames that are stored, or where none are to be, that came."""
        return self.frames - len(self._unstored)
