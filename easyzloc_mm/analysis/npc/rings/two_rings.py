"""Two rings common to all pores, with a background of any smooth shape, fitted to the pores' marginal likelihood.

Two molecules of a pore that shine in the same frame are nearer than an image resolves: they make one localisation, and
where they are of both rings, it lies between these. Counted as of a ring it would draw the rings together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, ndtr, roots_jacobi

from easyzloc_mm.analysis.npc.rings.marginal import (
    GRID_NM,
    LEAST_SIGMA_NM,
    MIDDLES,
    REACH_NM,
    Sample,
    centred,
    counts_of,
    log_likelihoods,
)
from easyzloc_mm.typing import F64

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
LOG_NODE_WEIGHTS = np.log(NODE_WEIGHTS / NODE_WEIGHTS.sum())
"""Gauss-Hermite quadrature over the share of the upper ring, which is logit-normal among pores."""
_AT, _WEIGHTS = roots_jacobi(6, 1, 1)
BETWEEN_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
LAYERS_AT = np.concatenate([[-0.5, 0.5], _AT / 2])
"""Spacings from the middle: the rings; and where two molecules that shine at once, one of each ring, are localised, at
the mean by their light, of which each has any share, seldom nearly all (density 6 s (1 - s) of a share s)."""
BACKGROUND_SD_NM = 40.0
BACKGROUND_AT_NM = np.arange(-280.0, 281.0, 70.0)
BACKGROUND_ENDS_NM = np.array([60.0, 80.0, 100.0, 125.0, 160.0, 200.0, 260.0, REACH_NM])
BACKGROUND_ENDS_NM = np.concatenate([-BACKGROUND_ENDS_NM[::-1], BACKGROUND_ENDS_NM])
"""Background is a mixture of normal distributions anywhere, and of even ones from the middle to each of these ends;
none is narrow enough to be a ring."""
SHAPES = len(BACKGROUND_AT_NM) + len(BACKGROUND_ENDS_NM)
PARAMETERS = ("spacing", "width", "share", "share_spread", "background", "between")
"""Logarithms of the first two (nm) and the fourth; logits of the others; then the background's mixture."""
RINGS = len(PARAMETERS)
USUAL = np.array(
    [np.log(55.0), np.log(8.0), 0.0, np.log(0.5), -2.0, -7.0, *np.zeros(len(BACKGROUND_AT_NM)),
     *np.where(np.abs(BACKGROUND_ENDS_NM) < REACH_NM, -2.0, 0.0)]
)  # fmt: skip
"""The likeliest before any data: among them an even background, and next to nothing between the rings: to believe in
more where few localisations tell would put the rings farther apart than they are."""
USUAL_SD = np.array([1.5, 1.0, 1.0, 0.4, 2.0, 2.0])
SHAPE_SD, STEP_SD = 2.0, 0.7
"""Of the logits of the background's mixture, and of their differences from one normal distribution to the next."""


def _precision() -> F64:
    """Of the normal prior of all parameters: it weighs as much as a few localisations, and keeps all of them finite."""
    precision = np.diag(np.concatenate([USUAL_SD**-2, np.full(SHAPES, SHAPE_SD**-2)]))
    normal = slice(RINGS, RINGS + len(BACKGROUND_AT_NM))
    step = np.diff(np.eye(len(BACKGROUND_AT_NM)), axis=0) / STEP_SD
    precision[normal, normal] += step.T @ step
    return precision


PRECISION = _precision()
STARTS_NM = tuple((spacing, width) for spacing in (30.0, 45.0, 62.0, 90.0) for width in (6.0, 18.0))
LEAST_VARIANCE = 0.04
"""Of the logarithm of the uncertainties."""
TINY = 1e-12
"""Density, per nm, that keeps logarithms finite where nothing is expected."""
STARTS_BACKGROUND = ((-3.0, REACH_NM), (-0.8, REACH_NM), (-0.8, 100.0))
"""Logit of its share, and how far it reaches."""
ROUNDS, ITERATIONS = 15, 40
"""Of expectation maximisation from each start, and of BFGS from the best of their ends."""
GRADIENT, DIFFERENCE, LEAST_CURVATURE = 0.3, 1e-4, 0.1
"""Of parameters, for derivatives."""


