"""Images that never came: programs store them as one value all over, which no camera gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import Bool

LOOK_AT = 1024
"""So many pixels decide on nearly all images."""


def blank_images(images: NDArray[np.generic]) -> Bool:
    """Return which images, shape (n, Y, X), have the same value in all of their pixels."""
    flat = images.reshape(len(images), -1)
    found = np.asarray((flat[:, :LOOK_AT] == flat[:, :1]).all(axis=1), bool)
    for row in np.flatnonzero(found):
        found[row] = bool((flat[row] == flat[row, 0]).all())
    return found


def nothing_shown(movie: Path, frames: int) -> InputError:
    """Return the sentence for a movie of which so many frames were looked at, and all are blank."""
    return InputError(
        f"movie {movie} shows nothing: each of {frames} frames that were looked at has one value all over, black or "
        "saturated"
    )
