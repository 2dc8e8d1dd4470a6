"""Which points of several pictures show one and the same thing: by their pixels, and by their constellation.

Two crops of one recording hold the same pixels, noise included: the same values around a point are a copy. A slide that
was photographed twice shows the same constellation of points, as a whole moved by one offset; how many points would
meet by chance at the best of all offsets is known (Poisson), and what exceeds that by far is no chance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.stats import poisson

from easyzloc_mm.typing import F64, I64, U16, Bool

NEAR_PX = 2.0
"""So near to where the common offset puts it a point is the same one: a found place is good to a fraction of a pixel,
and a stage tilts a little."""
MIN_COMMON = 3
MIN_SHARE = 0.5
"""Of the points in the part of the field that both pictures show: so many must be in both."""
CHANCE = 1e-6
"""Of so many points meeting at the best of all offsets by chance."""
APART_PX = 16.0
"""Rings and lobes of a bright point form constellations of their own: of points nearer than this the brightest
counts."""
TRIED = 12
PATCH_PX = 4
"""Pixels to either side of a point's brightest pixel that are compared."""


@dataclass(frozen=True)
class Common:
    """What two pictures have in common.

    Attributes
    ----------
    first, second : int
        The pictures.
    points : int
        Things that are in both.
    copies : int
        Of them, how many with the same pixels.
    """

    first: int
    second: int
    points: int
    copies: int


@dataclass(frozen=True)
class Recurrence:
    """Which of n points show the same thing.

    Attributes
    ----------
    identity : ndarray of int, shape (n,)
        Number of the thing that each point shows: the index of its first point.
    copy : ndarray of int, shape (n,)
        Index of the first point with the same pixels: the point's own, if it is no copy.
    common : tuple of Common
        Pairs of pictures that show the same things.
    """

    identity: I64
    copy: I64
    common: tuple[Common, ...]


def find_recurrence(
    picture: I64, x: F64, y: F64, rois: U16, centres: F64, field_size_px: tuple[int, int], *, field_known: bool
) -> Recurrence:
    """Find points that show the same thing.

    Parameters
    ----------
    picture : ndarray, shape (n,)
        Which picture (bead stack) each point is from.
    x, y : ndarray, shape (n,)
        Places in the pictures, pixels.
    rois : ndarray, shape (n, P, R, R), uint16
        What the camera saw around each.
    centres : ndarray, shape (n, 2)
        x, y of each point within its ROI.
    field_size_px : (int, int)
        Width and height of the pictures.
    field_known : bool
        Whether `x`, `y` mean anything; if not, points are recognised by their pixels alone.
    """
    count = len(x)
    copy = _copies(picture, rois, centres, field_known=field_known)
    pairs = [np.stack([copy, np.arange(count)], axis=1)]
    if field_known:
        light = np.array([_light(roi, *at) for roi, at in zip(rois, centres, strict=True)])
        place = np.stack([x, y], axis=1)
        members = [np.flatnonzero(picture == one) for one in np.unique(picture)]
        kept = [own[_brightest(place[own], light[own])] for own in members]
        for (mine, alone), (theirs, others_alone) in itertools.combinations(zip(members, kept, strict=True), 2):
            offset = common_offset(place[alone], place[others_alone], field_size_px)
            if offset is not None:
                first, second = _matched(place[mine], place[theirs], offset)
                pairs.append(np.stack([mine[first], theirs[second]], axis=1))
    first, second = np.concatenate(pairs).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    _, start, inverse = np.unique(label, return_index=True, return_inverse=True)
    identity = np.asarray(start[inverse], np.int64)
    return Recurrence(identity, copy, _common(picture, identity, copy) if field_known else ())


def common_offset(first: F64, second: F64, field_size_px: tuple[int, int]) -> F64 | None:
    """Return the offset (x, y) at which two sets of points are the same constellation, None where there is none.

    Parameters
    ----------
    first, second : ndarray, shape (n, 2) and (m, 2)
    field_size_px : (int, int)
        Width and height of the pictures that they are from.
    """
    if min(len(first), len(second)) < MIN_COMMON:
        return None
    differences = (second[None] - first[:, None]).reshape(-1, 2)
    cells, counts = np.unique(np.rint(differences / (2 * NEAR_PX)).astype(np.int64), axis=0, return_counts=True)
    best, most = None, 0
    for cell in cells[np.argsort(-counts, kind="stable")[:TRIED]]:
        near = np.abs(differences - 2 * NEAR_PX * cell).max(axis=1) <= 2 * NEAR_PX
        offset = np.median(differences[near], axis=0)
        number = len(_matched(first, second, offset)[0])
        if number > most:
            best, most = offset, number
    if best is None or most < MIN_COMMON:
        return None
    size = np.array(field_size_px, float)
    area, circle = float(np.prod(size)), np.pi * NEAR_PX**2
    expected = len(first) * len(second) * circle / area
    by_chance = 4 * area / circle * float(poisson.sf(most - 1, expected))
    inside = min(_inside(first + best, size), _inside(second - best, size))
    return best if by_chance < CHANCE and most >= MIN_SHARE * inside else None


