"""Localisations to pixels: each a Gaussian as wide as it is uncertain, or a count in one pixel."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]

RADIUS_SIGMAS = 3.0
MAX_RADIUS_PX = 48
BAND_PX = 2 * MAX_RADIUS_PX + 32
"""Rows of a band; two bands that are not neighbours never touch the same row."""


def splat(image: Single, u: Single, v: Single, su: Single, sv: Single, value: Single) -> None:
    """Add Gaussians to `image`, each with the sum of its `value`; those that lie outside are left out.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, channels)
        Changed in place.
    u, v : ndarray of float32, shape (n,)
        Column and row, px; 0 is the left or upper edge of the first pixel.
    su, sv : ndarray of float32, shape (n,)
        Standard deviations, px; 0 puts everything in one pixel. Wider than `MAX_RADIUS_PX` / 3 is cut there.
    value : ndarray of float32, shape (n, channels)
    """
    height, width = image.shape[:2]
    near = (v > -MAX_RADIUS_PX) & (v < height + MAX_RADIUS_PX) & (u > -MAX_RADIUS_PX) & (u < width + MAX_RADIUS_PX)
    if not near.all():
        u, v, su, sv, value = u[near], v[near], su[near], sv[near], value[near]
    if not len(u):
        return
    bands = -(-height // BAND_PX)
    band = np.clip(v // BAND_PX, 0, bands - 1).astype(np.int16)
    order = np.argsort(band, kind="stable").astype(np.int32)
    start = np.searchsorted(band[order], np.arange(bands + 1)).astype(np.int64)
    for phase in (0, 1):
        _splat_bands(image, u, v, su, sv, value, order, start, phase)


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
def _splat_bands(
    image: Single, u: Single, v: Single, su: Single, sv: Single, value: Single,
    order: NDArray[np.int32], start: NDArray[np.int64], phase: int,
) -> None:  # fmt: skip
    count = (len(start) - phase) // 2
    for number in numba.prange(count):
        band = 2 * number + phase
        across, down = np.empty(2 * MAX_RADIUS_PX + 1, np.float32), np.empty(2 * MAX_RADIUS_PX + 1, np.float32)
        for position in range(start[band], start[band + 1]):
            _splat_one(image, u, v, su, sv, value, order[position], across, down)


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _profile(centre: float, sigma: float, out: Single) -> tuple[int, int]:
    """Gaussian at whole pixels, sum 1: first pixel and number of pixels."""
    home = int(np.floor(centre))
    if sigma < 0.2:
        out[0] = 1.0
        return home, 1
    radius = min(MAX_RADIUS_PX, int(np.ceil(RADIUS_SIGMAS * sigma)))
    # Each value from the one before by two products: exp is needed three times only.
    distance = home - radius + 0.5 - centre
    inverse = 0.5 / (sigma * sigma)
    now = np.exp(-distance * distance * inverse)
    ratio = np.exp(-(2.0 * distance + 1.0) * inverse)
    fall = np.exp(-2.0 * inverse)
    total = 0.0
    size = 2 * radius + 1
    for k in range(size):
        out[k] = now
        total += now
        now *= ratio
        ratio *= fall
    for k in range(size):
        out[k] /= total
    return home - radius, size


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _splat_one(
    image: Single, u: Single, v: Single, su: Single, sv: Single, value: Single, index: int, across: Single, down: Single
) -> None:
    height, width, channels = image.shape
    left, columns = _profile(u[index], su[index], across)
    top, rows = _profile(v[index], sv[index], down)
    first, last = max(0, -left), min(columns, width - left)
    if channels == 3:
        red, green, blue = value[index, 0], value[index, 1], value[index, 2]
        for row in range(max(0, -top), min(rows, height - top)):
            line = image[top + row]
            for column in range(first, last):
                weight = down[row] * across[column]
                line[left + column, 0] += weight * red
                line[left + column, 1] += weight * green
                line[left + column, 2] += weight * blue
    else:
        for row in range(max(0, -top), min(rows, height - top)):
            line = image[top + row]
            for column in range(first, last):
                weight = down[row] * across[column]
                for channel in range(channels):
                    line[left + column, channel] += weight * value[index, channel]


def canvas_pixels(length_nm: float, pixel_nm: float) -> int:
    """Pixels that cover a length."""
    return max(1, int(np.ceil(length_nm / pixel_nm - 1e-6)))
