"""Many small samples of nuclear pores: how often the interval holds the truth, and rings are seen where none are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.npc.rings.data import pore_data
from easyzloc_mm.analysis.npc.rings.marginal import sample_of
from easyzloc_mm.analysis.npc.rings.spacing import measure_rings, spacing_interval
from easyzloc_mm.analysis.npc.rings.two_rings import fit_two_rings
from easyzloc_mm.benchmarks.fixtures.tables import PORE_SPACING_NM, pore_sites
from easyzloc_mm.benchmarks.spread import spread
from easyzloc_mm.typing import F64, I64

OUTLIER_SHARES = (0.0, 0.1, 0.2, 0.3)
MERGED_SHARE = 0.06
"""Of the localisations, two molecules at once, half of them one of each ring: in the last of the draws."""
PHOTONS_SD = 0.5
"""Of the logarithm of a molecule's photons."""
SIGMA_Z_NM = (10.0, 40.0)
LABELLED, LATERAL_NM = 0.6, 8.0
Draw = Callable[[np.random.Generator, int], F64]
OUTLIERS: dict[str, Draw] = {
    "even": lambda rng, n: rng.uniform(-300, 300, n),
    "skewed": lambda rng, n: rng.gamma(2.0, 60.0, n) - 80,
    "slab": lambda rng, n: rng.uniform(-120, 120, n),
}
"""Depths of what lies in neither ring, against the pore's middle, nm."""


def _hump(rng: np.random.Generator, n: int) -> F64:
    return np.where(rng.random(n) < 0.15, rng.normal(100, 30, n), rng.normal(0, 35, n))


STRUCTURELESS: dict[str, Draw] = {
    "slab": lambda rng, n: rng.uniform(-60, 60, n),
    "normal": lambda rng, n: rng.normal(0, 45, n),
    "skewed": lambda rng, n: rng.gamma(2.0, 30.0, n) - 60,
    "heavy tails": lambda rng, n: 30 * rng.standard_t(2, n),
    "one ring": lambda rng, n: rng.normal(0, 5, n),
    "hump": _hump,
}
"""Depths of clusters without rings, nm: those from a slab to a layer with a tail, or with a hump beside it."""


