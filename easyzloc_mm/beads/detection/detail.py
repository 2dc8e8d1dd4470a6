"""Spot-sized detail of images, and how sharp it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from easyzloc_mm.typing import F32

NARROW_PX, BROAD_PX = 1.0, 3.0
"""Standard deviations of the two Gaussians: about a focused spot, and its surroundings."""


def difference_of_gaussians(images: F32, *, truncate: float = 3.0) -> F32:
    """Return the spot-sized details of images: the background is taken out, and noise of single pixels damped.

    Parameters
    ----------
    images : ndarray, shape (..., Y, X)
    truncate : float
        Standard deviations at which the Gaussians end.
    """
    narrow, broad = (
        ndimage.gaussian_filter(images, sigma, truncate=truncate, axes=(-2, -1)) for sigma in (NARROW_PX, BROAD_PX)
    )
    return np.asarray(narrow - broad, np.float32)


def spot_contrast(image: NDArray[np.number[Any]]) -> float:
    """Return the contrast of bright spot-sized details, any unit; the sharper the beads, the higher.

    The sum of the fourth powers: beads count, the background does not, and a hot pixel counts the same at every z.

    Parameters
    ----------
    image : ndarray, shape (Y, X)
    """
    detail = difference_of_gaussians(np.asarray(image, np.float32))
    np.maximum(detail, 0.0, out=detail)
    detail *= detail
    return float(np.vdot(detail, detail))