def _inside(place: F64, size: F64) -> int:
    return int(np.sum(np.all((place >= 0) & (place <= size - 1), axis=1)))


def _matched(first: F64, second: F64, offset: F64) -> tuple[I64, I64]:
    """Return the pairs that are each other's nearest, and near, at an offset."""
    moved = first + offset
    distance, to = cKDTree(second).query(moved)
    _, back = cKDTree(moved).query(second)
    mine = np.flatnonzero((distance <= NEAR_PX) & (back[to] == np.arange(len(first))))
    return mine, np.asarray(to[mine], np.int64)


def _brightest(place: F64, light: F64) -> I64:
    """Choose the points that no brighter one is near."""
    kept: list[int] = []
    for index in np.argsort(-light, kind="stable"):
        if not kept or np.hypot(*(place[kept] - place[index]).T).min() >= APART_PX:
            kept.append(int(index))
    return np.array(sorted(kept), np.int64)


def _light(roi: U16, x: float, y: float) -> float:
    brightest = _middle(roi, x, y).max(axis=(1, 2))
    plane = int(np.argmax(brightest))
    return float(brightest[plane]) - float(np.median(roi[plane]))


def _middle(roi: U16, x: float, y: float) -> U16:
    """Return the pixels around a point, all planes."""
    column, row = (int(np.clip(round(at), PATCH_PX, roi.shape[1] - 1 - PATCH_PX)) for at in (x, y))
    return roi[:, row - PATCH_PX : row + PATCH_PX + 1, column - PATCH_PX : column + PATCH_PX + 1]


def _copies(picture: I64, rois: U16, centres: F64, *, field_known: bool) -> I64:
    """Return for each point the first one of (another) picture that has the same pixels."""
    copy = np.arange(len(rois))
    seen: dict[bytes, int] = {}
    for index, (roi, at) in enumerate(zip(rois, centres, strict=True)):
        key = pixels_around(roi, *at)
        first = seen.setdefault(key, index) if key is not None else index
        # Two points of one picture are two things: one may lie in the other's ROI.
        if not field_known or picture[first] != picture[index]:
            copy[index] = first
    return copy


def pixels_around(roi: U16, x: float, y: float) -> bytes | None:
    """Return the pixels around the brightest one of a point, where it is brightest; None of a constant image.

    They are the same wherever, and in whichever planes, the ROI was cut out of the recording.

    Parameters
    ----------
    roi : ndarray, shape (P, R, R), uint16
    x, y : float
        The point within its ROI.
    """
    if roi.shape[1] <= 2 * PATCH_PX:
        return None
    middle = _middle(roi, x, y)
    plane, row, column = np.unravel_index(int(np.argmax(middle)), middle.shape)
    row += int(np.clip(round(y), PATCH_PX, roi.shape[1] - 1 - PATCH_PX)) - PATCH_PX
    column += int(np.clip(round(x), PATCH_PX, roi.shape[2] - 1 - PATCH_PX)) - PATCH_PX
    patch = roi[plane, max(0, row - PATCH_PX) : row + PATCH_PX + 1, max(0, column - PATCH_PX) : column + PATCH_PX + 1]
    return patch.tobytes() if np.ptp(patch) > 0 else None


def _common(picture: I64, identity: I64, copy: I64) -> tuple[Common, ...]:
    """Count what pairs of pictures have in common."""
    own: dict[int, Bool] = {}
    found = []
    for one in np.unique(picture):
        own[int(one)] = picture == one
    for first, second in itertools.combinations(own, 2):
        things = np.intersect1d(identity[own[first]], identity[own[second]])
        if len(things):
            pixels = np.intersect1d(copy[own[first]], copy[own[second]])
            found.append(Common(first, second, len(things), len(pixels)))
    return tuple(found)
