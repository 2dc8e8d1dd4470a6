"""What the image of a bead looks like, as far as finding and cutting beads has to know: one spot, or lobes; how large.

An engineered PSF (cylindrical lens, double helix, tetrapod) has lobes that wander with depth, and each lobe is a
maximum of its own. What tells lobes from neighbours is the other beads: beads lie at random, and what belongs to the
PSF is the same around every one of them. So where most maxima have others near them, beads are looked for as patches
of light in the mean over all depths, in which lobes merge; and if those patches, followed through focus, are alike, the
lobes are the PSF's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.bead_psf import BEYOND_CROP_PX
from easyzloc_mm.psf.registration import rim_background
from easyzloc_mm.typing import F32, F64, I64

SCALES_PX = (2.0, 3.0, 4.5, 6.5)
"""Widths of the patches of light that are tried."""
SURROUNDINGS = 3.0
"""Times as wide: what a patch is brighter than."""
PATCH_SDS = 20.0
FAINT_PART, FAINT_PX = 0.1, 30.0
"""A patch that is so much fainter than another one this near is light of that one."""
ALIKE = 0.8
"""Median correlation of beads with the others' median image through focus, from which on they are alike."""
REGISTERED_PX, FARTHEST_PX, ROUNDS = 15, 5, 4
COMPARED_PX = 11
MIN_TO_COMPARE = 3
MOST_COMPARED = 60
TIMES_AS_MANY = 2
"""More patches than so many times the spots that stand alone: fewer may be doublets that a patch takes for one."""
SAME_PLACE_PX = 2.0
STAYS = 0.6
"""A maximum that is at the same place in so large a part of the depths is an object by itself."""
BRIGHT_PART = 0.3


@dataclass(frozen=True)
class PsfForm:
    """How beads are found, centred and cut.

    Attributes
    ----------
    crop_px : int
        Edge of the crop that holds the light.
    lobes_px : float, optional
        Width of the patch that all lobes together make in the mean over depths; None where a bead is one spot.
    """

    crop_px: int = ROI_PX
    lobes_px: float | None = None

    @property
    def region_px(self) -> int:
        """Edge of a bead's region."""
        return self.crop_px + BEYOND_CROP_PX

    @property
    def neighbour_px(self) -> float:
        """Distance from which on something else does not reach into the crop: half of it, and a focused spot."""
        return self.crop_px / 2 + 3.5


def patches(image: F32, scale_px: float) -> tuple[F64, F64]:
    """Return the centres (x, y) of patches of light of about a width, the brightest first."""
    narrow, broad = (ndimage.gaussian_filter(image, s * scale_px, truncate=3.0) for s in (1.0, SURROUNDINGS))
    detail = narrow - broad
    # Of independent pixels a Gaussian mean leaves this part of the noise.
    noise = pixel_noise(image) / (2 * np.sqrt(np.pi) * scale_px)
    peak = (detail == ndimage.maximum_filter(detail, 2 * round(1.5 * scale_px) + 1)) & (detail > PATCH_SDS * noise)
    rows, columns = np.nonzero(peak)
    height = detail[rows, columns]
    order = np.argsort(-height, kind="stable")
    rows, columns, height = rows[order], columns[order], height[order]
    kept = np.ones(len(rows), bool)
    for first, second in cKDTree(np.stack([columns, rows], axis=1)).query_pairs(FAINT_PX) if len(rows) else ():
        bright, faint = min(first, second), max(first, second)
        kept[faint] &= bool(height[faint] >= FAINT_PART * height[bright])
    return columns[kept].astype(np.float64), rows[kept].astype(np.float64)


def pixel_noise(image: F32) -> float:
    """Return the noise of a pixel in the darker half of an image, from second differences along its rows."""
    curve = image[:, :-2] - 2 * image[:, 1:-1] + image[:, 2:]
    dark = image[:, 1:-1] <= np.median(image)
    return robust_sd(curve[dark], about=0.0) / float(np.sqrt(6))


def registered(slabs: F32, x: F64, y: F64, template: I64) -> tuple[F64, F64]:
    """Return centres of lobed beads by registration: each through focus against the median of those that stand alone.

    Parameters
    ----------
    slabs : ndarray, shape (S, Y, X)
    x, y : ndarray, shape (n,)
        Where to begin.
    template : ndarray of int
        Which beads stand alone.
    """
    x, y = x.copy(), y.copy()
    for _ in range(ROUNDS):
        images = windows(slabs, x, y, REGISTERED_PX)
        spectra = np.fft.fft2(images)
        frequency = np.fft.fftfreq(images.shape[-1])
        shift = [(at - np.rint(at))[:, None, None, None] for at in (x, y)]
        # Each moved by its fraction of a pixel, so that all stand in the middle.
        spectra *= np.exp(2j * np.pi * (shift[0] * frequency + shift[1] * frequency[:, None]))
        middle = np.fft.ifft2(spectra).real
        scaled = middle[template] / np.maximum(middle[template].sum(axis=(1, 2, 3), keepdims=True), 1e-9)
        typical = np.median(scaled, axis=0)
        likeness = np.fft.ifft2(spectra * np.fft.fft2(typical).conj()).real.sum(axis=1)
        moved = np.array([_vertex(np.fft.fftshift(one)) for one in likeness])
        moved -= np.median(moved[template], axis=0)
        x, y = x + moved[:, 0], y + moved[:, 1]
    return x, y


