"""What the beads of a stack look like: spots, or images with lobes, told from the stack itself."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.beads.detection.find import DEPTH_NM, GHOST_NM, Found, Overview
from easyzloc_mm.beads.detection.form import (
    ALIKE,
    MIN_TO_COMPARE,
    MOST_COMPARED,
    SCALES_PX,
    TIMES_AS_MANY,
    PsfForm,
    isolated,
    likeness,
    objects,
    patches,
    windows,
)
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.crop_choice import SHARE_DEPTH_NM, crop_of
from easyzloc_mm.psf.kind import PsfKind, kind_of_images, shape_of
from easyzloc_mm.typing import F32

WINDOW_PX = 47
"""Of beads whose form is looked at: the largest crop, its surroundings, and their rim."""
OWN_SHARE, OWN_PX = 0.25, 1.0
"""So many of the spots have a neighbour that is light of their own, and its distance is the same to so much (robust
standard deviation): other beads lie at any distance."""
KIND_PX = 21
"""Of images whose kind is looked at."""
LINE, LINE_SLABS = 1.8, 2
"""An image so many times as long as wide is a line, where so many slabs or more show it: an objective's own astigmatism
draws images out less."""


def form_of(overview: Overview, focus_nm: float, spots: Found) -> PsfForm | None:
    """Return what the beads look like; None where none stands alone, by which it could be told.

    Parameters
    ----------
    overview : Overview
    focus_nm : float
    spots : Found
        What `find_beads` finds if every maximum is a bead.
    """
    slabs, half, plain = overview.around(focus_nm, DEPTH_NM), WINDOW_PX // 2, PsfForm()
    shape = slabs.shape[1:]
    alone = isolated(spots.x, spots.y, shape, 0.0, half)
    alone = alone[spots.neighbour_px[alone] >= plain.neighbour_px]
    inner = overview.around(focus_nm, SHARE_DEPTH_NM)
    few, form = len(alone) < MIN_TO_COMPARE, None
    own = _own_light(spots) or (not few and _astigmatic(windows(slabs, spots.x[alone], spots.y[alone], ROI_PX // 2)))
    if len(alone):
        chosen = alone[:MOST_COMPARED]
        form = PsfForm(crop_of(windows(inner, spots.x[chosen], spots.y[chosen], half)))
        if len(alone) >= len(spots.x) / 2 and not few and not own:
            return form
    most = 0 if few else len(alone) - 1 if own else TIMES_AS_MANY * len(alone)
    light = slabs.mean(axis=0)
    for scale in SCALES_PX:
        x, y = patches(light, scale)
        lone = isolated(x, y, shape, plain.neighbour_px, half)
        if len(lone) <= most or len(x) > len(spots.x) or (len(x) == len(spots.x) and not own):
            continue
        some = x[lone[:MOST_COMPARED]], y[lone[:MOST_COMPARED]]
        images = windows(slabs, *some, half)
        one = all(objects(image) <= 1 for image in images) if len(lone) < MIN_TO_COMPARE else likeness(images) >= ALIKE
        if one:
            typical = np.median(windows(slabs, *some, KIND_PX // 2), axis=0).astype(np.float64)
            lines = kind_of_images(typical) is PsfKind.ASTIGMATIC
            most, form = len(lone), PsfForm(crop_of(windows(inner, *some, half), every_depth=lines), scale)
    return form


def _astigmatic(images: F32) -> bool:
    """Return whether spots, shape (n, S, edge, edge), are lines below focus, and lines across those above it.

    Which of the two is the sharpest changes from place to place, and each line has its own middle.
    """
    along, across = shape_of(np.median(images, axis=0).astype(np.float64)).along_and_across(LINE)
    return bool(min(along.sum(), across.sum()) >= LINE_SLABS)


def _own_light(spots: Found) -> bool:
    """Return whether what lies beside spots is their own light: at another depth, and as far from each of them.

    Such are the two lines of an astigmatic image, above and below focus, where aberrations break them into maxima.
    """
    near = spots.neighbour_px < PsfForm().neighbour_px
    if np.count_nonzero(near) < max(MIN_TO_COMPARE, OWN_SHARE * len(near)):
        return False
    same_distance = robust_sd(spots.neighbour_px[near]) <= OWN_PX
    return same_distance and float(np.median(np.abs(spots.neighbour_nm[near]))) >= GHOST_NM
