"""`bench npc`: ring spacing against the truth, and how often blobs without rings are taken for pores with two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.npc.find import Pores, find_pores
from easyzloc_mm.analysis.npc.published import count_by_paper
from easyzloc_mm.analysis.npc.rings.data import pore_data
from easyzloc_mm.analysis.npc.rings.spacing import measure_rings
from easyzloc_mm.analysis.npc.rings.verdicts import judge_pores
from easyzloc_mm.benchmarks.fixtures.tables import PORE_SPACING_NM, pore_sites
from easyzloc_mm.benchmarks.npc_draws import false_discoveries, spacing_draws
from easyzloc_mm.typing import F64

CONTROLS = ("normal", "slab", "one ring")
CONTROL_NORMAL_NM, CONTROL_SLAB_NM = 40.0, 100.0
LABELLED = 0.6
LATERAL_NM = 8.0
PITCH_NM = 500.0


def pore_field(
    sample: str, *, pores: int, per_pore: float, sigma_z_nm: float, spacing_nm: float = PORE_SPACING_NM, seed: int = 0
) -> pd.DataFrame:
    """Localisations of a field of pores with the columns of `Locs.nm`.

    Parameters
    ----------
    sample : str
        ``two rings``, or one of `CONTROLS`: the same pores from above, with depths that have no gap.
    per_pore : float
        Localisations, on average, shared by the sites that carry a label (3 of 5).
    sigma_z_nm : float
        Median uncertainty of z.
    """
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(pores)))
    row, column = np.divmod(np.arange(pores), side)
    middle = np.column_stack([column, row]) * PITCH_NM + rng.uniform(-60, 60, (pores, 2))
    site = pore_sites(np.column_stack([middle, rng.uniform(-400, 400, pores)]), rng, spacing_nm=spacing_nm)
    if sample != "two rings":
        flat = pore_sites(np.column_stack([middle, rng.uniform(-400, 400, pores)]), rng, spacing_nm=0.0)
        site = flat
    labelled = rng.random(site.shape[:2]) < LABELLED
    pore, label = np.nonzero(labelled)
    count = rng.poisson(per_pore * pores / len(pore), len(pore))
    place = np.repeat(site[pore, label], count, axis=0)
    draw: dict[str, Callable[[int], F64]] = {
        "two rings": np.zeros,
        "one ring": np.zeros,
        "normal": lambda n: rng.normal(0, CONTROL_NORMAL_NM, n),
        "slab": lambda n: rng.uniform(-0.5, 0.5, n) * CONTROL_SLAB_NM,
    }
    shift = draw[sample](len(place))
    lpz = sigma_z_nm * rng.lognormal(0, 0.25, len(place))
    lateral = np.full(len(place), LATERAL_NM)
    noise = rng.normal(size=(len(place), 3)) * np.column_stack([lateral, lateral, lpz])
    x, y, z = (place + noise).T
    return pd.DataFrame(
        {"frame": rng.integers(0, 10_000, len(place)), "x_nm": x, "y_nm": y, "z": z + shift, "lpx_nm": lateral,
         "lpy_nm": lateral, "lpz": lpz}
    )  # fmt: skip


def judge_field(table: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Find the pores of a field and judge them by both tests."""
    found: Pores = find_pores(table)
    data = pore_data(found.table)
    study = measure_rings(data, seed=seed)
    rings, verdicts = study.rings, judge_pores(data, study.two, seed=seed)
    paper = count_by_paper(data.groups(), seed=seed)
    pores = max(len(data), 1)
    return {
        "pores_found": len(found.centres),
        "pores": len(data),
        "spacing_nm": rings.spacing_nm,
        "spacing_ci_nm": rings.ci_nm,
        "rings_resolved": rings.resolved,
        "why_not": rings.why,
        "two_ring_share": float(verdicts.two_rings.mean()) if len(data) else None,
        "paper_share": paper.successes / pores,
        "paper_null_share": paper.null_mean / pores,
        "paper_p_value": paper.p_value,
    }


def bench_npc(
    *, pores: int = 300, per_pore: float = 100.0, draws: int = 0, seed: int = 0, workers: int = 1
) -> dict[str, Any]:
    """Measure pores with rings 50 nm apart, and controls, at sigma_z 10, 20 and 30 nm.

    Parameters
    ----------
    pores : int
        In every field.
    per_pore : float
        Localisations, on average.
    draws : int
        Also so many samples at each share of outliers, and 2.5 times as many without rings.
    seed : int
        Of all of them.
    workers : int
        Processes for the samples.

    Returns
    -------
    dict
        ``worst_spacing_error_nm``, ``worst_false_positive_share`` (by `judge_pores`),
        ``paper_worst_false_positive_share``, and ``cases``: sample and sigma_z to figures;
        with `draws` also ``spacing`` (`spacing_draws`) and ``structureless`` (`false_discoveries`).
    """
    cases: dict[str, dict[str, Any]] = {}
    errors: list[float | None] = []
    false, paper_false = [], []
    for number, sigma in enumerate((10.0, 20.0, 30.0)):
        for sample in ("two rings", *CONTROLS):
            field = pore_field(sample, pores=pores, per_pore=per_pore, sigma_z_nm=sigma, seed=seed + number)
            case = judge_field(field, seed=seed)
            cases[f"{sample}, sigma_z {sigma:.0f} nm"] = case
            if sample == "two rings":
                errors.append(None if case["spacing_nm"] is None else abs(case["spacing_nm"] - PORE_SPACING_NM))
            else:
                false.append(float(case["two_ring_share"]))
                paper_false.append(float(case["paper_share"]))
    return {
        "pores": pores,
        "localizations_per_pore": per_pore,
        "worst_spacing_error_nm": max((error for error in errors if error is not None), default=None),
        "spacings_missing": errors.count(None),
        "worst_false_positive_share": max(false),
        "mean_false_positive_share": float(np.mean(false)),
        "paper_worst_false_positive_share": max(paper_false),
        "cases": cases,
        **(_draws(draws, seed, workers) if draws else {}),
    }


def _draws(draws: int, seed: int, workers: int) -> dict[str, Any]:
    return {
        "spacing": spacing_draws(draws, seed=seed, workers=workers),
        "structureless": false_discoveries(5 * draws // 2, seed=seed, workers=workers),
    }
