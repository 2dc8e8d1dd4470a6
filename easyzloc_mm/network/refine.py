"""From what the network thinks possible to what the likelihood, under the blur that the beads measured, says of it.

Where the network is sure, one fit from its z finds the maximum nearby. Where it is not, fits from all over the range
find the other maxima; each counts by its height and breadth (Laplace's approximation), and the two opinions, network's
and likelihood's, are pooled with equal weight: what either holds possible stays possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.network.calibrate_output import rescale_sigma
from easyzloc_mm.network.likelihood import SpotFits, SpotPrior, fit_spots
from easyzloc_mm.network.likelihood_kernels import FAILED
from easyzloc_mm.network.posterior import MISTAKE_SIGMAS, Mixture, Posterior
from easyzloc_mm.network.psf_field import BlurTable

Real = NDArray[np.float64]

MAX_SIGMA_NM = 100.0
"""Where the image says less than this about z, the optimum is broad, and the network's answer is the better one."""
WITHIN_SIGMAS = 2.5
"""An optimum farther from the network's answer is another one."""
SIGMA_RATIO = 1.3
"""And one that claims to be so much surer or less sure than the network is no trustworthy one."""
EXPLORE_ABOVE = 0.01
"""Where the network gives its own z less than 99 %, the rest of the range is searched too."""
STARTS = 4
"""Over the range: the blur changes its kind every few hundred nm."""
SAME_NM, SAME_SIGMAS = 10.0, 0.5
"""Fits that end nearer to each other than this have found the same maximum."""
MIN_SIGMA_NM = 3.0


@dataclass(frozen=True)
class Refined:
    """Refined answers for n spots, each of shape (n,).

    Attributes
    ----------
    z_nm, lpz_nm : ndarray
    mistaken : ndarray
        Probability that z is wrong by more than `MISTAKE_SIGMAS` times `lpz_nm`.
    way : ndarray of int
        What the answer is: `NETWORK`, `FITTED` or `POOLED`.
    deviance : ndarray
        How badly the measured blur explains the spot at its best.
    photons : ndarray
        At that optimum.
    xy_px, sigma_xy_px : ndarray, shape (n, 2)
        Place of the emitter from the middle of the crop, as the beads define it, and its standard deviation; NaN where
        no optimum stands behind z. A fitted Gaussian follows the coma and astigmatism of a defocused spot instead.
    """

    z_nm: Real
    lpz_nm: Real
    mistaken: Real
    way: NDArray[np.int64]
    deviance: Real
    photons: Real
    xy_px: Real
    sigma_xy_px: Real


NETWORK, FITTED, POOLED = 0, 1, 2


def refine_z(
    crops: NDArray[np.float32],
    table: BlurTable,
    place: NDArray[np.integer],
    network: Posterior,
    lpz_nm: Real,
    prior: SpotPrior,
    read_noise_e: float,
    scales: dict[str, Any] | None = None,
) -> Refined:
    """Refine network answers; where that cannot be trusted, they stay as they are.

    Parameters
    ----------
    crops : ndarray, shape (n, 15, 15)
        Photons.
    table, place
        The blur and each spot's place in it.
    network : Posterior
        The network's opinion.
    lpz_nm : ndarray, shape (n,)
        The network's calibrated uncertainty.
    prior : SpotPrior
        Photons and place that spots may have: a spot of next to no photons would fit everywhere.
    read_noise_e : float
    scales : dict, optional
        Calibration of refined uncertainties (`calibrate_output.sigma_scale`): ``refined_scale``, ``pooled_scale``.
    """
    z, lpz = network.z_nm.copy(), np.array(lpz_nm, float)
    mistaken = network.mistaken(lpz)
    way = np.full(len(z), NETWORK)
    unsure = mistaken > EXPLORE_ABOVE
    starts = np.full((len(z), 1 + STARTS), np.nan)
    starts[:, 0] = z
    low, high = table.z_range_nm
    starts[unsure, 1:] = low + (np.arange(STARTS) + 0.5) * (high - low) / STARTS
    fit = fit_spots(crops, table, place, starts, read_noise_e, prior)
    found, width = fit.z_nm[:, 0], fit.sigma_nm[:, 0]
    fitted = ~unsure & (lpz < MAX_SIGMA_NM) & (np.abs(found - z) <= WITHIN_SIGMAS * lpz)
    fitted &= (width < SIGMA_RATIO * lpz) & (width > 0)
    z[fitted], way[fitted] = found[fitted], FITTED
    lpz[fitted] = _scaled(width[fitted], found[fitted], scales, "refined_scale")
    best = np.argmin(fit.deviance, axis=1)
    behind = np.where(fitted, 0, -1)
    if unsure.any():
        pooled = network.mixture[unsure].pool(laplace(fit, unsure, low, high))
        z[unsure], sd = pooled.main_mode()
        way[unsure] = POOLED
        lpz[unsure] = _scaled(sd, z[unsure], scales, "pooled_scale")
        mistaken[unsure] = pooled.beyond(z[unsure], MISTAKE_SIGMAS * lpz[unsure])
        away = np.where(fit.deviance[unsure] < FAILED, np.abs(fit.z_nm[unsure] - z[unsure][:, None]), np.inf)
        near = np.argmin(away, axis=1)
        close = away[np.arange(len(near)), near] <= lpz[unsure]
        behind[unsure] = np.where(close & (lpz[unsure] < MAX_SIGMA_NM), near, -1)
    rows = np.arange(len(z))
    xy, sigma_xy = (
        np.where(behind[:, None] >= 0, np.stack([x[rows, behind], y[rows, behind]], axis=1), np.nan)
        for x, y in ((fit.x_px, fit.y_px), (fit.sigma_x_px, fit.sigma_y_px))
    )
    deviance = np.nan_to_num(fit.deviance[rows, best], nan=FAILED)
    return Refined(z, lpz, mistaken, way, deviance, fit.photons[rows, best], xy, sigma_xy)


def laplace(fit: SpotFits, chosen: NDArray[np.bool_], low_nm: float, high_nm: float) -> Mixture:
    """Maxima of the posterior density as Gaussians, weighted by the probability that each holds.

    A maximum of density h and covariance C holds about h sqrt(det 2 pi C) (Laplace; MacKay 2003, chapter 27). What
    ends at the edge of the range or outside has found none.
    """
    z, sd, deviance = fit.z_nm[chosen], np.maximum(fit.sigma_nm[chosen], MIN_SIGMA_NM), fit.deviance[chosen]
    weight = np.zeros(z.shape)
    rows = np.arange(len(z))
    for start in np.argsort(deviance, axis=1).T:
        here, wide = z[rows, start], sd[rows, start]
        reach = np.maximum(SAME_NM, SAME_SIGMAS * np.minimum(sd, wide[:, None]))
        known = np.any((weight > 0) & (np.abs(z - here[:, None]) <= reach), axis=1)
        inside = (here > low_nm) & (here < high_nm) & (deviance[rows, start] < FAILED)
        weight[rows, start] = ~known & inside
    # Where no fit has found any, all count alike: nothing is known.
    log_mass = np.where(weight > 0, fit.volume[chosen] - 0.5 * deviance, -FAILED)
    mass = np.exp(log_mass - log_mass.max(axis=1, keepdims=True))
    return Mixture(mass / mass.sum(axis=1, keepdims=True), z, sd)


def _scaled(sigma_nm: Real, z_nm: Real, scales: dict[str, Any] | None, name: str) -> Real:
    return sigma_nm if scales is None else rescale_sigma(sigma_nm, z_nm, scales[name])
