"""Filters for molecules on unevenly lit backgrounds: blind to what varies slowly, by as much as it varies.

Light that differs from place to place is, to a filter, noise that neighbouring pixels share. In noise of covariance C
the filter with the highest ratio of signal to noise is C^-1 t [1]_; among filters that are sums of given ones B it is
B^T (B C B^T)^-1 B t. C is that of counting, 1 for each pixel, and of smooth light without a scale of its own.

References
----------
.. [1] Turin, An introduction to matched filters, IRE Transactions on Information Theory 6, 311 (1960),
   https://doi.org/10.1109/TIT.1960.1057571
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from easyzloc_mm.typing import F64

LIGHT_PX = (8.0, 16.0)
"""Over which light is alike: standard deviations of its Gaussian autocorrelation, of equal power."""
KEPT_LIGHT = 1e-3
"""Of the light's variance: patterns that have less are left out."""
UNKNOWN_LEVEL = 1e4
"""Variance of a background that is the same everywhere, in units of the noise: not known at all."""


def light_covariance(edge: int, pixel_px: int) -> F64:
    """Return the covariance of smooth light of unit variance over a square, shape (edge^2, edge^2).

    Parameters
    ----------
    edge : int
        Of the square.
    pixel_px : int
        Edge of what is counted together, pixels.
    """
    place = pixel_px * np.arange(edge, dtype=np.float64)
    apart = (place[:, None] - place) ** 2
    lines = [np.exp(-apart / (2 * width**2)) for width in LIGHT_PX]
    return np.asarray(sum(np.kron(line, line) for line in lines) / len(lines))


@lru_cache(maxsize=8)
def light_patterns(edge: int) -> tuple[F64, F64]:
    """Return the patterns that smooth light of unit variance is made of, in a square of pixels.

    Parameters
    ----------
    edge : int
        Of the square.

    Returns
    -------
    patterns : ndarray, shape (r, edge, edge)
        Orthogonal, of unit norm.
    variances : ndarray, shape (r,)
        Of how much there is of each.
    """
    values, vectors = np.linalg.eigh(light_covariance(edge, 1))
    kept = values > KEPT_LIGHT * edge**2
    return np.ascontiguousarray(vectors[:, kept].T.reshape(-1, edge, edge)), values[kept]


def best_filters(basis: F64, images: F64, light: F64, variances: F64, level: float = UNKNOWN_LEVEL) -> F64:
    """Return filters for images as sums of given ones, of which noise and light have unit variance.

    Parameters
    ----------
    basis : ndarray, shape (m, N)
        Filters that are to be summed up.
    images : ndarray, shape (..., N)
    light : ndarray, shape (N, N)
        From `light_covariance`.
    variances : ndarray, shape (L,)
        Of the light, in units of that of a pixel's noise.
    level : float
        Variance of the background that is the same everywhere, in the same units: how well it is known.

    Returns
    -------
    ndarray, shape (L, ..., m)
        How much of each.
    """
    even, noise, uneven = basis.sum(axis=1), basis @ basis.T, basis @ light @ basis.T
    product = basis @ images.reshape(-1, images.shape[-1]).T
    found = []
    for variance in variances:
        spread = noise + variance * uneven + level * np.outer(even, even)
        weight = np.linalg.solve(spread, product)
        found.append((weight / np.sqrt(np.sum(weight * (spread @ weight), axis=0))).T)
    return np.stack(found).reshape(len(found), *images.shape[:-1], len(basis))


def probe(edge: int, around: int) -> F64:
    """Return a filter of unit norm for light that is higher or lower in the middle of a square than at its edge.

    Parameters
    ----------
    edge : int
        Of the square.
    around : int
        Edge of the array, 0 outside the square.
    """
    at = np.arange(edge) - (edge - 1) / 2
    bent = at[:, None] ** 2 + at**2
    bent -= bent.mean()
    border = (around - edge) // 2
    return np.asarray(np.pad(bent / np.linalg.norm(bent), border))
