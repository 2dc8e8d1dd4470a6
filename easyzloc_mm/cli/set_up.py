"""A profile with what a person has set at the microscope: the camera's ROI and exposure, as they are now."""

from __future__ import annotations

from typing import Annotated

import typer

from easyzloc_mm.profile.schema import Profile

ExposureOption = Annotated[
    float | None, typer.Option("--exposure-ms", min=0.01, help="Instead of the profile's, for every image.")
]
SizeOption = Annotated[
    tuple[int, int] | None,
    typer.Option("--size-px", help="Width and height of the camera's ROI, instead of the profile's."),
]
FramesOption = Annotated[
    int | None, typer.Option("--frames", "-n", min=1, help="Instead of the profile's imaging.frames.")
]
MonitorFlag = Annotated[bool, typer.Option("--monitor", help="Show it in the browser while it goes on.")]


def as_set(
    profile: Profile, exposure_ms: float | None, size_px: tuple[int, int] | None, frames: int | None = None
) -> Profile:
    """Return the profile with what was given in place of its own.

    Raises
    ------
    InputError
        It cannot be so.
    """
    changes: dict[str, dict[str, object]] = {}
    if size_px is not None:
        changes["camera"] = {"width_px": size_px[0], "height_px": size_px[1]}
    if exposure_ms is not None:
        changes |= {"imaging": {"exposure_ms": exposure_ms}, "beads": {"exposures_ms": (exposure_ms,)}}
    if frames is not None:
        changes["imaging"] = {**changes.get("imaging", {}), "frames": frames}
    return profile.replace(**changes) if changes else profile


def given(**options: object) -> list[str]:
    """Return options of a command as they are typed; those that are None are left out."""
    words: list[str] = []
    for name, value in options.items():
        if value is not None:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words
