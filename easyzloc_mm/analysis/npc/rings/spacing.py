"""The distance of the rings that all pores share, and whether there are two of them at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from easyzloc_mm.analysis.npc.rings.data import PoreData
from easyzloc_mm.analysis.npc.rings.marginal import REACH_NM, sample_of
from easyzloc_mm.analysis.npc.rings.no_gap import NoGap, fit_no_gap
from easyzloc_mm.analysis.npc.rings.two_rings import TwoRings, fit_two_rings

MIN_PORES = 20
LEAST_EVIDENCE = 10.0
LEAST_SIGMAS = 2.0
"""By which the mean evidence of a pore must exceed 0, in its standard errors among pores (Vuong's test)."""
SURROGATES, NULL_SIGMAS = 4, 4.0
"""Sets of pores without a gap against which the evidence is held, and by how much it must exceed them."""
PLAUSIBLE_NM = (20.0, 200.0)
LEAST_RING_SHARE = 0.25
"""Of the localisations of both rings, in the poorer one: labels bind to both alike."""
MOST_BACKGROUND = 0.6
MOST_PART = 0.5
"""Of the parameters, one for each pore."""
MOST_ERROR = 0.25
"""Standard error over spacing."""


@dataclass(frozen=True)
class RingSpacing:
    """Distance of the two rings, common to all pores; None where two rings are not shown.

    Attributes
    ----------
    pores : int
        Pores that it is measured on.
    why : str or None
        Why there is no spacing.
    spacing_nm, ci_nm : float, list of float
        With its 95 % interval.
    spread_nm : float
        Standard deviation of a ring beyond the uncertainty of z.
    background_share : float
        Of the localisations, in neither ring.
    upper_share : float
        Of those in the rings, in the one at larger z.
    between_share : float
        Of all but the background, of two molecules at once, one of each ring: between the rings.
    evidence : float
        Twice the logarithm of the likelihood ratio of two rings over the best distribution without a gap.
    evidence_sigmas : float
        Mean evidence of a pore, in its standard errors.
    null_evidence : float
        Largest evidence among surrogates without a gap; None where the evidence falls short already.
    null_spacing_nm : float
        Spacing that those surrogates would be given.
    """

    pores: int
    why: str | None = None
    spacing_nm: float | None = None
    ci_nm: list[float] | None = None
    spread_nm: float | None = None
    background_share: float | None = None
    upper_share: float | None = None
    between_share: float | None = None
    evidence: float | None = None
    evidence_sigmas: float | None = None
    null_evidence: float | None = None
    null_spacing_nm: float | None = None

    @property
    def resolved(self) -> bool:
        """Whether there are two rings."""
        return self.why is None

    def as_dict(self) -> dict[str, Any]:
        """Figures for printing."""
        return {
            "pores": self.pores,
            "rings_resolved": self.resolved,
            "why_not": self.why,
            "ring_spacing_nm": self.spacing_nm,
            "ring_spacing_ci_nm": self.ci_nm,
            "ring_spread_nm": self.spread_nm,
            "background_share": self.background_share,
            "upper_ring_share": self.upper_share,
            "between_rings_share": self.between_share,
            "evidence": self.evidence,
            "evidence_sigmas": self.evidence_sigmas,
            "null_evidence": self.null_evidence,
            "null_spacing_nm": self.null_spacing_nm,
        }


@dataclass(frozen=True)
class RingStudy:
    """Both models of all pores, and what follows.

    Attributes
    ----------
    rings : RingSpacing
    two : TwoRings or None
        None where there are too few pores.
    """

    rings: RingSpacing
    two: TwoRings | None = None


def spacing_interval(two: TwoRings, *, z_scale_error: float = 0.0) -> tuple[float, float, float]:
    """Spacing, and its 95 % interval by resampling pores, nm.

    What the spacing would be without each pore in turn (the jackknife [1]_), by one Newton step from the fit to all:
    whatever makes pores differ enters, whether the model knows of it or not.

    Parameters
    ----------
    two : TwoRings
    z_scale_error : float
        Relative standard error of the scale of z.

    References
    ----------
    .. [1] B. Efron, "Nonparametric estimates of standard error: the jackknife, the bootstrap and other methods",
       Biometrika 68 (1981) 589, doi:10.1093/biomet/68.3.589.
    """
    pores = len(two.log_likelihood)
    scores = two.scores - two.scores.mean(axis=0)
    # A pore pulls the fit towards itself by its part of the parameters, which the step from the full fit leaves in.
    part = min(two.free_parameters / pores, MOST_PART)
    without = np.linalg.solve(two.information, scores.T)[0] / (1 - part)
    variance = (pores - 1) / pores * float(without @ without) + z_scale_error**2
    margin = float(student.ppf(0.975, pores - 1) * np.sqrt(variance)) * two.spacing_nm
    return two.spacing_nm, two.spacing_nm - margin, two.spacing_nm + margin


def measure_rings(data: PoreData, *, seed: int = 0, z_scale_error: float = 0.0) -> RingStudy:
    """Measure the spacing of the rings with its 95 % interval, or say why there are no two rings.

    Two rings must explain the depths better than every distribution with one maximum does, by more than sets of pores
    without a gap reach, in most pores; and be farther apart than wide, of similar strength, at a plausible distance.

    Parameters
    ----------
    data : PoreData
    seed : int
        Of the surrogates.
    z_scale_error : float
        Relative standard error of the scale of z, which the interval includes.

    References
    ----------
    .. [1] Q. H. Vuong, "Likelihood ratio tests for model selection and non-nested hypotheses", Econometrica 57 (1989)
       307, doi:10.2307/1912557.
    """
    if len(data) < MIN_PORES:
        return RingStudy(RingSpacing(len(data), f"{len(data)} pores are too few to measure: {MIN_PORES} are needed"))
    sample = sample_of(data)
    two, flat = fit_two_rings(sample), fit_no_gap(sample)
    gain = 2 * (two.log_likelihood - flat.log_likelihood)
    sigmas = float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(len(gain)), 1e-12))
    figures: dict[str, Any] = {
        "pores": len(data),
        "background_share": two.background_share,
        "evidence": float(gain.sum()),
        "evidence_sigmas": sigmas,
    }
    why = _shape_fault(two) or _evidence_fault(float(gain.sum()), sigmas)
    if why is None:
        null, null_spacing = _surrogates(data, two, flat, np.random.default_rng(seed))
        figures |= {"null_evidence": float(null.max()), "null_spacing_nm": null_spacing}
        if gain.sum() < null.mean() + NULL_SIGMAS * null.std(ddof=1):
            why = "pores without a gap would show two rings as well"
    if why is not None:
        return RingStudy(RingSpacing(why=why, **figures), two)
    spacing, low, high = spacing_interval(two, z_scale_error=z_scale_error)
    found: dict[str, Any] = {
        "spacing_nm": spacing,
        "ci_nm": [low, high],
        "spread_nm": two.width_nm,
        "upper_share": two.upper_share,
        "between_share": two.between_share,
    }
    return RingStudy(RingSpacing(**figures, **found), two)


