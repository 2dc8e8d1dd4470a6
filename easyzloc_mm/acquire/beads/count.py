"""Beads of an image that stand alone, and whether there are too many.

Their number and their coverage of the field (`beads.quality.coverage`) decide which fields are taken and when it is
enough. A quick count in the image in focus; the careful verdict is that of `easyzloc_mm.beads`.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.beads.detection.find import count_spots
from easyzloc_mm.beads.detection.form import PsfForm
from easyzloc_mm.typing import F64, U16

CROWDED_PX = 30.0
"""Mean distance of beads below which most of them lie in each other's way."""


def good_spots(image: U16, full_scale_adu: int) -> F64:
    """Places of spots that stand alone and are not saturated.

    Parameters
    ----------
    image : ndarray, shape (height, width), uint16
        In focus.
    full_scale_adu : int
        The camera's upper end.

    Returns
    -------
    ndarray, shape (n, 2)
        x, y in pixels.
    """
    x, y = count_spots(image)
    if not len(x):
        return np.empty((0, 2))
    gap = np.maximum(np.abs(x[:, None] - x[None]), np.abs(y[:, None] - y[None])).astype(float)
    np.fill_diagonal(gap, np.inf)
    dim = image[y.astype(int), x.astype(int)] < full_scale_adu
    alone = (gap.min(axis=1) >= PsfForm().neighbour_px) & dim
    return np.stack([x[alone], y[alone]], axis=1).astype(float)


def crowded(width_px: int, height_px: int) -> int:
    """Count of spots above which a field is too crowded."""
    return int(width_px * height_px / CROWDED_PX**2)
