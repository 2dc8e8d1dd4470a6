"""`bench accuracy --real`: real bead ROIs, split by region, thinned and as recorded, over several seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.beads.sources import beads_from_sources
from easyzloc_mm.benchmarks.accuracy.rivals import fit_picasso, picasso_spline
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.training.evaluation.evaluate import evaluate, thinned
from easyzloc_mm.training.split import Part, split_beads
from easyzloc_mm.training.train import train
from easyzloc_mm.typing import Progress

RECIPES = ("matched", "paper")
FIGURES = ("rmse_z_nm", "robust_z_nm", "limit_z_nm", "coverage_68", "coverage_95", "flagged", "mistakes_flagged",
           "good_flagged", "rmse_with_flagged_z_nm", "bead_rmse_z_nm", "bead_rmse_offset_removed_z_nm")  # fmt: skip
SPLINE = "spline MLE, whole field"
NEAR_NM = 700.0
"""The stacks show every bead over this much to either side of focus; beyond, only some."""
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
    oracle, since the true PSF is unknown. It states no flags, so ``rmse_with_flagged_z_nm`` is what compares to it.

    Returns
    -------
    dict
        ``beads``, ``seeds``, ``minutes``; ``methods``: by method, the mean of each figure of `evaluate` over the seeds
        and, as ``NAME_sd``, its standard deviation; ``near``: the same within `NEAR_NM` of focus.
    """
    beads = beads_from_sources(
        [rois], rois=True, pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm, electrons_per_adu=electrons_per_adu
    )
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        reach: {name: [] for name in (*RECIPES, SPLINE)} for reach in ("methods", "near")
    }
    for seed in range(seeds):
        for recipe in RECIPES:
            with tempfile.TemporaryDirectory() as folder:
                train(beads, Path(folder) / "model", recipe=recipe, minutes=minutes, seed=seed, progress=progress)
                model = Predictor.load(Path(folder) / "model")
                found["methods"][recipe].append(dict(evaluate(model, beads)))
                found["near"][recipe].append(dict(evaluate(model, beads, z_limit_nm=NEAR_NM)))
        low, high = model.card.z_range_nm
        whole, near = spline_turn(beads, seed, [(low, high), (max(low, -NEAR_NM), min(high, NEAR_NM))])
        found["methods"][SPLINE].append(whole)
        found["near"][SPLINE].append(near)
    return {
        "beads": int(beads.accepted.sum()),
        "seeds": seeds,
        "minutes": minutes,
        **{
            reach: {name: _over_seeds(results) for name, results in methods.items()} for reach, methods in found.items()
        },
    }


def spline_turn(beads: BeadDataset, seed: int, z_ranges_nm: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    """Score Picasso's spline MLE as the recipes are: learning from their training beads, judged by their test beads.

    Parameters
    ----------
    beads : BeadDataset
    seed : int
        Of the split.
    z_ranges_nm : sequence of (float, float)
        Depths of the molecules that are fitted.

    Returns
    -------
    list of dict
        For each range ``rmse_with_flagged_z_nm``, ``robust_z_nm``, ``coverage_68``, ``coverage_95``.
    """
    turns = [(picasso_spline(own.beads, own.chosen), test) for own, test in _turns(beads, seed)]
    return [_spline(turns, z_range_nm) for z_range_nm in z_ranges_nm]


def _over_seeds(results: list[dict[str, Any]]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name in FIGURES:
        values = [result[name] for result in results if result.get(name) is not None]
        figures[name] = float(np.mean(values)) if values else None
        figures[f"{name}_sd"] = float(np.std(values)) if values else None
    return figures


def _turns(beads: BeadDataset, seed: int) -> list[tuple[Part, Part]]:
    """Return what a method learns from and is judged by: as the recipes, in turn where beads are few."""
    split = split_beads(beads, seed)
    if split.folds:
        return [(fold.train, fold.test) for fold in split.folds]
    whole = Part(beads, split.train)
    return [(whole, Part(beads, split.test) if len(split.test) else whole)]


def _spline(turns: list[tuple[dict[str, Any], Part]], z_range_nm: tuple[float, float]) -> dict[str, float]:
    """Score Picasso's spline MLE on molecules of the same test beads, a part of them."""
    errors, pulls = [], []
    for spline, test in turns:
        source = BeadPsfs.from_beads(test.beads, test.chosen)
        drawn = thinned(source, z_range_nm, count=SPLINE_MOLECULES // len(turns))
        z, sigma = fit_picasso(drawn.crops, spline)
        inside = (drawn.z_nm >= z_range_nm[0]) & (drawn.z_nm <= z_range_nm[1])
        error = (z - drawn.z_nm)[inside]
        # Its z = 0 is the middle plane of its own calibration.
        errors.append(np.abs(error - np.median(error)))
        pulls.append(errors[-1] / sigma[inside])
    error, pull = np.concatenate(errors), np.concatenate(pulls)
    return {
        "rmse_with_flagged_z_nm": float(np.sqrt(np.mean(error**2))),
        "robust_z_nm": robust_sd(error, about=0.0),
        "coverage_68": float(np.mean(pull <= 1)),
        "coverage_95": float(np.mean(pull <= 1.96)),
    }
