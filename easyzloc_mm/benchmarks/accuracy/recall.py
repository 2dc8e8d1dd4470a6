"""`bench recall`: what is found in frames of the second optics, sparse, dense or unevenly lit.

Beside Picasso on the same frames.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.scoring.compare import compare
from easyzloc_mm.analysis.scoring.figures import ScoreRules
from easyzloc_mm.analysis.scoring.score import score
from easyzloc_mm.api.imaging.movies import localize
from easyzloc_mm.benchmarks.accuracy.rivals import localize_picasso, picasso_spline
from easyzloc_mm.benchmarks.second_optics.datasets import truth_of
from easyzloc_mm.benchmarks.second_optics.lens import Mask
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.benchmarks.second_optics.study import Background, Study, make_study, movie_conditions
from easyzloc_mm.io.beads.dataset import read_bead_set
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.training.split import split_beads
from easyzloc_mm.typing import Progress

DENSE_BORDER_NM = 1000.0
"""Of the dense movies, whose molecules lie across the edge of the camera."""
SPLINE_BEADS = 60
GRADIENTS = (400.0, 600.0, 800.0, 1600.0, 3200.0)
"""Thresholds of Picasso's identification that are tried, ADU; the one with the best Jaccard index is reported."""
QUICK_SHARE = 5
FIGURES = ("recall", "precision", "jaccard", "rmse_lateral_nm", "rmse_axial_nm", "e3d")
ERRORS = ("rmse_z_nm", "robust_z_nm", "limit_z_nm", "rms_limit_z_nm", "coverage_68", "coverage_95", "flagged")


def bench_recall(
    folder: Path | None = None,
    *,
    mask: Mask = Mask.NONE,
    background: Background = Background.EVEN,
    minutes: float = 2.0,
    quick: bool = False,
    picasso: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train on beads of the second optics, localise its movies, and score them; Picasso's own way too.

    Parameters
    ----------
    folder : Path, optional
        Keeps beads, model, movies and runs, and those that lie there are used; a temporary one if not given.
    mask : Mask
        An engineered PSF in place of the unmodified one: sparse movies within 600 nm of focus.
    background : Background
        Even, sparse and dense molecules; or structured or with an edge, sparse ones.
    minutes : float
        Of training.
    quick : bool
        A fifth of the frames.
    picasso : bool
        Whether Picasso is measured too: a few hundred spots a second.
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        ``movies``: by name, ``per_um2``, the counts of `Counts` (every localisation), errors of what carries no flag,
        ``unflagged`` counts, ``bins`` by depth, and ``picasso`` with its counts and the best ``min_net_gradient``;
        ``minutes``.
    """
    show = progress or silent
    conditions = movie_conditions(background, mask)
    microscope = SecondMicroscope(lens=mask.lens)
    if quick:
        fewer = {name: max(1, one.frames // QUICK_SHARE) for name, one in conditions.items()}
        conditions = {name: one.model_copy(update={"frames": fewer[name]}) for name, one in conditions.items()}
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        study = make_study(
            Path(place), minutes=minutes, seed=seed, microscope=microscope, movies=conditions, progress=progress
        )
        spline = _spline(study, seed) if picasso else None
        movies: dict[str, Any] = {}
        for number, (name, movie) in enumerate(study.movies.items()):
            show(f"localising: {name}", number / len(study.movies))
            run = study.folder / "runs" / f"{name}.zarr"
            run.parent.mkdir(exist_ok=True)
            localize(movie, study.model, run, if_exists="overwrite", progress=progress)
            truth, border_nm = pd.read_parquet(truth_of(movie)), 0.0 if conditions[name].apart_px else DENSE_BORDER_NM
            found = _scored(read_localizations(run)[0], truth, border_nm, movie)
            movies[name] = {"per_um2": conditions[name].per_um2, **found}
            if spline is not None:
                show(f"Picasso: {name}", number / len(study.movies))
                movies[name]["picasso"] = _picasso(study, movie, truth, border_nm, spline)
    return {"movies": movies, "minutes": minutes}


def _scored(table: pd.DataFrame, truth: pd.DataFrame, border_nm: float, movie: Path) -> dict[str, Any]:
    opened = open_movie(movie)
    assert opened.pixel_size_nm is not None, "the second optics writes it"
    size, rules = (opened.shape[2], opened.shape[1]), ScoreRules(border_nm=border_nm)
    result = score(compare(table, truth, pixel_size_nm=opened.pixel_size_nm, rules=rules, size_px=size))
    return result.model_dump(mode="json", include={*FIGURES, *ERRORS, "molecules", "unflagged", "bins", "offset_z_nm"})


def _spline(study: Study, seed: int) -> dict[str, Any]:
    """Picasso's spline of the beads that the model was trained on, one for the whole field."""
    beads = read_bead_set(study.beads)
    return picasso_spline(beads, split_beads(beads, seed).train[:SPLINE_BEADS])


def _picasso(
    study: Study, movie: Path, truth: pd.DataFrame, border_nm: float, spline: dict[str, Any]
) -> dict[str, Any]:
    """Score Picasso at the threshold that suits it best on this very movie."""
    opened = open_movie(movie)
    frames = opened.read(0, opened.shape[0])
    everything = localize_picasso(frames, ModelCard.load(study.model).response, spline, GRADIENTS[0])
    best: dict[str, Any] = {}
    for gradient in GRADIENTS:
        kept = everything[everything["net_gradient"] >= gradient].reset_index(drop=True)
        found = _scored(kept, truth, border_nm, movie)
        if (found["jaccard"] or 0.0) >= (best.get("jaccard") or 0.0):
            best = {**{name: found[name] for name in FIGURES}, "min_net_gradient": gradient, "bins": found["bins"]}
    return best
