"""`bench accuracy --real`: real bead ROIs, split by region, thinned and as recorded, over several seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.beads import beads_from_sources
from easyzloc_mm.benchmarks.splines import fit_picasso, picasso_spline
from easyzloc_mm.network import ModelBundle, evaluate, train
from easyzloc_mm.network.evaluate import thinned
from easyzloc_mm.network.psf_field import BlurSource
from easyzloc_mm.network.split import split_beads
from easyzloc_mm.store.bead_set import BeadSet

Progress = Callable[[str, float], None]

RECIPES = ("matched", "paper")
FIGURES = ("rmse_z_nm", "robust_z_nm", "limit_z_nm", "coverage_68", "coverage_95", "flagged", "mistakes_flagged",
           "good_flagged", "rmse_with_flagged_z_nm", "bead_rmse_z_nm", "bead_rmse_offset_removed_z_nm")  # fmt: skip
SPLINE = "spline MLE, whole field"
SPLINE_MOLECULES = 1500
"""Picasso fits a few hundred spots a second."""


def bench_real(
    rois: Path,
    *,
    pixel_size_nm: float,
    z_step_nm: float,
    electrons_per_adu: float,
    minutes: float,
    seeds: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and score on ready-cut ROIs with several splits; figures are over what carries no flag.

    Where a bead lay in the field is not known of such ROIs: Picasso's spline MLE gets one spline, and there is no
    oracle, for nobody knows the true blur. It states no flags, so ``rmse_with_flagged_z_nm`` is what compares to it.

    Returns
    -------
    dict
        ``beads``, ``seeds``, ``methods``: by method, the mean of each figure of `evaluate` over the seeds and, as
        ``NAME_sd``, its standard deviation.
    """
    beads = beads_from_sources(
        [rois], rois=True, pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm, electrons_per_adu=electrons_per_adu
    )
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*RECIPES, SPLINE)}
    for seed in range(seeds):
        for recipe in RECIPES:
            with tempfile.TemporaryDirectory() as folder:
                train(beads, Path(folder) / "model", recipe=recipe, minutes=minutes, seed=seed, progress=progress)
                bundle = ModelBundle.load(Path(folder) / "model")
                found[recipe].append(evaluate(bundle, beads))
        found[SPLINE].append(_spline(beads, seed, bundle.z_range_nm))
    methods: dict[str, dict[str, float | None]] = {}
    for method, results in found.items():
        methods[method] = {}
        for name in FIGURES:
            values = [result[name] for result in results if result.get(name) is not None]
            methods[method][name] = float(np.mean(values)) if values else None
            methods[method][f"{name}_sd"] = float(np.std(values)) if values else None
    return {"beads": int(beads.accepted.sum()), "seeds": seeds, "minutes": minutes, "methods": methods}


def _spline(beads: BeadSet, seed: int, z_range_nm: tuple[float, float]) -> dict[str, float]:
    """Score Picasso's spline MLE on the molecules of the same test beads, a part of them."""
    split = split_beads(beads, seed)
    drawn = thinned(BlurSource.from_beads(beads, split.test), z_range_nm, count=SPLINE_MOLECULES)
    z, sigma = fit_picasso(drawn.crops, picasso_spline(beads, split.train))
    inside = (drawn.z_nm >= z_range_nm[0]) & (drawn.z_nm <= z_range_nm[1])
    error = (z - drawn.z_nm)[inside]
    # Its z = 0 is the middle plane of its own calibration.
    error = np.abs(error - np.median(error))
    pull = error / sigma[inside]
    return {
        "rmse_with_flagged_z_nm": float(np.sqrt(np.mean(error**2))),
        "robust_z_nm": float(1.4826 * np.median(error)),
        "coverage_68": float(np.mean(pull <= 1)),
        "coverage_95": float(np.mean(pull <= 1.96)),
    }
