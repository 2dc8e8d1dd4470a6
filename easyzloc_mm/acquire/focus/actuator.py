"""What moves the focus while it is held: the z stage, or the offset of a focus lock."""

from __future__ import annotations

from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile


class Actuator:
    """Moves the focus to a distance from where it stood at the start, within `focus.range_um` and the limits.

    Parameters
    ----------
    microscope : Microscope
        Where it stands now is the start.
    profile : Profile
    offset_um_per_unit : float, optional
        Travel of the focus per unit of the focus lock's offset, which is moved then; without it, the z stage.
    """

    def __init__(self, microscope: Microscope, profile: Profile, offset_um_per_unit: float | None) -> None:
        self._microscope, self._per_unit = microscope, offset_um_per_unit
        start_um, limits, reach_um = microscope.position().z_um, profile.limits, profile.focus.range_um
        self._start_um = start_um
        self._low_um = max(-reach_um, limits.z_min_um - start_um)
        self._high_um = min(reach_um, limits.z_max_um - start_um)
        lock = microscope.focus_lock
        self._offset = lock.offset() if lock is not None and offset_um_per_unit is not None else 0.0

    def reaches(self, target_um: float) -> bool:
        """Return whether a distance from the start, um, lies within what is allowed."""
        return self._low_um <= target_um <= self._high_um

    def nearest(self, target_um: float) -> float:
        """Return the nearest distance from the start, um, that is allowed."""
        return min(max(target_um, self._low_um), self._high_um)

    def go(self, target_um: float) -> float:
        """Move the focus to a distance from the start, um, and return where z is then, um."""
        lock = self._microscope.focus_lock
        if self._per_unit is not None and lock is not None:
            return lock.set_offset(self._offset + target_um / self._per_unit)
        return self._microscope.move_z(self._start_um + target_um)


def actuator_of(microscope: Microscope, profile: Profile) -> Actuator | None:
    """Return what may move the focus: None where a focus lock is on whose offset has no known unit."""
    lock = microscope.focus_lock
    if lock is None or not lock.is_on:
        return Actuator(microscope, profile, None)
    per_unit = profile.focus_lock.offset_um_per_unit if profile.focus_lock is not None else None
    return None if per_unit is None else Actuator(microscope, profile, per_unit)
