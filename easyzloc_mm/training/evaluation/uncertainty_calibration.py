"""Calibration of a trained network's uncertainties and flags, on emitters of beads that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import FITTED, POOLED, LikelihoodFit, Maxima, find_maxima, refined
from easyzloc_mm.model.mixture import COMPONENTS, OUTLIER_SIGMAS, posterior_of
from easyzloc_mm.model.uncertainty import (
    MAX_LPZ_NM,
    MAX_OUTLIER_PROBABILITY,
    AmbiguityThreshold,
    EmbeddingDistribution,
    LikelihoodScale,
    MixtureCalibration,
    ResidualLimit,
    SigmaScale,
    ambiguity,
    learn_embedding,
    level,
    residual_limit,
    sigma_scale,
)
from easyzloc_mm.numerics.level import levels_around
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from easyzloc_mm.training.evaluation.seen import seen_emitters
from easyzloc_mm.training.recipes.matched import predict_raw
from easyzloc_mm.typing import F64, Bool

if TYPE_CHECKING:
    import keras

EMITTERS = 16384


@dataclass(frozen=True)
class Learned:
    """A network and what it learned from.

    Attributes
    ----------
    network : keras.Model
    psf : FieldPsf
        Of its beads: that of the likelihood fit.
    source : BeadPsfs
        PSFs that its training images were drawn from.
    """

    network: keras.Model
    psf: FieldPsf
    source: BeadPsfs


def calibrate(
    learned: Learned,
    turns: Sequence[tuple[Learned, BeadPsfs]],
    emitters: EmitterPrior,
    z_limit_nm: float,
    seed: int,
    excess_noise: float = 1.0,
) -> MixtureCalibration:
    """Measure the scales of the uncertainties, the thresholds of the flags, and the distribution of embeddings.

    Scales get their shape from all the emitters that the model is trained for, their level from the typical ones. A
    neighbour's light is an error that no uncertainty can state: scales are of single emitters, and flags deal with
    the rest. The level is that of the emitters that will carry no flag.

    Parameters
    ----------
    learned : Learned
        What is calibrated.
    turns : sequence of (Learned, BeadPsfs)
        Networks, each with beads that it has not seen: `learned` itself, or those of a cross-validation.
    emitters : EmitterPrior
        The emitters that the model is trained for, in effective photons.
    z_limit_nm : float
        Depths for which the thresholds are chosen.
    seed : int
    excess_noise : float
        Of the camera: how bright typical emitters are in effective photons.
    """
    broad = _Sample(turns, emitters.model_copy(update={"neighbour_share": 0.0}), emitters, seed + 12)
    typical = _Sample(turns, emitters.typical(z_limit_nm, excess_noise), emitters, seed + 13)
    network_scale = _network_scale(broad, typical)
    likelihood_scale, lateral_scale = _shapes(broad, network_scale)
    lpz = network_scale.rescale(typical.posterior.sigma_nm, typical.posterior.z_nm)
    found = typical.refine(lpz, likelihood_scale)
    pull, trusted = np.abs(found.z_nm - typical.truth) / found.lpz_nm, _trusted(found, typical)
    likelihood_scale = LikelihoodScale(
        fitted=likelihood_scale.fitted.adjusted(pull[trusted & (found.way == FITTED)]),
        pooled=likelihood_scale.pooled.adjusted(pull[trusted & (found.way == POOLED)]),
    )
    after = typical.refine(lpz, likelihood_scale)
    sigma, error, z_nm = _lateral(after, typical, _trusted(after, typical))
    return MixtureCalibration(
        network_scale=network_scale,
        likelihood_scale=likelihood_scale,
        lateral_scale=lateral_scale.adjusted(np.abs(error) / lateral_scale.rescale(sigma, z_nm)),
        network_ambiguity=ambiguity(
            typical.posterior.p_outlier(lpz), typical.posterior.z_nm - typical.truth, OUTLIER_SIGMAS * lpz
        ),
        likelihood_ambiguity=_ambiguity(after, typical),
        residual_limit=_residual_limit(broad, network_scale),
        embedding=_embedding(learned, turns, emitters, seed),
        emitters=emitters,
    )


@dataclass(frozen=True)
class Levels:
    """Factors by which stated uncertainties of z are too small: the network's, fitted and pooled ones."""

    network: float
    fitted: float
    pooled: float

    def beyond(self, other: Levels) -> Levels:
        """Return by what factor each is worse than another model's; 1 where it is not."""
        return Levels(
            max(self.network / other.network, 1.0),
            max(self.fitted / other.fitted, 1.0),
            max(self.pooled / other.pooled, 1.0),
        )


