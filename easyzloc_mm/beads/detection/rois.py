"""ROIs through focus: read plane by plane, cut out of a stack, and searched for a second object where they came cut."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from easyzloc_mm.beads.detection.detail import difference_of_gaussians
from easyzloc_mm.io.beads.stack import StackPixels
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64, I64, U16

SAME_PX = 3.0
"""Candidates at different depths nearer than this are the same object."""
SLAB_NM = 200.0
"""Depth over which planes are averaged for detection, and by which such slabs follow each other."""
THRESHOLD_MADS = 8.0
OWN_LOBES_PX = 4.5
"""Maxima this near to a lone bead's middle may be its own."""
ROI_NEIGHBOUR_PART = 0.2
"""A second object in a ready-cut ROI counts from this contrast on, relative to the bead's."""
BLOCK = 16
"""Planes read at a time."""


def blocks(pixels: StackPixels, order: I64) -> Iterator[tuple[int, U16]]:
    """Yield the planes in `order` as (place in `order`, plane); a few are in memory at a time."""
    for first in range(0, len(order), BLOCK):
        part = order[first : first + BLOCK]
        low, high = int(part.min()), int(part.max()) + 1
        if high - low <= 2 * BLOCK:
            block = pixels[low:high]
            for place, plane in enumerate(part):
                yield first + place, block[plane - low]
        else:
            for place, plane in enumerate(part):
                yield first + place, pixels[int(plane)]


def other_in_roi(roi: U16, centre: tuple[float, float], z_step_nm: float) -> tuple[float, float]:
    """Look for a second object in a ready-cut ROI, at any depth.

    Returns
    -------
    distance_px, depth_nm : float
        Along the worse axis, and against the plane in which the bead is most distinct; infinite and NaN if there is
        none.
    """
    # Picasso's identification leaves out the rim of an image, which in a ROI is most of it.
    per_slab = max(1, round(SLAB_NM / z_step_nm))
    slabs = np.stack([roi[at : at + per_slab].mean(axis=0, dtype=np.float32) for at in range(0, len(roi), per_slab)])
    detail = difference_of_gaussians(slabs, truncate=4.0)
    away = np.maximum(
        *np.abs(np.mgrid[: roi.shape[1], : roi.shape[2]] - np.array([centre[1], centre[0]])[:, None, None])
    )
    own = np.where(away <= SAME_PX, detail, -np.inf)
    best = np.unravel_index(int(np.argmax(own)), own.shape)
    noise = np.array([robust_sd(image) for image in detail])
    limit = np.maximum(ROI_NEIGHBOUR_PART * detail[best], THRESHOLD_MADS * noise)[:, None, None]
    peaks = (detail == ndimage.maximum_filter(detail, (1, 3, 3))) & (detail > limit) & (away > OWN_LOBES_PX)
    if not peaks.any():
        return float("inf"), float("nan")
    slab, row, column = np.nonzero(peaks)
    nearest = int(np.argmin(away[row, column]))
    depth = (int(slab[nearest]) - int(best[0])) * per_slab * z_step_nm
    return float(away[row[nearest], column[nearest]]), float(depth)


def roi_corners(x: F64, y: F64, size: int) -> tuple[I64, I64]:
    """First column and row of ROIs of `size` pixels around centres."""
    return np.rint(x).astype(np.int64) - size // 2, np.rint(y).astype(np.int64) - size // 2


def cut_rois(pixels: StackPixels, order: I64, x0: I64, y0: I64, size: int) -> U16:
    """Cut ROIs through the whole stack, plane by plane; beyond the image the nearest pixel is repeated.

    Returns
    -------
    ndarray, shape (n, P, size, size), uint16
    """
    height, width = pixels.shape[1:]
    span = np.arange(size)
    rows = np.clip(y0[:, None] + span, 0, height - 1)[:, :, None]
    columns = np.clip(x0[:, None] + span, 0, width - 1)[:, None, :]
    rois = np.empty((len(x0), len(order), size, size), np.uint16)
    for place, plane in blocks(pixels, order):
        rois[:, place] = plane[rows, columns]
    return rois
