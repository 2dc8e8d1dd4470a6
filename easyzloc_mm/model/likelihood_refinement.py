"""Refinement of the network's z by maximum likelihood under the measured PSF.

A fit that starts at the network's z finds the maximum nearby; fits that start at the other depths where a coarse scan
finds a minimum of chi squared find the other maxima. Each is weighted by its height and breadth (Laplace's
approximation). Where network and likelihood agree on one sharp z, the likelihood's is returned. Elsewhere the two
posteriors are pooled with equal weight (a linear opinion pool): a depth that either holds possible stays possible.

References
----------
MacKay 2003, Information Theory, Inference, and Learning Algorithms, chapter 27 (Laplace's approximation).
Stone 1961, The opinion pool, Annals of Mathematical Statistics 32, doi 10.1214/aoms/1177704873.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.model.mixture import APART_SIGMAS, OUTLIER_SIGMAS, Mixture, Posterior
from easyzloc_mm.model.uncertainty import LikelihoodScale
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.levenberg_marquardt import FAILED
from easyzloc_mm.psf.mle import Optimum, SpotFits, SpotPrior, fit_psf, likely_depths, with_rows
from easyzloc_mm.typing import F32, F64, I64, Bool

MAX_SIGMA_NM = 100.0
"""Above this uncertainty of the network there is no sharp optimum that could be returned alone."""
WITHIN_SIGMAS = 2.5
"""In units of lpz: an optimum farther from the network's z is another one."""
SIGMA_RATIO = 1.3
"""An optimum whose uncertainty exceeds the network's by this factor is not trusted."""
SHARP_NM = 40.0
"""Above this uncertainty a likelihood may have two maxima within it: there, an optimum is returned alone only if the
network agrees, both on z (`AGREED_SIGMAS`) and on its uncertainty (`AGREED_RATIO`)."""
AGREED_SIGMAS, AGREED_RATIO = 1.0, 0.75
DOUBT = 0.01
"""Where network or likelihood gives another depth a probability above this, their posteriors are pooled."""
CONTRADICTED = 0.25
"""A network whose posterior has a smaller share than this in the pool is not the answer by itself."""
STARTS = 4
"""Fits from other depths, at most."""
SAME_BASIN_KNOTS = 1.5
"""From a depth of the scan so near to the network's, 98 in 100 fits end where that from the network's does."""
SAME_NM, SAME_SIGMAS = 10.0, 0.5
"""Fits that end nearer to each other than this (nm, or in units of their uncertainty) found the same maximum."""
MIN_SIGMA_NM = 3.0


@dataclass(frozen=True)
class LikelihoodFit:
    """Refined z of n spots, each of shape (n,).

    Attributes
    ----------
    z_nm, lpz_nm : ndarray
    reach_nm : ndarray
        Farther from z than this is another depth.
    p_outlier : ndarray
        Probability that the emitter is farther from z than that.
    way : ndarray of int
        Where z comes from: `NETWORK`, `FITTED` or `POOLED`.
    deviance : ndarray
        Of the spot from the measured PSF, at the best optimum.
    photons : ndarray
        At that optimum.
    xy_px, sigma_xy_px : ndarray, shape (n, 2)
        Position of the emitter from the centre of the crop, under the measured PSF, and its standard deviation, pixels;
        NaN where z is not from an optimum. A fitted Gaussian follows the coma and astigmatism of a defocused spot.
    optimum : Optimum
        The one that z is from; the best, where z is from none.
    """

    z_nm: F64
    lpz_nm: F64
    reach_nm: F64
    p_outlier: F64
    way: I64
    deviance: F64
    photons: F64
    xy_px: F64
    sigma_xy_px: F64
    optimum: Optimum

    def with_rows(self, rows: Bool, other: LikelihoodFit) -> LikelihoodFit:
        """Return them with some rows in the place of others."""
        names = [one.name for one in fields(self) if one.name != "optimum"]
        joined = {name: with_rows(getattr(self, name), rows, getattr(other, name)) for name in names}
        return LikelihoodFit(**joined, optimum=self.optimum.with_rows(rows, other.optimum))