def ring_table(
    *, outliers: float, shape: str = "even", merged: float = 0.0, pores: int = 80, per_pore: float = 70.0,
    spacing_nm: float = PORE_SPACING_NM, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Localisations of pores with two rings, columns ``pore``, ``dx``, ``dy``, ``z``, ``lpz``.

    Labels sit on three of five sites of a tilted pore, each is seen some times, and uncertainties of z are 10 to 40 nm.

    Parameters
    ----------
    outliers : float
        Share of the localisations in neither ring.
    shape : str
        Of their depths: one of `OUTLIERS`.
    merged : float
        Share of the localisations that are of two labels of their pore at once: at the mean by the light of both.
    """
    rng = np.random.default_rng(seed)
    site = pore_sites(np.zeros((pores, 3)), rng, spacing_nm=spacing_nm)
    pore, label = np.nonzero(rng.random(site.shape[:2]) < LABELLED)
    count = rng.poisson(per_pore * pores / len(pore), len(pore))
    place, pore = np.repeat(site[pore, label], count, axis=0), np.repeat(pore, count)
    stray = rng.random(len(pore)) < outliers
    place[stray, 2] = OUTLIERS[shape](rng, int(stray.sum()))
    lpz = rng.uniform(*SIGMA_Z_NM, len(pore))
    if merged:
        both = np.flatnonzero(~stray & (rng.random(len(pore)) < merged))
        other = site[pore[both], rng.integers(0, site.shape[1], len(both))]
        light = rng.lognormal(0, PHOTONS_SD, (2, len(both)))
        place[both] += (light[1] / light.sum(axis=0))[:, None] * (other - place[both])
        lpz[both] /= np.sqrt(light.sum(axis=0))
    return _seen(place, pore, lpz, rng)


def structureless_table(kind: str, *, seed: int = 0) -> pd.DataFrame:
    """Random clusters without rings, columns as `ring_table`: few or many, full or thin, with 0 to 20 % outliers.

    Parameters
    ----------
    kind : str
        One of `STRUCTURELESS`.
    """
    rng = np.random.default_rng(seed)
    pores = int(rng.integers(25, 120))
    pore = np.repeat(np.arange(pores), 16 + rng.poisson(rng.uniform(10, 80), pores))
    place = np.column_stack([rng.normal(0, 40, (len(pore), 2)), STRUCTURELESS[kind](rng, len(pore))])
    stray = rng.random(len(pore)) < rng.uniform(0, 0.2)
    place[stray, 2] = OUTLIERS[rng.choice(list(OUTLIERS))](rng, int(stray.sum()))
    return _seen(place, pore, rng.uniform(*SIGMA_Z_NM, len(pore)), rng)


def _seen(place: F64, pore: I64, lpz: F64, rng: np.random.Generator) -> pd.DataFrame:
    """Place every pore at its own depth, and blur it."""
    z = place[:, 2] + rng.uniform(-400, 400, int(pore.max()) + 1)[pore] + rng.normal(0, lpz)
    dx, dy = (place[:, axis] + rng.normal(0, LATERAL_NM, len(pore)) for axis in (0, 1))
    return pd.DataFrame({"pore": pore, "dx": dx, "dy": dy, "z": z, "lpz": lpz})


def spacing_draws(draws: int, *, seed: int = 0, workers: int = 1) -> dict[str, dict[str, float]]:
    """Error of the spacing and coverage of its 95 % interval, by share of outliers (their shapes take turns).

    Then once more without outliers, with `MERGED_SHARE` of the localisations of two molecules at once.

    Returns
    -------
    dict
        By kind: ``mean_error_nm``, ``rms_error_nm``, ``mean_margin_nm``, ``coverage_95``, and the mean error by shape.
    """
    shapes = [list(OUTLIERS)[k % len(OUTLIERS)] for k in range(draws)]
    kinds = {f"{100 * share:.0f} % outliers": (share, 0.0) for share in OUTLIER_SHARES}
    kinds[f"{100 * MERGED_SHARE:.0f} % merged"] = (0.0, MERGED_SHARE)
    wanted = [(*of, shape, seed + k) for of in kinds.values() for k, shape in enumerate(shapes)]
    measured = np.array(spread(_spacing, wanted, workers)).reshape(len(kinds), draws, 3)
    figures = {}
    for kind, found in zip(kinds, measured, strict=True):
        error = found[:, 0] - PORE_SPACING_NM
        inside = (found[:, 1] <= PORE_SPACING_NM) & (found[:, 2] >= PORE_SPACING_NM)
        figures[kind] = {
            "mean_error_nm": float(error.mean()),
            "rms_error_nm": float(np.sqrt(np.mean(error**2))),
            "mean_margin_nm": float((found[:, 2] - found[:, 1]).mean() / 2),
            "coverage_95": float(inside.mean()),
            **{f"mean_error_{name}_nm": float(error[np.array(shapes) == name].mean()) for name in sorted(set(shapes))},
        }
    return figures


def _spacing(wanted: tuple[float, float, str, int]) -> tuple[float, float, float]:
    """Spacing of the rings of one table, and the ends of its interval."""
    outliers, merged, shape, seed = wanted
    table = ring_table(outliers=outliers, merged=merged, shape=shape, seed=seed)
    return spacing_interval(fit_two_rings(sample_of(pore_data(table))))


def false_discoveries(tables: int, *, seed: int = 0, workers: int = 1) -> dict[str, Any]:
    """Tables without rings in which two rings are seen, all in all and by kind.

    Returns
    -------
    dict
        ``tables``, ``false_discoveries``, ``share``, ``by_kind``.
    """
    wanted = [(list(STRUCTURELESS)[k % len(STRUCTURELESS)], seed + k) for k in range(tables)]
    seen = spread(_sees_rings, wanted, workers)
    by_kind = {
        kind: sum(found for found, of in zip(seen, wanted, strict=True) if of[0] == kind) for kind in STRUCTURELESS
    }
    return {"tables": tables, "false_discoveries": sum(seen), "share": sum(seen) / max(tables, 1), "by_kind": by_kind}


def _sees_rings(wanted: tuple[str, int]) -> bool:
    kind, seed = wanted
    return measure_rings(pore_data(structureless_table(kind, seed=seed))).rings.resolved
