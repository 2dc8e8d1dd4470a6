"""Data with known truth, without MMCore: sample, optics and camera of the embedded microscope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from easyzloc_mm._progress import silent
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images.movie_writer import write_ome_tiff_movie, write_ome_tiff_stacks
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.scene import POWERS, Scene, Setting, Truth
from easyzloc_mm.typing import U16, IfExists, Progress

if TYPE_CHECKING:
    from easyzloc_mm.io.beads.writer import PlaneRecord

TIFF = (".tif", ".tiff")
DEAD_TIME_S = 0.0006
"""Between two frames of a sequence, as the demo camera has it."""
SMLM_POSITION_UM = (5000.0, 0.0)
"""Where the molecules are on the embedded slide."""


@dataclass(frozen=True)
class SimulatedBeads:
    """Bead stacks with their truth.

    Attributes
    ----------
    out, truth : Path
        The stacks, and the table of every bead in every plane.
    fovs, planes : int
        Stacks, and planes of each.
    beads : int
        Beads inside the fields of view.
    """

    out: Path
    truth: Path
    fovs: int
    planes: int
    beads: int


@dataclass(frozen=True)
class SimulatedMovie:
    """A blinking movie with its truth.

    Attributes
    ----------
    out, truth, drift : Path
        The movie, and the tables of its emitters and of its drift.
    frames : int
        Number of frames.
    emitters_per_frame : float
        Mean number of emitters inside the sensor.
    """

    out: Path
    truth: Path
    drift: Path
    frames: int
    emitters_per_frame: float


def simulate_beads(
    profile: Profile, out: Path, *, seed: int = 0, if_exists: IfExists = "error", progress: Progress | None = None
) -> SimulatedBeads:
    """Write bead stacks through focus by `profile`'s bead plan, as `acquire-beads` or a camera program writes them.

    The truth lies beside, in ``NAME.truth.parquet``: one row per bead and plane, columns as in `Scene.table`
    plus ``fov`` and ``plane``.

    Parameters
    ----------
    profile : Profile
        Optics, camera and bead plan.
    out : Path
        ``NAME.ome.zarr``; or ``NAME.tif``, one OME-TIFF with an image per field, which states pixel size and z step but
        no camera units.
    seed : int
        Decides slide, drift and noise.
    if_exists : {'error', 'overwrite'}
        Replace existing output.
    progress : callable, optional
        Called with a message and the fraction done.

    Raises
    ------
    InputError
        The output exists, its folder does not, or a preset of the plan is unknown.
    """
    from easyzloc_mm.io.writing.output import check_output, whole_or_nothing

    out, plan = Path(out), profile.beads
    as_tiff = out.suffix.lower() in TIFF
    kind = Kind.PICTURE if as_tiff else Kind.BEAD_STACKS
    truth_path = out.with_name(f"{out.name.removesuffix(out.suffix).removesuffix('.ome')}.truth.parquet")
    check_output(out, kind, if_exists=if_exists)
    check_output(truth_path, Kind.TABLE, if_exists=if_exists)
    slide = _BeadSlide(profile, seed, progress)
    with (
        whole_or_nothing(out, kind, if_exists=if_exists) as draft,
        whole_or_nothing(truth_path, Kind.TABLE, if_exists=if_exists) as beside,
    ):
        if as_tiff:
            write_ome_tiff_stacks(
                draft,
                ((image for _, image in slide.planes(fov)) for fov in range(plan.fovs)),
                (plan.planes, profile.camera.height_px, profile.camera.width_px),
                pixel_size_nm=profile.optics.pixel_size_nm,
                z_step_nm=plan.z_step_nm,
            )
        else:
            _write_store(draft, profile, slide, seed)
        everything = pd.concat(slide.tables, ignore_index=True)
        _marked(everything).to_parquet(beside)
    beads = everything.loc[everything["structure"] == "bead", ["fov", "emitter"]].drop_duplicates()
    return SimulatedBeads(out=out, truth=truth_path, fovs=plan.fovs, planes=plan.planes, beads=len(beads))


class _BeadSlide:
    """Photographs a simulated bead slide by the profile's plan; `tables` grows by the truth of each field."""

    def __init__(self, profile: Profile, seed: int, progress: Progress | None) -> None:
        self._plan, self._progress = profile.beads, progress or silent
        self._scene = Scene(profile, seed)
        self._presets = profile.beads.illuminations or ("Medium",)
        self._powers = [_power(name) for name in self._presets]
        self._clock_s = 0.0
        self.tables: list[pd.DataFrame] = []

    def planes(self, fov: int) -> Iterator[tuple[PlaneRecord, U16]]:
        """Give the planes of a field from the lowest up."""
        from easyzloc_mm.io.beads.writer import PlaneRecord

        plan, scene = self._plan, self._scene
        exposure_s = plan.exposures_ms[fov % len(plan.exposures_ms)] / 1000
        chosen = fov % len(self._presets)
        x0, y = plan.start_position_um or (0.0, 0.0)
        x = x0 + fov * plan.fov_spacing_um
        truths: list[Truth] = []
        for plane in range(plan.planes):
            z = scene.focus_um + (plan.z_start_nm + plane * plan.z_step_nm) / 1000
            self._clock_s += exposure_s + plan.settle_ms / 1000
            setting = Setting(x, y, z, self._powers[chosen], exposure_s, self._clock_s - exposure_s / 2)
            image, truth = scene.expose(setting, fov, plane)
            truths.append(truth)
            yield PlaneRecord(z, z, x, y, 1000 * exposure_s, self._presets[chosen], self._clock_s), image
            done = (fov * plan.planes + plane + 1) / (plan.fovs * plan.planes)
            self._progress(f"field {fov + 1} of {plan.fovs}", done)
        table = scene.table(list(range(plan.planes)), truths).rename(columns={"frame": "plane"})
        table.insert(0, "fov", fov)
        self.tables.append(table)