def _vertex(image: F64) -> tuple[float, float]:
    """Place of the maximum from the middle pixel, x and y, by parabolas through it and its neighbours."""
    size = image.shape[0]
    inner = image[size // 2 - FARTHEST_PX : size // 2 + FARTHEST_PX + 1, size // 2 - FARTHEST_PX :][
        :, : 2 * FARTHEST_PX + 1
    ]
    row, column = (int(i) for i in np.unravel_index(int(np.argmax(inner)), inner.shape))
    place = []
    for at, line in ((column, inner[row]), (row, inner[:, column])):
        if 0 < at < len(line) - 1:
            bend = line[at - 1] - 2 * line[at] + line[at + 1]
            place.append(at - FARTHEST_PX + 0.5 * float(line[at - 1] - line[at + 1]) / float(min(bend, -1e-30)))
        else:
            place.append(float(at - FARTHEST_PX))
    return place[0], place[1]


def isolated(x: F64, y: F64, shape_yx: tuple[int, ...], apart_px: float, inside_px: float) -> I64:
    """Return which places have no other within `apart_px` (the worse axis), and are so far inside an image."""
    if not len(x):
        return np.empty(0, np.int64)
    places = np.stack([x, y], axis=1)
    alone = cKDTree(places).query_ball_point(places, apart_px, p=np.inf, return_length=True) == 1
    away = np.min([x, y, shape_yx[1] - 1 - x, shape_yx[0] - 1 - y], axis=0)
    return np.flatnonzero(alone & (away >= inside_px))


def windows(slabs: F32, x: F64, y: F64, half_px: int) -> F32:
    """Return images through focus around places, free of background, shape (n, S, edge, edge)."""
    span = np.arange(-half_px, half_px + 1)
    height, width = slabs.shape[1:]
    rows = np.clip(np.rint(y).astype(np.int64)[:, None] + span, 0, height - 1)
    columns = np.clip(np.rint(x).astype(np.int64)[:, None] + span, 0, width - 1)
    images = slabs[:, rows[:, :, None], columns[:, None, :]].transpose(1, 0, 2, 3)
    return np.asarray(images - rim_background(images)[..., None, None], np.float32)


def likeness(images: F32) -> float:
    """Return how alike beads are through focus: the median of their correlations with the median of the others.

    Parameters
    ----------
    images : ndarray, shape (n, S, edge, edge)
        A bead may be in focus a slab higher or lower than the others. Their middles count: others are farther out.
    """
    found, rim = [], max((images.shape[-1] - 1) // 2 - COMPARED_PX, 0)
    images = images[:, :, rim : images.shape[-1] - rim, rim : images.shape[-1] - rim]
    scaled = images / np.maximum(images.sum(axis=(1, 2, 3), keepdims=True), 1e-9)
    for i in range(len(images)):
        typical = np.median(np.delete(scaled, i, axis=0), axis=0)
        depths = len(typical)
        best = -1.0
        for shift in (-1, 0, 1):
            own = slice(max(shift, 0), depths + min(shift, 0))
            other = slice(max(-shift, 0), depths + min(-shift, 0))
            best = max(best, float(np.corrcoef(scaled[i, own].ravel(), typical[other].ravel())[0, 1]))
        found.append(best)
    return float(np.median(found))


def objects(images: F32) -> int:
    """Return how many things stay at the same place through focus: two lobes of one bead wander.

    Parameters
    ----------
    images : ndarray, shape (S, edge, edge)
    """
    detail = ndimage.gaussian_filter(images, (0, 1.0, 1.0)) - ndimage.gaussian_filter(images, (0, 3.0, 3.0))
    peak = (detail == ndimage.maximum_filter(detail, (1, 5, 5))) & (
        detail > BRIGHT_PART * detail.max(axis=(1, 2), keepdims=True)
    )
    slab, rows, columns = np.nonzero(peak)
    if not len(slab):
        return 0
    places = np.stack([rows, columns], axis=1)
    near = cKDTree(places).query_ball_point(places, SAME_PLACE_PX)
    seen = np.array([len(set(slab[who].tolist())) for who in near])
    count, free = 0, seen >= STAYS * len(images)
    for index in np.argsort(-seen, kind="stable"):
        if free[index]:
            count += 1
            free &= np.hypot(*(places - places[index]).T) > 2 * SAME_PLACE_PX
    return count
