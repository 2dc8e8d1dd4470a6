"""After training, on molecules of beads that it has not seen: what the model's uncertainties and flags are worth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from easyzloc_mm.model.emitter_prior import MoleculeDomain
from easyzloc_mm.model.likelihood_refinement import FITTED, POOLED, Refined, refine_z
from easyzloc_mm.model.mixture import COMPONENTS, Posterior, summarize
from easyzloc_mm.model.uncertainty import (
    SURE_BELOW,
    adjusted,
    ambiguity,
    learn_familiarity,
    misfit_limit,
    rescale_sigma,
    sigma_scale,
)
from easyzloc_mm.psf.bead_psf import BlurSource
from easyzloc_mm.psf.field_psf import FieldBlur
from easyzloc_mm.training.emitters import Molecules, draw_molecules
from easyzloc_mm.training.recipes.matched import predict_raw
from easyzloc_mm.typing import F64

if TYPE_CHECKING:
    import keras

MOLECULES = 24576
WAYS = (("refined_scale", FITTED), ("pooled_scale", POOLED))


def calibrate(
    model: keras.Model,
    blur: FieldBlur,
    train: BlurSource,
    held_out: BlurSource,
    domain: MoleculeDomain,
    z_limit_nm: float,
    seed: int,
) -> dict[str, Any]:
    """Measure the scales of the uncertainties, the threshold of the ambiguity flag, and what is familiar.

    Parameters
    ----------
    model : keras.Model
    blur : FieldBlur
        The blur under which answers are refined.
    train, held_out : BlurSource
        What the model was trained on, and beads that it has not seen.
    domain : MoleculeDomain
        The molecules that it shall know.
    z_limit_nm : float
        Depths for which the threshold is chosen.
    seed : int

    Returns
    -------
    dict
        ``sigma_scale``, ``refined_scale``, ``pooled_scale`` (`calibrate_output.sigma_scale`), ``ambiguity`` (of
        ``network`` and ``refined`` answers: `calibrate_output.ambiguity`), ``misfit``, ``novelty``.
    """
    table = blur.table(held_out.field_size_px)

    def refine(drawn: Molecules, posterior: Posterior, lpz: F64, scales: dict[str, Any] | None) -> Refined:
        place = blur.place(drawn.x, drawn.y, held_out.field_size_px)
        prior = domain.prior(drawn.x, drawn.y)
        return refine_z(drawn.crops, table, place, posterior, lpz, prior, held_out.read_noise_e, scales)

    # A neighbour's light is an error that no uncertainty can state: what it does to the fit is a flag's affair.
    lone = draw_molecules(held_out, replace(domain, neighbour_share=0.0), MOLECULES, seed + 12)
    posterior, truth = summarize(predict_raw(model, held_out, lone)), lone.z_nm.astype(float)
    sure = posterior.mistaken(posterior.sigma_nm) < SURE_BELOW
    scale = sigma_scale(posterior.sigma_nm[sure], posterior.z_nm[sure], truth[sure])
    refined = refine(lone, posterior, rescale_sigma(posterior.sigma_nm, posterior.z_nm, scale), None)
    scales = {}
    for name, way in WAYS:
        these = (refined.way == way) & (refined.mistaken < SURE_BELOW)
        scales[name] = sigma_scale(refined.lpz_nm[these], refined.z_nm[these], truth[these])
    # Scales get their shape from all the molecules that the model shall know, their level from the usual ones.
    usual = draw_molecules(held_out, domain.typical(z_limit_nm), MOLECULES, seed + 13)
    posterior = summarize(predict_raw(model, held_out, usual))
    error = posterior.z_nm - usual.z_nm
    lpz = rescale_sigma(posterior.sigma_nm, posterior.z_nm, scale)
    sure = posterior.mistaken(lpz) < SURE_BELOW
    scale = adjusted(scale, np.abs(error[sure]) / lpz[sure])
    lpz = rescale_sigma(posterior.sigma_nm, posterior.z_nm, scale)
    final = refine(usual, posterior, lpz, scales)
    for name, way in WAYS:
        these = (final.way == way) & (final.mistaken < SURE_BELOW)
        scales[name] = adjusted(scales[name], np.abs(final.z_nm - usual.z_nm)[these] / final.lpz_nm[these])
    final = refine(usual, posterior, lpz, scales)
    return {
        "sigma_scale": scale,
        **scales,
        "ambiguity": {
            "network": ambiguity(posterior.mistaken(lpz), error, lpz),
            "refined": ambiguity(final.mistaken, final.z_nm - usual.z_nm, final.lpz_nm),
        },
        "misfit": misfit_limit(refined.deviance, refined.photons),
        "novelty": learn_familiarity(*(_embeddings(model, source, domain, seed) for source in (train, held_out))),
    }


def _embeddings(model: keras.Model, source: BlurSource, domain: MoleculeDomain, seed: int) -> F64:
    drawn = draw_molecules(source, domain, MOLECULES, seed + 11)
    return np.asarray(predict_raw(model, source, drawn)[:, 3 * COMPONENTS :], float)
