"""What the surroundings of a spot say of its background, compiled.

Far from focus an image is so wide that a crop alone hardly tells its faint light from the background: photons, and the
side of focus, are uncertain for it. The frame around knows the background better, where it is even.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.numerics.level import REACH_TILES, crowded, level_of

FEWEST_TILES = 4
"""Of which the background is known."""


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
