"""One ring spacing for all pores, and which pores show two rings, both against pores without rings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pandas as pd
from scipy.stats import t as student

from easyzloc_mm.analysis.npc.rings import (
    BALANCE_PRIOR,
    MIN_WIDTH_NM,
    OUTLIER_SPAN_NM,
    OUTLIERS,
    RINGS,
    SLAB,
    RingFit,
    evidence_of,
    fit_pore,
)
from easyzloc_mm.typing import F64, I64, Bool

USUAL_SIGMA_Z_NM = 40.0
"""Localisations less certain than this, and than half of all, carry little information on the rings: left out."""
MIN_LOCALIZATIONS = 15
MIN_PORES = 20
GROUPS = 10
"""Of pores, fitted apart for the confidence interval."""
BIAS_DRAWS = 6
SURROGATES, NULL_SIGMAS, LEAST_EVIDENCE = 8, 4.0, 10.0
"""Sets of pores without rings against which the evidence of all pores is held, and by how much it must exceed them."""
NULL_FITS = 800
"""Structureless pores from which the threshold for a single pore is taken."""
MIN_STRATUM = 150
AIMED_FALSE_POSITIVES = 0.03
"""So that the threshold's own uncertainty, drawn as it is from some hundred pores, stays within 5 %."""
SHARED_TILT_PRIOR = np.tan(np.radians(0.5))
"""Slope. Pores are taken as lying flat for the common spacing. Where only some sites are labelled, a tilt of its own
in each pore would absorb part of the distance of its rings (2 nm and more); left out, it shows as a wider ring instead,
and the spacing is that along z.
"""
SHARED_ITERATIONS = 300
SHARED_TOLERANCE = 1e-7


@dataclass(frozen=True)
class PoreData:
    """Localisations sorted by pore: `begin[k]` to `begin[k + 1]` are those of pore `names[k]`."""

    z: F64
    lpz: F64
    dx: F64
    dy: F64
    begin: I64
    names: I64

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, number: int) -> slice:
        """Rows of one pore."""
        return slice(int(self.begin[number]), int(self.begin[number + 1]))

    def of(self, number: int) -> tuple[F64, F64, F64, F64]:
        """z, lpz, dx, dy of one pore."""
        rows = self.rows(number)
        return self.z[rows], self.lpz[rows], self.dx[rows], self.dy[rows]

    def groups(self) -> list[F64]:
        """Depths, pore by pore."""
        return [self.z[self.rows(number)] for number in range(len(self))]

    def subset(self, chosen: Bool) -> PoreData:
        """Return the pores for which `chosen` is true."""
        numbers = np.flatnonzero(chosen)
        rows = np.concatenate([np.arange(self.begin[k], self.begin[k + 1]) for k in numbers])
        sizes = np.diff(self.begin)[numbers]
        begin = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return PoreData(self.z[rows], self.lpz[rows], self.dx[rows], self.dy[rows], begin, self.names[numbers])

    def with_depths(self, z: F64) -> PoreData:
        """Return the same pores with other depths."""
        return PoreData(z, self.lpz, self.dx, self.dy, self.begin, self.names)


def pore_data(table: pd.DataFrame) -> PoreData:
    """Sort the localisations of pores (columns ``pore``, ``z``, ``lpz``, ``dx``, ``dy``); poor ones are left out."""
    if len(table):
        table = table[table["lpz"] <= max(USUAL_SIGMA_Z_NM, float(table["lpz"].median()))]
    counts = table["pore"].value_counts()
    table = table[table["pore"].isin(counts.index[counts >= MIN_LOCALIZATIONS])].sort_values("pore", kind="stable")
    names, begin = np.unique(table["pore"].to_numpy(np.int64), return_index=True)
    z, lpz, dx, dy = (np.ascontiguousarray(table[name].to_numpy(float)) for name in ("z", "lpz", "dx", "dy"))
    return PoreData(z, lpz, dx, dy, np.append(begin, len(table)).astype(np.int64), names)


@dataclass(frozen=True)
class SharedFit:
    """One spacing (or slab thickness) and one width for all pores.

    Attributes
    ----------
    spacing_nm, width_nm : float
    nuisance : ndarray, shape (pores, 4)
        Middle, slope x, slope y, share of the upper layer.
    log_likelihood : float
    """

    spacing_nm: float
    width_nm: float
    nuisance: F64
    log_likelihood: float


