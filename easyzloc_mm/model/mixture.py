"""Posterior of z as a mixture of Gaussians: its main mode, that mode's width, and the probability of an outlier.

References
----------
Bishop 1994, Mixture density networks, report NCRG/94/004, Aston University.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F64, I64, AnyFloat, Bool

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
ROUNDS, SETTLED_NM = 5, 0.01
MAIN_SHARE = 0.9
"""A peak that holds this share of the probability is the main one, whatever else there is."""
TINY = 1e-30
FARTHEST = 9.0
"""In standard deviations: so far from its mean a normal distribution holds nothing that a number could tell."""
ROOT_HALF, NORMAL = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
OUTLIER_SIGMAS = 4.0
"""An error larger than this many times the stated uncertainty contradicts it."""
APART_SIGMAS = 3.0
"""Farther from z than this many times what its own image leaves uncertain is another depth."""


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

    def pool(self, other: Mixture, share: F64 | float = 0.5) -> Mixture:
        """Return the mean of two posteriors (a linear opinion pool): a depth that either holds possible stays so.

        This one counts by `share`.
        """
        own = np.broadcast_to(np.asarray(share, float), len(self.weight))[:, None]
        return Mixture(
            np.concatenate([own * self.weight, (1 - own) * other.weight], axis=1),
            np.concatenate([self.mean_nm, other.mean_nm], axis=1),
            np.concatenate([self.sd_nm, other.sd_nm], axis=1),
        )

    def main_mode(self) -> tuple[F64, F64]:
        """Return mean and standard deviation (nm) of the peak that holds most probability, within `MODE_SIGMAS`.

        That is the highest peak, unless it holds less than `MAIN_SHARE` and another one more: a sharper peak is not
        the more probable one.
        """
        z_nm, sd_nm = np.empty(len(self.weight)), np.empty(len(self.weight))
        weight, mean_nm, widths = (np.ascontiguousarray(part) for part in (self.weight, self.mean_nm, self.sd_nm))
        _main_modes(weight, mean_nm, widths, z_nm, sd_nm)
        return z_nm, sd_nm

    def nearest(self, z_nm: F64) -> I64:
        """Return which component, of those that a spot has, lies nearest to a depth of each."""
        apart = np.where(self.weight > 0, np.abs(self.mean_nm - z_nm[:, None]), np.inf)
        return np.asarray(np.argmin(apart, axis=1))

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


@kernel()
def _main_modes(weight, mean_nm, sd_nm, z_nm, spread_nm):  # type: ignore[no-untyped-def]
    """Fill in `Mixture.main_mode` of every spot."""
    components = weight.shape[1]
    for i in range(len(weight)):
        w, mean, sd = weight[i], mean_nm[i], sd_nm[i]
        highest, peak = -1.0, 0
        for c in range(components):
            if w[c] <= 0:
                continue
            height = 0.0
            for k in range(components):
                height += w[k] / sd[k] * np.exp(-0.5 * ((mean[c] - mean[k]) / sd[k]) ** 2)
            if height > highest:
                highest, peak = height, c
        z_nm[i], spread_nm[i], share = _settled(w, mean, sd, mean[peak])
        if share >= MAIN_SHARE:
            continue
        for c in range(components):
            if w[c] <= 0 or c == peak:
                continue
            z, spread, its_share = _settled(w, mean, sd, mean[c])
            if its_share > share:
                z_nm[i], spread_nm[i], share = z, spread, its_share


@kernel()
def _settled(weight, mean, sd, start_nm):  # type: ignore[no-untyped-def]
    """Mean, standard deviation and probability of the peak at `start_nm`."""
    z, spread, share = start_nm, MODE_START_NM, 0.0
    for _ in range(ROUNDS):
        reach = max(MODE_SIGMAS * spread, MODE_MIN_NM)
        share = moment = square = 0.0
        for c in range(len(weight)):
            if weight[c] <= 0:
                continue
            low, high = (z - reach - mean[c]) / sd[c], (z + reach - mean[c]) / sd[c]
            if low > FARTHEST or high < -FARTHEST:
                continue
            inside = 0.5 * (math.erfc(-high * ROOT_HALF) - math.erfc(-low * ROOT_HALF))
            at_low, at_high = NORMAL * np.exp(-0.5 * low**2), NORMAL * np.exp(-0.5 * high**2)
            # Moments of the component between the ends, about where the peak was.
            away = mean[c] - z
            first = sd[c] * (at_low - at_high)
            second = sd[c] ** 2 * (inside + low * at_low - high * at_high)
            share += weight[c] * inside
            moment += weight[c] * (away * inside + first)
            square += weight[c] * (second + 2 * away * first + away**2 * inside)
        total = max(share, TINY)
        step = moment / total
        z += step
        before, spread = spread, np.sqrt(max(square / total - step**2, (MIN_WIDTH_UM * Z_UNIT_NM) ** 2))
        if max(abs(step), abs(spread - before)) < SETTLED_NM:
            break
    return z, spread, share
