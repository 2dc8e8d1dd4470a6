"""Holding the focus by the molecules themselves: when their z drifts, the stage, or the focus lock's offset, follows.

Before anything is corrected the sign is tested: z is moved by a known step, and the molecules must follow it. Then
small bounded steps, each by an estimate that a second one confirms; what is not believed corrects nothing, and is said.
"""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from enum import StrEnum

import numpy as np
import pandas as pd

from easyzloc_mm.acquire.focus.actuator import Actuator, actuator_of
from easyzloc_mm.acquire.focus.witness import FocusShift, focus_shift
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.runs.metadata import FocusMove, FocusMoveKind
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import F64, Frame

logger = logging.getLogger(__name__)

REFERENCE_MOLECULES = 1500
"""The focus that a run began with is that of its first believable molecules."""
WINDOW_MOLECULES = 600
WINDOW_S = 4.0
"""An estimate is of the molecules of so many seconds, and of so many at least."""
LONGEST_WINDOW_S = 120.0
"""Where molecules are too few even in so long, nothing is known."""
SETTLE_S = 1.0
"""So long after a move frames do not count: some were exposed before it and come later."""
FEWEST_DRIFTS, HISTORY = 3, 6
"""Estimates whose straight line says where the focus will be in the middle of the next window."""
SIGN_RANGE = (0.5, 1.6)
"""The molecules' answer to the test step, in units of the expected one."""
DOUBTS_TOLD = 3
"""After so many estimates in a row that are not believed, the user is told."""


DISPLACED = 16
"""Bit of `z_flag`: z was displaced, for the test of the sign."""


class _Phase(StrEnum):
    """What a hold is doing."""

    REFERENCE = "reference"
    PROBE = "probe"
    HOLD = "hold"
    WATCH = "watch"


