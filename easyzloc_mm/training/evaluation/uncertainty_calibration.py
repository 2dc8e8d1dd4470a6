"""Calibration of a trained network's uncertainties and flags, on emitters of beads that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import FITTED, POOLED, LikelihoodFit, Maxima, find_maxima, refined
from easyzloc_mm.model.mixture import COMPONENTS, posterior_of
from easyzloc_mm.model.uncertainty import (
    MAX_OUTLIER_PROBABILITY,
    EmbeddingDistribution,
    LikelihoodScale,
    MixtureCalibration,
    ambiguity,
    learn_embedding,
    level,
    residual_limit,
    sigma_scale,
)
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from easyzloc_mm.training.recipes.matched import predict_raw
from easyzloc_mm.typing import F64, Bool

if TYPE_CHECKING:
    import keras

EMITTERS = 24576


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
    the rest.

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
    posterior, truth = broad.posterior, broad.truth
    sure = posterior.p_outlier(posterior.sigma_nm) < MAX_OUTLIER_PROBABILITY
    error = posterior.z_nm - truth
    scale = sigma_scale(posterior.sigma_nm[sure], error[sure], posterior.z_nm[sure])
    found = broad.refine(scale.rescale(posterior.sigma_nm, posterior.z_nm), None)
    refined_scale = LikelihoodScale(
        **{
            name: sigma_scale(found.lpz_nm[way], (found.z_nm - truth)[way], found.z_nm[way])
            for name, way in zip(("fitted", "pooled"), _ways(found), strict=True)
        }
    )
    lateral_scale = sigma_scale(*_lateral(found, broad.xy_px))
    residual = residual_limit(found.deviance, found.photons)
    typical = _Sample(turns, emitters.typical(z_limit_nm, excess_noise), emitters, seed + 13)
    posterior = typical.posterior
    error = posterior.z_nm - typical.truth
    lpz = scale.rescale(posterior.sigma_nm, posterior.z_nm)
    sure = posterior.p_outlier(lpz) < MAX_OUTLIER_PROBABILITY
    scale = scale.adjusted(np.abs(error[sure]) / lpz[sure])
    lpz = scale.rescale(posterior.sigma_nm, posterior.z_nm)
    found = typical.refine(lpz, refined_scale)
    fitted, pooled = _ways(found)
    refined_error = np.abs(found.z_nm - typical.truth)
    refined_scale = LikelihoodScale(
        fitted=refined_scale.fitted.adjusted(refined_error[fitted] / found.lpz_nm[fitted]),
        pooled=refined_scale.pooled.adjusted(refined_error[pooled] / found.lpz_nm[pooled]),
    )
    found = typical.refine(lpz, refined_scale)
    lateral_sigma, lateral_error, lateral_z = _lateral(found, typical.xy_px)
    return MixtureCalibration(
        network_scale=scale,
        likelihood_scale=refined_scale,
        lateral_scale=lateral_scale.adjusted(np.abs(lateral_error) / lateral_scale.rescale(lateral_sigma, lateral_z)),
        network_ambiguity=ambiguity(posterior.p_outlier(lpz), error, lpz),
        likelihood_ambiguity=ambiguity(found.p_outlier, found.z_nm - typical.truth, found.lpz_nm),
        residual_limit=residual,
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
    sure = posterior.p_outlier(lpz) < MAX_OUTLIER_PROBABILITY
    found = typical.refine(lpz, known.likelihood_scale)
    error = np.abs(found.z_nm - typical.truth)
    fitted, pooled = (level(error[way] / found.lpz_nm[way]) for way in _ways(found))
    return Levels(level(np.abs(posterior.z_nm - typical.truth)[sure] / lpz[sure]), fitted, pooled)


class _Sample:
    """Emitters drawn from the held-out beads of all turns, and what the turns' networks make of them."""

    def __init__(
        self, turns: Sequence[tuple[Learned, BeadPsfs]], drawn_from: EmitterPrior, emitters: EmitterPrior, seed: int
    ) -> None:
        count = EMITTERS // len(turns)
        drawn = [simulate_emitters(held_out, drawn_from, count, seed) for _, held_out in turns]
        raw = [
            predict_raw(learned.network, held_out, part) for (learned, held_out), part in zip(turns, drawn, strict=True)
        ]
        maxima = [
            _maxima(learned, held_out, part, posterior_of(one).z_nm, emitters)
            for (learned, held_out), part, one in zip(turns, drawn, raw, strict=True)
        ]
        self._maxima = Maxima.joined(maxima)
        self.posterior = posterior_of(np.concatenate(raw))
        self.truth: F64 = np.concatenate([part.z_nm for part in drawn]).astype(float)
        self.xy_px: F64 = np.concatenate([part.xy_px for part in drawn])

    def refine(self, lpz_nm: F64, scale: LikelihoodScale | None) -> LikelihoodFit:
        """Return what the models make of the maxima of the likelihood, with the network's uncertainty."""
        return refined(self.posterior, lpz_nm, self._maxima, scale)


def _maxima(learned: Learned, held_out: BeadPsfs, drawn: EmitterImages, z_nm: F64, emitters: EmitterPrior) -> Maxima:
    """Return the maxima of the likelihood, as the model finds them, of emitters drawn from held-out beads."""
    size = held_out.field_size_px
    place, prior = learned.psf.place(drawn.x, drawn.y, size), emitters.prior(drawn.x, drawn.y)
    return find_maxima(drawn.crops, learned.psf.table(size), place, z_nm, prior, held_out.read_noise_e)


def _ways(fit: LikelihoodFit) -> tuple[Bool, Bool]:
    """Return which spots are fitted, which pooled, of those whose outlier probability is small."""
    sure = fit.p_outlier < MAX_OUTLIER_PROBABILITY
    return (fit.way == FITTED) & sure, (fit.way == POOLED) & sure


def _lateral(fit: LikelihoodFit, xy_px: F64) -> tuple[F64, F64, F64]:
    """Return stated uncertainties, errors (pixels) and depths (nm) of x and y, of spots whose z is sure."""
    sure = np.logical_or(*_ways(fit)) & np.isfinite(fit.xy_px).all(axis=1)
    error = fit.xy_px - xy_px
    return fit.sigma_xy_px[sure].ravel(), error[sure].ravel(), np.repeat(fit.z_nm[sure], 2)


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
