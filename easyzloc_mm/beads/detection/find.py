"""Find beads in a stack: its focus, what Picasso identifies at every depth, and which of that are beads in focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from easyzloc_mm._picasso import picasso
from easyzloc_mm.beads.detection.detail import spot_contrast
from easyzloc_mm.beads.detection.form import (
    COMPARED_PX,
    MIN_TO_COMPARE,
    PsfForm,
    isolated,
    likeness,
    patches,
    pixel_noise,
    registered,
    windows,
)
from easyzloc_mm.beads.detection.lateral_shift import LateralShift, common_lateral_shift
from easyzloc_mm.beads.detection.rois import SAME_PX, SLAB_NM, THRESHOLD_MADS, blocks
from easyzloc_mm.io.beads.stack import StackPixels
from easyzloc_mm.numerics.field_polynomial import field_coordinates
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.registration import weighted_centre
from easyzloc_mm.typing import F32, F64, I64, U16, Bool

BOX_PX = 9
"""Box of Picasso's identification."""
LOOK_STEP_NM = 40.0
"""Planes that lie closer are not all looked at when focus and beads are searched."""
LAYER_NM = 600.0
"""Beads are the candidates that are most distinct this near to the field's focus: tilt, curvature, bead heights."""
GHOST_NM, GHOST_PART = 250.0, 0.3
GHOST_PX, GHOST_PX_PER_UM, FARTHEST_GHOST_PX = 8.0, 10.0, 30.0
"""A so much weaker maximum, so far away from a bead in depth and at most so far aside, is a ring of that bead's own
defocused image; the rings widen with the distance from focus."""
RING_PART = 0.03
"""A maximum that is weaker still, at whatever depth, cannot be told from the rings of a bead this near, and does that
bead no harm."""
FEW_MAXIMA = 40
"""In a small image that few beads fill there is no bulk of noise maxima; the noise of its dark pixels stands in."""
CROWDED = 10.0
"""Where no maximum stands out of the bulk, and its median is so many times the noise threshold, they are beads."""
DEPTH_NM = 1000.0
"""Planes this near to focus show what beads look like."""
RINGS_PX, FAINTER, RING_ALIKE = 60.0, 0.3, 0.5
"""Light of a lobed bead's image out of focus may be found so far away from it, is so much fainter, and looks less like
the bead through focus than this (correlation), as another bead would not."""
MOTION_ROI_PX, MOST_FOLLOWED = 23, 300
"""Of beads that are followed through focus for the common motion."""


@dataclass(frozen=True)
class Overview:
    """Contrast and mean images of some of a stack's planes.

    Attributes
    ----------
    looked_at : ndarray, shape (k,)
        Indices of the planes.
    contrast, brightest : ndarray, shape (k,)
        Bright detail (robust sharpness) and brightest pixel of each.
    slabs : ndarray, shape (m, Y, X), float32
        Means over `SLAB_NM` of depth.
    slab_nm : ndarray, shape (m,)
        Their middles, stage position.
    """

    looked_at: I64
    contrast: F64
    brightest: F64
    slabs: F32
    slab_nm: F64

    def around(self, focus_nm: float, depth_nm: float) -> F32:
        """Return the slabs no farther than `depth_nm` from a stage position, the nearest one at least."""
        away = np.abs(self.slab_nm - focus_nm)
        return self.slabs[away <= max(depth_nm, float(away.min()))]

    @property
    def focus(self) -> int:
        """Return the index of the plane whose bright details stand out most; all of the field's spots count."""
        return int(self.looked_at[np.argmax(ndimage.uniform_filter1d(self.contrast, 3))])

    @property
    def paper_focus(self) -> int:
        """Return the index of the plane with the brightest pixel (paper): one hot or saturated pixel can decide it."""
        return int(self.looked_at[np.argmax(self.brightest)])


@dataclass(frozen=True)
class Found:
    """Candidates of one stack; arrays of shape (n,).

    Attributes
    ----------
    x, y : ndarray
        Centres, pixels of the stack.
    neighbour_px : ndarray
        Distance to the nearest other object at any depth, as the larger of its x and y parts, infinite if there is
        none.
    neighbour_nm : ndarray
        Depth of that object against this candidate, nm.
    threshold : float
        Net gradient above which a maximum counted, ADU, in the slab in focus.
    lateral_shift : LateralShift
        Of the whole image with z; places are those at the field's focus.
    """

    x: F64
    y: F64
    neighbour_px: F64
    neighbour_nm: F64
    threshold: float
    lateral_shift: LateralShift


