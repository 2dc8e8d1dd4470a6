"""From the network's z to the maximum of the likelihood nearby, under the blur that the beads measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.network.calibrate_output import rescale_sigma
from easyzloc_mm.network.likelihood import fit_spots
from easyzloc_mm.network.psf_field import BlurTable

Real = NDArray[np.float64]

MAX_SIGMA_NM = 100.0
"""Where the image says less than this about z, the optimum is broad, and the network's answer is the better one."""
WITHIN_SIGMAS = 2.5
"""An optimum farther from the network's answer is another one."""
SIGMA_RATIO = 1.3
"""And one that claims to be so much surer or less sure than the network is no trustworthy one."""


def refine_z(
    crops: NDArray[np.float32],
    table: BlurTable,
    place: NDArray[np.integer],
    z_nm: Real,
    lpz_nm: Real,
    read_noise_e: float,
    scale: dict[str, Any] | None = None,
) -> tuple[Real, Real]:
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

    Returns
    -------
    z_nm, lpz_nm : ndarray, shape (n,)
    """
    z, sigma = np.array(z_nm, float), np.array(lpz_nm, float)
    asked = np.flatnonzero(sigma < MAX_SIGMA_NM)
    if not len(asked):
        return z, sigma
    fit = fit_spots(crops[asked], table, place[asked], z[asked, None], read_noise_e)
    found, width = fit.z_nm[:, 0], fit.sigma_nm[:, 0]
    close = np.abs(found - z[asked]) <= WITHIN_SIGMAS * sigma[asked]
    close &= (width < SIGMA_RATIO * sigma[asked]) & (width > 0)
    chosen = asked[close]
    z[chosen] = found[close]
    sigma[chosen] = width[close] if scale is None else rescale_sigma(width[close], found[close], scale)
    return z, sigma
