"""Which beads share camera pixels: a split that cuts through such a group would leak pixels into the test."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from easyzloc_mm.typing import I64, U16


def regions_by_place(stack: I64, x0: I64, y0: I64, size: int) -> I64:
    """Group ROIs of the same stack that overlap, directly or through others.

    Parameters
    ----------
    stack, x0, y0 : ndarray, shape (n,)
        Stack, first column and first row of each ROI.
    size : int
        Edge of the ROIs, pixels.
    """
    overlap = (
        (stack[:, None] == stack[None, :])
        & (np.abs(x0[:, None] - x0[None, :]) < size)
        & (np.abs(y0[:, None] - y0[None, :]) < size)
    )
    first, second = np.nonzero(overlap)
    return _groups(first, second, len(stack))


def regions_by_pixels(rois: U16) -> I64:
    """Group ready-cut ROIs that contain the same camera pixels, found by their identical time series.

    Parameters
    ----------
    rois : ndarray, shape (n, P, R, R)
        ROI stacks from unknown places.
    """
    count, planes = rois.shape[:2]
    seen: dict[bytes, set[int]] = defaultdict(set)
    for bead in range(count):
        series = np.ascontiguousarray(rois[bead].reshape(planes, -1).T)
        # Of a constant series (a dead pixel) there may be many alike.
        for pixel in series[np.ptp(series, axis=1) > 0]:
            seen[pixel.tobytes()].add(bead)
    pairs = {(min(beads), other) for beads in seen.values() for other in beads if other != min(beads)}
    first, second = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    return _groups(first, second, count)


def _groups(first: NDArray[np.integer], second: NDArray[np.integer], count: int) -> I64:
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
