"""Which single pores show two rings, against pores without rings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from easyzloc_mm.analysis.npc.rings.data import PoreData
from easyzloc_mm.analysis.npc.rings.marginal import GRID_NM
from easyzloc_mm.analysis.npc.rings.single import OUTLIER_SPAN_NM, OUTLIERS, RingFit, evidence_of, fit_pore
from easyzloc_mm.analysis.npc.rings.spacing import MOST_ERROR, PLAUSIBLE_NM
from easyzloc_mm.analysis.npc.rings.two_rings import TwoRings
from easyzloc_mm.typing import F64, Bool

NULL_FITS = 600
"""Structureless pores from which the threshold for a single pore is taken."""
MIN_STRATUM = 150
AIMED_FALSE_POSITIVES = 0.03
"""So that the threshold's own uncertainty, drawn as it is from some hundred pores, stays within 5 %."""
LEAST_EVIDENCE = 1.0
"""Log-likelihood ratio of a pore, whatever pores without rings reach."""


@dataclass(frozen=True)
class Verdicts:
    """Which pores show two rings.

    Attributes
    ----------
    fits : list of RingFit
    two_rings : ndarray of bool, shape (pores,)
        Evidence beyond what all but 5 % of pores without rings reach, and rings that are farther apart than wide, at a
        plausible distance that the depths determine.
    p_value : ndarray, shape (pores,)
        Chance that a pore without rings, of that many localisations, does as well.
    threshold : ndarray, shape (pores,)
        Evidence needed.
    """

    fits: list[RingFit]
    two_rings: Bool
    p_value: F64
    threshold: F64

    def none(self) -> Verdicts:
        """Return the same fits, of pores none of which shows two rings."""
        return replace(self, two_rings=np.zeros_like(self.two_rings))


@dataclass(frozen=True)
class _Background:
    """Localisations in neither ring: their share, and the density of their depths against the pore's median."""

    share: float
    density: F64

    def at(self, depth: F64) -> F64:
        return np.interp(depth, GRID_NM, self.density)

    def drawn(self, count: int, rng: np.random.Generator) -> F64:
        return rng.choice(GRID_NM, count, p=self.density / self.density.sum()) + rng.uniform(-0.5, 0.5, count)


def _background(two: TwoRings | None) -> _Background:
    if two is not None:
        return _Background(two.background_share, two.background)
    return _Background(OUTLIERS, (np.abs(GRID_NM) <= OUTLIER_SPAN_NM / 2) / OUTLIER_SPAN_NM + 1e-9)


def judge_pores(data: PoreData, two: TwoRings | None = None, *, seed: int = 0) -> Verdicts:
    """Fit every pore, and hold its evidence against pores without rings.

    Those have every pore's own place, number and certainty of localisations, and its share of background; all their
    spread is that of a slab with sharp faces: of all that has no gap, that looks most like two rings. Slabs as thick
    as each pore's own best model is, and as the mean over all is, are both drawn; the stricter of the two decides.
    They are pooled among pores of similar number.

    Parameters
    ----------
    data : PoreData
    two : TwoRings, optional
        What all pores share, of which the background counts here.
    seed : int
        Of the structureless pores.
    """
    rng = np.random.default_rng(seed)
    background, medians = _background(two), data.medians()
    fits = [
        fit_pore(*data.of(k), background.at(data.of(k)[0] - medians[k]), background.share) for k in range(len(data))
    ]
    if not fits:
        return Verdicts([], np.zeros(0, bool), np.zeros(0), np.zeros(0))
    evidence = np.array([fit.evidence for fit in fits])
    copies = max(2, -(-NULL_FITS // len(fits)))
    own = np.array([np.sqrt(fit.slab[0] ** 2 + 12 * fit.slab[1] ** 2) for fit in fits])
    common = np.full(len(fits), np.sqrt(np.mean(own**2)))
    sizes = np.diff(data.begin)
    strata = int(np.clip(len(fits) * copies // MIN_STRATUM // 2, 1, min(5, len(fits))))
    stratum = np.minimum(np.argsort(np.argsort(sizes, kind="stable")) * strata // len(sizes), strata - 1)
    threshold, p_value = np.full(len(fits), LEAST_EVIDENCE), np.zeros(len(fits))
    for thickness in (own, common):
        null = np.array(
            [
                [_null_evidence(data.of(k), fits[k], thickness[k], background, rng) for _ in range(copies)]
                for k in range(len(fits))
            ]
        )
        for number in range(strata):
            here = stratum == number
            drawn = np.sort(null[here].ravel())
            threshold[here] = np.maximum(threshold[here], np.quantile(drawn, 1 - AIMED_FALSE_POSITIVES))
            beaten = len(drawn) - np.searchsorted(drawn, evidence[here], side="left")
            p_value[here] = np.maximum(p_value[here], (beaten + 1) / (len(drawn) + 1))
    apart = np.array([_apart(fit) for fit in fits])
    return Verdicts(fits, (evidence > threshold) & (p_value <= AIMED_FALSE_POSITIVES) & apart, p_value, threshold)


def _apart(fit: RingFit) -> bool:
    """Whether a pore's rings are farther apart than wide, at a plausible distance that the depths determine."""
    known = fit.errors["spacing"] <= MOST_ERROR * fit.spacing_nm
    return bool(known and fit.spacing_nm > 2 * fit.width_nm and PLAUSIBLE_NM[0] <= fit.spacing_nm <= PLAUSIBLE_NM[1])


def _null_evidence(
    of: tuple[F64, F64, F64, F64], fit: RingFit, thickness: float, background: _Background, rng: np.random.Generator
) -> float:
    _, lpz, dx, dy = of
    _, _, middle, slope_x, slope_y = fit.slab
    depth = middle + slope_x * dx + slope_y * dy + thickness * rng.uniform(-0.5, 0.5, len(lpz))
    outside = rng.random(len(lpz)) < fit.background_share
    depth[outside] = middle + background.drawn(int(outside.sum()), rng)
    z = depth + rng.normal(0, lpz)
    return evidence_of(z, lpz, dx, dy, background.at(z - np.median(z)), background.share)
