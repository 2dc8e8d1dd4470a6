"""Localisations to pixels: each a Gaussian as wide as it is uncertain, or a count in one pixel."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F32, I64

RADIUS_SIGMAS = 3.0
MAX_RADIUS_PX = 48
TILE_PX = 2 * MAX_RADIUS_PX + 32
"""Edge of a tile; two rows of tiles that are not neighbours never touch the same row of pixels."""
NEGLIGIBLE = 1e-6
"""Share of a localisation that is not worth drawing (far planes of a stack)."""


def splat(image: F32, u: F32, v: F32, su: F32, sv: F32, level: NDArray[np.integer], weights: F32) -> None:
    """Add Gaussians to `image`; those that lie outside are left out.

    Parameters
    ----------
    image : ndarray of float32, shape (channels, height, width)
        Changed in place.
    u, v : ndarray of float32, shape (n,)
        Column and row, px; 0 is the left or upper edge of the first pixel.
    su, sv : ndarray of float32, shape (n,)
        Standard deviations, px; below 0.2 all goes into one pixel, wider than `MAX_RADIUS_PX` / 3 is cut there.
    level : ndarray of int, shape (n,)
        Row of `weights` for each localisation.
    weights : ndarray of float32, shape (levels, channels)
        What the whole of a localisation adds up to in each channel.
    """
    _, height, width = image.shape
    near = (v > -MAX_RADIUS_PX) & (v < height + MAX_RADIUS_PX) & (u > -MAX_RADIUS_PX) & (u < width + MAX_RADIUS_PX)
    if not near.all():
        u, v, su, sv, level = u[near], v[near], su[near], sv[near], level[near]
    if not len(u):
        return
    # Neighbours are drawn one after the other, so that their pixels are still at hand; 16 bits sort fastest.
    across, down = -(-width // TILE_PX), -(-height // TILE_PX)
    column = np.clip(u // TILE_PX, 0, across - 1).astype(np.int32)
    row = np.clip(v // TILE_PX, 0, down - 1).astype(np.int32)
    kind = np.uint16 if across * down < 1 << 16 else np.int32
    order = np.argsort((row * across + column).astype(kind), kind="stable")
    start = np.searchsorted(row[order], np.arange(down + 1)).astype(np.int64)
    u, v, su, sv = u[order], v[order], su[order], sv[order]
    chosen = level[order].astype(np.int32)
    for phase in (0, 1):
        _splat_rows(image, u, v, su, sv, chosen, weights, start, phase)


@kernel(parallel=True, fastmath=True)
def _splat_rows(
    image: F32, u: F32, v: F32, su: F32, sv: F32, level: NDArray[np.int32], weights: F32,
    start: I64, phase: int,
) -> None:  # fmt: skip
    channels, height, width = image.shape
    for number in numba.prange((len(start) - phase) // 2):
        band = 2 * number + phase
        across, down = np.empty(2 * MAX_RADIUS_PX + 2, np.float32), np.empty(2 * MAX_RADIUS_PX + 2, np.float32)
        for index in range(start[band], start[band + 1]):
            left, columns = _profile(u[index], su[index], across)
            top, rows = _profile(v[index], sv[index], down)
            first, last = max(0, -left), min(columns, width - left)
            for channel in range(channels):
                whole = weights[level[index], channel]
                if whole < NEGLIGIBLE:
                    continue
                for row in range(max(0, -top), min(rows, height - top)):
                    weight = whole * down[row]
                    line = image[channel, top + row]
                    for column in range(first, last):
                        line[left + column] += weight * across[column]


@kernel(fastmath=True)
def _profile(centre: np.float32, sigma: np.float32, out: F32) -> tuple[int, int]:
    """Gaussian at whole pixels, sum 1: first pixel and number of pixels."""
    if sigma < np.float32(0.2):
        out[0] = np.float32(1.0)
        return int(np.floor(centre)), 1
    reach = min(np.float32(RADIUS_SIGMAS) * sigma, np.float32(MAX_RADIUS_PX))
    home = int(np.floor(centre - reach))
    size = int(np.floor(centre + reach)) - home + 1
    # Each value from the one before by two products: exp is needed three times only.
    distance = np.float32(home) + np.float32(0.5) - centre
    inverse = np.float32(0.5) / (sigma * sigma)
    now = np.exp(-distance * distance * inverse)
    ratio = np.exp(-(np.float32(2.0) * distance + np.float32(1.0)) * inverse)
    fall = np.exp(np.float32(-2.0) * inverse)
    total = np.float32(0.0)
    for k in range(size):
        out[k] = now
        total += now
        now *= ratio
        ratio *= fall
    scale = np.float32(1.0) / total
    for k in range(size):
        out[k] *= scale
    return home, size


def canvas_pixels(length_nm: float, render_pixel_nm: float) -> int:
    """Pixels that cover a length."""
    return max(1, int(np.ceil(length_nm / render_pixel_nm - 1e-6)))
