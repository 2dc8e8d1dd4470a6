"""Find nuclear pores from above, and measure the distance between their two rings.

Two peaks of a density estimate 40 to 60 nm apart, the published criterion, are found in blobs without rings as often
as in real rings. So one spacing is fitted to all pores together, by maximum
likelihood with every localisation's own uncertainty, and held against pores without rings of the same spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree
from scipy.stats import t as student

Real = NDArray[np.float64]
Whole = NDArray[np.int64]

RING_RADIUS_NM = 53.5
REACH_NM = 95.0
"""Localisations this near to the middle belong to the pore."""
MAP_PIXEL_NM = 20.0
MAP_BLUR_NM = 45.0
MIN_LOCALIZATIONS = 25
OCTANTS_NEEDED = 7
MIN_ROUNDNESS = 0.4
"""Smaller over larger variance of the localisations in the plane."""
MAX_INSIDE_SHARE = 0.18
"""Of the localisations, within `INSIDE_NM` of the middle: a pore is empty there, a filament is not."""
INSIDE_NM = 28.0
MAX_SIGMA_Z_NM = 40.0
OUTLIERS, OUTLIER_SPAN_NM = 0.05, 600.0
START_SPACING_NM, START_SPREAD_NM = 40.0, 10.0
ITERATIONS = 60
GROUPS = 10
"""Of pores, fitted apart for the confidence interval."""
SURROGATES = 3


@dataclass(frozen=True)
class Pores:
    """Localisations of the pores that were found.

    Attributes
    ----------
    table : DataFrame
        ``pore`` (number), ``dx``, ``dy`` (nm from the middle), ``z``, ``lpz`` (nm).
    centres : ndarray, shape (n, 2)
        x, y, nm.
    rejected : dict of str to int
        Candidates that are no pores, by reason.
    """

    table: pd.DataFrame
    centres: Real
    rejected: dict[str, int]


@dataclass(frozen=True)
class RingFit:
    """Two rings in all pores.

    Attributes
    ----------
    spacing_nm, spread_nm : float
        Distance of the rings, and standard deviation of a ring beyond the uncertainty of z.
    middle_nm : ndarray, shape (pores,)
        Depth of each pore.
    log_likelihood : float
    """

    spacing_nm: float
    spread_nm: float
    middle_nm: Real
    log_likelihood: float


def find_pores(table: pd.DataFrame) -> Pores:
    """Find rings of `RING_RADIUS_NM` seen from above.

    Parameters
    ----------
    table : DataFrame
        Columns ``x_nm``, ``y_nm``, ``z``, ``lpz`` of the localisations that can be believed.
    """
    empty = pd.DataFrame({name: np.empty(0) for name in ("pore", "dx", "dy", "z", "lpz")})
    if len(table) < MIN_LOCALIZATIONS:
        return Pores(empty, np.empty((0, 2)), {})
    place = table[["x_nm", "y_nm"]].to_numpy(float)
    candidates = _candidates(place)
    tree = cKDTree(place)
    parts: list[pd.DataFrame] = []
    centres: list[Real] = []
    rejected: dict[str, int] = {}
    for candidate in candidates:
        centre = _centre_ring(place, tree, candidate)
        members = np.array(tree.query_ball_point(centre, REACH_NM), int)
        reason = _fault(place[members] - centre)
        if reason is None and centres and np.min(np.hypot(*(np.array(centres) - centre).T)) < REACH_NM:
            reason = "found twice"
        if reason is not None:
            rejected[reason] = rejected.get(reason, 0) + 1
            continue
        rows = table.iloc[members]
        parts.append(
            pd.DataFrame(
                {
                    "pore": len(centres),
                    "dx": place[members, 0] - centre[0],
                    "dy": place[members, 1] - centre[1],
                    "z": rows["z"].to_numpy(float),
                    "lpz": rows["lpz"].to_numpy(float),
                }
            )
        )
        centres.append(centre)
    return Pores(pd.concat(parts, ignore_index=True) if parts else empty, np.array(centres).reshape(-1, 2), rejected)


def _candidates(place: Real) -> Real:
    low = place.min(axis=0)
    shape = np.ceil((place.max(axis=0) - low) / MAP_PIXEL_NM).astype(int) + 1
    index = ((place - low) / MAP_PIXEL_NM).astype(int)
    counts = np.zeros(shape)
    np.add.at(counts, (index[:, 0], index[:, 1]), 1.0)
    density = gaussian_filter(counts, MAP_BLUR_NM / MAP_PIXEL_NM)
    peaks = density == maximum_filter(density, 2 * int(REACH_NM / MAP_PIXEL_NM) + 1)
    # A pore's share of the density at its middle, if it has the least number of localisations.
    at_ring = np.exp(-((RING_RADIUS_NM / MAP_BLUR_NM) ** 2) / 2) / (2 * np.pi * (MAP_BLUR_NM / MAP_PIXEL_NM) ** 2)
    peaks &= density > MIN_LOCALIZATIONS * at_ring
    return np.argwhere(peaks) * MAP_PIXEL_NM + MAP_PIXEL_NM / 2 + low


def _centre_ring(place: Real, tree: cKDTree, start: Real) -> Real:
    """Middle of the circle of known radius through the localisations around `start`, deaf to outliers."""
    centre = np.array(start, float)
    for _ in range(15):
        near = place[tree.query_ball_point(centre, REACH_NM)]
        if len(near) < 3:
            break
        offset = near - centre
        distance = np.maximum(np.hypot(*offset.T), 1e-6)
        miss = distance - RING_RADIUS_NM
        weight = 1 / (1 + (miss / 20) ** 2)
        direction = offset / distance[:, None]
        normal = (direction * weight[:, None]).T @ direction + 1e-9 * np.eye(2)
        step = np.linalg.solve(normal, (direction * (weight * miss)[:, None]).sum(axis=0))
        centre += np.clip(step, -20, 20)
        if np.hypot(*step) < 0.1:
            break
    return centre


def _fault(offset: Real) -> str | None:
    if len(offset) < MIN_LOCALIZATIONS:
        return "too few localisations"
    distance = np.hypot(*offset.T)
    if (distance < INSIDE_NM).mean() > MAX_INSIDE_SHARE:
        return "not empty inside"
    octant = np.floor((np.arctan2(offset[:, 1], offset[:, 0]) + np.pi) / (np.pi / 4)).astype(int) % 8
    if (np.bincount(octant, minlength=8) > 0.03 * len(offset)).sum() < OCTANTS_NEEDED:
        return "ring incomplete"
    small, large = np.linalg.eigvalsh(np.cov(offset.T))
    return "elongated" if small < MIN_ROUNDNESS * large else None


def fit_rings(z: Real, lpz: Real, pore: Whole, *, rings: int = 2) -> RingFit:
    """Fit the spacing that all pores share, and each pore's depth: expectation maximisation.

    Parameters
    ----------
    z, lpz : ndarray, shape (n,)
        Depth and its uncertainty, nm.
    pore : ndarray, shape (n,)
        0-based number of the pore.
    rings : {1, 2}
        1 fits pores without rings: the null.
    """
    pores = int(pore.max()) + 1
    middle = np.array([np.median(group) for _, group in pd.Series(z).groupby(pore)])
    half = START_SPACING_NM / 2 if rings == 2 else 0.0
    spread = START_SPREAD_NM if rings == 2 else START_SPREAD_NM + START_SPACING_NM / 2
    sides = np.array([-1.0, 1.0]) if rings == 2 else np.array([0.0])
    log_likelihood = -np.inf
    for _ in range(ITERATIONS):
        variance = spread**2 + lpz**2
        residual = z[None] - middle[pore][None] - half * sides[:, None]
        density = (1 - OUTLIERS) / len(sides) * np.exp(-(residual**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        total = density.sum(axis=0) + OUTLIERS / OUTLIER_SPAN_NM
        before, log_likelihood = log_likelihood, float(np.log(total).sum())
        share = density / total
        weight = share / variance
        middle = np.bincount(pore, (weight * (z[None] - half * sides[:, None])).sum(axis=0), pores) / np.maximum(
            np.bincount(pore, weight.sum(axis=0), pores), 1e-12
        )
        centred = z - middle[pore]
        if rings == 2:
            half = float((weight * sides[:, None] * centred[None]).sum() / weight.sum())
        residual = centred[None] - half * sides[:, None]
        spread = float(
            np.sqrt(max((share / variance**2 * (residual**2 - lpz**2)).sum() / (share / variance**2).sum(), 1.0))
        )
        if log_likelihood - before < 1e-6 * abs(log_likelihood):
            break
    return RingFit(2 * half, spread, middle, log_likelihood)


def measure_rings(pores: Pores, *, seed: int = 0) -> dict[str, object]:
    """Ring spacing with its 95 % interval, beside pores without rings.

    Returns
    -------
    dict
        ``pores``, ``ring_spacing_nm``, ``ring_spacing_ci_nm``, ``ring_spread_nm``, ``evidence`` (difference of BIC in
        favour of two rings), ``null_evidence`` (the largest among surrogates without rings), ``null_spacing_nm`` (what
        those surrogates would be said to have), ``rings_resolved``. None where there are too few pores.
    """
    table = pores.table[pores.table["lpz"] <= MAX_SIGMA_Z_NM]
    counts = table["pore"].value_counts()
    table = table[table["pore"].isin(counts.index[counts >= MIN_LOCALIZATIONS // 2])]
    names = np.unique(table["pore"])
    result: dict[str, object] = {
        "pores": len(names),
        **dict.fromkeys(
            ("ring_spacing_nm", "ring_spacing_ci_nm", "ring_spread_nm", "evidence", "null_evidence", "null_spacing_nm")
        ),
        "rings_resolved": False,
    }
    if len(names) < 2 * GROUPS:
        return result
    z, lpz = table["z"].to_numpy(float), table["lpz"].to_numpy(float)
    pore = np.searchsorted(names, table["pore"].to_numpy())
    fit, evidence = _evidence(z, lpz, pore)
    null = fit_rings(z, lpz, pore, rings=1)
    rng = np.random.default_rng(seed)
    surrogates = []
    for _ in range(SURROGATES):
        flat = null.middle_nm[pore] + rng.normal(0, np.sqrt(null.spread_nm**2 + lpz**2))
        surrogates.append(_evidence(flat, lpz, pore))
    group = rng.permutation(len(names)) % GROUPS
    spacings = []
    for number in range(GROUPS):
        chosen = group[pore] == number
        again = np.unique(pore[chosen], return_inverse=True)[1]
        spacings.append(fit_rings(z[chosen], lpz[chosen], again).spacing_nm)
    margin = float(student.ppf(0.975, GROUPS - 1) * np.std(spacings, ddof=1) / np.sqrt(GROUPS))
    null_evidence = max(item[1] for item in surrogates)
    return result | {
        "ring_spacing_nm": fit.spacing_nm,
        "ring_spacing_ci_nm": [fit.spacing_nm - margin, fit.spacing_nm + margin],
        "ring_spread_nm": fit.spread_nm,
        "evidence": evidence,
        "null_evidence": null_evidence,
        "null_spacing_nm": float(np.mean([item[0].spacing_nm for item in surrogates])),
        "rings_resolved": bool(evidence > max(10.0, 2 * null_evidence)),
    }


def _evidence(z: Real, lpz: Real, pore: Whole) -> tuple[RingFit, float]:
    """Fit of two rings, and how much BIC prefers it to none (one more parameter)."""
    two, one = fit_rings(z, lpz, pore), fit_rings(z, lpz, pore, rings=1)
    return two, 2 * (two.log_likelihood - one.log_likelihood) - float(np.log(len(z)))
