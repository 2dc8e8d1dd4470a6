"""Where bead stacks are taken: places around the start, light and planes of each."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.profile.plans import Pattern
from easyzloc_mm.profile.schema import Limits, Profile
from easyzloc_mm.typing import StagePosition

BACKLASH_UM = 1.0
"""Every stack starts this far below its first plane, so that the drive's play is always taken up alike."""
PLACES_PER_FOV = 4
"""So many places are tried for each wanted field before the slide is given up."""


@dataclass(frozen=True)
class FieldPlan:
    """One stack: where, how bright, and the z of every plane (um)."""

    x_um: float
    y_um: float
    exposure_ms: float
    illumination: str | None
    z_um: tuple[float, ...]
    approach_z_um: float

    def around(self, focus_um: float, profile: Profile) -> FieldPlan:
        """Return the same stack around another focus.

        Raises
        ------
        InputError
            It would leave the z limits.
        """
        z_um = sweep(profile, focus_um)
        return replace(self, z_um=z_um, approach_z_um=_approach(z_um, profile.limits))


def sweep(profile: Profile, focus_um: float) -> tuple[float, ...]:
    """Stage positions of the planes around `focus_um`.

    Raises
    ------
    InputError
        They leave the z limits.
    """
    plan = profile.beads
    z_um = tuple(focus_um + (plan.z_start_nm + plane * plan.z_step_nm) / 1000 for plane in range(plan.planes))
    profile.limits.check(z_um=z_um[0])
    profile.limits.check(z_um=z_um[-1])
    return z_um


def _approach(z_um: tuple[float, ...], limits: Limits) -> float:
    return max(z_um[0] - BACKLASH_UM, limits.z_min_um)


def plan_fields(profile: Profile, here: StagePosition, *, spare: bool = False) -> list[FieldPlan]:
    """Lay the profile's bead plan out around its start position, or around where the stages stand.

    Fields follow `beads.pattern` with `beads.fov_spacing_um`; places outside the limits are left out.

    Parameters
    ----------
    profile : Profile
    here : StagePosition
        Where the stages stand.
    spare : bool
        Also give places to turn to when a field is not worth a stack, as many as fit.

    Raises
    ------
    InputError
        The sweep leaves the z limits, or there is not room for all fields inside the xy limits.
    """
    plan, limits = profile.beads, profile.limits
    x0, y0 = plan.start_position_um or (here.x_um, here.y_um)
    z_um = sweep(profile, here.z_um if plan.focus_um is None else plan.focus_um)
    limits.check(x_um=x0, y_um=y0)
    wanted = plan.fovs * (PLACES_PER_FOV if spare else 1)
    walk = _spiral if plan.pattern is Pattern.SPIRAL else _grid
    places = list(itertools.islice(walk(limits, x0, y0, plan.fov_spacing_um), wanted))
    if len(places) < plan.fovs:
        raise InputError(
            f"only {len(places)} of beads.fovs = {plan.fovs} fields fit inside the xy limits around "
            f"({x0:.1f}, {y0:.1f}) um: lower beads.fovs or beads.fov_spacing_um"
        )
    return [
        FieldPlan(x, y, *exposure_and_preset(profile, index), z_um, _approach(z_um, limits))
        for index, (x, y) in enumerate(places)
    ]


def exposure_and_preset(profile: Profile, index: int) -> tuple[float, str | None]:
    """Exposure (ms) and illumination of the stack with that number: both cycle (paper: three exposures and powers)."""
    plan = profile.beads
    illuminations: tuple[str | None, ...] = plan.illuminations or (None,)
    return plan.exposures_ms[index % len(plan.exposures_ms)], illuminations[index % len(illuminations)]


def warn_of_overlap(profile: Profile) -> None:
    """Warn of fields that lie closer than they are wide."""
    field_um = max(profile.camera.width_px, profile.camera.height_px) * profile.optics.pixel_size_nm / 1000
    if profile.beads.fovs > 1 and profile.beads.fov_spacing_um < field_um:
        warnings.warn(
            f"beads.fov_spacing_um ({profile.beads.fov_spacing_um:g}) is smaller than the field "
            f"({field_um:.0f} um): beads will be seen twice, and their second stack is bleached",
            EasyZlocWarning,
            stacklevel=3,
        )


def _spiral(limits: Limits, x0: float, y0: float, spacing_um: float) -> Iterator[tuple[float, float]]:
    """Square spiral around (x0, y0), without the places outside the limits."""
    span_um = max(limits.x_max_um - limits.x_min_um, limits.y_max_um - limits.y_min_um)
    column = row = 0
    step = 1
    while step <= 2 * span_um / spacing_um + 2:
        for axis, direction in ((0, 1), (1, 1)) if step % 2 else ((0, -1), (1, -1)):
            for _ in range(step):
                x, y = x0 + column * spacing_um, y0 + row * spacing_um
                if limits.contains(x_um=x, y_um=y):
                    yield x, y
                column, row = (column + direction, row) if axis == 0 else (column, row + direction)
        step += 1


def _grid(limits: Limits, x0: float, y0: float, spacing_um: float) -> Iterator[tuple[float, float]]:
    """Rows to the right of and below (x0, y0), back and forth, square as far as the limits allow."""
    columns = int((limits.x_max_um - x0) // spacing_um) + 1
    rows = int((limits.y_max_um - y0) // spacing_um) + 1
    for size in range(1, max(columns, rows) + 1):
        # Each size adds one column and one row to the square: any number of fields stays compact.
        edge = [(size - 1, row) for row in range(size)] + [(column, size - 1) for column in range(size - 2, -1, -1)]
        for column, row in edge if size % 2 else reversed(edge):
            x, y = x0 + column * spacing_um, y0 + row * spacing_um
            if limits.contains(x_um=x, y_um=y):
                yield x, y