def _write_store(path: Path, profile: Profile, slide: _BeadSlide, seed: int) -> None:
    from easyzloc_mm.io.beads.writer import BeadStackWriter

    writer = BeadStackWriter(
        path,
        profile.model_dump(mode="json"),
        profile.optics.pixel_size_nm,
        profile.beads.z_step_nm,
        (profile.camera.height_px, profile.camera.width_px),
        provenance={"simulated": True, "seed": seed},
    )
    with writer:
        for fov in range(profile.beads.fovs):
            writer.add_fov(fov, profile.beads.planes)
            for plane, (record, image) in enumerate(slide.planes(fov)):
                writer.write_plane(fov, plane, image, record)


def simulate_movie(
    profile: Profile,
    out: Path,
    *,
    frames: int = 500,
    seed: int = 0,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> SimulatedMovie:
    """Write a blinking SMLM movie of nuclear pores and filaments, TIFF.

    The truth lies beside: ``NAME.truth.parquet`` (`Scene.table`) and ``NAME.drift.parquet``
    (`Scene.drift_table`).

    Parameters
    ----------
    profile : Profile
        Optics, camera, and exposure and illumination of the imaging plan.
    out : Path
        ``NAME.tif``.
    frames : int
        Number of frames.
    seed : int
        Decides sample, blinking, drift and noise.
    if_exists : {'error', 'overwrite'}
        Replace existing output.
    progress : callable, optional
        Called with a message and the fraction done.

    Raises
    ------
    InputError
        The output exists, its folder does not, it is no TIFF name, or the preset is unknown.
    """
    from easyzloc_mm.io.writing.output import check_output, whole_or_nothing

    out = Path(out)
    if out.suffix.lower() not in TIFF:
        raise InputError(f"{out}: a simulated movie is a TIFF file, name it NAME.tif")
    truth_path, drift_path = out.with_suffix(".truth.parquet"), out.with_suffix(".drift.parquet")
    for path, kind in ((out, Kind.PICTURE), (truth_path, Kind.TABLE), (drift_path, Kind.TABLE)):
        check_output(path, kind, if_exists=if_exists)
    power = _power(profile.imaging.illumination or "High")
    exposure_s = profile.imaging.exposure_ms / 1000
    scene = Scene(profile, seed)
    x, y = SMLM_POSITION_UM
    truths, times = [], []
    with (
        whole_or_nothing(out, Kind.PICTURE, if_exists=if_exists) as draft,
        whole_or_nothing(truth_path, Kind.TABLE, if_exists=if_exists) as truth_draft,
        whole_or_nothing(drift_path, Kind.TABLE, if_exists=if_exists) as drift_draft,
    ):

        def images() -> Iterator[U16]:
            for frame in range(frames):
                times.append((frame + 0.5) * (exposure_s + DEAD_TIME_S))
                image, truth = scene.expose(Setting(x, y, scene.focus_um, power, exposure_s, times[-1]), frame)
                truths.append(truth)
                if progress is not None:
                    progress(f"frame {frame + 1} of {frames}", (frame + 1) / frames)
                yield image

        write_ome_tiff_movie(
            draft,
            images(),
            (frames, profile.camera.height_px, profile.camera.width_px),
            pixel_size_nm=profile.optics.pixel_size_nm,
            interval_ms=1000 * (exposure_s + DEAD_TIME_S),
        )
        numbers = list(range(frames))
        table = scene.table(numbers, truths)
        _marked(table).to_parquet(truth_draft)
        _marked(scene.drift_table(numbers, times)).to_parquet(drift_draft)
    return SimulatedMovie(
        out=out, truth=truth_path, drift=drift_path, frames=frames, emitters_per_frame=len(table) / frames
    )


def _power(preset: str) -> float:
    if preset not in POWERS:
        raise InputError(f"illumination '{preset}' is unknown to the embedded microscope: use {', '.join(POWERS)}")
    return POWERS[preset]


def _marked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a note of who wrote it, by which the output guard knows the file again."""
    table.attrs = {"written_by": "easyzloc_mm", "holds": Kind.RECORDS}
    return table
