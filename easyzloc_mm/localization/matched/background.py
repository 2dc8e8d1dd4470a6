"""What the surroundings of a spot say of its background, compiled.

Far from focus an image is so wide that a crop alone hardly tells its faint light from the background: photons, and the
side of focus, are uncertain for it. The frame around knows the background better, where it is even.
"""

from __future__ import annotations

import numba
import numpy as np

from easyzloc_mm.localization.matched.correlation import SAMPLES
from easyzloc_mm.numerics.statistics import MAD_TO_SD

FEWEST_TILES = 4
"""Of which the background is known."""
MEDIAN_TO_MEAN = 1.2533
"""Standard error of a median over that of a mean, of a normal distribution."""


@numba.njit(nogil=True, cache=True)
def background_around(medians, variance, shape_yx, x, y):  # type: ignore[no-untyped-def]
    """Photons per pixel around places in a frame, and their standard deviation, shape (n, 2); infinity if unknown.

    They are the median of the tile and the eight around it. By as much as these differ, the background may differ
    within them, and by the noise of one of them at least.

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
    for i in range(len(x)):
        row = min(max(int(y[i] * down / shape_yx[0]), 0), down - 1)
        column = min(max(int(x[i] * across / shape_yx[1]), 0), across - 1)
        near = medians[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].copy().ravel()
        if near.size < FEWEST_TILES:
            found[i] = 0.0, np.inf
            continue
        middle = np.median(near)
        spread = MAD_TO_SD * np.median(np.abs(near - middle))
        at_row = min(max(int(y[i]), 0), variance.shape[0] - 1)
        at_column = min(max(int(x[i]), 0), variance.shape[1] - 1)
        noise = MEDIAN_TO_MEAN * np.sqrt(middle + 4 * variance[at_row, at_column]) / SAMPLES
        found[i] = middle / 4, max(spread, noise) / 4
    return found
