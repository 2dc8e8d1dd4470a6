"""Find beads in a stack: the plane in focus, Picasso's identification there, centres, ROIs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from easyzloc_mm.quiet import picasso

Real = NDArray[np.float64]

BOX_PX = 9
"""Box of Picasso's identification."""
THRESHOLD_MADS = 8.0
FOCUS_STEP_NM = 40.0
"""Planes that lie closer are not all looked at."""
FOCUS_PLANES = 3
"""So many planes around the focus are averaged before beads are looked for."""
CENTRE_SIGMA_PX = 1.3
"""Width of the window of the centre: about that of a focused spot."""


@dataclass(frozen=True)
class Found:
    """Candidates of one stack.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Centres, pixels of the stack.
    plane : int
        The most focused plane.
    threshold : float
        Net gradient above which a maximum counted, ADU.
    """

    x: Real
    y: Real
    plane: int
    threshold: float


def sharpest_plane(volume: NDArray[np.uint16], z_nm: Real) -> int:
    """Index of the plane whose bright details stand out most from their surroundings.

    The paper takes the plane of the brightest pixel, which one hot or saturated pixel decides; here all of a plane's
    spots have a say. `volume` has shape (P, Y, X), `z_nm` (P,).
    """
    looked_at = np.flatnonzero(np.diff(np.floor(z_nm / FOCUS_STEP_NM), prepend=-np.inf) > 0)
    contrast = []
    for plane in looked_at:
        image = volume[plane].astype(np.float32)
        detail = ndimage.gaussian_filter(image, 1.0) - ndimage.gaussian_filter(image, 3.0)
        contrast.append(float(np.sum(np.maximum(detail, 0.0) ** 4)))
    return int(looked_at[np.argmax(ndimage.uniform_filter1d(np.array(contrast), 3))])


def find_beads(volume: NDArray[np.uint16], z_nm: Real) -> Found:
    """Find candidates in the planes around the focus.

    Net gradients of noise maxima form a bulk of their own; what stands `THRESHOLD_MADS` robust deviations above its
    median is a candidate.

    Parameters
    ----------
    volume : ndarray, shape (P, Y, X), uint16
        One field of view through focus, ADU.
    z_nm : ndarray, shape (P,)
        Stage position of the planes, rising.
    """
    plane = sharpest_plane(volume, z_nm)
    low = max(0, plane - FOCUS_PLANES // 2)
    image = volume[low : low + FOCUS_PLANES].mean(axis=0, dtype=np.float32)
    y, x, gradient = picasso("localize").identify_in_frame(image, 0.0, BOX_PX)
    if not len(x):
        return Found(np.empty(0), np.empty(0), plane, 0.0)
    middle = float(np.median(gradient))
    threshold = middle + THRESHOLD_MADS * 1.4826 * float(np.median(np.abs(gradient - middle)))
    bright = gradient > threshold
    centres = np.array([_centre(image, a, b) for a, b in zip(x[bright], y[bright], strict=True)]).reshape(-1, 2)
    centres = centres[_first_of_each(centres)]
    return Found(centres[:, 0], centres[:, 1], plane, threshold)


def _centre(image: NDArray[np.float32], x: int, y: int) -> tuple[float, float]:
    half = 4
    top, left = max(0, y - half), max(0, x - half)
    patch = image[top : y + half + 1, left : x + half + 1].astype(np.float64)
    dx, dy = weighted_centre(patch - np.median(patch), x - left, y - top)
    return left + dx, top + dy


def weighted_centre(patch: Real, x: float, y: float, rounds: int = 20) -> tuple[float, float]:
    """Centre of a spot under a Gaussian window that follows it.

    Of two Gaussians of equal width the weighted mean of the product lies half way, hence the factor of 2.

    Parameters
    ----------
    patch : ndarray, shape (a, b)
        Image above background.
    x, y : float
        Where to begin, pixels of the patch.
    """
    rows, columns = np.mgrid[: patch.shape[0], : patch.shape[1]]
    start = x, y
    light = np.maximum(patch, 0.0)
    for _ in range(rounds):
        weight = light * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * CENTRE_SIGMA_PX**2))
        total = weight.sum()
        if total <= 0:
            return start
        step = 2 * (np.sum(weight * columns) / total - x), 2 * (np.sum(weight * rows) / total - y)
        x, y = x + step[0], y + step[1]
        if max(abs(x - start[0]), abs(y - start[1])) > 3.0:
            return start
        if max(map(abs, step)) < 1e-3:
            break
    return float(x), float(y)


def _first_of_each(centres: Real) -> list[int]:
    """Leave out candidates that ended on the same centre as an earlier one."""
    kept: list[int] = []
    for index, centre in enumerate(centres):
        if all(np.hypot(*(centre - centres[other])) > 1.0 for other in kept):
            kept.append(index)
    return kept


def nearest_neighbour_px(x: Real, y: Real) -> Real:
    """Distance of every candidate to the next one, pixels; infinite where there is none."""
    if len(x) < 2:
        return np.full(len(x), np.inf)
    distance = np.hypot(x[:, None] - x[None, :], y[:, None] - y[None, :])
    np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.min(axis=1))


def cut_rois(
    volume: NDArray[np.uint16], x: Real, y: Real, size: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Cut ROIs through the whole stack.

    Returns
    -------
    rois : ndarray, shape (n, P, size, size), uint16
        Beyond the image the nearest pixel is repeated.
    x0, y0 : ndarray, shape (n,)
        First column and row of each ROI.
    inside : ndarray, shape (n,), bool
        Whether the ROI lies inside the image.
    """
    half = size // 2
    x0, y0 = np.rint(x).astype(np.int64) - half, np.rint(y).astype(np.int64) - half
    _, height, width = volume.shape
    rois = np.empty((len(x), volume.shape[0], size, size), np.uint16)
    for index in range(len(x)):
        rows = np.clip(np.arange(y0[index], y0[index] + size), 0, height - 1)
        columns = np.clip(np.arange(x0[index], x0[index] + size), 0, width - 1)
        rois[index] = volume[:, rows[:, None], columns]
    inside = (x0 >= 0) & (y0 >= 0) & (x0 + size <= width) & (y0 + size <= height)
    return rois, x0, y0, inside