def levels(
    learned: Learned, source: BeadPsfs, known: MixtureCalibration, z_limit_nm: float, seed: int, excess_noise: float
) -> Levels:
    """Return how far a model with such scales is from what emitters of a PSF show; parameters as of `calibrate`."""
    typical = _Sample([(learned, source)], known.emitters.typical(z_limit_nm, excess_noise), known.emitters, seed + 14)
    posterior = typical.posterior
    lpz = known.network_scale.rescale(posterior.sigma_nm, posterior.z_nm)
    network = np.abs(posterior.z_nm - typical.truth) / lpz
    sure = posterior.p_outlier(lpz) <= known.network_ambiguity.threshold
    found = typical.refine(lpz, known.likelihood_scale)
    pull, trusted = np.abs(found.z_nm - typical.truth) / found.lpz_nm, _trusted(found, typical)
    fitted, pooled = (level(pull[trusted & (found.way == way)]) for way in (FITTED, POOLED))
    return Levels(level(network[sure]), fitted, pooled)


def _network_scale(broad: _Sample, typical: _Sample) -> SigmaScale:
    """Return the scale of the network's own uncertainty."""
    posterior = broad.posterior
    sure = posterior.p_outlier(posterior.sigma_nm) < MAX_OUTLIER_PROBABILITY
    scale = sigma_scale(posterior.sigma_nm[sure], (posterior.z_nm - broad.truth)[sure], posterior.z_nm[sure])
    posterior = typical.posterior
    error, lpz = posterior.z_nm - typical.truth, scale.rescale(posterior.sigma_nm, posterior.z_nm)
    p_outlier = posterior.p_outlier(lpz)
    trusted = p_outlier <= ambiguity(p_outlier, error, OUTLIER_SIGMAS * lpz).threshold
    return scale.adjusted(np.abs(error[trusted]) / lpz[trusted])


def _shapes(broad: _Sample, network_scale: SigmaScale) -> tuple[LikelihoodScale, SigmaScale]:
    """Return how the scales of z and of x and y depend on the uncertainty and on z."""
    found = broad.refine(network_scale.rescale(broad.posterior.sigma_nm, broad.posterior.z_nm), None)
    sure = _trusted(found, broad)
    fitted, pooled = (
        sigma_scale(found.lpz_nm[way], (found.z_nm - broad.truth)[way], found.z_nm[way])
        for way in (sure & (found.way == FITTED), sure & (found.way == POOLED))
    )
    return LikelihoodScale(fitted=fitted, pooled=pooled), sigma_scale(*_lateral(found, broad, sure))


def _residual_limit(broad: _Sample, network_scale: SigmaScale) -> ResidualLimit:
    found = broad.refine(network_scale.rescale(broad.posterior.sigma_nm, broad.posterior.z_nm), None)
    return residual_limit(found.deviance, found.photons)


def _trusted(fit: LikelihoodFit, sample: _Sample) -> Bool:
    """Return which spots will carry no flag of an ambiguous z: what uncertainties are stated for."""
    return (fit.p_outlier <= _ambiguity(fit, sample).threshold) & (fit.lpz_nm <= MAX_LPZ_NM)