@numba.njit(cache=True, nogil=True, fastmath=True)
def _shared_step(
    z: F64, lpz: F64, dx: F64, dy: F64, begin: I64, layers: F64, free_share: bool, spacing: float, width: float,
    nuisance: F64, sums: F64, tilt: float,
) -> float:  # fmt: skip
    """One round for all pores: updates `nuisance`; `sums` are those for spacing (2) and width (2). Log posterior."""
    m = len(layers)
    sums[:] = 0.0
    posterior = 0.0
    density, mass = np.empty(m), np.empty(m)
    row = np.empty(3)
    for pore in range(len(begin) - 1):
        middle, slope_x, slope_y = nuisance[pore, 0], nuisance[pore, 1], nuisance[pore, 2]
        normal, right = np.zeros((3, 3)), np.zeros(3)
        mass[:] = 0.0
        posterior -= 0.5 * (slope_x * slope_x + slope_y * slope_y) / (tilt * tilt)
        if free_share:
            posterior += BALANCE_PRIOR * (np.log(2 * nuisance[pore, 3]) + np.log(2 * (1 - nuisance[pore, 3])))
        for i in range(begin[pore], begin[pore + 1]):
            variance = width * width + lpz[i] * lpz[i]
            base = middle + slope_x * dx[i] + slope_y * dy[i]
            scale = (1.0 - OUTLIERS) / np.sqrt(2.0 * np.pi * variance)
            total = OUTLIERS / OUTLIER_SPAN_NM
            for k in range(m):
                share = 1.0 / m
                if free_share:
                    share = nuisance[pore, 3] if k == 1 else 1.0 - nuisance[pore, 3]
                off = z[i] - base - spacing * layers[k]
                density[k] = share * scale * np.exp(-0.5 * off * off / variance)
                total += density[k]
            posterior += np.log(total)
            row[0], row[1], row[2] = 1.0, dx[i], dy[i]
            for k in range(m):
                part = density[k] / total
                mass[k] += part
                weight = part / variance
                off = z[i] - base - spacing * layers[k]
                sums[0] += weight * layers[k] * (off + spacing * layers[k])
                sums[1] += weight * layers[k] * layers[k]
                sums[2] += weight / variance * (off * off - lpz[i] * lpz[i])
                sums[3] += weight / variance
                for a in range(3):
                    right[a] += weight * row[a] * (z[i] - spacing * layers[k])
                    for b in range(3):
                        normal[a, b] += weight * row[a] * row[b]
        normal[1, 1] += 1.0 / (tilt * tilt)
        normal[2, 2] += 1.0 / (tilt * tilt)
        for a in range(3):
            normal[a, a] += 1e-12
        nuisance[pore, :3] = np.linalg.solve(normal, right)
        if free_share:
            nuisance[pore, 3] = (mass[1] + BALANCE_PRIOR) / (mass[0] + mass[1] + 2 * BALANCE_PRIOR)
    return posterior


def fit_shared(data: PoreData, layers: F64 = RINGS, *, start: tuple[float, float] = (46.0, 10.0)) -> SharedFit:
    """Fit the spacing and the width that all pores share, and every pore's own place and balance.

    Parameters
    ----------
    data : PoreData
    layers : ndarray
        `pore_rings.RINGS`, or `pore_rings.SLAB` for the rival without a gap.
    start : (float, float)
        Spacing and width to begin with, nm.
    """
    free_share = len(layers) == 2
    nuisance = np.zeros((len(data), 4))
    nuisance[:, 0] = [np.median(group) for group in data.groups()]
    nuisance[:, 3] = 0.5
    (spacing, width), sums, before, reached = start, np.zeros(4), -np.inf, -np.inf
    for _ in range(SHARED_ITERATIONS):
        reached = _shared_step(
            data.z, data.lpz, data.dx, data.dy, data.begin, layers, free_share, spacing, width, nuisance, sums,
            SHARED_TILT_PRIOR,
        )  # fmt: skip
        if reached - before < SHARED_TOLERANCE * abs(reached):
            break
        before = reached
        # A little further than asked: plain expectation maximisation creeps towards the end.
        spacing += 1.5 * (abs(sums[0]) / max(sums[1], 1e-30) - spacing)
        width = float(np.sqrt(max(sums[2] / max(sums[3], 1e-30), MIN_WIDTH_NM**2)))
    return SharedFit(float(abs(spacing)), width, nuisance, float(reached))