class FocusHold:
    """Keeps the molecules' z where it was when the run began.

    `see` is called in the thread that supervises the run, with rows in the order of frames; `held` moves z in the
    thread that takes frames, between two of them: nothing else touches the instrument while the camera runs.

    Parameters
    ----------
    microscope : Microscope
        Connected, in focus. A focus lock that is on is never worked against: its offset is set, where the profile knows
        its unit; else the drift is only watched.
    profile : Profile
        `focus`, `localize.focal_shift_factor`, `imaging.exposure_ms`, the stage's limits.
    """

    def __init__(self, microscope: Microscope, profile: Profile) -> None:
        self._settings = profile.focus
        self._factor = profile.localize.focal_shift_factor
        self._frame_s = profile.imaging.exposure_ms / 1000
        self._actuator: Actuator | None = actuator_of(microscope, profile)
        self._lock = threading.Lock()
        self._wanted: FocusMove | None = None
        self._wanted_um = 0.0
        self._moving = False
        self._not_before = 0
        self._phase = _Phase.REFERENCE
        self._reference: F64 = np.empty(0)
        self._window: deque[tuple[int, F64]] = deque()
        self._target_um = 0.0
        self._middle_s = 0.0
        self._drifts: deque[tuple[float, float]] = deque(maxlen=HISTORY)
        self._doubts = 0
        self._told = False
        self._displaced = (math.inf, math.inf)
        self.moves: list[FocusMove] = []
        """What was done, and what was not done and why."""

    @property
    def corrections(self) -> int:
        """How often z was corrected."""
        return sum(move.kind is FocusMoveKind.CORRECTION for move in self.moves)

    def see(self, rows: pd.DataFrame) -> None:
        """Take the localisations of a block of frames."""
        with self._lock:
            if self._moving or rows.empty:
                return
            frame = rows["frame"].to_numpy()
            believed = (rows["z_flag"].to_numpy() & ~np.uint8(DISPLACED) == 0) & (frame >= self._not_before)
            if not believed.any():
                return
            self._window.append((int(frame.min()), rows["z"].to_numpy(float)[believed]))
            last = int(frame.max())
            if self._phase is _Phase.REFERENCE:
                self._take_reference(last)
                return
            estimate = self._estimate(last)
            if estimate is None:
                return
            if self._phase is _Phase.PROBE:
                self._test_sign(last, estimate)
            else:
                self._follow(last, estimate)

    def mark(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows with `DISPLACED` in the `z_flag` of those whose z the test of the sign displaced."""
        with self._lock:
            first, end = self._displaced
        frame = rows["frame"].to_numpy()
        displaced = (frame >= first) & (frame < end)
        if not displaced.any():
            return rows
        flags = rows["z_flag"].to_numpy().astype(np.uint8)
        return rows.assign(z_flag=np.where(displaced, flags | np.uint8(DISPLACED), flags))

    def held(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield the frames, and move z between two of them where it is due."""
        try:
            for frame in frames:
                self._move_if_due(frame.index)
                yield frame
        finally:
            frames.close()  # type: ignore[attr-defined]

    def _take_reference(self, last: int) -> None:
        z = np.concatenate([part for _, part in self._window])
        if len(z) < REFERENCE_MOLECULES:
            return
        self._reference = z
        self._window.clear()
        if self._actuator is None:
            self._phase = _Phase.WATCH
            return
        self._phase = _Phase.PROBE
        up_um = self._settings.probe_nm / 1000
        self._request(last, up_um if self._actuator.reaches(up_um) else -up_um, FocusMoveKind.PROBE, None)

    def _estimate(self, last: int) -> FocusShift | None:
        """Shift of the molecules in the window; None while they are too few."""
        span_s = (last + 1 - self._window[0][0]) * self._frame_s
        count = sum(len(part) for _, part in self._window)
        if (span_s < WINDOW_S or count < WINDOW_MOLECULES) and span_s < LONGEST_WINDOW_S:
            return None
        z = np.concatenate([part for _, part in self._window])
        self._middle_s = (last + 1) * self._frame_s - span_s / 2
        self._window.clear()
        return focus_shift(self._reference, z)

    def _test_sign(self, last: int, estimate: FocusShift) -> None:
        """Compare the molecules' answer to the test step with the expected one, and go back."""
        expected_nm = 1000 * self._target_um * self._factor
        answer = estimate.shift_nm / expected_nm
        believed = not estimate.doubt and SIGN_RANGE[0] <= answer <= SIGN_RANGE[1]
        self._phase = _Phase.HOLD if believed else _Phase.WATCH
        if not believed:
            why = "the stage's sign, or its unit, is wrong" if not estimate.doubt else estimate.doubt
            self._warn(
                f"the focus is not held: z was moved by {1000 * self._target_um:+.0f} nm and the molecules by "
                f"{estimate.shift_nm:+.0f} nm, {expected_nm:+.0f} expected ({why}); see focus.hold in the documents"
            )
        logger.info("focus: sign test, answer %.2f of the expected (%s)", answer, estimate)
        self._request(last, 0.0, FocusMoveKind.PROBE_END, estimate)

    def _follow(self, last: int, estimate: FocusShift) -> None:
        """Correct what the molecules say, where it is believed and worth it."""
        if estimate.doubt:
            self._doubts += 1
            self._note(last, FocusMoveKind.DOUBTED, estimate)
            if self._doubts == DOUBTS_TOLD:
                self._warn(f"the molecules no longer tell where the focus is: {estimate.doubt}; it is left as it is")
            return
        self._doubts = 0
        shift_nm, least_nm = self._expected_nm(estimate), self._settings.tolerance_nm
        if len(self._drifts) < FEWEST_DRIFTS:
            least_nm = max(least_nm, 2 * estimate.uncertainty_nm)
        if abs(shift_nm) <= least_nm:
            return
        if self._phase is _Phase.WATCH or self._actuator is None:
            self._note(last, FocusMoveKind.WATCHED, estimate)
            if abs(estimate.shift_nm) > self._settings.alarm_nm and not self._told:
                self._told = True
                self._warn(f"the focus has drifted by {estimate.shift_nm:+.0f} nm, by the molecules, and is not held")
            return
        step_um = np.clip(shift_nm, -self._settings.step_nm, self._settings.step_nm) / 1000
        target_um = self._target_um - float(step_um) / self._factor  # z rises with the stage
        target_um = self._actuator.nearest(target_um)
        if math.isclose(target_um, self._target_um, abs_tol=1e-6):
            self._note(last, FocusMoveKind.AT_END, estimate)
            if not self._told:
                self._told = True
                self._warn("the focus is held no longer: z has come to the end of focus.range_um, or of [limits]")
            return
        self._request(last, target_um, FocusMoveKind.CORRECTION, estimate)

    def _expected_nm(self, estimate: FocusShift) -> float:
        """Shift in the middle of the next window, by the drift so far: what is corrected must not lag behind it."""
        held_nm = 1000 * self._target_um * self._factor
        self._drifts.append((self._middle_s, estimate.shift_nm - held_nm))
        if len(self._drifts) < FEWEST_DRIFTS:
            return estimate.shift_nm
        times, drifts = np.array(self._drifts).T
        slope, level = np.polyfit(times - times[-1], drifts, 1)
        return float(level + slope * (times[-1] - times[-2])) + held_nm

    def _request(self, last: int, target_um: float, kind: FocusMoveKind, estimate: FocusShift | None) -> None:
        self._wanted, self._wanted_um, self._moving = _move(last, kind, estimate), target_um, True

    def _note(self, last: int, kind: FocusMoveKind, estimate: FocusShift) -> None:
        self.moves.append(_move(last, kind, estimate))

    def _move_if_due(self, frame: int) -> None:
        with self._lock:
            wanted, target_um = self._wanted, self._wanted_um
            self._wanted = None
        if wanted is None or self._actuator is None:
            return
        z_um = self._actuator.go(target_um)
        move = wanted.model_copy(update={"frame": frame, "z_um": z_um})
        logger.info("focus moved: %s", move)
        with self._lock:
            self.moves.append(move)
            self._target_um, self._moving = target_um, False
            self._not_before = frame + max(math.ceil(SETTLE_S / self._frame_s), 3)
            self._window.clear()
            if move.kind is FocusMoveKind.PROBE:
                self._displaced = (frame, math.inf)
            elif move.kind is FocusMoveKind.PROBE_END:
                self._displaced = (self._displaced[0], self._not_before)

    def _warn(self, text: str) -> None:
        warnings.warn(text, EasyZlocWarning, stacklevel=3)


def _move(frame: int, kind: FocusMoveKind, estimate: FocusShift | None) -> FocusMove:
    return FocusMove(
        frame=frame,
        kind=kind,
        drift_nm=estimate.shift_nm if estimate else 0.0,
        uncertainty_nm=estimate.uncertainty_nm if estimate else None,
        check_nm=estimate.check_nm if estimate else None,
        molecules=estimate.molecules if estimate else None,
        doubt=estimate.doubt if estimate else "",
    )
