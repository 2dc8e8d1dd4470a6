"""Bead stacks and movies of the second microscope, each with its truth beside it, as files that the commands read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage, special

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from easyzloc_mm.io.images.movie_writer import write_ome_tiff_movie
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import F64, U16

FOCUS_UM = 50.0
BEAD_PHOTONS, BEAD_BACKGROUND = (20000.0, 60000.0), 20.0
EXPOSURE_MS = 30.0
CREST_TO_TROUGH = np.pi * np.sqrt(2.0)
"""Half of the mean period along a line through white noise that was blurred by a Gaussian, over its standard deviation
(Rice's formula)."""
LEAST_LIGHT = 0.1
"""Of the mean: where the background would be negative."""
ATTEMPTS = 4000
"""At placing points that keep their distance, before there are as many as will go."""


class BeadScan(FrozenModel):
    """Bead stacks: beads of 20,000 to 60,000 photons, far enough apart to be used."""

    fields: int = 6
    beads: int = 50
    apart_px: float = 26.0
    z_limit_nm: float = 1300.0
    z_step_nm: float = 50.0


class MovieConditions(FrozenModel):
    """Molecules that are on in one frame each, at random places and depths.

    Attributes
    ----------
    frames : int
    per_um2 : float
        Mean number of molecules in a frame, per square micrometre.
    z_limit_nm : float
        Heights are uniform up to so far from `z_middle_nm`.
    z_middle_nm : float
    photons, background : (float, float)
        Drawn uniformly for each molecule, and for each frame (per pixel).
    apart_px : float
        Molecules of a frame are no nearer to each other.
    structure : float
        Part of its mean by which the background of a frame rises and falls: twice its standard deviation.
    structure_px : float
        From where it is high to where it is low, on average.
    outside : float
        Part of it that is left outside a circle, whose middle is drawn for each frame so that its edge crosses it.
    circle_px, edge_px : float
        Radius of the circle, and standard deviation of the blur of its edge.
    """

    frames: int
    per_um2: float
    z_limit_nm: float = 900.0
    z_middle_nm: float = 0.0
    photons: tuple[float, float] = (1000.0, 4000.0)
    background: tuple[float, float] = (20.0, 60.0)
    apart_px: float = 0.0
    structure: float = 0.0
    structure_px: float = 40.0
    outside: float = 1.0
    circle_px: float = 100.0
    edge_px: float = 2.0


SPARSE = MovieConditions(frames=400, per_um2=0.015, apart_px=16.0)
"""Every molecule by itself: what is missed here is missed for its depth or its brightness."""
STRUCTURED = {
    f"{100 * structure:g}_in_{px}_px": SPARSE.model_copy(
        update={"frames": 100, "structure": structure, "structure_px": px}
    )
    for structure, px in ((0.15, 20), (0.15, 40), (0.3, 40), (0.5, 80))
}
"""By how unevenly the background is lit: cells, autofluorescence, molecules far out of focus."""
EDGES = {
    f"{part:g}_outside_{px:g}_px": SPARSE.model_copy(update={"frames": 100, "outside": part, "edge_px": px})
    for part, px in ((0.1, 0.7), (0.1, 2.0), (0.1, 6.0), (0.3, 2.0))
}
"""By the part of the light that is outside a field stop, and how sharp that is."""
DENSE = {
    per_um2: MovieConditions(frames=frames, per_um2=per_um2, z_limit_nm=700.0)
    for per_um2, frames in ((0.02, 200), (0.1, 50), (0.3, 20), (1.0, 8))
}
"""By density: places are independent of each other."""


def truth_of(movie: Path) -> Path:
    """Return the truth of ``NAME.tif``: ``NAME.truth.parquet``, which is written last."""
    return movie.with_suffix(".truth.parquet")


def write_bead_stacks(path: Path, microscope: SecondMicroscope, scan: BeadScan, seed: int) -> pd.DataFrame:
    """Write ``NAME.ome.zarr``, whole or not at all, and return the truth.

    Parameters
    ----------
    path : Path
    microscope : SecondMicroscope
    scan : BeadScan
    seed : int
        Of places, brightness and noise.

    Returns
    -------
    DataFrame
        ``fov``, ``x``, ``y`` (px), ``focus_um``, ``photons`` of each bead.
    """
    rng = np.random.default_rng(seed)
    steps = round(scan.z_limit_nm / scan.z_step_nm)
    stage_nm = scan.z_step_nm * np.arange(-steps, steps + 1)
    pixel_size_nm = microscope.lens.pixel_size_nm
    shape = (microscope.height_px, microscope.width_px)
    dump = profile_of(microscope).model_dump(mode="json")
    truths = []
    with (
        whole_or_nothing(path, Kind.BEAD_STACKS, if_exists="error") as draft,
        BeadStackWriter(draft, dump, pixel_size_nm, scan.z_step_nm, shape, provenance={"simulated": True}) as writer,
    ):
        for field in range(scan.fields):
            x, y = places_apart(microscope, scan.beads, scan.apart_px, microscope.lens.half_px, rng)
            photons = rng.uniform(*BEAD_PHOTONS, len(x))
            writer.add_fov(field, len(stage_nm))
            for plane, stage in enumerate(stage_nm):
                image = microscope.expose(x, y, np.full(len(x), stage), photons, BEAD_BACKGROUND, rng)
                z_um = FOCUS_UM + stage / 1000
                record = PlaneRecord(z_um, z_um, 80.0 * field, 0.0, EXPOSURE_MS, None, float(plane))
                writer.write_plane(field, plane, image, record)
            focus_um = FOCUS_UM + microscope.focal_surface_nm(x, y) / 1000
            truths.append(pd.DataFrame({"fov": field, "x": x, "y": y, "focus_um": focus_um, "photons": photons}))
    return pd.concat(truths, ignore_index=True)


def write_movie(path: Path, microscope: SecondMicroscope, conditions: MovieConditions, seed: int) -> pd.DataFrame:
    """Write ``NAME.tif`` and ``NAME.truth.parquet``, and return the truth.

    Returns
    -------
    DataFrame
        ``frame``, ``x``, ``y`` (px), ``z`` (nm above a flat slide), ``photons`` (all that the lens collects),
        ``background`` (per pixel, at its middle), ``limit_x_nm``, ``limit_y_nm``, ``limit_z_nm`` (information limit
        of the molecule by itself, in 15 x 15 px, in 25 x 25 with a mask); of the molecules whose middle is on the
        camera.
    """
    rng = np.random.default_rng(seed)
    truths: list[pd.DataFrame] = []

    def frames() -> Iterator[U16]:
        for frame in range(conditions.frames):
            emitters = _draw(microscope, conditions, rng)
            x, y, z, photons = (emitters[name].to_numpy() for name in ("x", "y", "z", "photons"))
            background = _background(microscope, conditions, rng)
            yield microscope.expose(x, y, z, photons, background, rng)
            emitters.insert(0, "frame", frame)
            row, column = (
                np.clip(np.rint(at).astype(int), 0, size - 1) for at, size in zip((y, x), background.shape, strict=True)
            )
            emitters["background"] = background[row, column]
            truths.append(emitters)

    shape = (conditions.frames, microscope.height_px, microscope.width_px)
    pixel_size_nm = microscope.lens.pixel_size_nm
    write_ome_tiff_movie(path, frames(), shape, pixel_size_nm=pixel_size_nm, interval_ms=EXPOSURE_MS)
    truth = pd.concat(truths, ignore_index=True)
    on_camera = truth["x"].between(-0.5, microscope.width_px - 0.5)
    on_camera &= truth["y"].between(-0.5, microscope.height_px - 0.5)
    truth = truth[on_camera].reset_index(drop=True)
    limits = microscope.limits_nm(*(truth[name].to_numpy() for name in ("x", "y", "z", "photons", "background")))
    truth = truth.assign(**{f"limit_{axis}_nm": limit for axis, limit in zip("xyz", limits, strict=True)})
    truth.to_parquet(truth_of(path))
    return truth


def _background(microscope: SecondMicroscope, conditions: MovieConditions, rng: np.random.Generator) -> F64:
    """Photons per pixel of one frame."""
    shape = microscope.height_px, microscope.width_px
    mean = float(rng.uniform(*conditions.background))
    if conditions.outside < 1:
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0) * conditions.circle_px
        row, column = np.indices(shape, sparse=True)
        down, right = (size / 2 + reach * turn(angle) for size, turn in zip(shape, (np.sin, np.cos), strict=True))
        inwards = conditions.circle_px - np.hypot(row - down, column - right)
        return np.asarray(mean * (1 - (1 - conditions.outside) * special.ndtr(-inwards / conditions.edge_px)))
    if not conditions.structure:
        return np.full(shape, mean)
    field = ndimage.gaussian_filter(rng.normal(size=shape), conditions.structure_px / CREST_TO_TROUGH, mode="wrap")
    return np.asarray(mean * np.maximum(1 + conditions.structure / 2 * field / field.std(), LEAST_LIGHT))


