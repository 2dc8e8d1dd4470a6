"""Photograph beads through focus at several fields of view."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import RunLog, run_log
from easyzloc_mm.acquire.beads.autofocus import FINE_REACH_UM, Focus, NoFocusError, find_focus
from easyzloc_mm.acquire.beads.count import crowded, good_spots
from easyzloc_mm.acquire.beads.plan import FieldPlan, exposure_and_preset, plan_fields, warn_of_overlap
from easyzloc_mm.acquire.beads.report import AcquisitionReport
from easyzloc_mm.acquire.beads.stack import StackCamera
from easyzloc_mm.beads.bleaching import bleaching_per_um, brightness_ratio
from easyzloc_mm.beads.quality.coverage import field_coverage
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from easyzloc_mm.io.verify.beads import verify_bead_stacks
from easyzloc_mm.io.writing.atomic import disk_fault
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, remove, replaced_stream
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.detection import Sync
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import F64, U16, IfExistsResume, Progress, StagePosition

logger = logging.getLogger(__name__)


def acquire_bead_stacks(
    microscope: Microscope,
    profile: Profile,
    out: Path,
    *,
    if_exists: IfExistsResume = "error",
    progress: Progress | None = None,
) -> AcquisitionReport:
    """Take one z stack per field of view and write it plane by plane.

    At every place the bead layer is focused on, and beads are counted: places with too few or too many are skipped. A
    stack is approached from below, its first plane is taken twice (the first image shows the stage still creeping and
    is thrown away) and verified, and the stage is read after it has settled, so that z comes from the stage and not
    from the plane's number. It ends when the planned fields are taken, or enough good beads cover the field.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    profile : Profile
        Its `beads` section is the plan.
    out : Path
        ``NAME.ome.zarr``, written in place: whatever ends the run, complete planes stay readable.
    if_exists : {'error', 'overwrite', 'resume'}
        'resume' continues an existing store of the same plan; a stack that was not finished is taken again elsewhere,
        since its beads are bleached.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The plan leaves the limits or the output cannot be written, and nothing has moved; or there are no beads to
        focus on.
    HardwareError
        A device failed; the message gives the number of planes that are kept.
    """
    check_output(out, Kind.BEAD_STACKS, if_exists=if_exists, acquires=True)
    here = microscope.position()
    plan_fields(profile, here, spare=False)
    warn_of_overlap(profile)
    if microscope.focus_lock is not None:
        microscope.focus_lock.off()  # it would hold every plane in focus
    settings = {"out": out, "if_exists": if_exists, "profile": profile.model_dump(mode="json")}
    with (
        run_log("acquisition of bead stacks", settings) as log,
        replaced_stream(Path(out), Kind.BEAD_STACKS, if_exists=if_exists),
    ):
        run = _photograph(microscope, profile, Path(out), here, if_exists == "resume", progress, log)
        if run.saturated:
            warnings.warn(
                f"{run.saturated} of {run.planes} planes reach the camera's maximum: lower beads.exposures_ms, "
                "or the light",
                EasyZlocWarning,
                stacklevel=2,
            )
        report = run.report(Path(out), verify_bead_stacks(Path(out), quick=True).tell(logger))
        logger.debug("bead stacks: %s", report)
    return report


def _photograph(
    microscope: Microscope,
    profile: Profile,
    out: Path,
    here: StagePosition,
    resume: bool,
    progress: Progress | None,
    log: RunLog,
) -> _Run:
    """Write the stacks; what was begun without a single plane is removed again."""
    try:
        writer = _open_writer(microscope, profile, out, resume)
    except OSError as error:
        if not resume:
            _remove_if_possible(out)
        raise HardwareError(f"{disk_fault(error, out)} (nothing was acquired)") from error
    log.write_to(out / LOG)
    run = _Run(microscope, profile, writer, here, progress)
    try:
        with writer:
            run.take_all()
    except (HardwareError, InputError, OSError) as error:
        kept = "nothing was acquired"
        if run.planes:
            kept = f"{run.planes} planes are kept in {out}; `if_exists='resume'` continues"
        if isinstance(error, OSError):
            raise HardwareError(f"{disk_fault(error, out)} ({kept})") from error
        raise type(error)(f"{error} ({kept})") from error
    finally:
        if run.planes == 0:
            log.close()
            _remove_if_possible(out)
    return run


def _open_writer(microscope: Microscope, profile: Profile, out: Path, resume: bool) -> BeadStackWriter:
    camera = profile.camera
    return BeadStackWriter(
        out,
        profile.model_dump(mode="json"),
        profile.optics.pixel_size_nm,
        profile.beads.z_step_nm,
        (camera.height_px, camera.width_px),
        if_exists="resume" if resume else "error",
        provenance=microscope.describe(),
        planned_planes=profile.beads.planes,
        sync=Sync.NEVER if profile.localize.sync is Sync.NEVER else Sync.ALWAYS,
    )


def _remove_if_possible(out: Path) -> None:
    try:
        remove(out)
    except OSError as error:  # what ended the acquisition counts, and is on its way to the user
        logger.warning("%s could not be removed: %s", out, error)


class _Run:
    """One acquisition, with what it has counted so far."""

    def __init__(
        self,
        microscope: Microscope,
        profile: Profile,
        writer: BeadStackWriter,
        here: StagePosition,
        progress: Progress | None,
    ) -> None:
        self._microscope = microscope
        self._profile = profile
        self._plan = profile.beads
        self._camera = StackCamera(microscope, profile)
        self._maximum = 2**profile.camera.bit_depth - 1
        self._writer = writer
        self._progress = progress
        self._start = time.monotonic()
        earlier = writer.progress
        if earlier:
            here = StagePosition(*earlier["start"])
        self._here = here
        # Places of stacks that were begun but are gone from the store count as visited: their beads are bleached.
        self._visited: list[dict[str, Any]] = earlier.get("visited", [])
        done = writer.planes_done
        for place in self._visited:
            if place["fov"] not in done:
                place.update(fov=None, spots=[])
        self._resumed = len(done)
        self._next = max(done, default=-1) + 1
        self.planes = sum(done.values())
        self.saturated = 0
        self.z_error_um = 0.0

    def take_all(self) -> None:
        """Go from place to place until there are enough stacks, or enough beads."""
        focus_um: float | None = None
        for field in plan_fields(self._profile, self._here, spare=True)[len(self._visited) :]:
            if self._stacks >= self._plan.fovs or self._enough():
                return
            exposure_ms, illumination = exposure_and_preset(self._profile, self._next)
            field = FieldPlan(field.x_um, field.y_um, exposure_ms, illumination, field.z_um, field.approach_z_um)
            self._camera.arrive(field)
            spots, focus = self._look(field, focus_um)
            if focus is not None:
                field = field.around(focus.z_um, self._profile)
                focus_um = focus.z_um
            if spots is None:
                self._remember(field, None, np.empty((0, 2)))
                continue
            self._remember(field, self._next, spots)
            middle = self._take_stack(self._next, field)
            if focus is not None:
                self._look_again(self._next, field, middle, spots)
            else:
                # Without autofocus beads are counted here, in the plane of nominal focus.
                self._visited.pop()
                self._remember(field, self._next, good_spots(middle, self._maximum))
            self._next += 1
        if self._stacks == 0:
            raise InputError(
                f"none of the {len(self._visited)} places has {self._plan.min_beads} or more beads to photograph: move "
                "to where beads are, check the light, or lower beads.min_beads"
            )
        if self._stacks < self._plan.fovs and not self._enough():
            warnings.warn(
                f"only {self._stacks} of beads.fovs = {self._plan.fovs} fields had enough beads and not too many",
                EasyZlocWarning,
                stacklevel=2,
            )

    @property
    def _stacks(self) -> int:
        return sum(place["fov"] is not None for place in self._visited)

    @property
    def _spots(self) -> F64:
        return np.array([spot for place in self._visited for spot in place["spots"]], float).reshape(-1, 2)

    def _coverage(self) -> float:
        camera = self._profile.camera
        return field_coverage(self._spots[:, 0], self._spots[:, 1], (camera.width_px, camera.height_px))

    def _enough(self) -> bool:
        return len(self._spots) >= self._plan.enough_beads and self._coverage() == 1.0

    def _remember(self, field: FieldPlan, fov: int | None, spots: F64) -> None:
        self._visited.append({"x_um": field.x_um, "y_um": field.y_um, "fov": fov, "spots": spots.tolist()})
        here = self._here
        self._writer.note({"start": [here.x_um, here.y_um, here.z_um], "visited": self._visited})

    def _look(self, field: FieldPlan, focus_um: float | None) -> tuple[F64 | None, Focus | None]:
        """Focus and count: good spots, or None where a stack is not worth while."""
        if not self._plan.autofocus:
            return np.empty((0, 2)), None
        nominal = self._here.z_um if self._plan.focus_um is None else self._plan.focus_um
        reach = self._plan.autofocus_range_um / 2 if focus_um is None else FINE_REACH_UM
        number = len(self._visited) + 1
        try:
            focus = find_focus(
                self._microscope,
                self._profile.limits,
                nominal if focus_um is None else focus_um,
                reach_um=reach,
                settle_s=self._plan.settle_ms / 1000,
                progress=lambda message: self._report_progress(f"place {number}: {message}"),
            )
        except NoFocusError as error:
            logger.info("place %d: skipped, %s", number, error)
            self._report_progress(f"place {number}: skipped, {error}")
            return None, None
        spots = good_spots(focus.image, self._maximum)
        camera = self._profile.camera
        most = self._plan.max_beads or crowded(camera.width_px, camera.height_px)
        if not self._plan.min_beads <= len(spots) <= most:
            logger.info(
                "place %d: skipped, %d good beads, wanted %d to %d", number, len(spots), self._plan.min_beads, most
            )
            self._report_progress(f"place {number}: skipped, {len(spots)} good beads")
            return None, focus
        return spots, focus

    def _look_again(self, index: int, field: FieldPlan, before: U16, spots: F64) -> None:
        """Take the plane in focus once more, for photobleaching: brightness that the beads have lost along the scan."""
        travelled_um = field.z_um[-1] - field.z_um[self._camera.nominal]
        ratio = brightness_ratio(before, self._camera.take_again(field), spots)
        self._writer.note_bleaching(index, bleaching_per_um(ratio, travelled_um))

    def _take_stack(self, index: int, field: FieldPlan) -> U16:
        """Take and write one stack; return the image in its nominal focus."""
        if self._plan.autofocus:
            self._microscope.move_z(field.approach_z_um)
        self._writer.add_fov(index, len(field.z_um))
        where = f"x, y = {field.x_um:.1f}, {field.y_um:.1f} um"
        logger.info("field %d at %s, %g ms, light %s", index + 1, where, field.exposure_ms, field.illumination)

        def keep(plane: int, image: U16, record: PlaneRecord) -> None:
            self._writer.write_plane(index, plane, image, record)
            self._count(image, record, index, plane)

        return self._camera.take(field, keep)

    def _count(self, image: U16, record: PlaneRecord, index: int, plane: int) -> None:
        self.planes += 1
        self.saturated += bool(image.max() >= self._maximum)
        self.z_error_um = max(self.z_error_um, abs(record.measured_z_um - record.requested_z_um))
        self._report_progress(f"field {index + 1} of {self._plan.fovs}, plane {plane + 1} of {self._plan.planes}")

    def _report_progress(self, message: str) -> None:
        if not self._progress:
            return
        planned = self._plan.fovs * self._plan.planes
        beads = len(self._spots)
        if beads:
            message += f"; {beads} good beads, {self._coverage():.0%} of the field covered"
        self._progress(message, min(self.planes / planned, 1.0))

    def report(self, out: Path, whole: bool) -> AcquisitionReport:
        """Sum up what was done."""
        return AcquisitionReport(
            out=out,
            fovs=self._stacks,
            planes=self.planes,
            seconds=time.monotonic() - self._start,
            z_error_nm=self.z_error_um * 1000,
            saturated_planes=self.saturated,
            good_beads=len(self._spots),
            coverage=self._coverage(),
            skipped=sum(place["fov"] is None for place in self._visited),
            resumed=self._resumed,
            whole=whole,
        )
