"""Calibration of a trained network's uncertainties and flags, on emitters of beads that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import FITTED, POOLED, LikelihoodFit, fit_z_likelihood
from easyzloc_mm.model.mixture import COMPONENTS, Posterior, posterior_of
from easyzloc_mm.model.uncertainty import (
    MAX_OUTLIER_PROBABILITY,
    LikelihoodScale,
    MixtureCalibration,
    ambiguity,
    learn_embedding,
    residual_limit,
    sigma_scale,
)
from easyzloc_mm.psf.bead_psf import BeadPsfs, SplinePsf
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from easyzloc_mm.training.recipes.matched import predict_raw
from easyzloc_mm.typing import F64, Bool

if TYPE_CHECKING:
    import keras

EMITTERS = 24576


def calibrate(
    network: keras.Model,
    psf: FieldPsf,
    train: BeadPsfs,
    held_out: BeadPsfs,
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
    network : keras.Model
    psf : FieldPsf
        The PSF of the likelihood fit.
    train, held_out : BeadPsfs
        What the network was trained on, and beads that it has not seen.
    emitters : EmitterPrior
        The emitters that the model is trained for, in effective photons.
    z_limit_nm : float
        Depths for which the thresholds are chosen.
    seed : int
    excess_noise : float
        Of the camera: how bright typical emitters are in effective photons.
    """
    refine = _Refinement(psf, psf.table(held_out.field_size_px), held_out, emitters)
    single = emitters.model_copy(update={"neighbour_share": 0.0})
    drawn = simulate_emitters(held_out, single, EMITTERS, seed + 12)
    posterior, truth = posterior_of(predict_raw(network, held_out, drawn)), drawn.z_nm.astype(float)
    sure = posterior.p_outlier(posterior.sigma_nm) < MAX_OUTLIER_PROBABILITY
    error = posterior.z_nm - truth
    scale = sigma_scale(posterior.sigma_nm[sure], error[sure], posterior.z_nm[sure])
    broad = refine(drawn, posterior, scale.rescale(posterior.sigma_nm, posterior.z_nm), None)
    refined_scale = LikelihoodScale(
        **{
            name: sigma_scale(broad.lpz_nm[way], (broad.z_nm - truth)[way], broad.z_nm[way])
            for name, way in zip(("fitted", "pooled"), _ways(broad), strict=True)
        }
    )
    lateral_scale = sigma_scale(*_lateral(broad, drawn))
    drawn = simulate_emitters(held_out, emitters.typical(z_limit_nm, excess_noise), EMITTERS, seed + 13)
    posterior = posterior_of(predict_raw(network, held_out, drawn))
    error = posterior.z_nm - drawn.z_nm
    lpz = scale.rescale(posterior.sigma_nm, posterior.z_nm)
    sure = posterior.p_outlier(lpz) < MAX_OUTLIER_PROBABILITY
    scale = scale.adjusted(np.abs(error[sure]) / lpz[sure])
    lpz = scale.rescale(posterior.sigma_nm, posterior.z_nm)
    typical = refine(drawn, posterior, lpz, refined_scale)
    fitted, pooled = _ways(typical)
    refined_error = np.abs(typical.z_nm - drawn.z_nm)
    refined_scale = LikelihoodScale(
        fitted=refined_scale.fitted.adjusted(refined_error[fitted] / typical.lpz_nm[fitted]),
        pooled=refined_scale.pooled.adjusted(refined_error[pooled] / typical.lpz_nm[pooled]),
    )
    typical = refine(drawn, posterior, lpz, refined_scale)
    lateral_sigma, lateral_error, lateral_z = _lateral(typical, drawn)
    return MixtureCalibration(
        network_scale=scale,
        likelihood_scale=refined_scale,
        lateral_scale=lateral_scale.adjusted(np.abs(lateral_error) / lateral_scale.rescale(lateral_sigma, lateral_z)),
        network_ambiguity=ambiguity(posterior.p_outlier(lpz), error, lpz),
        likelihood_ambiguity=ambiguity(typical.p_outlier, typical.z_nm - drawn.z_nm, typical.lpz_nm),
        residual_limit=residual_limit(broad.deviance, broad.photons),
        embedding=learn_embedding(*(_embeddings(network, source, emitters, seed) for source in (train, held_out))),
        emitters=emitters,
    )


@dataclass(frozen=True)
class _Refinement:
    """The likelihood fit, as the model does it, of emitters drawn from held-out beads."""

    psf: FieldPsf
    table: SplinePsf
    source: BeadPsfs
    emitters: EmitterPrior

    def __call__(
        self, drawn: EmitterImages, posterior: Posterior, lpz_nm: F64, scale: LikelihoodScale | None
    ) -> LikelihoodFit:
        place = self.psf.place(drawn.x, drawn.y, self.source.field_size_px)
        prior = self.emitters.prior(drawn.x, drawn.y)
        noise_e = self.source.read_noise_e
        return fit_z_likelihood(drawn.crops, self.table, place, posterior, lpz_nm, prior, noise_e, scale)


def _ways(fit: LikelihoodFit) -> tuple[Bool, Bool]:
    """Return which spots are fitted, which pooled, of those whose outlier probability is small."""
    sure = fit.p_outlier < MAX_OUTLIER_PROBABILITY
    return (fit.way == FITTED) & sure, (fit.way == POOLED) & sure


def _lateral(fit: LikelihoodFit, drawn: EmitterImages) -> tuple[F64, F64, F64]:
    """Return stated uncertainties, errors (pixels) and depths (nm) of x and y, of spots whose z is sure."""
    sure = np.logical_or(*_ways(fit)) & np.isfinite(fit.xy_px).all(axis=1)
    error = fit.xy_px - drawn.xy_px
    return fit.sigma_xy_px[sure].ravel(), error[sure].ravel(), np.repeat(fit.z_nm[sure], 2)


def _embeddings(network: keras.Model, source: BeadPsfs, emitters: EmitterPrior, seed: int) -> F64:
    drawn = simulate_emitters(source, emitters, EMITTERS, seed + 11)
    return np.asarray(predict_raw(network, source, drawn)[:, 3 * COMPONENTS :], float)
