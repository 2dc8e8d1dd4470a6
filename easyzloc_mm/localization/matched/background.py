"""What the surroundings of a spot say of its background, compiled.

Far from focus an image is so wide that a crop alone hardly tells its faint light from the background: photons, and the
side of focus, are uncertain for it. The frame around knows the background better, where it is even.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.numerics.level import ALIKE, REACH_TILES, crowded, level_of, noise_of_median

FEWEST_TILES = 4
"""Of which the background is known."""
NEAR_TILES = 1
"""To either side of a tile, whose mean is its background where tiles agree."""
LEAST_VARIANCE = 16.0
"""Of a binned pixel, in units of the square of what a count is worth: below, medians of counts are too coarse."""


@kernel()
def agreed(medians, read_variance, step):  # type: ignore[no-untyped-def]
    """Return the mean of each tile and those around it, and whether tiles differ from it by noise alone.

    Parameters
    ----------
    medians : ndarray
        From `correlation.tile_medians`: of 2x2 pixels.
    read_variance : float
        Of the read noise of a pixel.
    step : float
        Photons of a count, at least 1.
    """
    out = np.empty_like(medians)
    down, across = medians.shape
    unlike, noise, lowest = 0.0, 0.0, np.inf
    for i in range(down):
        top, bottom = max(i - NEAR_TILES, 0), min(i + NEAR_TILES + 1, down)
        for j in range(across):
            left, right = max(j - NEAR_TILES, 0), min(j + NEAR_TILES + 1, across)
            total = 0.0
            for a in range(top, bottom):
                for b in range(left, right):
                    total += medians[a, b]
            count = (bottom - top) * (right - left)
            level = total / count
            out[i, j] = level
            unlike += (medians[i, j] - level) ** 2
            noise += noise_of_median(level, read_variance) ** 2 * (1 - 1 / count)
            lowest = min(lowest, level)
    alike = unlike <= ALIKE**2 * noise
    return out, alike and lowest + 4 * read_variance >= LEAST_VARIANCE * step**2


@kernel()
def background_around(medians, variance, shape_yx, x, y):  # type: ignore[no-untyped-def]
    """Photons per pixel around places in a frame, and their standard deviation, shape (n, 2); infinity if unknown.

    They are what the tile and those around it say (`numerics.level`).

    Parameters
    ----------
    medians : ndarray
        From `correlation.tile_medians`: of 2x2 pixels.
    variance : ndarray, shape (1, 1) or (Y, X)
        Of the read noise of a pixel.
    shape_yx : (int, int)
        Of the frame.
    x, y : ndarray, shape (n,)
        Pixels.
    """
    down, across = medians.shape
    found = np.empty((len(x), 2))
    tile = np.empty((len(x), 2), np.int64)
    emitters = np.zeros((down, across))
    for i in range(len(x)):
        tile[i, 0] = min(max(int(y[i] * down / shape_yx[0]), 0), down - 1)
        tile[i, 1] = min(max(int(x[i] * across / shape_yx[1]), 0), across - 1)
        emitters[tile[i, 0], tile[i, 1]] += 1
    for i in range(len(x)):
        row, column = tile[i]
        for reach in (REACH_TILES, 1):  # in a crowd, what is near
            rows = slice(max(row - reach, 0), row + reach + 1)
            columns = slice(max(column - reach, 0), column + reach + 1)
            near = medians[rows, columns].copy().ravel()
            emitters_near = emitters[rows, columns].sum()
            if not crowded(emitters_near, near.size):
                break
        if near.size < FEWEST_TILES:
            found[i] = 0.0, np.inf
            continue
        at_row = min(max(int(y[i]), 0), variance.shape[0] - 1)
        at_column = min(max(int(x[i]), 0), variance.shape[1] - 1)
        found[i] = level_of(near, variance[at_row, at_column], emitters_near)
    return found