@dataclass(frozen=True)
class TwoRings:
    """What all pores share.

    Attributes
    ----------
    parameters : ndarray, shape (RINGS + SHAPES,)
        As `PARAMETERS`.
    log_likelihood : ndarray, shape (pores,)
        Of each pore.
    scores : ndarray, shape (pores, RINGS + SHAPES)
        Derivatives of those.
    information : ndarray, shape (RINGS + SHAPES, RINGS + SHAPES)
        Curvature of the log posterior of all pores.
    """

    parameters: F64
    log_likelihood: F64
    scores: F64
    information: F64

    @property
    def spacing_nm(self) -> float:
        """Distance of the rings."""
        return float(np.exp(self.parameters[0]))

    @property
    def width_nm(self) -> float:
        """Standard deviation of a ring beyond the uncertainty of z."""
        return float(np.exp(self.parameters[1]))

    @property
    def upper_share(self) -> float:
        """Of the localisations of the rings, in the one at larger z."""
        return float(expit(self.parameters[2]))

    @property
    def background_share(self) -> float:
        """Of the localisations within reach, in neither ring."""
        return float(expit(self.parameters[4]))

    @property
    def between_share(self) -> float:
        """Of all but the background, at the mean certainty: two molecules at once, one of each ring."""
        return float(expit(self.parameters[5]))

    @property
    def free_parameters(self) -> float:
        """Parameters that the pores determine, rather than the prior."""
        return float(np.trace(np.linalg.solve(self.information, self.information - PRECISION)))

    @property
    def background(self) -> F64:
        """Density of the background on `GRID_NM`, per nm."""
        return np.asarray(_shares(self.parameters[RINGS:]) @ background_shapes(np.zeros(1))[:, 0])


