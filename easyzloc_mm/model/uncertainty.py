"""Calibration of uncertainties and of flags on held-out emitters: small frozen models, and the fits that make them."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Self

import numpy as np
from pydantic import model_validator

from easyzloc_mm._models import Finite, FrozenModel, Positive
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.typing import F64, AnyFloat

MAX_OUTLIER_PROBABILITY = 0.03
"""Uncertainties are scaled on spots whose outlier probability is below this; the others get a flag."""
COST_SHARE = 0.035
"""Of the inliers: so many may be flagged as ambiguous."""
CAUGHT_SHARE = 0.97
"""Of the outliers: where so many are flagged for less, less is flagged."""
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.002, 0.5
MAX_LPZ_NM = 250.0
"""A spot whose z is not known better than to a gross error is ambiguous, however honest its uncertainty."""
SIGMA_BINS = 8
Z_BINS = 12
MIN_IN_BIN = 100
CREDIBLE_SHARE = 0.6827
IN_DISTRIBUTION_QUANTILE = 0.999
MIN_EIGENVALUE = 1e-6

Values = tuple[Finite, ...]


class SigmaScale(FrozenModel):
    """Factors on sigma, linearly interpolated by log(sigma) and then by z; as constructed, no change.

    Attributes
    ----------
    log_sigma, factor : tuple of float
        Natural logarithms of sigma (z: nm; x and y: pixels), and the factors there.
    z_nm, z_factor : tuple of float
        Predicted depths, and the factors there.
    """

    log_sigma: Values = (0.0,)
    factor: Values = (1.0,)
    z_nm: Values = (0.0,)
    z_factor: Values = (1.0,)

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if len(self.log_sigma) != len(self.factor) or len(self.z_nm) != len(self.z_factor):
            raise ValueError("factors and the values that they stand at differ in number")
        return self

    def rescale(self, sigma: F64, z_nm: F64) -> F64:
        """Return calibrated uncertainties of n spots, in the unit that they came in."""
        by_sigma = np.interp(np.log(sigma), self.log_sigma, self.factor)
        return np.asarray(sigma * by_sigma * np.interp(z_nm, self.z_nm, self.z_factor))

    def adjusted(self, pull: F64) -> SigmaScale:
        """Return this scale times the one factor that `pull`, absolute errors over rescaled uncertainties, asks for."""
        return self.times(level(pull))

    def times(self, factor: float) -> SigmaScale:
        """Return this scale times one factor."""
        return self.model_copy(update={"factor": tuple(factor * value for value in self.factor)})


def level(pull: F64) -> float:
    """Return the factor by which uncertainties are too small, by absolute errors over them; 1 where too few can tell.

    Errors have longer tails than a Gaussian: one factor cannot put both 68.3 % and 95 % right, and this is the middle.
    """
    if len(pull) < MIN_IN_BIN:
        return 1.0
    one, two = np.quantile(pull, [CREDIBLE_SHARE, 0.95])
    return float(np.sqrt(one * two / 1.96))


class LikelihoodScale(FrozenModel):
    """Scales of what the likelihood fit answers: of its own optimum, and of the pooled posterior."""

    fitted: SigmaScale = SigmaScale()
    pooled: SigmaScale = SigmaScale()


class AmbiguityThreshold(FrozenModel):
    """Outlier probability above which a spot is flagged as ambiguous, and the trade-off that it makes.

    Attributes
    ----------
    threshold : float
    caught : float, optional
        Share of the held-out outliers that are flagged; None, if there was none.
    cost : float, optional
        Share of the others that are flagged.
    by_image : bool
        What an outlier is (`likelihood_refinement.refined`); False in models of before version 6.
    """

    threshold: Finite
    caught: Finite | None = None
    cost: Finite | None = None
    by_image: bool = False


class ResidualLimit(FrozenModel):
    """Deviance of the likelihood fit above which a spot is out of distribution, interpolated by log(photons)."""

    log_photons: Values
    deviance: Values

    def at(self, photons: F64) -> F64:
        """Return the largest deviance allowed for spots of so many photons."""
        return np.asarray(np.interp(np.log(photons), self.log_photons, self.deviance))


class EmbeddingDistribution(FrozenModel):
    """Where training spots lie in the network's last hidden layer, as a Gaussian.

    Attributes
    ----------
    mean : tuple of float
        Of length `EMBEDDING`.
    whitening : tuple of tuple of float
        Matrix (`EMBEDDING`, k): the whitened embedding has unit covariance.
    threshold : float
        Mahalanobis distance above which a spot is out of distribution.

    References
    ----------
    Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples and adversarial attacks,
    NeurIPS 31, doi 10.48550/arXiv.1807.03888.
    """

    mean: Values
    whitening: tuple[Values, ...]
    threshold: Positive

    def ood_score(self, embedding: AnyFloat) -> F64:
        """Return Mahalanobis distances of embeddings from the training spots', shape (n,)."""
        return _mahalanobis(embedding, *self._arrays)

    @cached_property
    def _arrays(self) -> tuple[F64, F64]:
        return np.array(self.mean), np.array(self.whitening)


