"""`bench drift`: residual of a known drift after every method, on simulated tables."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from easyzloc_mm.analysis.drift.estimate import estimate_drift
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, KnownTable, drifting_table
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.drift import Drift

METHODS = (("auto", "auto"), ("fiducials", "fiducials"), ("rcc", "paper"), ("aim", "aim"), ("overlap", "overlap"))


def residual_nm(known: KnownTable, method_xy: str, method_z: str) -> dict[str, Any]:
    """Root mean square over all frames of estimated less true drift, after its mean; and what was done."""
    start = time.perf_counter()
    drift = estimate_drift(
        known.table, known.frames, (known.edge_px,) * 2, PIXEL_SIZE_NM, method_xy=method_xy, method_z=method_z
    )
    return {**residual_of(known, drift), "seconds": time.perf_counter() - start}


def residual_of(known: KnownTable, drift: Drift) -> dict[str, Any]:
    """Return what `residual_nm` does, of a drift that was estimated already."""
    path = drift.table[["x", "y", "z"]].to_numpy() * np.array([PIXEL_SIZE_NM, PIXEL_SIZE_NM, 1.0])
    off = path - known.drift_nm
    off = off - off.mean(axis=0)
    x, y, z = np.sqrt((off**2).mean(axis=0))
    return {
        "x_nm": float(x), "y_nm": float(y), "z_nm": float(z), "xy_nm": float(np.sqrt((x**2 + y**2) / 2)),
        "method_xy": drift.record.method_xy, "method_z": drift.record.method_z,
    }  # fmt: skip


def bench_drift(*, frames: int = 20_000, seed: int = 0) -> dict[str, Any]:
    """Measure residuals with markers, without, on a sample whose depths fade, and on the first 400 frames of a run.

    Drift is 0.5 µm in x and y and 0.4 µm in z over the run.

    Returns
    -------
    dict
        ``fiducials_xy_nm``, ``fiducials_z_nm``, ``structure_xy_nm``, ``structure_z_nm`` (what ``auto`` leaves), and
        ``cases``: sample to method to residuals.
    """
    samples = {
        "five markers": drifting_table(seed=seed, frames=frames, markers=5),
        "structure only": drifting_table(seed=seed + 1, frames=frames),
        "depths fade": drifting_table(seed=seed + 2, frames=frames, fading_depth=True),
        "400 frames": drifting_table(seed=seed + 3, frames=400, drift_nm=(60.0, 60.0, 50.0)),
    }
    cases: dict[str, dict[str, Any]] = {}
    for name, known in samples.items():
        cases[name] = {}
        for method_xy, method_z in METHODS:
            try:
                found = residual_nm(known, method_xy, method_z)
            except InputError as error:
                found = {"failed": str(error)}
            cases[name][method_xy if method_xy == method_z else f"{method_xy}, {method_z}"] = found
    marked, plain = cases["five markers"]["auto"], cases["structure only"]["auto"]
    return {
        "frames": frames,
        "fiducials_xy_nm": marked["xy_nm"],
        "fiducials_z_nm": marked["z_nm"],
        "structure_xy_nm": plain["xy_nm"],
        "structure_z_nm": plain["z_nm"],
        "fading_z_nm": cases["depths fade"]["auto"]["z_nm"],
        "fading_z_nm_by_paper": cases["depths fade"]["rcc, paper"].get("z_nm"),
        "cases": cases,
    }