def _draw(microscope: SecondMicroscope, conditions: MovieConditions, rng: np.random.Generator) -> pd.DataFrame:
    """Molecules of one frame, those outside the camera included whose light falls on it."""
    pixel_um = microscope.lens.pixel_size_nm / 1000
    # What must be found by itself must be whole; of a crowd, the light comes from outside the camera too.
    half_px = microscope.lens.half_px
    margin = half_px if conditions.apart_px else -half_px
    width, height = microscope.width_px - 2 * margin, microscope.height_px - 2 * margin
    count = int(rng.poisson(conditions.per_um2 * width * height * pixel_um**2))
    x, y = places_apart(microscope, count, conditions.apart_px, margin, rng)
    return pd.DataFrame(
        {
            "x": x,
            "y": y,
            "z": conditions.z_middle_nm + rng.uniform(-conditions.z_limit_nm, conditions.z_limit_nm, len(x)),
            "photons": rng.uniform(*conditions.photons, len(x)),
        }
    )


def places_apart(
    microscope: SecondMicroscope, count: int, apart_px: float, margin_px: int, rng: np.random.Generator
) -> tuple[F64, F64]:
    """Random places at least `margin_px` inside the camera, at most `count`, that keep their distance."""
    chosen = np.empty((0, 2))
    for _ in range(ATTEMPTS):
        if len(chosen) == count:
            break
        wanted = 1 if apart_px else count
        size = np.array([microscope.width_px - 1, microscope.height_px - 1])
        new = rng.uniform(margin_px, size - margin_px, (wanted, 2))
        if not apart_px or not len(chosen) or np.hypot(*(chosen - new).T).min() >= apart_px:
            chosen = np.concatenate([chosen, new])
    return chosen[:, 0], chosen[:, 1]


def profile_of(microscope: SecondMicroscope) -> Profile:
    """Return a hardware profile with the lens and the camera of the second microscope."""
    lens, response = microscope.lens, microscope.response
    return load_profile("demo").replace(
        optics={
            "na": lens.na,
            "immersion_index": lens.oil_index,
            "sample_index": lens.water_index,
            "emission_nm": lens.wavelength_nm,
            "pixel_size_nm": lens.pixel_size_nm,
        },
        camera={
            "width_px": microscope.width_px,
            "height_px": microscope.height_px,
            "baseline_adu": response.baseline_adu,
            "electrons_per_adu": response.electrons_per_adu,
            "read_noise_e": response.read_noise_e,
            "excess_noise": response.excess_noise,
        },
    )