class MixtureCalibration(FrozenModel):
    """Calibration of a network whose output is a mixture of Gaussians in z (recipe ``matched``).

    Attributes
    ----------
    network_scale : SigmaScale
        Of the network's own uncertainty.
    likelihood_scale : LikelihoodScale
        Of uncertainties after the likelihood fit.
    lateral_scale : SigmaScale
        Of the likelihood fit's x and y, pixels; no change in bundles of before 0.2.
    network_ambiguity, likelihood_ambiguity : AmbiguityThreshold
        Before and after the likelihood fit.
    residual_limit : ResidualLimit
    embedding : EmbeddingDistribution
    emitters : EmitterPrior
        The emitters that the network was trained on and all this was measured for, in effective photons
        (`CameraResponse.effective`).
    """

    network_scale: SigmaScale
    likelihood_scale: LikelihoodScale
    lateral_scale: SigmaScale = SigmaScale()
    network_ambiguity: AmbiguityThreshold
    likelihood_ambiguity: AmbiguityThreshold
    residual_limit: ResidualLimit
    embedding: EmbeddingDistribution
    emitters: EmitterPrior


class SigmaByZ(FrozenModel):
    """Root mean square error by predicted z, for a network that gives no uncertainty (recipe ``paper``)."""

    z_nm: Values
    sigma_nm: Values

    def at(self, z_nm: AnyFloat) -> F64:
        """Return the uncertainty of predictions, nm."""
        return np.asarray(np.interp(z_nm, self.z_nm, self.sigma_nm))


def sigma_scale(sigma: F64, error: F64, z_nm: F64) -> SigmaScale:
    """Return factors on sigma that make it what held-out errors say, by sigma and then by z.

    Parameters
    ----------
    sigma, error : ndarray, shape (n,)
        Of one unit, nm or pixels.
    z_nm : ndarray, shape (n,)
        Predicted depths.
    """
    error = np.abs(error)
    scale = SigmaScale()
    if len(error) < MIN_IN_BIN:
        return scale
    for position, values, factor, bins in (
        ("log_sigma", np.log(sigma), "factor", SIGMA_BINS),
        ("z_nm", z_nm, "z_factor", Z_BINS),
    ):
        pull = error / scale.rescale(sigma, z_nm)
        edges = np.quantile(values, np.linspace(0, 1, bins + 1))
        where = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
        kept = [b for b in range(bins) if np.sum(where == b) >= MIN_IN_BIN]
        if kept:
            middles = tuple(float(np.mean(values[where == b])) for b in kept)
            factors = tuple(level(pull[where == b]) for b in kept)
            scale = scale.model_copy(update={position: middles, factor: factors})
    return scale