def look_through(pixels: StackPixels, order: I64, z_nm: F64) -> Overview:
    """Read some planes of a stack and note what finding needs.

    Parameters
    ----------
    pixels : StackPixels, shape (P, Y, X)
    order : ndarray, shape (P,)
        Planes by rising stage position.
    z_nm : ndarray, shape (P,)
        Rising stage positions.
    """
    chosen = np.flatnonzero(np.diff(np.floor((z_nm - z_nm[0]) / LOOK_STEP_NM), prepend=-1.0) > 0)
    count = max(1, round((z_nm[-1] - z_nm[0]) / SLAB_NM))
    slab_of = np.minimum(((z_nm[chosen] - z_nm[0]) / (z_nm[-1] - z_nm[0]) * count).astype(int), count - 1)
    # A slab without a plane (steps wider than a slab) does not exist.
    slab_of = np.unique(slab_of, return_inverse=True)[1]
    slabs = np.zeros((int(slab_of.max()) + 1, *pixels.shape[1:]), np.float32)
    contrast, brightest = np.zeros((2, len(chosen)))
    for place, plane in blocks(pixels, order[chosen]):
        image = plane.astype(np.float32)
        contrast[place] = spot_contrast(image)
        brightest[place] = float(image.max())
        slabs[slab_of[place]] += image
    slabs /= np.bincount(slab_of)[:, None, None].astype(np.float32)
    slab_nm = np.bincount(slab_of, z_nm[chosen]) / np.bincount(slab_of)
    return Overview(order[chosen], contrast, brightest, slabs, slab_nm)


def find_beads(overview: Overview, focus_nm: float) -> Found:
    """Find candidates: what is most distinct near the field's focus, and what else there is at any depth.

    In every slab the net gradients of noise maxima form a bulk of their own; what stands `THRESHOLD_MADS` robust
    deviations above its median counts. Maxima at the same place, once the common lateral shift is taken out, are one
    object, at the depth where it is most distinct.

    Parameters
    ----------
    overview : Overview
    focus_nm : float
        Stage position of the field's focus.
    """
    seen = [_identify(image) for image in overview.slabs]
    in_focus = int(np.argmin(np.abs(overview.slab_nm - focus_nm)))
    lateral_shift = _lateral_shift(overview, focus_nm, *seen[in_focus][:3])
    shift_x, shift_y = lateral_shift.at(overview.slab_nm - focus_nm)
    x, y, gradient, slab = _distinct(overview, seen, shift_x, shift_y)
    in_layer = np.abs(overview.slab_nm[slab] - focus_nm) <= LAYER_NM
    centres = np.stack([x, y], axis=1)
    for index in np.flatnonzero(in_layer):
        here = slab[index]
        shift = shift_x[here], shift_y[here]
        at = _centre(overview.slabs[here], round(x[index] + shift[0]), round(y[index] + shift[1]))
        centres[index] = at[0] - shift[0], at[1] - shift[1]
    # The image of one bead may walk sideways with depth: its maxima run to the same centre, or to one that is near.
    chosen = np.flatnonzero(in_layer)
    chosen = chosen[_strongest(centres[chosen, 0], centres[chosen, 1], gradient[chosen])]
    others = np.concatenate([chosen, _far_from(centres[chosen], centres, np.flatnonzero(~in_layer))])
    distance, depth = _nearest(centres, overview.slab_nm[slab], chosen, others)
    return Found(centres[chosen, 0], centres[chosen, 1], distance, depth, seen[in_focus][3], lateral_shift)


def most_distinct_nm(overview: Overview) -> float | None:
    """Return the stage position around which what a stack shows is most distinct; None where it shows nothing.

    It stands in for the field's focus where no bead lies near that: much spherical aberration gives a bead a sharp core
    far from where it is bright, and the sharpest plane of a field may be the last one.
    """
    still = np.zeros(len(overview.slab_nm))
    _, _, gradient, slab = _distinct(overview, [_identify(image) for image in overview.slabs], still, still)
    return float(np.median(overview.slab_nm[slab])) if len(gradient) else None