def _evidence_fault(evidence: float, sigmas: float) -> str | None:
    if evidence < LEAST_EVIDENCE or sigmas < LEAST_SIGMAS:
        return "one layer without a gap explains the depths as well as two rings do"
    return None


def _shape_fault(two: TwoRings) -> str | None:
    """Why the best two rings would be none."""
    spacing, low, high = spacing_interval(two)
    apart = f"the best fit is {spacing:.0f} nm"
    if not np.isfinite(high) or high - low > 4 * MOST_ERROR * spacing:
        return f"the depths do not determine a distance of rings ({apart}, from {low:.0f} to {high:.0f})"
    if not PLAUSIBLE_NM[0] <= spacing <= PLAUSIBLE_NM[1]:
        return f"no rings at a plausible distance, {PLAUSIBLE_NM[0]:.0f} to {PLAUSIBLE_NM[1]:.0f} nm ({apart})"
    if spacing < 2 * two.width_nm:
        return f"rings would be too wide to have a gap ({apart}, each with a standard deviation of {two.width_nm:.0f})"
    if not LEAST_RING_SHARE <= two.upper_share <= 1 - LEAST_RING_SHARE:
        return f"one of the rings would hold {100 * min(two.upper_share, 1 - two.upper_share):.0f} % of both"
    if two.background_share > MOST_BACKGROUND:
        return f"{100 * two.background_share:.0f} % of the localisations would lie in neither ring"
    return None


def _surrogates(data: PoreData, two: TwoRings, flat: NoGap, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Evidence of sets of pores without a gap, and the mean spacing that they would be given."""
    evidence, spacing = [], []
    near = data.part(np.abs(data.z - data.medians()[data.pore()]) <= REACH_NM)
    for _ in range(SURROGATES):
        drawn = sample_of(flat.drawn(near, rng))
        rings, layer = fit_two_rings(drawn, start=two.parameters), fit_no_gap(drawn, start=flat.shares)
        evidence.append(2 * float((rings.log_likelihood - layer.log_likelihood).sum()))
        spacing.append(rings.spacing_nm)
    return np.array(evidence), float(np.mean(spacing))
