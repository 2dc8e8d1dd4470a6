"""What a run keeps an eye on beside its frames, and how long it waits for what is wrong to come right."""

from __future__ import annotations

from easyzloc_mm._models import FrozenModel, NonNegative, Positive


class Interlock(FrozenModel):
    """A property of a device that says whether the light may be on: a door switch, a laser's key, a shutter's state."""

    device: str
    property: str
    value: str
    """What it says where all is well."""


class WatchSettings(FrozenModel):
    """When a run pauses, ``[watch]`` of the profile.

    Examples
    --------
    >>> ez.load_profile("demo").replace(watch={"wait_min": 60.0}).watch.free_gb
    1.0
    """

    every_s: Positive = 1.0
    """How often is looked."""
    wait_min: NonNegative = 30.0
    """Longest pause; then the run ends, and what it has is kept."""
    free_gb: NonNegative = 1.0
    """A run pauses where its disk has less left."""
    moved_um: Positive = 5.0
    """A sample that is further than this from where the run put it was moved by hand."""
    interlocks: tuple[Interlock, ...] = ()