def simulate_pores(
    data: PoreData, fit: SharedFit, layers: F64, rng: np.random.Generator, shares: F64 | None = None
) -> PoreData:
    """Return the same pores with depths drawn from a fitted model.

    Parameters
    ----------
    shares : ndarray, shape (pores,), optional
        Share of the upper ring in each pore, for two layers; the mean of all if not given.
    """
    pore = np.repeat(np.arange(len(data)), np.diff(data.begin))
    middle, slope_x, slope_y, share = fit.nuisance[pore].T
    if len(layers) == 2:
        upper = np.full(len(pore), share.mean()) if shares is None else shares[pore]
        layer = np.where(rng.random(len(pore)) < upper, layers[1], layers[0])
    else:
        layer = rng.choice(layers, len(pore))
    spread = np.sqrt(fit.width_nm**2 + data.lpz**2)
    place = middle + slope_x * data.dx + slope_y * data.dy + fit.spacing_nm * layer
    return data.with_depths(place + rng.normal(0, spread))


def _true_shares(data: PoreData, two: SharedFit, rng: np.random.Generator) -> F64:
    """Balance of the rings in each pore, less the part of its variation that is the fit's own noise."""
    again = fit_shared(simulate_pores(data, two, RINGS, rng), start=(two.spacing_nm, two.width_nm))
    found = two.nuisance[:, 3]
    real = max(0.0, float(found.var() - again.nuisance[:, 3].var()))
    return np.asarray(found.mean() + np.sqrt(real / max(float(found.var()), 1e-12)) * (found - found.mean()))


def _evidence(data: PoreData) -> tuple[SharedFit, SharedFit, float]:
    two, slab = fit_shared(data), fit_shared(data, SLAB, start=(60.0, 15.0))
    return two, slab, 2 * (two.log_likelihood - slab.log_likelihood)


