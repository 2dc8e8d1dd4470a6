"""`bench accuracy --real`: real bead ROIs, split by region, thinned and as recorded, over several seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.beads import beads_from_sources
from easyzloc_mm.network import ModelBundle, evaluate, train

Progress = Callable[[str, float], None]

RECIPES = ("matched", "paper")
FIGURES = ("rmse_z_nm", "robust_z_nm", "limit_z_nm", "coverage_68", "coverage_95", "flagged", "mistakes_flagged",
           "good_flagged", "bead_rmse_z_nm", "bead_rmse_offset_removed_z_nm")  # fmt: skip


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

    Returns
    -------
    dict
        ``beads``, ``seeds``, ``methods``: by recipe, the mean of each figure of `evaluate` over the seeds and, as
        ``NAME_sd``, its standard deviation.
    """
    beads = beads_from_sources(
        [rois], rois=True, pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm, electrons_per_adu=electrons_per_adu
    )
    methods: dict[str, dict[str, float | None]] = {}
    for recipe in RECIPES:
        found = []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                train(beads, Path(folder) / "model", recipe=recipe, minutes=minutes, seed=seed, progress=progress)
                found.append(evaluate(ModelBundle.load(Path(folder) / "model"), beads))
        methods[recipe] = {}
        for name in FIGURES:
            values = [result[name] for result in found if result[name] is not None]
            methods[recipe][name] = float(np.mean(values)) if values else None
            methods[recipe][f"{name}_sd"] = float(np.std(values)) if values else None
    return {"beads": int(beads.accepted.sum()), "seeds": seeds, "minutes": minutes, "methods": methods}