NETWORK, FITTED, POOLED = 0, 1, 2


@dataclass(frozen=True)
class Maxima:
    """The maxima of the likelihood of n spots.

    Attributes
    ----------
    fits : SpotFits
        From the network's z, first, and from other depths.
    weight : ndarray, shape (n, starts)
        Probability of each.
    """

    fits: SpotFits
    weight: F64

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Maxima:
        return Maxima(self.fits[chosen], self.weight[chosen])

    @property
    def mixture(self) -> Mixture:
        """The posterior that they stand for."""
        return Mixture(self.weight, self.fits.z_nm, np.maximum(self.fits.sigma_nm, MIN_SIGMA_NM))

    @classmethod
    def of(cls, fits: SpotFits, table: SplinePsf) -> Maxima:
        """Return what fits under a PSF have found."""
        return cls(fits, maxima(fits, *table.z_range_nm))

    def nearest_first(self, z_nm: F64) -> Maxima:
        """Return them in the order of their distance from a depth of each spot."""
        order = np.argsort(np.abs(self.fits.z_nm - z_nm[:, None]), axis=1, kind="stable")
        return Maxima(self.fits.ordered(order), np.take_along_axis(self.weight, order, axis=1))

    @classmethod
    def joined(cls, parts: Sequence[Maxima]) -> Maxima:
        """Return those of several lots of spots, one after the other."""
        fits = {one.name: np.concatenate([getattr(part.fits, one.name) for part in parts]) for one in fields(SpotFits)}
        return cls(SpotFits(**fits), np.concatenate([part.weight for part in parts]))


def find_maxima(
    crops: F32,
    table: SplinePsf,
    place: NDArray[np.integer],
    z_nm: F64,
    prior: SpotPrior,
    read_noise_e: float | F32,
    neighbours: F32 | None = None,
) -> Maxima:
    """Fit from the network's z and from the other depths that look likely.

    Parameters
    ----------
    crops : ndarray, shape (n, size, size)
        Photons.
    table : SplinePsf
        The measured PSF over the field.
    place : ndarray, shape (n,)
        Index of each spot's PSF in `table`.
    z_nm : ndarray, shape (n,)
        The network's.
    prior : SpotPrior
        Of photons and position: a spot of next to no photons would fit everywhere.
    read_noise_e : float or ndarray, shape (n, size, size)
    neighbours : ndarray, shape (n, size, size), optional
        Photons of other emitters in each pixel.
    """
    others = likely_depths(crops, table, place, read_noise_e, prior, STARTS, neighbours)
    others[np.abs(others - z_nm[:, None]) < SAME_BASIN_KNOTS * table.z_pitch_nm] = np.nan
    fit = fit_psf(crops, table, place, np.column_stack([z_nm, others]), read_noise_e, prior, neighbours)
    return Maxima.of(fit, table)


