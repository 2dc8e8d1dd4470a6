"""Frames of a run that pauses while something is wrong: camera off and shutter closed, until it is right again."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.io.runs.metadata import Pause
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.focus import FocusState
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Frame

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.5
"""How often is looked during a pause, s."""


class GaveUpError(HardwareError):
    """What was wrong did not come right in the time that is waited for it: no other run would fare better."""


class Watch:
    """Keeps an eye on disk, interlocks, focus lock, stage and light while frames come.

    Made when the stages have arrived and the lock holds; used in the thread that takes frames.

    Parameters
    ----------
    microscope : Microscope
        Where it stands is where it should stay.
    profile : Profile
        `watch`, and `imaging.light_budget_ms`.
    out : Path
        On the disk whose space counts.
    """

    def __init__(self, microscope: Microscope, profile: Profile, out: Path) -> None:
        self._microscope, self._settings = microscope, profile.watch
        self._imaging = profile.imaging
        self.light_budget_ms = profile.imaging.light_budget_ms
        """Longest time for which the run may light the sample."""
        self._folder = Path(out).absolute().parent
        here, lock = microscope.position(), microscope.focus_lock
        self._at = here.x_um, here.y_um
        self._lock = lock if lock is not None and lock.is_on else None
        self._lit_before_ms = microscope.lit_ms()
        self._now: str | None = None
        self.pauses: list[Pause] = []
        self.ended_by: str | None = None
        """Why the run came to a clean end before its last frame, if the watch ended it."""

    @property
    def light_ms(self) -> float:
        """Time for which the sample has been lit since the run began, ms."""
        return self._microscope.lit_ms() - self._lit_before_ms

    def alarms(self) -> tuple[str, ...]:
        """Return what the run waits for, for its status."""
        now = self._now
        return () if now is None else (f"paused: {now}",)

    def trouble(self) -> str | None:
        """Return what is wrong, in words; None where nothing is."""
        settings = self._settings
        try:
            free_gb = shutil.disk_usage(self._folder).free / 1e9
        except OSError as error:  # of a network, or unplugged
            return f"the disk of {self._folder} does not answer ({error})"
        if free_gb < settings.free_gb:
            return f"the disk has {free_gb:.1f} GB left, less than watch.free_gb = {settings.free_gb:g}"
        broken = self._microscope.broken_interlock()
        if broken is not None:
            return broken
        here = self._microscope.position()
        away_um = math.dist(self._at, (here.x_um, here.y_um))
        if away_um > settings.moved_um:
            x_um, y_um = self._at
            back = f"move it back to x, y = {x_um:.1f}, {y_um:.1f} um"
            return f"the sample was moved by hand, {away_um:.0f} um away: {back}"
        if self._lock is not None and self._lock.state() is not FocusState.LOCKED:
            return f"the focus lock has lost the focus ({self._lock.state()})"
        return None

    def frames(self, count: int, stop: threading.Event) -> Iterator[Frame]:
        """Yield `count` frames, numbered through, or fewer once `stop` is set or the light budget is used up.

        While something is wrong the camera stands still and the shutter is closed.

        Raises
        ------
        GaveUpError
            It did not come right within `watch.wait_min`.
        HardwareError
            As `Microscope.stream`.
        """
        done = 0
        while done < count and not stop.is_set() and self.ended_by is None:
            reason = self._before_start()
            if reason is not None:
                self._wait(reason, done, stop)
                continue
            first = done
            for frame in self._until_trouble(count - done, stop):
                done = first + frame.index + 1
                yield dataclasses.replace(frame, index=done - 1)

    def frames_after_bleaching(self, count: int, stop: threading.Event) -> Iterator[Frame]:
        """Light the sample for `imaging.bleach_ms`, then yield `count` frames as `frames` does.

        The camera runs meanwhile, and what it sees is let go: on many stands it switches the lasers. What a run waits
        for, and its light budget, hold here too.
        """
        plan = self._imaging
        if plan.bleach_ms:
            before_ms = self.light_ms
            if plan.bleach_illumination:
                self._microscope.set_illumination(plan.bleach_illumination)
            for _ in self.frames(math.ceil(plan.bleach_ms / plan.exposure_ms), stop):
                pass
            self._microscope.set_illumination(plan.illumination)
            logger.info("bleached with %.0f ms of light", self.light_ms - before_ms)
        yield from self.frames(count, stop)

    def _before_start(self) -> str | None:
        """Return what is wrong while the camera stands still for this run: it may run for somebody else."""
        return self.trouble() or self._microscope.camera_in_use()

    def _until_trouble(self, count: int, stop: threading.Event) -> Iterator[Frame]:
        enough = _Either(stop)
        stream = self._microscope.stream(count, enough)
        next_s = time.monotonic() + self._settings.every_s
        try:
            for frame in stream:
                yield frame
                if self.ended_by is None and self._next_frame_is_too_much():
                    self.ended_by = f"the light budget of {self.light_budget_ms:g} ms is used up"
                    logger.info("%s: the run ends after frame %d of this stretch", self.ended_by, frame.index)
                    enough.set()
                if time.monotonic() >= next_s and not enough.is_set():
                    next_s = time.monotonic() + self._settings.every_s
                    if self.trouble() is not None:
                        enough.set()
        finally:
            stream.close()  # type: ignore[attr-defined]

    def _next_frame_is_too_much(self) -> bool:
        budget_ms = self.light_budget_ms
        return budget_ms is not None and self.light_ms + self._imaging.exposure_ms > budget_ms

    def _wait(self, reason: str, frame: int, stop: threading.Event) -> None:
        """Wait until nothing is wrong, or `stop` is set."""
        begin, now = time.monotonic(), reason
        longest_s = 60 * self._settings.wait_min
        logger.warning("paused before frame %d: %s", frame, reason)
        try:
            while not stop.is_set():
                self._now = now
                if time.monotonic() - begin >= longest_s:
                    raise GaveUpError(
                        f"{now}; the run waited {self._settings.wait_min:g} min for it (watch.wait_min) and has ended"
                    )
                stop.wait(LOOK_AGAIN_S)
                self._lock_again()
                found = self._before_start()
                if found is None:
                    return
                now = found
        finally:
            self._now = None
            waited_s = time.monotonic() - begin
            logger.warning("the pause before frame %d took %.0f s", frame, waited_s)
            self.pauses.append(Pause(frame=frame, reason=reason, seconds=waited_s))

    def _lock_again(self) -> None:
        lock = self._lock
        if lock is None or lock.state() is FocusState.LOCKED:
            return
        try:
            lock.hold()
        except HardwareError as error:  # still lost: that is what is waited for
            logger.info("still without focus: %s", error)


class _Either(threading.Event):
    """Set by itself, or when another one is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()