def background_shapes(sigma_nm: F64) -> F64:
    """Density of every part of the background in every class of uncertainty, (`SHAPES`, classes, depths)."""
    sigma = np.sqrt(BACKGROUND_SD_NM**2 + sigma_nm**2)[:, None]
    off = GRID_NM - BACKGROUND_AT_NM[:, None, None]
    normal = np.exp(-0.5 * (off / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    return np.concatenate([normal, even_shapes(BACKGROUND_ENDS_NM, sigma_nm)])


def even_shapes(ends_nm: F64, sigma_nm: F64) -> F64:
    """Density of even distributions from 0 to each end, with each uncertainty, (ends, uncertainties, depths)."""
    sigma = np.maximum(sigma_nm, LEAST_SIGMA_NM)[:, None]
    lower, upper = np.minimum(ends_nm, 0)[:, None, None], np.maximum(ends_nm, 0)[:, None, None]
    return np.asarray((ndtr((GRID_NM - lower) / sigma) - ndtr((GRID_NM - upper) / sigma)) / (upper - lower))


@dataclass(frozen=True)
class _Fit:
    """What every evaluation needs: the sample, the background's shapes, and room for the posterior."""

    sample: Sample
    shapes: F64
    leaning: F64
    posterior: F64


@dataclass(frozen=True)
class _Tables:
    """Densities of depths, (classes, depths) each, and what of them there is.

    Attributes
    ----------
    layers : ndarray, shape (len(LAYERS_AT), classes, depths)
    background : ndarray, shape (classes, depths)
    share : ndarray, shape (nodes,)
        Of the upper ring.
    between : ndarray, shape (classes, 1)
        Share of what is between the rings, of all but the background.
    outside : float
        Share of the background.
    """

    layers: F64
    background: F64
    share: F64
    between: F64
    outside: float

    @property
    def density(self) -> F64:
        """Of all, (nodes, classes, depths)."""
        share = self.share[:, None, None]
        rings = (1 - share) * self.layers[0] + share * self.layers[1]
        inside = (1 - self.between) * rings + self.between * np.tensordot(BETWEEN_WEIGHTS, self.layers[2:], 1)
        return np.asarray((1 - self.outside) * inside + self.outside * self.background + TINY)

    def expected(self, ratio: F64) -> F64:
        """Return what of counts over density (nodes, classes, depths) is of each layer, (layers, classes, depths)."""
        rings = np.tensordot(np.stack([1 - self.share, self.share]), ratio, 1) * (1 - self.between)
        between = BETWEEN_WEIGHTS[:, None, None] * ratio.sum(axis=0) * self.between
        return np.asarray(np.concatenate([rings, between]) * self.layers)


def _leaning(sample: Sample) -> F64:
    """Return by how much the logit of the share between the rings exceeds the mean in each class of uncertainty.

    Two molecules have twice the light of one, and so 1 / sqrt(2) of its uncertainty. Where that is log-normally
    distributed, the logit of their share falls with its logarithm.
    """
    level, count = np.log(np.maximum(sample.sigma_nm, LEAST_SIGMA_NM)), np.bincount(sample.kind)
    mean = np.average(level, weights=count)
    variance = np.average((level - mean) ** 2, weights=count)
    return np.asarray(0.5 * np.log(2) * (mean - level) / max(variance, LEAST_VARIANCE))


def _shares(logits: F64) -> F64:
    return np.asarray(np.exp(logits - logsumexp(logits)))


def _tables(fit: _Fit, parameters: F64) -> _Tables:
    spacing, width = np.exp(parameters[:2])
    sigma = np.sqrt(width**2 + fit.sample.sigma_nm**2)[:, None]
    off = GRID_NM - spacing * LAYERS_AT[:, None, None]
    return _Tables(
        np.exp(-0.5 * (off / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)),
        np.tensordot(_shares(parameters[RINGS:]), fit.shapes, 1),
        expit(parameters[2] + np.exp(parameters[3]) * NODES),
        expit(parameters[5] + fit.leaning)[:, None],
        float(expit(parameters[4])),
    )


def _by_pore(fit: _Fit, parameters: F64) -> F64:
    return log_likelihoods(fit.sample, np.log(_tables(fit, parameters).density), LOG_NODE_WEIGHTS, fit.posterior)


def _evaluate(fit: _Fit, parameters: F64) -> tuple[F64, F64]:
    """Log-likelihood of each pore, and the derivatives of their sum."""
    sample, posterior, at = fit.sample, fit.posterior, _tables(fit, parameters)
    density, layers = at.density, at.layers
    value = log_likelihoods(sample, np.log(density), LOG_NODE_WEIGHTS, posterior)
    ratio = counts_of(sample, posterior, len(sample.sigma_nm)) / density
    spacing, width = np.exp(parameters[:2])
    variance = (width**2 + sample.sigma_nm**2)[:, None]
    place = spacing * LAYERS_AT[:, None, None]
    of_all, of_layers = ratio.sum(axis=0), at.expected(ratio)
    by_spacing = of_layers * place * (GRID_NM - place) / variance
    by_width = of_layers * width**2 * ((GRID_NM - place) ** 2 / variance - 1) / variance
    upper_less_lower = ((1 - at.between) * (layers[1] - layers[0]) * ratio).sum(axis=(1, 2))
    by_share = upper_less_lower * at.share * (1 - at.share)
    by_between = (1 - at.between) * of_layers[2:].sum(axis=0) - at.between * of_layers[:2].sum(axis=0)
    shape = _shares(parameters[RINGS:])
    each = np.tensordot(fit.shapes, of_all, 2)
    gradient = np.concatenate(
        [
            [
                (1 - at.outside) * by_spacing.sum(),
                (1 - at.outside) * by_width.sum(),
                (1 - at.outside) * by_share.sum(),
                (1 - at.outside) * by_share @ NODES * np.exp(parameters[3]),
                at.outside * (1 - at.outside) * ((at.background * of_all).sum() - of_layers.sum()),
                (1 - at.outside) * by_between.sum(),
            ],
            at.outside * shape * (each - shape @ each),
        ]
    )
    return value, gradient


def fit_two_rings(sample: Sample, *, start: F64 | None = None) -> TwoRings:
    """Fit what all pores share.

    Parameters
    ----------
    sample : Sample
    start : ndarray, optional
        Parameters to begin with, of a similar sample.
    """
    posterior = np.empty((sample.pores, len(NODES), MIDDLES))
    fit = _Fit(sample, background_shapes(sample.sigma_nm), _leaning(sample), posterior)
    best = _start(fit) if start is None else start
    fit = _centred(fit, best)
    inverse = np.linalg.inv(_derivatives(fit, best)[1])
    options = {"gtol": GRADIENT, "maxiter": ITERATIONS, "hess_inv0": 0.5 * (inverse + inverse.T)}
    best = minimize(_cost, best, (fit,), jac=True, method="BFGS", options=options).x
    scores, information = _derivatives(fit, best)
    before, gradient = _cost(best, fit)
    polished = best - np.linalg.solve(information, gradient)
    if _cost(polished, fit)[0] <= before:
        best = polished
    return TwoRings(best, _by_pore(fit, best), scores, information)


def _centred(fit: _Fit, parameters: F64) -> _Fit:
    tables = np.log(_tables(fit, parameters).density)
    return replace(fit, sample=centred(fit.sample, tables, LOG_NODE_WEIGHTS))


def _cost(parameters: F64, fit: _Fit) -> tuple[float, F64]:
    """Minus the log posterior of all pores, and its derivatives."""
    value, gradient = _evaluate(fit, parameters)
    off = parameters - USUAL
    return float(0.5 * off @ PRECISION @ off - value.sum()), PRECISION @ off - gradient


def _maximised(fit: _Fit, parameters: F64) -> F64:
    """One round of expectation maximisation of all but the spread of the shares, and the share between the rings."""
    sigma_nm, shape, at = fit.sample.sigma_nm, _shares(parameters[RINGS:]), _tables(fit, parameters)
    density = at.density
    log_likelihoods(fit.sample, np.log(density), LOG_NODE_WEIGHTS, fit.posterior)
    ratio = counts_of(fit.sample, fit.posterior, len(sigma_nm)) / density
    spacing, width = np.exp(parameters[:2])
    layers = at.expected(ratio)
    inverse, place = 1 / (width**2 + sigma_nm**2)[:, None], LAYERS_AT[:, None, None]
    excess = layers * ((GRID_NM - spacing * place) ** 2 - sigma_nm[:, None] ** 2) * inverse**2
    variance = max(excess.sum() / (layers * inverse**2).sum(), LEAST_SIGMA_NM**2)
    apart = (layers * place * GRID_NM * inverse).sum() / (layers * place**2 * inverse).sum()
    each = shape * np.tensordot(fit.shapes, ratio.sum(axis=0), 2)
    inside, in_background = (1 - at.outside) * layers.sum(), at.outside * each.sum()
    lower, upper = layers[:2].sum(axis=(1, 2))
    found = parameters.copy()
    found[:2] = np.log([max(apart, 1.0), np.sqrt(variance)])
    found[2] = np.log((upper + 1e-9) / (lower + 1e-9))
    found[4] = np.log((in_background + 1) / (inside + 1))
    found[RINGS:] = np.log(at.outside * each + 0.1)
    found[RINGS:] -= found[RINGS:].mean()
    return found


def _start(fit: _Fit) -> F64:
    """Return the best end of expectation maximisation from the likeliest of `STARTS_NM`, with each background."""
    ends = []
    for background, reach in STARTS_BACKGROUND:
        trials = []
        for spacing, width in STARTS_NM:
            trial = USUAL.copy()
            trial[:2], trial[4] = np.log([spacing, width]), background
            trial[-len(BACKGROUND_ENDS_NM) :][np.abs(BACKGROUND_ENDS_NM) == reach] += 3.0
            near = _centred(fit, trial)
            trials.append((float(_by_pore(near, trial).sum()), trial, near))
        _, trial, near = max(trials, key=lambda item: item[0])
        for _ in range(ROUNDS):
            trial = _maximised(near, trial)
        near = _centred(near, trial)
        ends.append((_cost(trial, near)[0], trial))
    return min(ends, key=lambda item: item[0])[1]


def _derivatives(fit: _Fit, parameters: F64) -> tuple[F64, F64]:
    """Scores of every pore, and the curvature of minus the log posterior, by forward differences."""
    scores, curvature = np.empty((fit.sample.pores, len(parameters))), np.empty((len(parameters), len(parameters)))
    value, slope = _evaluate(fit, parameters)
    for number, unit in enumerate(np.eye(len(parameters))):
        ahead, ahead_slope = _evaluate(fit, parameters + DIFFERENCE * unit)
        scores[:, number] = (ahead - value) / DIFFERENCE
        curvature[number] = (slope - ahead_slope) / DIFFERENCE
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T) + PRECISION)
    return scores, np.asarray((vectors * np.maximum(values, LEAST_CURVATURE)) @ vectors.T)