def refined(
    network: Posterior,
    lpz_nm: F64,
    likelihood: Maxima,
    scale: LikelihoodScale | None = None,
    share: F64 | None = None,
    *,
    by_image: bool = True,
) -> LikelihoodFit:
    """Decide between network and likelihood; where the fit cannot be trusted, the network's z stays as it was.

    Parameters
    ----------
    network : Posterior
        The network's posterior.
    lpz_nm : ndarray, shape (n,)
        The network's calibrated uncertainty.
    likelihood : Maxima
        From `find_maxima`.
    scale : LikelihoodScale, optional
        Calibration of the refined uncertainties.
    share : ndarray, shape (n,), optional
        Of the network in the pool of both posteriors; a half without it.
    by_image : bool
        Whether another depth begins `APART_SIGMAS` times the uncertainty of the optimum next to z away from it. The
        stated uncertainty is no measure of that: where two depths are possible it may span both. Models of before count
        from `OUTLIER_SIGMAS` times that on.
    """
    share = np.full(len(lpz_nm), 0.5) if share is None else share
    z, lpz = network.z_nm.copy(), np.array(lpz_nm, float)
    way = np.full(len(z), NETWORK)
    fit, weight = likelihood.fits, likelihood.weight
    found, width = fit.z_nm[:, 0], fit.sigma_nm[:, 0]
    away = np.abs(found - z) / lpz
    elsewhere = np.sum(weight * (np.abs(fit.z_nm - found[:, None]) > WITHIN_SIGMAS * lpz[:, None]), axis=1)
    unsure = (network.p_outlier(lpz) > DOUBT) | (elsewhere > DOUBT) | (share < CONTRADICTED)
    plausible = ~unsure & (away <= WITHIN_SIGMAS) & (width < SIGMA_RATIO * lpz) & (width > 0)
    agreed = (lpz < SHARP_NM) | ((away <= AGREED_SIGMAS) & (width > AGREED_RATIO * lpz))
    fitted = plausible & agreed & (lpz < MAX_SIGMA_NM)
    z[fitted], way[fitted] = found[fitted], FITTED
    scale = scale or LikelihoodScale()
    lpz[fitted] = scale.fitted.rescale(width[fitted], found[fitted])
    best = np.argmin(fit.deviance, axis=1)
    behind = np.where(fitted, 0, -1)
    some = (weight > 0).any(axis=1)
    peaks = likelihood.mixture
    both = network.mixture.pool(peaks, np.where(some, share, 1.0))
    pool = (unsure | (plausible & ~fitted)) & some
    if pool.any():
        z[pool], sd = both[pool].main_mode()
        way[pool] = POOLED
        # A pool is broader than either; of the likelihood alone there is nothing to narrow.
        wide, narrow = (one.rescale(sd, z[pool]) for one in (scale.fitted, scale.pooled))
        lpz[pool] = np.where(share[pool] > 0, narrow, wide)
    rows = np.arange(len(z))
    near = peaks.nearest(z)
    close = np.abs(fit.z_nm[rows, near] - z) <= lpz
    behind = np.where(pool & close & (lpz < MAX_SIGMA_NM), near, behind)
    reach = OUTLIER_SIGMAS * lpz
    if by_image:
        reach[some] = APART_SIGMAS * scale.fitted.rescale(fit.sigma_nm[rows, near], z)[some]
    p_outlier = both.beyond(z, reach)
    xy, sigma_xy = (
        np.where(behind[:, None] >= 0, np.stack([x[rows, behind], y[rows, behind]], axis=1), np.nan)
        for x, y in ((fit.x_px, fit.y_px), (fit.sigma_x_px, fit.sigma_y_px))
    )
    deviance = np.nan_to_num(fit.deviance[rows, best], nan=FAILED)
    optimum = Optimum.of(fit, np.where(behind >= 0, behind, best))
    return LikelihoodFit(z, lpz, reach, p_outlier, way, deviance, fit.photons[rows, best], xy, sigma_xy, optimum)


def maxima(fit: SpotFits, low_nm: float, high_nm: float) -> F64:
    """Return the probabilities of the maxima of the posterior density that fits have found, shape (n, starts).

    A maximum of density h and covariance C holds about h sqrt(det 2 pi C) (Laplace; MacKay 2003, chapter 27). A fit
    that ends at the edge of the range or outside has found none; a maximum that was found twice counts once. All 0,
    where none was found.
    """
    z, sd, deviance = fit.z_nm, np.maximum(fit.sigma_nm, MIN_SIGMA_NM), fit.deviance
    found = np.zeros(z.shape, bool)
    rows = np.arange(len(z))
    for start in np.argsort(deviance, axis=1).T:
        here, wide = z[rows, start], sd[rows, start]
        reach = np.maximum(SAME_NM, SAME_SIGMAS * np.minimum(sd, wide[:, None]))
        known = np.any(found & (np.abs(z - here[:, None]) <= reach), axis=1)
        inside = (here > low_nm) & (here < high_nm) & (deviance[rows, start] < FAILED)
        found[rows, start] = ~known & inside
    log_mass = np.where(found, fit.log_evidence, -FAILED)
    mass = np.where(found, np.exp(log_mass - log_mass.max(axis=1, keepdims=True)), 0.0)
    return np.asarray(mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-300))