def residual_limit(deviance: F64, photons: F64) -> ResidualLimit:
    """Return the deviance that 99.9 % of held-out spots stay below, by photons: bright ones show what the PSF lacks."""
    light = np.log(photons)
    finite = np.isfinite(light) & np.isfinite(deviance)
    light, deviance = light[finite], deviance[finite]
    edges = np.quantile(light, np.linspace(0, 1, SIGMA_BINS + 1))
    where = np.clip(np.searchsorted(edges, light, side="right") - 1, 0, SIGMA_BINS - 1)
    kept = [b for b in range(SIGMA_BINS) if np.any(where == b)]
    return ResidualLimit(
        log_photons=tuple(float(light[where == b].mean()) for b in kept),
        deviance=tuple(float(np.quantile(deviance[where == b], IN_DISTRIBUTION_QUANTILE)) for b in kept),
    )


def ambiguity(p_outlier: F64, error_nm: F64, reach_nm: F64, *, by_image: bool = False) -> AmbiguityThreshold:
    """Return the outlier probability above which a spot is flagged as ambiguous, chosen on held-out spots.

    Parameters
    ----------
    p_outlier : ndarray
        Stated probability that z is wrong by more than `reach_nm`.
    error_nm, reach_nm : ndarray
        Actual error, and what makes an outlier.
    by_image : bool
        What `reach_nm` is (`AmbiguityThreshold`).
    """
    outlier = np.abs(error_nm) > reach_nm
    # Of a network that has hardly learned yet, all may be outliers.
    threshold = 0.0 if outlier.all() else float(np.quantile(p_outlier[~outlier], 1 - COST_SHARE))
    if outlier.any():
        threshold = max(threshold, float(np.quantile(p_outlier[outlier], 1 - CAUGHT_SHARE)))
    threshold = min(max(threshold, LOWEST_THRESHOLD), HIGHEST_THRESHOLD)
    flagged = p_outlier > threshold
    return AmbiguityThreshold(
        threshold=threshold,
        caught=float(flagged[outlier].mean()) if outlier.any() else None,
        cost=float(flagged[~outlier].mean()) if (~outlier).any() else None,
        by_image=by_image,
    )


def learn_embedding(train: AnyFloat, held_out: AnyFloat) -> EmbeddingDistribution:
    """Return mean and whitening of training embeddings; threshold at the 99.9th percentile of held-out ones.

    Parameters
    ----------
    train, held_out : ndarray, shape (n, EMBEDDING)
        Last hidden layer.
    """
    mean = train.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((train - mean).T))
    kept = values > MIN_EIGENVALUE * values.max()
    whitening = vectors[:, kept] / np.sqrt(values[kept])
    distance = _mahalanobis(held_out, mean, whitening)
    return EmbeddingDistribution(
        mean=mean.tolist(),
        whitening=whitening.tolist(),
        threshold=float(np.quantile(distance, IN_DISTRIBUTION_QUANTILE)),
    )


def sigma_by_z(predicted_nm: AnyFloat, z_nm: AnyFloat, limit_nm: float) -> SigmaByZ:
    """Return the root mean square error in ten bins of predicted z between -limit_nm and limit_nm."""
    edges = np.linspace(-limit_nm, limit_nm, 11)
    overall = float(np.sqrt(np.mean((predicted_nm - z_nm) ** 2)))
    sigma = []
    for low, high in itertools.pairwise(edges):
        inside = (predicted_nm >= low) & (predicted_nm < high)
        sigma.append(float(np.sqrt(np.mean((predicted_nm - z_nm)[inside] ** 2))) if inside.sum() >= 20 else overall)
    return SigmaByZ(z_nm=((edges[:-1] + edges[1:]) / 2).tolist(), sigma_nm=tuple(sigma))


def _mahalanobis(embedding: AnyFloat, mean: AnyFloat, whitening: AnyFloat) -> F64:
    return np.asarray(np.linalg.norm((embedding - mean) @ whitening, axis=1))
