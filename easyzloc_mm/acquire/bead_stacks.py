"""Photograph beads through focus at several fields of view."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile import Limits, Profile
from easyzloc_mm.records import StagePosition
from easyzloc_mm.store.bead_stacks import BeadStackWriter, PlaneRecord
from easyzloc_mm.store.output import check_output, remove

BACKLASH_UM = 1.0
"""Every stack starts this far below its first plane, so that the drive's play is always taken up alike."""


@dataclass(frozen=True)
class AcquisitionReport:
    """What was photographed.

    Attributes
    ----------
    out : Path
        The bead stacks.
    fovs, planes : int
        Fields of view, and planes in all of them.
    seconds : float
        From the first move to the last plane.
    z_error_nm : float
        Largest distance between where the z stage was sent and where it reported to be.
    saturated_planes : int
        Planes with pixels at the camera's maximum; beads in them are not usable there.
    """

    out: Path
    fovs: int
    planes: int
    seconds: float
    z_error_nm: float
    saturated_planes: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


@dataclass(frozen=True)
class FieldPlan:
    """One stack: where, how bright, and the z of every plane (um)."""

    x_um: float
    y_um: float
    exposure_ms: float
    illumination: str | None
    z_um: tuple[float, ...]
    approach_z_um: float


def plan_fields(profile: Profile, here: StagePosition) -> list[FieldPlan]:
    """Lay the profile's bead plan out around its start position, or around where the stages stand.

    Fields follow a square spiral with `beads.fov_spacing_um`; places outside the limits are left out.
    Exposures and illuminations are cycled over the fields (paper: 300, 500, 1000 ms and three powers).

    Raises
    ------
    InputError
        The sweep leaves the z limits, or there is not room for all fields inside the xy limits.
    """
    plan, limits = profile.beads, profile.limits
    x0, y0 = plan.start_position_um or (here.x_um, here.y_um)
    focus_um = here.z_um if plan.focus_um is None else plan.focus_um
    z_um = tuple(focus_um + (plan.z_start_nm + plane * plan.z_step_nm) / 1000 for plane in range(plan.planes))
    limits.check(x_um=x0, y_um=y0)
    limits.check(z_um=z_um[0])
    limits.check(z_um=z_um[-1])
    places = list(itertools.islice(_places(limits, x0, y0, plan.fov_spacing_um), plan.fovs))
    if len(places) < plan.fovs:
        raise InputError(
            f"only {len(places)} of beads.fovs = {plan.fovs} fields fit inside the xy limits around "
            f"({x0:.1f}, {y0:.1f}) um: lower beads.fovs or beads.fov_spacing_um"
        )
    illuminations: tuple[str | None, ...] = plan.illuminations or (None,)
    return [
        FieldPlan(
            x_um=x,
            y_um=y,
            exposure_ms=plan.exposures_ms[index % len(plan.exposures_ms)],
            illumination=illuminations[index % len(illuminations)],
            z_um=z_um,
            approach_z_um=max(z_um[0] - BACKLASH_UM, limits.z_min_um),
        )
        for index, (x, y) in enumerate(places)
    ]


def _places(limits: Limits, x0: float, y0: float, spacing_um: float) -> Iterator[tuple[float, float]]:
    """Square spiral around (x0, y0), without the places outside the limits."""
    span_um = max(limits.x_max_um - limits.x_min_um, limits.y_max_um - limits.y_min_um)
    column = row = 0
    step = 1
    while step <= 2 * span_um / spacing_um + 2:
        for axis, direction in ((0, 1), (1, 1)) if step % 2 else ((0, -1), (1, -1)):
            for _ in range(step):
                x, y = x0 + column * spacing_um, y0 + row * spacing_um
                if limits.x_min_um <= x <= limits.x_max_um and limits.y_min_um <= y <= limits.y_max_um:
                    yield x, y
                column, row = (column + direction, row) if axis == 0 else (column, row + direction)
        step += 1


