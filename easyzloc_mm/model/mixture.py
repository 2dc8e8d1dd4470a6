"""Posterior of z as a mixture of Gaussians: its main mode, that mode's width, and the probability of an outlier.

References
----------
Bishop 1994, Mixture density networks, report NCRG/94/004, Aston University.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from easyzloc_mm.typing import F64, AnyFloat, Bool

COMPONENTS = 5
EMBEDDING = 64
Z_UNIT_NM = 1000.0
"""The network works in micrometres."""
MIN_WIDTH_UM = 0.003
CENTRES_UM = np.linspace(-1.0, 1.0, COMPONENTS)
"""Means of the components before training: spread out, so that each can take a part of the range."""
MODE_SIGMAS = 3.0
"""A mode reaches this many standard deviations from its mean."""
MODE_START_NM = 40.0
MODE_MIN_NM = 50.0
ROUNDS = 5
MAIN_SHARE = 0.9
"""A peak that holds this share of the probability is the main one, whatever else there is."""
TINY = 1e-30
OUTLIER_SIGMAS = 4.0
"""An error larger than this many times the stated uncertainty contradicts it."""


@dataclass(frozen=True)
class Mixture:
    """Mixtures of Gaussians over z, one per spot; components that a spot lacks have weight 0.

    Attributes
    ----------
    weight, mean_nm, sd_nm : ndarray, shape (n, components)
    """

    weight: F64
    mean_nm: F64
    sd_nm: F64

    @classmethod
    def of_network(cls, raw: AnyFloat) -> Self:
        """Return the mixtures that a network's raw outputs stand for."""
        weights, means, widths = read_mixture(raw)
        return cls(weights, means * Z_UNIT_NM, widths * Z_UNIT_NM)

    def __getitem__(self, chosen: NDArray[np.integer] | Bool) -> Mixture:
        return Mixture(self.weight[chosen], self.mean_nm[chosen], self.sd_nm[chosen])

    def pool(self, other: Mixture) -> Mixture:
        """Return the mean of two posteriors (a linear opinion pool): a depth that either holds possible stays so."""
        return Mixture(
            np.concatenate([self.weight, other.weight], axis=1) / 2,
            np.concatenate([self.mean_nm, other.mean_nm], axis=1),
            np.concatenate([self.sd_nm, other.sd_nm], axis=1),
        )

    def main_mode(self) -> tuple[F64, F64]:
        """Return mean and standard deviation (nm) of the peak that holds most probability, within `MODE_SIGMAS`.

        That is the highest peak, unless it holds less than `MAIN_SHARE` and another one more: a sharper peak is not
        the more probable one.
        """
        distance = (self.mean_nm[:, :, None] - self.mean_nm[:, None, :]) / self.sd_nm[:, None, :]
        height = np.sum((self.weight / self.sd_nm)[:, None, :] * np.exp(-0.5 * distance**2), axis=2)
        height[self.weight <= 0] = -1.0
        z, sd, share = self._settled(self.mean_nm[np.arange(len(height)), np.argmax(height, axis=1)])
        split = np.flatnonzero(share < MAIN_SHARE)
        if len(split):
            part = self[split]
            for component in range(part.weight.shape[1]):
                other_z, other_sd, other_share = part._settled(part.mean_nm[:, component])
                more = (other_share > share[split]) & (part.weight[:, component] > 0)
                for values, other in ((z, other_z), (sd, other_sd), (share, other_share)):
                    values[split[more]] = other[more]
        return z, sd

    def _settled(self, z_nm: F64) -> tuple[F64, F64, F64]:
        """Return mean, standard deviation and probability of the peaks at `z_nm`."""
        z, sd = z_nm, np.full(len(z_nm), MODE_START_NM)
        for _ in range(ROUNDS):
            reach = np.maximum(MODE_SIGMAS * sd, MODE_MIN_NM)[:, None]
            low, high = ((z[:, None] + side * reach - self.mean_nm) / self.sd_nm for side in (-1, 1))
            inside = ndtr(high) - ndtr(low)
            at_low, at_high = (np.exp(-0.5 * end**2) / np.sqrt(2 * np.pi) for end in (low, high))
            # Moments of each component between the ends, about the component's mean.
            first = self.sd_nm * (at_low - at_high)
            second = self.sd_nm**2 * (inside + low * at_low - high * at_high)
            share = np.sum(self.weight * inside, axis=1)
            total = np.maximum(share, TINY)
            z_next = np.sum(self.weight * (self.mean_nm * inside + first), axis=1) / total
            away = self.mean_nm - z_next[:, None]
            spread = np.sum(self.weight * (second + 2 * away * first + away**2 * inside), axis=1) / total
            z, sd = z_next, np.sqrt(np.maximum(spread, (MIN_WIDTH_UM * Z_UNIT_NM) ** 2))
        return z, sd, share

    def beyond(self, z_nm: F64, distance_nm: F64) -> F64:
        """Return the probability that the emitter is farther than `distance_nm` from `z_nm`."""
        low, high = (((z_nm + side * distance_nm)[:, None] - self.mean_nm) / self.sd_nm for side in (-1, 1))
        return np.asarray(1.0 - np.sum(self.weight * (ndtr(high) - ndtr(low)), axis=1))


@dataclass(frozen=True)
class Posterior:
    """Posteriors of n spots, and their main modes.

    Attributes
    ----------
    z_nm, sigma_nm : ndarray, shape (n,)
        Mean and standard deviation of the peak that holds most probability.
    mixture : Mixture
    """

    z_nm: F64
    sigma_nm: F64
    mixture: Mixture

    def p_outlier(self, lpz_nm: F64) -> F64:
        """Return the probability that z is wrong by more than `OUTLIER_SIGMAS` times the stated uncertainty."""
        return self.mixture.beyond(self.z_nm, OUTLIER_SIGMAS * lpz_nm)


def read_mixture(raw: AnyFloat) -> tuple[F64, F64, F64]:
    """Return weights, means (um) and widths (um), each (n, COMPONENTS), from raw network outputs."""
    raw = np.asarray(raw, np.float64)
    logits, means, widths = (raw[:, i * COMPONENTS : (i + 1) * COMPONENTS] for i in range(3))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, means + CENTRES_UM, np.logaddexp(0.0, widths) * 0.3 + MIN_WIDTH_UM


def posterior_of(raw: AnyFloat) -> Posterior:
    """Return the posteriors that a network's raw outputs stand for."""
    mixture = Mixture.of_network(raw[:, : 3 * COMPONENTS])
    return Posterior(*mixture.main_mode(), mixture)
