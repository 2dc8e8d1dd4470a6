"""How much of the field of view holds beads."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.typing import F64, I64

CELLS = 5
PER_CELL = 3
"""A cell of the 5x5 field counts as covered from this many beads on."""


def field_coverage(x: F64, y: F64, field_size_px: tuple[int, int], bead_id: I64 | None = None) -> float:
    """Return the part of the field's 5x5 cells that hold three different beads or more.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Sensor pixels; of all fields of view together, since every one is seen by the same lens.
    field_size_px : (int, int)
        Width and height of the camera image.
    bead_id : ndarray, shape (n,), optional
        Which bead each is, where some were recorded several times.
    """
    width, height = field_size_px
    which = np.arange(len(x)) if bead_id is None else bead_id
    column, row = (
        np.clip(np.floor((at + 0.5) * CELLS / size).astype(np.int64), 0, CELLS - 1)
        for at, size in ((np.asarray(x), width), (np.asarray(y), height))
    )
    different = np.unique(np.stack([row * CELLS + column, which], axis=1).reshape(-1, 2), axis=0)
    return float((np.bincount(different[:, 0], minlength=CELLS**2) >= PER_CELL).mean())