def find_lobed_beads(overview: Overview, focus_nm: float, form: PsfForm) -> Found:
    """Find beads whose image has lobes: patches of light in the mean over depths.

    Parameters
    ----------
    overview : Overview
    focus_nm : float
    form : PsfForm
        From `which_form.form_of`.
    """
    assert form.lobes_px is not None
    slabs = overview.around(focus_nm, DEPTH_NM)
    x, y = _without_rings(slabs, *patches(slabs.mean(axis=0), form.lobes_px), form)
    lone = isolated(x, y, slabs.shape[1:], form.neighbour_px, form.region_px // 2)
    if len(lone) >= MIN_TO_COMPARE:
        x, y = registered(slabs, x, y, lone)
    elif len(x):
        light = slabs.mean(axis=0).astype(np.float64)
        light -= np.median(light)
        x, y = np.array([weighted_centre(light, *at, sigma_px=form.lobes_px) for at in zip(x, y, strict=True)]).T
    centres, everyone = np.stack([x, y], axis=1), np.arange(len(x))
    distance, depth = _nearest(centres, np.zeros(len(x)), everyone, everyone)
    return Found(x, y, distance, depth, 0.0, LateralShift())


def _without_rings(slabs: F32, x: F64, y: F64, form: PsfForm) -> tuple[F64, F64]:
    """Leave out patches that are fainter than another one, out of its crop, and unlike it through focus: its rings."""
    if len(x) < 2:
        return x, y
    images = windows(slabs, x, y, COMPARED_PX)
    light, kept = images.sum(axis=(1, 2, 3)), [0]
    for index in range(1, len(x)):
        away = np.maximum(np.abs(x[kept] - x[index]), np.abs(y[kept] - y[index]))
        near = (away >= form.neighbour_px) & (away <= RINGS_PX)
        brighter = [other for other in np.array(kept)[near] if light[index] < FAINTER * light[other]]
        if not brighter or max(likeness(images[[other, index]]) for other in brighter) >= RING_ALIKE:
            kept.append(index)
    return x[kept], y[kept]


def _distinct(
    overview: Overview, seen: Sequence[tuple[I64, I64, F32, float]], shift_x: F64, shift_y: F64
) -> tuple[F64, F64, F64, I64]:
    """Return x, y, gradient and slab of what slabs show, each where it is most distinct, without rings."""
    slab = np.repeat(np.arange(len(seen)), [len(x) for x, _, _, _ in seen])
    x, y, gradient = (np.concatenate([part[axis] for part in seen]).astype(float) for axis in range(3))
    x, y = x - shift_x[slab], y - shift_y[slab]
    first = _strongest(x, y, gradient)
    x, y, gradient, slab = x[first], y[first], gradient[first], slab[first]
    real = ~_ghosts(x, y, gradient, overview.slab_nm[slab])
    return x[real], y[real], gradient[real], slab[real]


def _lateral_shift(overview: Overview, focus_nm: float, x: I64, y: I64, gradient: F32) -> LateralShift:
    """Measure the common lateral shift of what is seen in focus and stands alone there."""
    height, width = overview.slabs.shape[1:]
    half = MOTION_ROI_PX // 2
    first = _strongest(x.astype(float), y.astype(float), gradient.astype(float))
    places = np.stack([x[first], y[first]], axis=1)
    gap = np.abs(places[:, None] - places[None]).max(axis=2).astype(float)
    np.fill_diagonal(gap, np.inf)
    inside = (places >= half).all(axis=1) & (places < np.array([width, height]) - half).all(axis=1)
    places = places[inside & (gap.min(axis=1, initial=np.inf) > half)][:MOST_FOLLOWED]
    if not len(places):
        return LateralShift()
    span = np.arange(-half, half + 1)
    rows, columns = places[:, 1, None] + span, places[:, 0, None] + span
    images = overview.slabs[:, rows[:, :, None], columns[:, None, :]].transpose(1, 0, 2, 3)
    middle = np.full(len(places), float(half))
    field = np.asarray(field_coordinates(places[:, 0], places[:, 1], (width, height)), np.float64)
    return common_lateral_shift(images, overview.slab_nm - focus_nm, middle, middle, field)


def _identify(image: F32) -> tuple[I64, I64, F32, float]:
    # Picasso leaves out the rim of an image: one is added, in which the light fades out.
    padded = np.pad(image, BOX_PX, mode="linear_ramp", end_values=float(np.median(image)))
    y, x, gradient = picasso("localize").identify_in_frame(padded, 0.0, BOX_PX)
    y, x = y - BOX_PX, x - BOX_PX
    height, width = image.shape
    bulk = gradient[
        (np.minimum(x, y) >= BOX_PX // 2) & (x <= width - BOX_PX // 2 - 2) & (y <= height - BOX_PX // 2 - 2)
    ]
    if not len(x):
        return x, y, gradient, 0.0
    by_noise = pixel_noise(image) * _noise_threshold()
    threshold = by_noise if len(bulk) < FEW_MAXIMA else _above_bulk(bulk)
    if threshold > gradient.max() and np.median(bulk) > CROWDED * by_noise:
        threshold = by_noise
    bright = (gradient > threshold) & (np.minimum(x, y) >= 0) & (x < width) & (y < height)
    return x[bright], y[bright], gradient[bright], threshold


def _above_bulk(gradient: F32) -> float:
    middle = float(np.median(gradient))
    return middle + THRESHOLD_MADS * robust_sd(gradient, about=middle)


@cache
def _noise_threshold() -> float:
    """Threshold for images of nothing but noise, relative to the noise of a pixel."""
    noise = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    return _above_bulk(picasso("localize").identify_in_frame(noise, 0.0, BOX_PX)[2])


def count_spots(image: U16) -> tuple[I64, I64]:
    """Find spots in one image: x and y (pixels) of all that stand out of the noise."""
    x, y, gradient, _ = _identify(image.astype(np.float32))
    kept = _strongest(x.astype(float), y.astype(float), gradient.astype(float))
    return x[kept], y[kept]


def _strongest(x: F64, y: F64, strength: F64, within_px: float = SAME_PX) -> I64:
    """Of candidates nearer than `within_px` to a stronger one, keep the stronger."""
    if not len(x):
        return np.empty(0, np.int64)
    tree = cKDTree(np.stack([x, y], axis=1))
    dropped = np.zeros(len(x), bool)
    kept = []
    for index in np.argsort(-strength, kind="stable"):
        if dropped[index]:
            continue
        kept.append(index)
        dropped[tree.query_ball_point((x[index], y[index]), within_px)] = True
    return np.array(kept, np.int64)


def _far_from(kept: F64, places: F64, rest: I64) -> I64:
    """Return those of the rest that are not at the place of something that is kept."""
    if not len(kept):
        return rest
    return rest[cKDTree(kept).query(places[rest])[0] > SAME_PX] if len(rest) else rest


def _ghosts(x: F64, y: F64, strength: F64, depth_nm: F64) -> Bool:
    """Return which candidates, sorted by falling strength, are rings of stronger ones."""
    ghost = np.zeros(len(x), bool)
    if not len(x):
        return ghost
    places = np.stack([x, y], axis=1)
    tree = cKDTree(places)
    for index, near in enumerate(tree.query_ball_point(places, FARTHEST_GHOST_PX)):
        others = np.array([other for other in near if other < index], np.int64)
        depth = np.abs(depth_nm[others] - depth_nm[index])
        aside = np.hypot(*(places[others] - places[index]).T)
        ring = (strength[index] < GHOST_PART * strength[others]) & (depth >= GHOST_NM)
        ring &= aside <= GHOST_PX + GHOST_PX_PER_UM * depth / 1000
        ring |= strength[index] < RING_PART * strength[others]
        ghost[index] = bool(np.any(ring & ~ghost[others]))
    return ghost


def _centre(image: F32, x: int, y: int) -> tuple[float, float]:
    half = 4
    top, left = max(0, y - half), max(0, x - half)
    patch = image[top : y + half + 1, left : x + half + 1].astype(np.float64)
    dx, dy = weighted_centre(patch - np.median(patch), x - left, y - top)
    return left + dx, top + dy


def _nearest(centres: F64, depth_nm: F64, chosen: I64, others: I64) -> tuple[F64, F64]:
    """Return the nearest other object of each chosen candidate: distance along the worse axis, and depth difference."""
    distance, depth = np.full(len(chosen), np.inf), np.full(len(chosen), np.nan)
    if len(others) < 2:
        return distance, depth
    tree = cKDTree(centres[others])
    # The chosen stand first among the others, each at its own place.
    reach, who = tree.query(centres[chosen], k=2, p=np.inf)
    for row in range(len(chosen)):
        column = 1 if who[row, 0] == row else 0
        if np.isfinite(reach[row, column]):
            distance[row] = reach[row, column]
            depth[row] = depth_nm[others[who[row, column]]] - depth_nm[chosen[row]]
    return distance, depth
