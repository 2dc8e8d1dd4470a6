"""Uneven light in the crop of an emitter: estimated together with it.

A fit takes the background of a crop for the same everywhere. Where light is uneven, what the fit leaves is looked at
for smooth patterns of light, each as strong as the frame shows it to be (a Gaussian prior), and with it for what the
emitter made up for [1]_. What is expected of the light is then known to a second fit, as that of neighbours is, and
what is not known of it widens the uncertainties.

References
----------
.. [1] Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press (2006), section 2.7.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.joint import PARAMETERS, own_sensitivities
from easyzloc_mm.psf.mle import Neighbours, Optimum, SpotPrior, clean_and_rest
from easyzloc_mm.psf.uneven_light import light_patterns
from easyzloc_mm.typing import F32, F64, I64


def light_around(
    crops: F32,
    table: SplinePsf,
    place: I64,
    read_noise_e: float | F32,
    optimum: Optimum,
    prior: SpotPrior,
    light_sd: F64,
    neighbours: Neighbours | None = None,
) -> Neighbours:
    """Return the light that is expected in each crop beside its even background, and what it adds to uncertainties.

    Parameters
    ----------
    crops : ndarray, shape (n, size, size), float32
        Photons.
    table : SplinePsf
    place : ndarray, shape (n,)
        Index of each emitter's PSF in the table.
    read_noise_e : float or ndarray, shape (n, size, size)
    optimum : Optimum
        What fits the crops with an even background.
    prior : SpotPrior
    light_sd : ndarray, shape (n,)
        Standard deviation of the light around each, photons per pixel; above 0.
    neighbours : Neighbours, optional
        Other emitters.

    Returns
    -------
    Neighbours
        Uneven light in the place of emitters; without the others.
    """
    count, edge = len(crops), table.roi_px
    patterns, variances = light_patterns(edge)
    theta = np.stack(
        [
            optimum.x_px,
            optimum.y_px,
            (optimum.z_nm - table.z_start_nm) / table.z_pitch_nm,
            optimum.photons,
            optimum.background,
        ],
        axis=1,
    )
    seen = np.empty((count, PARAMETERS + 1, edge, edge), np.float32)
    clean, rest = clean_and_rest(crops, read_noise_e, None if neighbours is None else neighbours.light)
    own_sensitivities(table.padded, np.ascontiguousarray(place, np.int64), theta, sized(edge), clean, rest, seen)
    whole = seen.reshape(count, PARAMETERS + 1, -1).astype(np.float64)
    emitter, left = whole[:, :PARAMETERS], whole[:, PARAMETERS]
    light = whole[:, PARAMETERS - 1, None] * patterns.reshape(1, len(patterns), -1)
    known = _known(prior, optimum)
    diagonal = np.arange(PARAMETERS)
    own = emitter @ emitter.transpose(0, 2, 1)
    own[:, diagonal, diagonal] += known
    shared = emitter @ light.transpose(0, 2, 1)
    of_light = light @ light.transpose(0, 2, 1)
    numbers = np.arange(len(patterns))
    of_light[:, numbers, numbers] += 1 / (variances * light_sd[:, None] ** 2)
    alone = np.linalg.inv(own)
    pull = np.einsum("nrp,np->nr", light, left)
    strength = np.linalg.solve(of_light - shared.transpose(0, 2, 1) @ alone @ shared, pull[:, :, None])[:, :, 0]
    together = np.linalg.inv(own - shared @ np.linalg.solve(of_light, shared.transpose(0, 2, 1)))
    axes = diagonal[:3]
    wider = np.sqrt(np.maximum(together[:, axes, axes] / alone[:, axes, axes], 1.0))
    return Neighbours((strength @ patterns.reshape(len(patterns), -1)).reshape(crops.shape).astype(np.float32), wider)


def _known(prior: SpotPrior, optimum: Optimum) -> F64:
    """Return what is known beforehand of each parameter: the inverse of its variance, shape (n, 5)."""
    known = np.zeros((len(optimum.x_px), PARAMETERS))
    known[:, :2] = prior.place_sd_px**-2
    known[:, 3] = (prior.log_photons_sd * np.maximum(optimum.photons, 1.0)) ** -2
    if prior.background_sd is not None:
        known[:, 4] = prior.background_sd**-2.0
    return known
