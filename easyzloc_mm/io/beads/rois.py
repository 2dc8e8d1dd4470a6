"""Ready-cut ROIs through focus from one TIFF file."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.stack import check_planes
from easyzloc_mm.io.sources.images import COUNTS
from easyzloc_mm.io.sources.tiff.open import open_tiff
from easyzloc_mm.typing import I64, U16


@dataclass(frozen=True)
class RoiStacks:
    """Ready-cut ROIs.

    Attributes
    ----------
    pixels : ndarray, shape (n, z, y, x), uint16
        ADU.
    planes : ndarray, shape (z,)
        Number of each plane in the file, from 0: those that are missing are left out.
    """

    pixels: U16
    planes: I64


def read_roi_stacks(path: Path) -> RoiStacks:
    """Read ROIs; a file of three dimensions is a single ROI.

    A plane that is black in every ROI is a missing one, and so is a ROI that lacks a plane which others have.

    Raises
    ------
    InputError
        The file is missing, no TIFF, or not a stack of three or four dimensions of unsigned integers.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"ROI stacks {path} {what}: give a TIFF file")
    images = open_tiff(path)[0]
    sizes = images.sizes if len(images.sizes) == 2 else (1, *images.sizes)
    if len(sizes) != 2 or images.dtype not in COUNTS:
        raise InputError(
            f"{path} holds {images.dtype} {(*images.sizes, *images.shape_yx)} instead of ROI stacks (n,z,y,x) of 8 or "
            "16 bit counts: without `rois` a file is read as one bead stack (z,y,x)"
        )
    images.warn()
    pixels = images.read(range(math.prod(sizes)))
    came = (images.there & ~blank_images(pixels)).reshape(sizes)
    pixels = pixels.reshape(*sizes, *images.shape_yx)
    planes = np.flatnonzero(came.any(axis=0))
    check_planes(len(planes), f"{path}, in each ROI,", "cut the ROIs from whole stacks")
    whole = came[:, planes].all(axis=1)
    if not whole.any():
        raise InputError(f"{path} has no ROI with all of its planes: cut the ROIs again")
    _warn(
        path, sizes[1] - len(planes), "planes are black or missing in every ROI, and left out: the others keep their z"
    )
    _warn(path, int(np.count_nonzero(~whole)), f"of {sizes[0]} ROIs lack planes that others have, and are left out")
    return RoiStacks(np.ascontiguousarray(pixels[whole][:, planes]), planes)


def _warn(path: Path, count: int, what: str) -> None:
    if count:
        warnings.warn(f"{path}: {count} {what}", EasyZlocWarning, stacklevel=3)
