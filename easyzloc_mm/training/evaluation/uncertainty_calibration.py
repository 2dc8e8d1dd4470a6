"""After training, on molecules of beads that it has not seen: what the model's uncertainties and flags are worth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import FITTED, POOLED, LikelihoodFit, fit_z_likelihood
from easyzloc_mm.model.mixture import COMPONENTS, Posterior, posterior_of
from easyzloc_mm.model.uncertainty import (
    SURE_BELOW,
    adjusted,
    ambiguity,
    learn_embedding,
    rescale_sigma,
    residual_limit,
    sigma_scale,
)
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from easyzloc_mm.training.recipes.matched import predict_raw
from easyzloc_mm.typing import F64

if TYPE_CHECKING:
    import keras

MOLECULES = 24576
WAYS = (("refined_scale", FITTED), ("pooled_scale", POOLED))


def calibrate(
    model: keras.Model,
    psf: FieldPsf,
    train: BeadPsfs,
    held_out: BeadPsfs,
    domain: EmitterPrior,
    z_limit_nm: float,
    seed: int,
) -> dict[str, Any]:
    """Measure the scales of the uncertainties, the threshold of the ambiguity flag, and what is familiar.

    Parameters
    ----------
    model : keras.Model
    blur : FieldPsf
        The blur under which answers are refined.
    train, held_out : BeadPsfs
        What the model was trained on, and beads that it has not seen.
    domain : EmitterPrior
        The molecules that it shall know.
    z_limit_nm : float
        Depths for which the threshold is chosen.
    seed : int

    Returns
    -------
    dict
        ``sigma_scale``, ``refined_scale``, ``pooled_scale`` (`calibrate_output.sigma_scale`), ``ambiguity`` (of
        ``network`` and ``refined`` answers: `calibrate_output.ambiguity`), ``residual``, ``embedding``.
    """
    table = psf.table(held_out.field_size_px)

    def refine(drawn: EmitterImages, posterior: Posterior, lpz: F64, scales: dict[str, Any] | None) -> LikelihoodFit:
        place = psf.place(drawn.x, drawn.y, held_out.field_size_px)
        prior = domain.prior(drawn.x, drawn.y)
        return fit_z_likelihood(drawn.crops, table, place, posterior, lpz, prior, held_out.read_noise_e, scales)

    # A neighbour's light is an error that no uncertainty can state: what it does to the fit is a flag's affair.
    lone = simulate_emitters(held_out, replace(domain, neighbour_share=0.0), MOLECULES, seed + 12)
    posterior, truth = posterior_of(predict_raw(model, held_out, lone)), lone.z_nm.astype(float)
    sure = posterior.p_outlier(posterior.sigma_nm) < SURE_BELOW
    scale = sigma_scale(posterior.sigma_nm[sure], posterior.z_nm[sure], truth[sure])
    refined = refine(lone, posterior, rescale_sigma(posterior.sigma_nm, posterior.z_nm, scale), None)
    scales = {}
    for name, way in WAYS:
        these = (refined.way == way) & (refined.p_outlier < SURE_BELOW)
        scales[name] = sigma_scale(refined.lpz_nm[these], refined.z_nm[these], truth[these])
    # Scales get their shape from all the molecules that the model shall know, their level from the usual ones.
    usual = simulate_emitters(held_out, domain.typical(z_limit_nm), MOLECULES, seed + 13)
    posterior = posterior_of(predict_raw(model, held_out, usual))
    error = posterior.z_nm - usual.z_nm
    lpz = rescale_sigma(posterior.sigma_nm, posterior.z_nm, scale)
    sure = posterior.p_outlier(lpz) < SURE_BELOW
    scale = adjusted(scale, np.abs(error[sure]) / lpz[sure])
    lpz = rescale_sigma(posterior.sigma_nm, posterior.z_nm, scale)
    final = refine(usual, posterior, lpz, scales)
    for name, way in WAYS:
        these = (final.way == way) & (final.p_outlier < SURE_BELOW)
        scales[name] = adjusted(scales[name], np.abs(final.z_nm - usual.z_nm)[these] / final.lpz_nm[these])
    final = refine(usual, posterior, lpz, scales)
    return {
        "sigma_scale": scale,
        **scales,
        "ambiguity": {
            "network": ambiguity(posterior.p_outlier(lpz), error, lpz),
            "refined": ambiguity(final.p_outlier, final.z_nm - usual.z_nm, final.lpz_nm),
        },
        "misfit": residual_limit(refined.deviance, refined.photons),
        "novelty": learn_embedding(*(_embeddings(model, source, domain, seed) for source in (train, held_out))),
    }


def _embeddings(model: keras.Model, source: BeadPsfs, domain: EmitterPrior, seed: int) -> F64:
    drawn = simulate_emitters(source, domain, MOLECULES, seed + 11)
    return np.asarray(predict_raw(model, source, drawn)[:, 3 * COMPONENTS :], float)
