"""What a camera makes of light: shot noise, EM register, read noise, gain, baseline, whole counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from easyzloc_mm.camera.response import NO_EXCESS, CameraResponse, PixelResponse
from easyzloc_mm.typing import F64, U16, AnyFloat

FULL_SCALE_ADU = 65535


def camera_counts(photons: AnyFloat, response: CameraResponse | PixelResponse, rng: np.random.Generator) -> U16:
    """Return camera images of an expectation.

    Parameters
    ----------
    photons : ndarray, shape (..., Y, X)
        Expected photo-electrons.
    response : CameraResponse or PixelResponse
        Of the camera, or of each of its pixels.
    rng : Generator

    Returns
    -------
    ndarray, shape (..., Y, X), uint16
        ADU.
    """
    electrons = rng.poisson(photons).astype(np.float64)
    if isinstance(response, CameraResponse):
        electrons = multiplied(electrons, response.excess_noise, rng)
    electrons += rng.normal(0, response.read_noise_e, electrons.shape)
    adu = electrons / response.electrons_per_adu + response.baseline_adu
    return np.clip(np.rint(adu), 0, FULL_SCALE_ADU).astype(np.uint16)


def multiplied(electrons: ArrayLike, excess_noise: float, rng: np.random.Generator) -> F64:
    """Return what an electron-multiplying register gives for whole electrons, over its gain.

    Of n electrons come, at high gain, a sum of n exponentially distributed numbers [1]_: a gamma distribution of mean n
    and variance n. At lower gains, where the excess noise F^2 is below 2, one of variance (F^2 - 1) n.

    References
    ----------
    .. [1] Basden, Haniff and Mackay, Photon counting strategies with low-light-level CCDs, Monthly Notices of the Royal
       Astronomical Society 345, 985 (2003), https://doi.org/10.1046/j.1365-8711.2003.07020.x
    """
    values = np.asarray(electrons, np.float64)
    spread = excess_noise - NO_EXCESS
    return np.asarray(rng.gamma(values / spread, spread) if spread > 0 else values)