@dataclass(frozen=True)
class RingSpacing:
    """Distance of the two rings, common to all pores; None where there are too few pores.

    Attributes
    ----------
    pores : int
        Pores that it is measured on.
    spacing_nm, ci_nm : float, list of float
        With its 95 % interval.
    spread_nm : float
        Standard deviation of a ring beyond the uncertainty of z.
    evidence : float
        Twice the logarithm of the likelihood ratio in favour of two rings.
    null_evidence : float
        Largest evidence among surrogates without rings.
    null_spacing_nm : float
        Spacing that those surrogates would be given.
    resolved : bool
        Whether the evidence exceeds that of the surrogates.
    """

    pores: int
    spacing_nm: float | None = None
    ci_nm: list[float] | None = None
    spread_nm: float | None = None
    evidence: float | None = None
    null_evidence: float | None = None
    null_spacing_nm: float | None = None
    resolved: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Figures for printing."""
        return {
            "pores": self.pores,
            "ring_spacing_nm": self.spacing_nm,
            "ring_spacing_ci_nm": self.ci_nm,
            "ring_spread_nm": self.spread_nm,
            "evidence": self.evidence,
            "null_evidence": self.null_evidence,
            "null_spacing_nm": self.null_spacing_nm,
            "rings_resolved": self.resolved,
        }


def measure_rings(data: PoreData, *, seed: int = 0) -> RingSpacing:
    """Measure the ring spacing with its 95 % interval, beside pores without rings.

    The bias that is left by fitting every pore's own position and balance is estimated by simulating the fitted pores,
    and is subtracted.

    Parameters
    ----------
    data : PoreData
    seed : int
        Of the simulations.
    """
    if len(data) < MIN_PORES:
        return RingSpacing(len(data))
    rng = np.random.default_rng(seed)
    two, slab, evidence = _evidence(data)
    start = (two.spacing_nm, two.width_nm)
    shares = _true_shares(data, two, rng)
    again = [
        fit_shared(simulate_pores(data, two, RINGS, rng, shares), start=start).spacing_nm for _ in range(BIAS_DRAWS)
    ]
    spacing = two.spacing_nm - (float(np.mean(again)) - two.spacing_nm)
    surrogates = [_evidence(simulate_pores(data, slab, SLAB, rng)) for _ in range(SURROGATES)]
    group = rng.permutation(len(data)) % GROUPS
    parts = [fit_shared(data.subset(group == k), start=start).spacing_nm for k in range(GROUPS)]
    margin = float(student.ppf(0.975, GROUPS - 1) * np.std(parts, ddof=1) / np.sqrt(GROUPS))
    null = np.array([item[2] for item in surrogates])
    needed = max(LEAST_EVIDENCE, float(null.mean() + NULL_SIGMAS * null.std(ddof=1)))
    return RingSpacing(
        pores=len(data),
        spacing_nm=spacing,
        ci_nm=[spacing - margin, spacing + margin],
        spread_nm=two.width_nm,
        evidence=evidence,
        null_evidence=float(null.max()),
        null_spacing_nm=float(np.mean([item[0].spacing_nm for item in surrogates])),
        resolved=bool(evidence > needed),
    )


@dataclass(frozen=True)
class Verdicts:
    """Which pores show two rings.

    Attributes
    ----------
    fits : list of RingFit
    two_rings : ndarray of bool, shape (pores,)
        Evidence beyond what all but 5 % of pores without rings reach.
    p_value : ndarray, shape (pores,)
        Chance that a pore without rings, of that many localisations, does as well.
    threshold : ndarray, shape (pores,)
        Evidence needed.
    """

    fits: list[RingFit]
    two_rings: Bool
    p_value: F64
    threshold: F64


def judge_pores(data: PoreData, *, seed: int = 0) -> Verdicts:
    """Fit every pore, and hold its evidence against pores without rings.

    Those have every pore's own place, number and certainty of localisations, and all their spread is that of a slab
    with sharp faces: of all that has no gap, that looks most like two rings. Slabs as thick as each pore's own best
    model is, and as the mean over all is, are both drawn; the stricter of the two decides. They are pooled among
    pores of similar number.
    """
    rng = np.random.default_rng(seed)
    fits = [fit_pore(*data.of(number)) for number in range(len(data))]
    if not fits:
        return Verdicts([], np.zeros(0, bool), np.zeros(0), np.zeros(0))
    evidence = np.array([fit.evidence for fit in fits])
    copies = max(2, -(-NULL_FITS // len(fits)))
    own = np.array([np.sqrt(fit.slab[0] ** 2 + 12 * fit.slab[1] ** 2) for fit in fits])
    common = np.full(len(fits), np.sqrt(np.mean(own**2)))
    sizes = np.diff(data.begin)
    strata = int(np.clip(len(fits) * copies // MIN_STRATUM // 2, 1, min(5, len(fits))))
    stratum = np.minimum(np.argsort(np.argsort(sizes, kind="stable")) * strata // len(sizes), strata - 1)
    threshold, p_value = np.zeros(len(fits)), np.zeros(len(fits))
    for thickness in (own, common):
        null = np.array(
            [[_null_evidence(data.of(k), fits[k], thickness[k], rng) for _ in range(copies)] for k in range(len(fits))]
        )
        for number in range(strata):
            here = stratum == number
            drawn = np.sort(null[here].ravel())
            threshold[here] = np.maximum(threshold[here], np.quantile(drawn, 1 - AIMED_FALSE_POSITIVES))
            beaten = len(drawn) - np.searchsorted(drawn, evidence[here], side="left")
            p_value[here] = np.maximum(p_value[here], (beaten + 1) / (len(drawn) + 1))
    return Verdicts(fits, (evidence > threshold) & (p_value <= AIMED_FALSE_POSITIVES), p_value, threshold)


def _null_evidence(of: tuple[F64, F64, F64, F64], fit: RingFit, thickness: float, rng: np.random.Generator) -> float:
    _, lpz, dx, dy = of
    _, _, middle, slope_x, slope_y = fit.slab
    depth = middle + slope_x * dx + slope_y * dy + thickness * rng.uniform(-0.5, 0.5, len(lpz))
    return evidence_of(depth + rng.normal(0, lpz), lpz, dx, dy)
