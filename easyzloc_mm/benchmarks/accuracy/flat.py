"""`bench flat`: how flat a flat layer of molecules under a curved focal surface comes out."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.scoring.compare import compare
from easyzloc_mm.api.imaging.movies import localize
from easyzloc_mm.benchmarks.second_optics.datasets import SPARSE, BeadScan, truth_of
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.benchmarks.second_optics.study import make_study
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.numerics.field_polynomial import field_coordinates, polynomial, robust_fit
from easyzloc_mm.typing import F64, Progress

MICROSCOPE = SecondMicroscope(width_px=1091, height_px=1091, field_curvature_nm=400.0)
"""120 um of the sample; its corners are in focus 400 nm higher than its middle."""
SCAN = BeadScan(fields=4, beads=300)
LAYERS_NM = (0.0, 400.0)
"""Heights on the slide: in focus in the middle of the field, and in its corners."""
DEGREE = 6
"""Of the surface through what is left: what bends more often over the field is no lens."""
FLOOR_NM = 1.0
FIELD = np.stack([axis.ravel() for axis in np.meshgrid(*[np.linspace(-1, 1, 41)] * 2)], axis=1)


def bench_flat(
    folder: Path | None = None,
    *,
    minutes: float = 2.0,
    frames: int = 90,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train on beads all over a large, curved field, and localise flat layers of molecules.

    Parameters
    ----------
    folder : Path, optional
        Keeps beads, model, movies and runs, and those that lie there are used; a temporary one if not given.
    minutes : float
        Of training.
    frames : int
        Of each layer.
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        ``layers``: by height (nm) the figures of `residual_surface`; ``curvature_nm``, how far apart the foci of
        middle and corner are; ``minutes``.
    """
    show = progress or silent
    flat = {"frames": frames, "z_limit_nm": 0.0}
    movies = {f"{z_nm:g}": SPARSE.model_copy(update={**flat, "z_middle_nm": z_nm}) for z_nm in LAYERS_NM}
    layers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        study = make_study(
            Path(place), minutes=minutes, seed=seed, microscope=MICROSCOPE, scan=SCAN, movies=movies, progress=progress
        )
        for number, (name, movie) in enumerate(study.movies.items()):
            show(f"localising: layer at {name} nm", number / len(movies))
            run = study.folder / f"run_{name}.zarr"
            localize(movie, study.model, run, if_exists="overwrite", progress=progress)
            size = MICROSCOPE.width_px, MICROSCOPE.height_px
            pairs = compare(
                read_localizations(run)[0],
                pd.read_parquet(truth_of(movie)),
                pixel_size_nm=MICROSCOPE.lens.pixel_size_nm,
                size_px=size,
            ).pairs
            trusted = pairs[pairs["z_flag"] == 0]
            x, y, error = (trusted[name].to_numpy(float) for name in ("true_x", "true_y", "error_z"))
            layers[name] = residual_surface(x, y, error, size)
    return {"layers": layers, "curvature_nm": MICROSCOPE.field_curvature_nm, "minutes": minutes}


def residual_surface(x: F64, y: F64, error_nm: F64, size_px: tuple[int, int]) -> dict[str, float]:
    """Return how far from flat molecules of a flat layer lie: the surface through their errors, without its mean.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Pixels.
    error_nm : ndarray, shape (n,)
        z less the true one.
    size_px : (int, int)
        Width and height of the field.

    Returns
    -------
    dict
        ``surface_rms_nm`` over the field; ``noise_nm``, which the molecules' own errors make of it, and which is not
        taken off; ``offset_nm``; ``molecules``.
    """
    basis = polynomial(field_coordinates(x, y, size_px), DEGREE)
    fit, _, used = robust_fit(basis, error_nm, np.ones(len(x), bool), floor=FLOOR_NM)
    over_field = polynomial(FIELD, DEGREE)
    height = over_field @ fit
    scatter = float(np.std((error_nm - basis @ fit)[used]))
    spread = (over_field - over_field.mean(axis=0)) @ np.linalg.pinv(basis[used])
    return {
        "surface_rms_nm": float(height.std()),
        "noise_nm": scatter * float(np.sqrt(np.mean(np.sum(spread**2, axis=1)))),
        "offset_nm": float(height.mean()),
        "molecules": float(len(x)),
    }
