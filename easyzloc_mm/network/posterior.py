"""What a mixture of Gaussians says about z: a value, an uncertainty, and whether there is a second opinion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Real = NDArray[np.float64]

COMPONENTS = 5
EMBEDDING = 64
Z_UNIT_NM = 1000.0
"""The network works in micrometres."""
MIN_WIDTH_UM = 0.003
CENTRES_UM = np.linspace(-1.0, 1.0, COMPONENTS)
"""Where the components stand before training: spread out, so that each can take a part of the range."""
SAME_MODE_SIGMAS = 3.0
GROSS_ERROR_NM = 300.0
"""An error that puts a molecule into another structure."""


@dataclass(frozen=True)
class Posterior:
    """Reading of n mixtures.

    Attributes
    ----------
    z_nm, sigma_nm : ndarray, shape (n,)
        Mean and standard deviation of the strongest mode.
    elsewhere : ndarray, shape (n,)
        Probability that the molecule lies more than `GROSS_ERROR_NM` from `z_nm`: on the other side of focus, or
        anywhere in a range that the spot cannot narrow down.
    """

    z_nm: Real
    sigma_nm: Real
    elsewhere: Real


def read_mixture(raw: NDArray[np.floating]) -> tuple[Real, Real, Real]:
    """Weights, means (um) and widths (um), each (n, COMPONENTS), from raw network outputs."""
    raw = np.asarray(raw, np.float64)
    logits, means, widths = (raw[:, i * COMPONENTS : (i + 1) * COMPONENTS] for i in range(3))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, means + CENTRES_UM, np.logaddexp(0.0, widths) * 0.3 + MIN_WIDTH_UM


def summarize(raw: NDArray[np.floating]) -> Posterior:
    """Find the strongest mode of each mixture, and how much probability lies far from it.

    Components within 3 sigma of the strongest one belong to its mode; they are pooled by their moments.
    """
    weights, means, widths = read_mixture(raw)
    rows = np.arange(len(weights))
    # A broad component beside a narrow one of equal weight is the weaker claim, hence weight over root of width.
    main = np.argmax(weights / np.sqrt(widths), axis=1)
    for _ in range(2):
        centre, width = means[rows, main][:, None], widths[rows, main][:, None]
        same = np.abs(means - centre) <= SAME_MODE_SIGMAS * np.maximum(width, widths)
        mass = np.where(same, weights, 0.0)
        inside = mass.sum(axis=1)
        # When the rest outweighs this mode, the mode of the heaviest component is the better answer.
        main = np.where(inside < 0.5, np.argmax(weights, axis=1), main)
    share = mass / inside[:, None]
    z = np.sum(share * means, axis=1)
    variance = np.sum(share * (widths**2 + means**2), axis=1) - z**2
    gross = GROSS_ERROR_NM / Z_UNIT_NM
    distance = z[:, None] - means
    near = ndtr((distance + gross) / widths) - ndtr((distance - gross) / widths)
    elsewhere = 1.0 - np.sum(weights * near, axis=1)
    return Posterior(z * Z_UNIT_NM, np.sqrt(np.maximum(variance, MIN_WIDTH_UM**2)) * Z_UNIT_NM, elsewhere)


def mixture_loss(z_um: object, raw: object) -> object:
    """Negative log likelihood of z under the mixture, a Keras loss."""
    from keras import ops

    target = ops.reshape(z_um, (-1, 1))
    logits = raw[:, :COMPONENTS]  # type: ignore[index]
    means = raw[:, COMPONENTS : 2 * COMPONENTS] + CENTRES_UM.astype(np.float32)  # type: ignore[index]
    widths = ops.softplus(raw[:, 2 * COMPONENTS : 3 * COMPONENTS]) * 0.3 + MIN_WIDTH_UM  # type: ignore[index]
    log_density = ops.log_softmax(logits) - ops.log(widths) - 0.5 * ((target - means) / widths) ** 2
    return -ops.mean(ops.logsumexp(log_density, axis=1))
