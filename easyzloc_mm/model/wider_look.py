"""A second look at molecules that several depths explain: in a larger crop.

What tells one side of focus from the other is often the faint light around the image, beyond the crop that network and
fit see. Where a molecule stands alone, its possible depths are held against a larger crop too, and the parts of its
posterior count by how well each explains what was added: the evidence there, over that in the smaller crop, which is in
the posterior already. Evidences are Laplace's approximation at the optimum [1]_.

References
----------
.. [1] Kass and Raftery, Bayes factors, Journal of the American Statistical Association 90, 773 (1995),
   https://doi.org/10.1080/01621459.1995.10476572
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.model.likelihood_refinement import POOLED, LikelihoodFit, Maxima, refined
from easyzloc_mm.model.mixture import TINY, Mixture, Posterior
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.mle import SpotFits, SpotPrior, fit_psf
from easyzloc_mm.typing import F32, F64, I64, Bool

APART_NM = 200.0
"""Depths nearer to each other are one answer."""
DOUBT = 0.1
"""Probability of other depths, above which a larger crop is looked at."""
LEAST_PROBABILITY = 0.005
"""Of a depth that is held against the larger crop."""
DEPTHS = 3


@dataclass(frozen=True)
class WiderCrops:
    """Larger crops of the spots that stand alone.

    Attributes
    ----------
    alone : ndarray of bool, shape (n,)
        Of all spots, those around which there is no light but their own.
    cut : callable
        Photons, shape (m, edge, edge), and read noise around the m spots that a mask chooses.
    """

    alone: Bool
    cut: Callable[[Bool], tuple[F32, float | F32]]


@dataclass(frozen=True)
class Crops:
    """Crops of n spots, and what a fit of them needs: as for `psf.mle.fit_psf`."""

    photons: F32
    table: SplinePsf
    place: I64
    read_noise_e: float | F32
    prior: SpotPrior

    def __getitem__(self, chosen: Bool) -> Crops:
        noise_e = self.read_noise_e if np.ndim(self.read_noise_e) == 0 else np.asarray(self.read_noise_e)[chosen]
        return Crops(self.photons[chosen], self.table, self.place[chosen], noise_e, self.prior[chosen])

    def fitted(self, starts_nm: F64) -> SpotFits:
        """Fit them from every start."""
        return fit_psf(self.photons, self.table, self.place, starts_nm, self.read_noise_e, self.prior)


def look_wider(
    first: LikelihoodFit,
    network: Posterior,
    likelihood: Maxima,
    spots: Crops,
    wider: WiderCrops,
    wider_table: SplinePsf,
    calibration: MixtureCalibration,
    share: F64,
) -> LikelihoodFit:
    """Return `first`, with the depths of the lonely spots that several depths explain decided anew.

    Parameters
    ----------
    first : LikelihoodFit
        What was made of `network` and `likelihood`.
    network : Posterior
    likelihood : Maxima
    spots : Crops
    wider : WiderCrops
    wider_table : SplinePsf
        The measured PSF as far as the larger crops reach.
    calibration : MixtureCalibration
    share : ndarray, shape (n,)
        Of the network in the pool of both posteriors, before the larger crops are looked at.
    """
    doubtful = wider.alone & (first.way == POOLED)
    pool = network.mixture[doubtful].pool(likelihood[doubtful].mixture, share[doubtful])
    starts = _depths(first.z_nm[doubtful], pool)
    several = np.isfinite(starts[:, 1])
    doubtful[doubtful], starts = several, starts[several]
    if not len(starts):
        return first
    spots, likelihood = spots[doubtful], likelihood[doubtful]
    photons, noise_e = wider.cut(doubtful)
    near = spots.fitted(starts)
    starts = np.where(near.started, near.z_nm, np.nan)
    far = Crops(photons, wider_table, spots.place, noise_e, spots.prior).fitted(starts)
    weighed = _Weights.of(near, far)
    mixture = network.mixture[doubtful]
    weight, by_network = weighed(mixture.weight, mixture.mean_nm)
    mixture = Mixture(weight, mixture.mean_nm, mixture.sd_nm)
    posterior = Posterior(*mixture.main_mode(), mixture)
    lpz_nm = calibration.network_scale.rescale(posterior.sigma_nm, posterior.z_nm)
    found = Maxima.of(likelihood.fits.beside(near), spots.table)
    weight, by_likelihood = weighed(found.weight, found.fits.z_nm)
    found = Maxima(found.fits, weight).nearest_first(posterior.z_nm)
    by_network, by_likelihood = share[doubtful] * by_network, (1 - share[doubtful]) * by_likelihood
    share = by_network / np.maximum(by_network + by_likelihood, TINY)
    by_image = calibration.likelihood_ambiguity.by_image
    again = refined(posterior, lpz_nm, found, calibration.likelihood_scale, share, by_image=by_image)
    return first.with_rows(doubtful, again)


def _depths(z_nm: F64, posterior: Mixture) -> F64:
    """Return z and the most probable depths beside it, shape (n, DEPTHS); NaN where there is no doubt, or no more."""
    depths = np.full((len(z_nm), DEPTHS), np.nan)
    depths[:, 0] = z_nm
    rows, apart = np.arange(len(z_nm)), np.abs(posterior.mean_nm - z_nm[:, None]) > APART_NM
    weight = np.where(apart, posterior.weight, 0.0)
    weight[weight.sum(axis=1) < DOUBT] = 0.0
    for k in range(1, DEPTHS):
        best = weight.argmax(axis=1)
        depths[:, k] = np.where(weight[rows, best] >= LEAST_PROBABILITY, posterior.mean_nm[rows, best], np.nan)
        weight = np.where(np.abs(posterior.mean_nm - depths[:, k : k + 1]) > APART_NM, weight, 0.0)
    return depths


@dataclass(frozen=True)
class _Weights:
    """What larger crops say of depths.

    Attributes
    ----------
    z_nm, log_factor : ndarray, shape (n, DEPTHS)
        Of the optima that fits of both crops found near each other; infinity and 0 for the others.
    """

    z_nm: F64
    log_factor: F64

    @classmethod
    def of(cls, near: SpotFits, far: SpotFits) -> _Weights:
        same = np.abs(near.z_nm - far.z_nm) <= APART_NM
        # Against the depth that was found; where that is no optimum of both, nothing is said.
        same &= same[:, :1] & near.started & far.started
        gain = far.log_evidence - near.log_evidence
        gain = np.where(same, gain - gain[:, :1], 0.0)
        return cls(np.where(same, near.z_nm, np.inf), gain - gain.max(axis=1, keepdims=True))

    def __call__(self, weight: F64, at_nm: F64) -> tuple[F64, F64]:
        """Return weights of depths, each times what is said of the optimum next to it, divided by their sum; and it."""
        optimum = np.argmin(np.abs(at_nm[:, :, None] - self.z_nm[:, None, :]), axis=2)
        weight = weight * np.exp(np.take_along_axis(self.log_factor, optimum, axis=1))
        total = weight.sum(axis=1)
        return weight / np.maximum(total, TINY)[:, None], total
