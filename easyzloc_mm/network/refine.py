"""From the network's z to the maximum of the likelihood nearby, under the blur that the beads measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.network.calibrate_output import rescale_sigma
from easyzloc_mm.network.likelihood import FAILED, fit_spots
from easyzloc_mm.network.psf_field import BlurTable

Real = NDArray[np.float64]

MAX_SIGMA_NM = 100.0
"""Where the image says less than this about z, the optimum is broad, and the network's answer is the better one."""
WITHIN_SIGMAS = 2.5
"""An optimum farther from the network's answer is another one."""
SIGMA_RATIO = 1.3
"""And one that claims to be so much surer or less sure than the network is no trustworthy one."""


@dataclass(frozen=True)
class Refined:
    """Refined answers for n spots, each of shape (n,).

    Attributes
    ----------
    z_nm, lpz_nm : ndarray
    deviance : ndarray
        How badly the measured blur explains the spot at its best.
    photons : ndarray
        At that optimum.
    xy_px, sigma_xy_px : ndarray, shape (n, 2)
        Place of the emitter from the middle of the crop, as the beads define it, and its standard deviation; NaN where
        the network's answer stands. A fitted Gaussian follows the coma and astigmatism of a defocused spot instead.
    """

    z_nm: Real
    lpz_nm: Real
    deviance: Real
    photons: Real
    xy_px: Real
    sigma_xy_px: Real


def refine_z(
    crops: NDArray[np.float32],
    table: BlurTable,
    place: NDArray[np.integer],
    z_nm: Real,
    lpz_nm: Real,
    read_noise_e: float,
    scale: dict[str, Any] | None = None,
) -> Refined:
    """Refine network answers; where that cannot be trusted, they stay as they are.

    Parameters
    ----------
    crops : ndarray, shape (n, 15, 15)
        Photons.
    table, place
        The blur and each spot's place in it.
    z_nm, lpz_nm : ndarray, shape (n,)
        The network's z and its uncertainty.
    read_noise_e : float
    scale : dict, optional
        Calibration of the refined uncertainty (`calibrate_output.sigma_scale`).

    """
    z, sigma = np.array(z_nm, float), np.array(lpz_nm, float)
    fit = fit_spots(crops, table, place, z[:, None], read_noise_e)
    found, width = fit.z_nm[:, 0], fit.sigma_nm[:, 0]
    close = (sigma < MAX_SIGMA_NM) & (np.abs(found - z) <= WITHIN_SIGMAS * sigma)
    close &= (width < SIGMA_RATIO * sigma) & (width > 0)
    z[close] = found[close]
    sigma[close] = width[close] if scale is None else rescale_sigma(width[close], found[close], scale)
    place_px = np.where(close[:, None], np.concatenate([fit.x_px, fit.y_px], axis=1), np.nan)
    spread_px = np.concatenate([fit.sigma_x_px, fit.sigma_y_px], axis=1)
    return Refined(z, sigma, np.nan_to_num(fit.deviance[:, 0], nan=FAILED), fit.photons[:, 0], place_px, spread_px)