def _ambiguity(fit: LikelihoodFit, sample: _Sample) -> AmbiguityThreshold:
    return ambiguity(fit.p_outlier, fit.z_nm - sample.truth, fit.reach_nm, by_image=True)


def _lateral(fit: LikelihoodFit, sample: _Sample, chosen: Bool) -> tuple[F64, F64, F64]:
    """Return stated uncertainties, errors (pixels) and depths (nm) of x and y of the spots that are chosen."""
    best = fit.optimum[chosen]
    place, sigma = np.stack([best.x_px, best.y_px], axis=1), np.stack([best.sigma_x_px, best.sigma_y_px], axis=1)
    return sigma.ravel(), (place - sample.xy_px[chosen]).ravel(), np.repeat(best.z_nm, 2)


class _Sample:
    """Emitters drawn from the held-out beads of all turns, and what the turns' networks make of them."""

    def __init__(
        self, turns: Sequence[tuple[Learned, BeadPsfs]], drawn_from: EmitterPrior, emitters: EmitterPrior, seed: int
    ) -> None:
        count = EMITTERS // len(turns)
        drawn = [seen_emitters(held_out, one.psf, drawn_from, emitters, count, seed) for one, held_out in turns]
        raw = [
            predict_raw(learned.network, held_out, part) for (learned, held_out), part in zip(turns, drawn, strict=True)
        ]
        maxima = [
            _maxima(learned, held_out, part, posterior_of(one).z_nm, emitters, seed)
            for (learned, held_out), part, one in zip(turns, drawn, raw, strict=True)
        ]
        self._maxima = Maxima.joined(maxima)
        self.posterior = posterior_of(np.concatenate(raw))
        self.truth: F64 = np.concatenate([part.z_nm for part in drawn]).astype(float)
        self.xy_px: F64 = np.concatenate([part.xy_px for part in drawn])

    def refine(self, lpz_nm: F64, scale: LikelihoodScale | None) -> LikelihoodFit:
        """Return what the models make of the maxima of the likelihood, with the network's uncertainty."""
        return refined(self.posterior, lpz_nm, self._maxima, scale)


def _maxima(
    learned: Learned, held_out: BeadPsfs, drawn: EmitterImages, z_nm: F64, emitters: EmitterPrior, seed: int
) -> Maxima:
    """Return the maxima of the likelihood, as the model finds them, of emitters drawn from held-out beads."""
    size, noise_e = held_out.field_size_px, held_out.read_noise_e
    table, place = learned.psf.table(size), learned.psf.place(drawn.x, drawn.y, size)
    prior = emitters.prior(drawn.x, drawn.y, levels_around(drawn.background, noise_e**2, seed))
    return find_maxima(drawn.crops, table, place, z_nm, prior, noise_e)


def _embedding(
    learned: Learned, turns: Sequence[tuple[Learned, BeadPsfs]], emitters: EmitterPrior, seed: int
) -> EmbeddingDistribution:
    """Return the embeddings of the network's training images, and how far from them held-out ones may lie."""

    def of(turn: Learned, held_out: BeadPsfs) -> EmbeddingDistribution:
        return learn_embedding(*(_embeddings(turn.network, one, emitters, seed) for one in (turn.source, held_out)))

    found = [of(turn, held_out) for turn, held_out in turns]
    if turns[0][0] is learned:
        return found[0]
    # The model itself has seen every bead; distances are in units of each network's own spread.
    limit = float(np.median([one.threshold for one in found]))
    return of(learned, learned.source).model_copy(update={"threshold": limit})


def _embeddings(network: keras.Model, source: BeadPsfs, emitters: EmitterPrior, seed: int) -> F64:
    drawn = simulate_emitters(source, emitters, EMITTERS, seed + 11)
    return np.asarray(predict_raw(network, source, drawn)[:, 3 * COMPONENTS :], float)
