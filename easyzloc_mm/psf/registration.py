"""Sub-pixel registration: every bead's stack on the same square grid, centred on the bead."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from easyzloc_mm.numerics.spline import cubic_weights
from easyzloc_mm.typing import F32, F64, AnyFloat

PATCH_PX = 15
"""Edge of the grid, where the PSF needs no larger one."""
CENTRE_SIGMA_PX = 1.3
"""Width of the window of the centre: about that of a focused spot."""
FARTHEST_PX = 3.0
"""A centre that runs farther away has left its spot."""


def register(photons: F32, x: ArrayLike, y: ArrayLike, size: int = PATCH_PX, *, even: bool = False) -> F32:
    """Cut a square centred on (x, y) out of every plane.

    By cubic interpolation, which keeps detail on pixels and damps it between them; or `even`, by a cubic B-spline,
    which broadens the image by 0.6 pixels wherever between the pixels the centre lies. Beads are compared by the
    latter: between two of them, or along the path of one, the interpolation itself makes no difference then.

    Parameters
    ----------
    photons : ndarray, shape (P, R, R)
        Photons above background.
    x, y : float or ndarray, shape (P,)
        Centre of the bead, pixels of the ROI; the same in all planes, or of each.
    size : int
        Edge of the square.

    Returns
    -------
    ndarray, shape (P, size * size), float32
    """
    rows, columns = (_shift_matrix(*axis, even, size) for axis in ((photons.shape[1], y), (photons.shape[2], x)))
    patches = rows @ photons @ columns.swapaxes(-1, -2)
    return np.ascontiguousarray(patches.reshape(len(photons), -1), np.float32)


def rim_background(images: AnyFloat, *, together: bool = False) -> AnyFloat:
    """Return the background of images of a spot: the median of their outermost pixels, on all four sides.

    Parameters
    ----------
    images : ndarray, shape (..., a, b)
    together : bool
        One background for all images, from the pixels of all of them.

    Returns
    -------
    ndarray, shape (...) or ()
    """
    rows, columns = images[..., [0, -1], :], images[..., 1:-1, [0, -1]]
    each = images.shape[:-2]
    rim = np.concatenate([rows.reshape(*each, -1), columns.reshape(*each, -1)], axis=-1)
    return np.asarray(np.median(rim, axis=None if together else -1))


def noise_kept(x: ArrayLike, y: ArrayLike) -> float:
    """Return the part of a pixel's variance that `even` registration at (x, y) leaves, averaged over places.

    0.25 on a pixel, 0.21 between four.
    """
    size = 2 * PATCH_PX
    across, down = (
        np.mean(np.sum(_shift_matrix(size, PATCH_PX + np.asarray(at, float) % 1.0, even=True) ** 2, axis=-1), axis=-1)
        for at in (x, y)
    )
    return float(np.mean(across * down))


def _shift_matrix(size: int, centre: ArrayLike, even: bool, points: int = PATCH_PX) -> F32:
    """Return the weights of the pixels of a row in `points` around `centre`, shape (..., points, size)."""
    at = np.asarray(centre, float)[..., None] - points // 2 + np.arange(points)
    base = np.floor(at).astype(np.int64)
    t = np.asarray(at - base, np.float64)
    keys = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    matrix = np.zeros((*at.shape, size), np.float32)
    for tap, weight in enumerate(cubic_weights(t) if even else keys):
        column = np.clip(base - 1 + tap, 0, size - 1)[..., None]
        # Taps beyond the rim fall on its last pixel together.
        np.put_along_axis(
            matrix, column, np.take_along_axis(matrix, column, -1) + weight[..., None].astype(np.float32), -1
        )
    return matrix


def weighted_centre(
    patch: F64, x: float, y: float, rounds: int = 20, sigma_px: float = CENTRE_SIGMA_PX
) -> tuple[float, float]:
    """Return the centre (x, y) of a spot under a Gaussian window that follows it.

    Of two Gaussians of equal width the weighted mean of the product lies half way, hence the factor of 2.

    Parameters
    ----------
    patch : ndarray, shape (a, b)
        Image above background.
    x, y : float
        Where to begin, pixels of the patch.
    rounds : int
    sigma_px : float
        Of the window.
    """
    columns, rows = np.arange(patch.shape[1]), np.arange(patch.shape[0])
    start = x, y
    light = np.maximum(patch, 0.0)
    for _ in range(rounds):
        across = np.exp(-((columns - x) ** 2) / (2 * sigma_px**2))
        down = np.exp(-((rows - y) ** 2) / (2 * sigma_px**2))
        by_row, by_column = light @ across, down @ light
        total = float(by_row @ down)
        if total <= 0:
            return start
        dx = 2 * (float((by_column * across) @ columns) / total - x)
        dy = 2 * (float((by_row * down) @ rows) / total - y)
        x, y = x + dx, y + dy
        if max(abs(x - start[0]), abs(y - start[1])) > FARTHEST_PX:
            return start
        if max(abs(dx), abs(dy)) < 1e-3:
            break
    return float(x), float(y)
