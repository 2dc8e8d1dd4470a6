"""How much of the field of view holds beads."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.typing import F64

CELLS = 5
PER_CELL = 3
"""A cell of the 5x5 field counts as covered from this many beads on."""


def field_coverage(x: F64, y: F64, field_size_px: tuple[int, int]) -> float:
    """Return the part of the field's 5x5 cells that hold three beads or more.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Sensor pixels; of all fields of view together, since every one is seen by the same lens.
    field_size_px : (int, int)
        Width and height of the camera image.
    """
    width, height = field_size_px
    counts, _, _ = np.histogram2d(y, x, bins=CELLS, range=((-0.5, height - 0.5), (-0.5, width - 0.5)))
    return float((counts >= PER_CELL).mean())
