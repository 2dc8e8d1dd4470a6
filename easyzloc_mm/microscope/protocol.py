"""What the rest of the program may do with a microscope."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from easyzloc_mm.profile.focus import FocusState
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16, Frame, StagePosition


class FocusLock(Protocol):
    """A focus lock that is a device of the microscope; `HardwareError` where it fails, and where the focus is lost."""

    @property
    def is_on(self) -> bool:
        """Whether z is the lock's: `Microscope.move_z` refuses then."""
        ...

    def state(self) -> FocusState:
        """Return what it does now, as the device tells."""
        ...

    def off(self) -> None:
        """Switch it off, and give z back to the stage."""
        ...

    def hold(self) -> float:
        """Switch it on, wait until it really holds the focus, and return where z is then, um."""
        ...

    def search(self) -> float:
        """Let it look for the reflection over its whole range once, and return where z is then, um; it is off then."""
        ...

    def offset(self) -> float:
        """Return the distance that it keeps between reflection and focus, in the device's own units."""
        ...

    def set_offset(self, offset: float) -> float:
        """Set the offset, wait until z has followed, and return where z is then, um."""
        ...


class Microscope(Protocol):
    """A connected instrument; `connect` gives one and makes it safe again.

    Every call has a deadline. Impossible requests (a position outside the profile's limits, an unknown
    preset) raise `InputError` before anything moves; a device that fails or is silent raises `HardwareError`.
    """

    @property
    def profile(self) -> Profile:
        """The profile that the microscope was connected with."""
        ...

    @property
    def focus_lock(self) -> FocusLock | None:
        """The focus lock that the profile names; None where it names none."""
        ...

    def position(self) -> StagePosition:
        """Return where the stages report to be, um."""
        ...

    def move_z(self, z_um: float) -> float:
        """Move the z stage, wait until it has arrived, and return where it reports to be, um.

        `InputError` while the focus lock is on: it would move z back.
        """
        ...

    def move_xy(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Move the xy stage, wait until it has arrived, and return where it reports to be, um.

        A focus lock that is on is switched off meanwhile, and holds the focus again before this returns.
        """
        ...

    def set_exposure(self, ms: float) -> float:
        """Set the camera's exposure, and return what the camera took, ms."""
        ...

    def set_illumination(self, preset: str | None) -> None:
        """Apply a preset of the profile's illumination group; None leaves the light as it is."""
        ...

    def check_illumination(self, preset: str | None) -> None:
        """Raise `InputError` where the profile's illumination group has no such preset; switches nothing."""
        ...

    def hold_shutter_open(self) -> AbstractContextManager[None]:
        """Keep the shutter open over several exposures."""
        ...

    def lit_ms(self) -> float:
        """Return the time for which this connection has lit the sample, ms."""
        ...

    def broken_interlock(self) -> str | None:
        """Return which interlock of the profile does not say what it should, in words; None where all do."""
        ...

    def camera_in_use(self) -> str | None:
        """Return, in words, that the camera runs for somebody else; None where it stands still.

        To be asked between streams and exposures.
        """
        ...

    def expose(self) -> U16:
        """Return one image, ADU, shape (height, width); the shutter is open for it, or held open anyway."""
        ...

    def stream(self, frames: int, stop: threading.Event | None = None) -> Iterator[Frame]:
        """Yield `frames` camera frames as they come, or fewer once `stop` is set.

        A lost frame leaves a gap in `Frame.index`. `HardwareError` is raised after everything that was got
        has been yielded: buffer overflow, a camera that stopped early or fell silent, lost frames.
        """
        ...

    def describe(self) -> dict[str, object]:
        """Return versions, device labels, camera size and limits, as plain values for provenance."""
        ...
