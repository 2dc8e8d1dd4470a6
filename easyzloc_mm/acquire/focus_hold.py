"""Holding the focus by the molecules themselves: when their mean z drifts, the stage follows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Frame

if TYPE_CHECKING:
    from easyzloc_mm.localization.live.status import LiveStatus

logger = logging.getLogger(__name__)

SETTLE_FRAMES = 150
"""After a move, so many frames pass before the next: the running mean must have forgotten the old focus."""


class FocusHold:
    """Moves z back once the focus has drifted by more than `imaging.hold_focus_nm`.

    It sees the status in the thread that supervises the run and moves in the thread that takes frames, between two of
    them: nothing else touches the instrument while the camera runs.

    Parameters
    ----------
    microscope : Microscope
        Connected, in focus.
    profile : Profile
        `imaging.hold_focus_nm`, `imaging.hold_focus_range_um`, `localize.focal_shift_factor`, the stage's limits.
    """

    def __init__(self, microscope: Microscope, profile: Profile) -> None:
        if profile.imaging.hold_focus_nm is None:
            raise ValueError("imaging.hold_focus_nm is not set: there is no drift at which the focus would be moved")
        self._microscope, self._limits = microscope, profile.limits
        self._limit_nm, self._range_um = profile.imaging.hold_focus_nm, profile.imaging.hold_focus_range_um
        self._um_per_nm = 1e-3 / profile.localize.focal_shift_factor
        self._start_um = self._target_um = microscope.position().z_um
        self._lock = threading.Lock()
        self._drift_nm: float | None = None
        self._not_before = 0
        self.moves: list[dict[str, float]] = []
        """Frame after which z was moved, the drift that was seen (nm), and where z went (um)."""

    def see(self, status: LiveStatus) -> None:
        """Take the focus drift of the run's status."""
        drift = status.focus_drift_nm
        with self._lock:
            usable = drift is not None and status.localized >= self._not_before and status.camera_running
            self._drift_nm = drift if usable and drift is not None and abs(drift) > self._limit_nm else None

    def held(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield the frames, and move z between two of them where it is due."""
        try:
            for frame in frames:
                self._correct(frame.index)
                yield frame
        finally:
            frames.close()  # type: ignore[attr-defined]

    def _correct(self, frame: int) -> None:
        with self._lock:
            drift, self._drift_nm = self._drift_nm, None
            if drift is None or frame < self._not_before:
                return
            self._not_before = frame + SETTLE_FRAMES
        low = max(self._start_um - self._range_um, self._limits.z_min_um)
        high = min(self._start_um + self._range_um, self._limits.z_max_um)
        # z rises with the stage: an apparent rise of the molecules is corrected by lowering the stage.
        target = min(max(self._target_um - drift * self._um_per_nm, low), high)
        if target == self._target_um:
            return
        self._target_um = target
        move = {"frame": frame, "drift_nm": drift, "z_um": self._microscope.move_z(target)}
        logger.info("focus moved: %s", move)
        self.moves.append(move)
