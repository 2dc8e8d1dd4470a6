"""The score of aberrations: how the likelihood of molecules would rise, were the PSF to change.

Of each molecule the expected image changes with an aberration by N dPSF/dtheta; what its own x, y, z, photons and
background can imitate of that is projected out, in the metric of the Fisher information (the efficient score [1]_). A
molecule that two depths explain counts for each by its probability (Louis' identity [2]_).

References
----------
.. [1] Bickel et al., Efficient and adaptive estimation for semiparametric models, Springer 1998.
.. [2] Louis, Finding the observed information matrix when using the EM algorithm, Journal of the Royal Statistical
   Society B 44, 226 (1982), https://doi.org/10.1111/j.2517-6161.1982.tb01203.x
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.mle import SpotFits, SpotPrior, fit_psf, likely_depths
from easyzloc_mm.psf.pupil.change import ImageSlopes
from easyzloc_mm.psf.pupil.kernels import each_image, images_and_slopes
from easyzloc_mm.typing import F32, F64, I64

STARTS = 3
"""Depths that a molecule is fitted from, beside the one that is known."""
SAME_NM = 25.0
"""Fits that end nearer to each other found the same optimum."""
LEAST_PROBABILITY = 0.05
"""An optimum that is less probable does not count."""
Z_ROW = 3
"""Of what a molecule can do itself: image, x, y, z, background."""
BLOCK = 1024
"""Molecules whose images are in memory at once."""
OUTLIER_SDS = 4.0
"""Molecules whose deviance is so many robust standard deviations above the median are something else: two molecules,
a moving one, a speck."""


@dataclass(frozen=True)
class Molecules:
    """Crops of single molecules, and what is known of them.

    Attributes
    ----------
    crops : ndarray, shape (n, size, size), float32
        Photons.
    x, y : ndarray, shape (n,)
        Sensor position; the crop's middle is the nearest pixel.
    z_nm : ndarray, shape (n,)
        Depth from the focus at their place in the field.
    prior : SpotPrior
    read_noise_e : float
    """

    crops: F32
    x: F64
    y: F64
    z_nm: F64
    prior: SpotPrior
    read_noise_e: float

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: I64) -> Molecules:
        own = {name: getattr(self, name)[rows] for name in ("crops", "x", "y", "z_nm", "prior")}
        return replace(self, **own)


@dataclass(frozen=True)
class Score:
    """Score and information of aberrations from n molecules.

    Attributes
    ----------
    score : ndarray, shape (n, K)
        Of each molecule, 0 for outliers.
    information : ndarray, shape (K, K)
        Of all together.
    used : int
        Molecules that count.
    z_nm : ndarray, shape (n,)
        Their most probable depths.
    z_bias_nm : ndarray, shape (n, K)
        By how much an aberration that the PSF lacks moves z, per rad.
    """

    score: F64
    information: F64
    used: int
    z_nm: F64
    z_bias_nm: F64

    @property
    def step(self) -> F64:
        """Return the change that the molecules ask for, shape (K,)."""
        return np.asarray(np.linalg.solve(self.information, self.score.sum(axis=0)))

    def covariance(self, emitter: I64 | None = None) -> F64:
        """Return the covariance of `step`, shape (K, K), from the molecules' scatter: right for any noise.

        Parameters
        ----------
        emitter : ndarray, shape (n,), optional
            Which emitter each image is of, where some are of the same: its images err together.
        """
        inverse, part = np.linalg.inv(self.information), self.score
        if emitter is not None:
            part = np.zeros((int(emitter.max()) + 1, self.score.shape[1]))
            np.add.at(part, emitter, self.score)
        return np.asarray(inverse @ (part.T @ part) @ inverse)


def score(molecules: Molecules, table: SplinePsf, place: I64, slopes: ImageSlopes) -> Score:
    """Fit molecules under a PSF, and return what they say of its aberrations.

    Parameters
    ----------
    molecules : Molecules
    table : SplinePsf
    place : ndarray, shape (n,)
        Which of its places each molecule lies at.
    slopes : ImageSlopes
        What aberrations do to that PSF.
    """
    fits = _fits(molecules, table, place)
    probability = _probability(fits)
    best = np.argmax(probability, axis=1)
    rows = np.arange(len(molecules))
    deviance = fits.deviance[rows, best]
    inlier = deviance < np.median(deviance) + OUTLIER_SDS * robust_sd(deviance, about=float(np.median(deviance)))
    probability *= inlier[:, None]
    molecule, start = np.nonzero(probability > LEAST_PROBABILITY)
    found = np.zeros((len(molecules), slopes.coefficients.shape[1]))
    bias = np.zeros_like(found)
    information = np.zeros((found.shape[1], found.shape[1]))
    of_slopes = slopes.place(molecules.x, molecules.y)
    for first in range(0, len(molecule), BLOCK):
        block = slice(first, first + BLOCK)
        one, at = molecule[block], start[block]
        weight = probability[one, at]
        part, part_information, by_term = _efficient(molecules, one, at, fits, table, place, slopes, of_slopes)
        np.add.at(found, one, weight[:, None] * part)
        np.add.at(bias, one, weight[:, None] * by_term)
        information += np.einsum("n,nij->ij", weight, part_information)
    return Score(found, information, int(inlier.sum()), fits.z_nm[rows, best], bias)


def evidence(molecules: Molecules, table: SplinePsf, place: I64) -> F64:
    """Return the logarithm of each molecule's likelihood under a PSF, whatever its place and light, shape (n,).

    Up to a constant that is the same for every PSF. Parameters as for `score`.
    """
    return np.asarray(logsumexp(_heights(_fits(molecules, table, place)), axis=1))


def _fits(molecules: Molecules, table: SplinePsf, place: I64) -> SpotFits:
    others = likely_depths(molecules.crops, table, place, molecules.read_noise_e, molecules.prior, STARTS)
    starts = np.concatenate([molecules.z_nm[:, None], others], axis=1)
    return fit_psf(molecules.crops, table, place, starts, molecules.read_noise_e, molecules.prior)


def _heights(fits: SpotFits) -> F64:
    """Return the logarithm of each optimum's part of the likelihood, by Laplace's approximation; of equal ones once."""
    height = np.where(fits.started, fits.log_evidence, -np.inf)
    for later in range(1, height.shape[1]):
        for earlier in range(later):
            same = np.abs(fits.z_nm[:, later] - fits.z_nm[:, earlier]) < SAME_NM
            same &= np.isfinite(height[:, earlier])
            height[same, later] = -np.inf
    return np.asarray(height)


def _probability(fits: SpotFits) -> F64:
    """Return the probability of each optimum, shape (n, s)."""
    height = _heights(fits)
    weight = np.exp(height - height.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _efficient(
    molecules: Molecules, one: I64, at: I64, fits: SpotFits, table: SplinePsf, place: I64, slopes: ImageSlopes,
    of_slopes: I64,
) -> tuple[F64, F64, F64]:  # fmt: skip
    """Return efficient scores (n, K), their information (n, K, K), and how terms move z (n, K; nm per rad).

    Of the optima `at` of the molecules `one`.
    """
    size, terms = molecules.crops.shape[1], slopes.coefficients.shape[1]
    depth = (fits.z_nm[one, at] - table.z_start_nm) / table.z_pitch_nm
    theta = np.stack([fits.x_px[one, at], fits.y_px[one, at], depth], axis=1)
    drawn = np.empty((len(one), 4, size, size), np.float32)
    images_and_slopes(table.coefficients, place[one], theta, drawn)
    changes = np.empty((len(one), terms, size, size), np.float32)
    each_image(slopes.coefficients, of_slopes[one], theta, changes)
    own, by_term = drawn.reshape(len(one), 4, -1).astype(float), changes.reshape(len(one), terms, -1).astype(float)
    photons = fits.photons[one, at][:, None]
    expected = np.maximum(photons * own[:, 0] + fits.background[one, at][:, None], 0) + molecules.read_noise_e**2
    data = molecules.crops[one].reshape(len(one), -1) + molecules.read_noise_e**2
    root = 1 / np.sqrt(np.maximum(expected, 1e-2))
    residual = (data - expected) * root
    nuisance = np.concatenate([own, np.ones_like(own[:, :1])], axis=1) * root[:, None]
    wanted = photons[:, None] * by_term * root[:, None]
    # Least squares of what is wanted by what a molecule can do itself; columns of unit length for the solver.
    length = np.linalg.norm(nuisance, axis=2, keepdims=True) + 1e-30
    nuisance /= length
    normal = nuisance @ nuisance.transpose(0, 2, 1) + 1e-6 * np.eye(nuisance.shape[1])
    own_change = np.linalg.solve(normal, nuisance @ wanted.transpose(0, 2, 1))
    rest = wanted - own_change.transpose(0, 2, 1) @ nuisance
    by_z = own_change[:, Z_ROW] / length[:, Z_ROW] / photons * table.z_pitch_nm
    return np.einsum("nkp,np->nk", rest, residual), rest @ rest.transpose(0, 2, 1), by_z