def acquire_bead_stacks(
    microscope: Microscope,
    profile: Profile,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> AcquisitionReport:
    """Take one z stack per field of view and write it plane by plane.

    Every stack is approached from below, its first plane is taken twice (the first image shows the stage
    still creeping and is thrown away), and the stage is read after it has settled, so that z comes from the
    stage and not from the plane's number.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    profile : Profile
        Its `beads` section is the plan.
    out : Path
        ``NAME.ome.zarr``, written in place: whatever ends the run, complete planes stay readable.
    overwrite : bool
        Replace an existing store.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The plan leaves the limits or the output cannot be written; nothing has moved.
    HardwareError
        A device failed; the message says how many planes are kept.
    """
    check_output(out, overwrite=overwrite)
    here = microscope.position()
    fields = plan_fields(profile, here)
    _warn_of_overlap(profile)
    camera = profile.camera
    writer = BeadStackWriter(
        out,
        profile.model_dump(mode="json"),
        profile.optics.pixel_size_nm,
        profile.beads.z_step_nm,
        (camera.height_px, camera.width_px),
        overwrite=overwrite,
        provenance=microscope.describe(),
    )
    run = _Run(microscope, profile, writer, sum(len(field.z_um) for field in fields), progress)
    start = time.monotonic()
    try:
        with writer:
            for index, field in enumerate(fields):
                run.take_stack(index, field)
    except HardwareError as error:
        kept = f"{run.planes} planes are kept in {out}" if run.planes else "nothing was acquired"
        raise HardwareError(f"{error} ({kept})") from error
    finally:
        if run.planes == 0:
            remove(Path(out))
    if run.saturated:
        warnings.warn(
            f"{run.saturated} of {run.planes} planes reach the camera's maximum: lower beads.exposures_ms, "
            "or the light",
            EasyZlocWarning,
            stacklevel=2,
        )
    return AcquisitionReport(
        out=Path(out),
        fovs=len(fields),
        planes=run.planes,
        seconds=time.monotonic() - start,
        z_error_nm=run.z_error_um * 1000,
        saturated_planes=run.saturated,
    )


class _Run:
    """One acquisition, with what it has counted so far."""

    def __init__(
        self,
        microscope: Microscope,
        profile: Profile,
        writer: BeadStackWriter,
        planned: int,
        progress: Callable[[str, float], None] | None,
    ) -> None:
        self._microscope = microscope
        self._settle_s = profile.beads.settle_ms / 1000
        self._maximum = 2**profile.camera.bit_depth - 1
        self._writer = writer
        self._planned = planned
        self._progress = progress
        self.planes = 0
        self.saturated = 0
        self.z_error_um = 0.0

    def take_stack(self, index: int, field: FieldPlan) -> None:
        microscope = self._microscope
        microscope.move_z(field.approach_z_um)
        microscope.move_xy(field.x_um, field.y_um)
        microscope.set_illumination(field.illumination)
        exposure_ms = microscope.set_exposure(field.exposure_ms)
        self._writer.add_fov(index, len(field.z_um))
        with microscope.light():
            self._plane(field.z_um[0])
            for plane, z_um in enumerate(field.z_um):
                image, position, taken_s = self._plane(z_um)
                record = PlaneRecord(
                    requested_z_um=z_um,
                    measured_z_um=position.z_um,
                    x_um=position.x_um,
                    y_um=position.y_um,
                    exposure_ms=exposure_ms,
                    illumination=field.illumination,
                    time_s=taken_s,
                )
                self._writer.write_plane(index, plane, image, record)
                self._count(image, record, index)

    def _plane(self, z_um: float) -> tuple[np.ndarray, StagePosition, float]:
        self._microscope.move_z(z_um)
        time.sleep(self._settle_s)
        position = self._microscope.position()
        taken_s = time.time()
        return self._microscope.expose(), position, taken_s

    def _count(self, image: np.ndarray, record: PlaneRecord, index: int) -> None:
        self.planes += 1
        self.saturated += bool(image.max() >= self._maximum)
        self.z_error_um = max(self.z_error_um, abs(record.measured_z_um - record.requested_z_um))
        if self._progress:
            self._progress(f"beads: field {index + 1}, z {record.requested_z_um:.2f} um", self.planes / self._planned)


def _warn_of_overlap(profile: Profile) -> None:
    field_um = max(profile.camera.width_px, profile.camera.height_px) * profile.optics.pixel_size_nm / 1000
    if profile.beads.fovs > 1 and profile.beads.fov_spacing_um < field_um:
        warnings.warn(
            f"beads.fov_spacing_um ({profile.beads.fov_spacing_um:g}) is smaller than the field "
            f"({field_um:.0f} um): beads will be seen twice, and their second stack is bleached",
            EasyZlocWarning,
            stacklevel=3,
        )
