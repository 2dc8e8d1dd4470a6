"""What holds the focus: a focus lock of the microscope, or the molecules themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from easyzloc_mm._models import Finite, FrozenModel, NonNegative, Positive


class FocusState(StrEnum):
    """What a focus lock really does; more than on or off."""

    OFF = "off"
    """It does not look, or does not tell without being switched on."""
    OUT_OF_RANGE = "out_of_range"
    """It sees no reflection of the cover slip."""
    WITHIN_RANGE = "within_range"
    """It sees the reflection, and does not hold it."""
    LOCKED = "locked"
    """It holds the focus."""


class FocusLockSettings(FrozenModel):
    """A continuous focus (Nikon PFS, ASI CRISP, Zeiss Definite Focus, ...), ``[focus_lock]`` of the profile.

    Examples
    --------
    >>> lock = {"device": "PFS", "settle_ms_per_mm": 800.0, "timeout_s": 20.0}
    >>> ez.load_profile("openframe").replace(focus_lock=lock).focus_lock.settle_ms_per_mm
    800.0
    """

    device: str
    """Label of the autofocus device."""
    offset_device: str | None = None
    """Label of the stage that sets its offset, where it is a device of its own (Nikon's PFS offset)."""
    offset_um_per_unit: Finite | None = None
    """Travel of the focus per unit of the offset, with its sign; needed to correct drift by the offset."""
    state_property: str | None = None
    """Property of the device that tells its state in words; without it, what MMCore tells: on, and locked."""
    states: dict[str, FocusState] = Field(default_factory=dict)
    """What the words of `state_property` mean, ``"Locked in focus" = "locked"``; others count as out of range."""
    settle_ms: NonNegative = 500.0
    """Wait before its answer is believed, after it was switched on or given an offset: it says "locked" too early."""
    settle_ms_per_mm: NonNegative = 500.0
    """More wait for each mm that the sample was moved: immersion oil needs seconds."""
    longest_settle_ms: Positive = 5000.0
    """The whole wait is never longer."""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 15.0
    """If it does not hold the focus by then it searches once, and after as long again it counts as lost."""
    range_um: Positive = 20.0
    """It may take z this far from where it was switched on; further away it holds another surface."""

    def settle_s(self, moved_um: float) -> float:
        """Return how long to wait, s, after the sample was moved by `moved_um`."""
        return min(self.settle_ms + self.settle_ms_per_mm * moved_um / 1000, self.longest_settle_ms) / 1000


class Hold(StrEnum):
    """What z is corrected by during a live run."""

    OFF = "off"
    MOLECULES = "molecules"
    """Their z against that at the run's start."""


class FocusSettings(FrozenModel):
    """Holding the focus by the molecules, ``[focus]`` of the profile.

    Examples
    --------
    >>> ez.load_profile("demo").replace(focus={"hold": "molecules"}).focus.tolerance_nm
    5.0
    """

    hold: Hold = Hold.OFF
    tolerance_nm: Annotated[float, Field(gt=0, le=1000)] = 5.0
    """Smaller drifts are left alone; at first also those below twice their own uncertainty."""
    step_nm: Positive = 100.0
    """Largest single correction."""
    range_um: Positive = 3.0
    """z is never taken further than this from where the run began."""
    probe_nm: Annotated[float, Field(ge=50, le=500)] = 200.0
    """Step of z by which the sign is tested at the start of a run: the molecules must follow it."""
    alarm_nm: Positive = 100.0
    """A drift that cannot be corrected is told from here on."""
