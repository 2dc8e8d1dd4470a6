"""Everything that a judgement on the second microscope needs, in one folder: beads, a model of them, and movies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from easyzloc_mm._progress import silent
from easyzloc_mm.api.calibrating.calibration import build_beads, train
from easyzloc_mm.benchmarks.second_optics.datasets import (
    DENSE,
    EDGES,
    SPARSE,
    STRUCTURED,
    BeadScan,
    MovieConditions,
    truth_of,
    write_bead_stacks,
    write_movie,
)
from easyzloc_mm.benchmarks.second_optics.lens import Mask
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.typing import Progress

STACKS, BEADS, MODEL = "beads.ome.zarr", "beads.zarr", "model"
BEAD_SEED, MOVIE_SEED = 11, 100
ENGINEERED_NM = 600.0
ENGINEERED_SCAN = BeadScan(beads=24, apart_px=40.0)


@dataclass(frozen=True)
class Study:
    """Where things lie.

    Attributes
    ----------
    folder, beads, model : Path
        ``beads.zarr`` and the model that was trained on it.
    movies : dict of str to Path
        ``sparse``, ``dense_0.02``, ...; the truth of each is `datasets.truth_of` it.
    """

    folder: Path
    beads: Path
    model: Path
    movies: Mapping[str, Path]


class Background(StrEnum):
    """How the molecules' background is lit: evenly, as that of cells is, or with a field stop in the image."""

    EVEN = "even"
    STRUCTURED = "structured"
    EDGE = "edge"


def movie_conditions(background: Background = Background.EVEN, mask: Mask = Mask.NONE) -> dict[str, MovieConditions]:
    """Return what every movie shows, by its name.

    An engineered PSF is judged by sparse molecules within the depths that all of them are made for.
    """
    movies = {"sparse": SPARSE, **{f"dense_{per_um2:g}": conditions for per_um2, conditions in DENSE.items()}}
    if background is Background.STRUCTURED:
        movies = {f"structure_{name}": conditions for name, conditions in STRUCTURED.items()}
    if background is Background.EDGE:
        movies = {f"edge_{name}": conditions for name, conditions in EDGES.items()}
    if mask is Mask.NONE:
        return movies
    engineered = {"z_limit_nm": ENGINEERED_NM, "frames": 150, "per_um2": 0.01, "apart_px": 28.0}
    return {name: one.model_copy(update=engineered) for name, one in movies.items() if one.apart_px}


def make_study(
    folder: Path,
    *,
    minutes: float = 2.0,
    seed: int = 0,
    microscope: SecondMicroscope | None = None,
    scan: BeadScan | None = None,
    movies: Mapping[str, MovieConditions] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Make what is not there yet: the same seed gives the same data.

    Parameters
    ----------
    folder : Path
        Made if it is missing; bead stacks, model and movies that lie in it are taken as they are.
    minutes : float
        Of training.
    seed : int
    microscope : SecondMicroscope, optional
    scan : BeadScan, optional
    movies : mapping, optional
        Conditions by name; all of `movie_conditions` if not given.
    progress : callable, optional
        Given (message, fraction).
    """
    microscope = microscope or SecondMicroscope()
    wanted = movie_conditions() if movies is None else dict(movies)
    show = progress or silent
    make_beads(folder, seed=seed, microscope=microscope, scan=scan, progress=progress)
    if not (folder / MODEL).exists():
        train(folder / BEADS, folder / MODEL, minutes=minutes, seed=seed, progress=progress)
    files = {}
    for number, (name, conditions) in enumerate(wanted.items()):
        show(f"recording molecules: {name}", number / len(wanted))
        files[name] = folder / f"{name}.tif"
        if not truth_of(files[name]).exists():
            write_movie(files[name], microscope, conditions, seed + MOVIE_SEED + number)
    return Study(folder, folder / BEADS, folder / MODEL, files)


def make_beads(
    folder: Path,
    *,
    seed: int = 0,
    microscope: SecondMicroscope | None = None,
    scan: BeadScan | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make the bead data set of a study, unless it lies there; return its path. Parameters as of `make_study`."""
    microscope = microscope or SecondMicroscope()
    scan = scan or (BeadScan() if microscope.lens.mask is Mask.NONE else ENGINEERED_SCAN)
    folder.mkdir(parents=True, exist_ok=True)
    (progress or silent)("photographing beads", 0.0)
    if not (folder / STACKS).exists():
        write_bead_stacks(folder / STACKS, microscope, scan, seed + BEAD_SEED)
    if not (folder / BEADS).exists():
        build_beads([folder / STACKS], folder / BEADS, if_exists="overwrite", progress=progress)
    return folder / BEADS
