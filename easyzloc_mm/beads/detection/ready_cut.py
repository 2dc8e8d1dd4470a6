"""The beads of ready-cut ROIs: where they are, whether each is alone, and whether they are spots or have lobes."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.beads.detection.find import DEPTH_NM, Found
from easyzloc_mm.beads.detection.form import (
    ALIKE,
    MIN_TO_COMPARE,
    MOST_COMPARED,
    SCALES_PX,
    TIMES_AS_MANY,
    PsfForm,
    likeness,
    objects,
    patches,
    registered,
    windows,
)
from easyzloc_mm.beads.detection.lateral_shift import LateralShift, common_lateral_shift
from easyzloc_mm.beads.detection.rois import SLAB_NM, other_in_roi
from easyzloc_mm.camera.crops import LARGEST_ROI_PX, ROI_PX
from easyzloc_mm.psf.bead_psf import BEYOND_CROP_PX
from easyzloc_mm.psf.crop_choice import SHARE_DEPTH_NM, crop_of
from easyzloc_mm.psf.registration import weighted_centre
from easyzloc_mm.typing import F32, F64, U16, Bool

WIDE_PX = 9.0
"""Wider than in a field, where such patches would hold several beads."""


def find_in_rois(rois: U16, z_nm: F64) -> tuple[Found, PsfForm]:
    """Find the bead of each ROI, and what else there is at any depth; the beads' form comes with it.

    Parameters
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        ADU.
    z_nm : ndarray, shape (P,)
        Rising stage positions.
    """
    step_nm = float(np.median(np.diff(z_nm)))
    middle = (rois.shape[-1] - 1) / 2
    centres = np.array([_centre_of_spot(roi, middle) for roi in rois])
    other = np.array([other_in_roi(roi, (x, y), step_nm) for roi, (x, y) in zip(rois, centres, strict=True)])
    alone = np.isinf(other[:, 0])
    slabs, slab_nm = _slabs(rois, z_nm, step_nm)
    focus_nm = z_nm[rois.max(axis=(2, 3)).argmax(axis=1)]
    form = _form(slabs, slab_nm - float(np.median(focus_nm)), alone)
    if form.lobes_px is not None:
        return _lobed(slabs[:, np.abs(slab_nm - np.median(focus_nm)) <= DEPTH_NM], form), form
    shift = LateralShift()
    if alone.any():
        images, lone = slabs[alone], centres[alone]
        shift = common_lateral_shift(
            images, slab_nm - focus_nm[alone, None], lone[:, 0], lone[:, 1], np.zeros((len(lone), 2))
        )
    return Found(centres[:, 0], centres[:, 1], other[:, 0], other[:, 1], 0.0, shift), form


def _centre_of_spot(roi: U16, middle: float) -> tuple[float, float]:
    sharp = int(np.argmax(roi.max(axis=(1, 2))))
    image = roi[max(0, sharp - 1) : sharp + 2].mean(axis=0)
    return weighted_centre(image - np.median(image), middle, middle)


def _slabs(rois: U16, z_nm: F64, step_nm: float) -> tuple[F32, F64]:
    """Return means over `SLAB_NM` of depth, shape (n, S, R, R), and their stage positions."""
    starts = np.arange(0, rois.shape[1], max(1, round(SLAB_NM / step_nm)))
    sizes = np.diff(np.append(starts, rois.shape[1]))
    sums = np.add.reduceat(rois, starts, axis=1, dtype=np.float32)
    return (sums / sizes[:, None, None]).astype(np.float32), np.add.reduceat(z_nm, starts) / sizes


def _form(slabs: F32, depth_nm: F64, alone: Bool) -> PsfForm:
    """Return what the beads look like: spots where most are alone as such, else lobes if those are the same in most."""
    few = int(alone.sum()) < MIN_TO_COMPARE
    if not few and alone.mean() >= 0.5:
        return PsfForm()
    near, inner = (np.abs(depth_nm) <= reach for reach in (DEPTH_NM, SHARE_DEPTH_NM))
    size = slabs.shape[-1]
    largest = min(LARGEST_ROI_PX, max(ROI_PX, (size - BEYOND_CROP_PX - 1) // 2 * 2 + 1))
    most, form = 0 if few else TIMES_AS_MANY * int(alone.sum()), PsfForm()
    for scale in (*SCALES_PX, WIDE_PX):
        found = [patches(roi[near].mean(axis=0), scale) for roi in slabs]
        single = [index for index, (x, _) in enumerate(found) if len(x) == 1]
        if len(single) <= most:
            continue
        images = np.concatenate([windows(slabs[index], *found[index], size // 2) for index in single[:MOST_COMPARED]])
        seen = images[:, near]
        one = all(objects(image) <= 1 for image in seen) if len(single) < MIN_TO_COMPARE else likeness(seen) >= ALIKE
        if one:
            most, form = len(single), PsfForm(min(crop_of(images[:, inner]), largest), scale)
        if 2 * most >= len(slabs):
            break  # wider patches would hold a bead and its neighbour
    return form


def _lobed(slabs: F32, form: PsfForm) -> Found:
    """Find beads with lobes: of each ROI the patch of light nearest to its middle, registered to the others'."""
    assert form.lobes_px is not None
    count, middle = len(slabs), (slabs.shape[-1] - 1) / 2
    places, other_px = np.full((count, 2), middle), np.full(count, np.inf)
    for index, roi in enumerate(slabs):
        found = np.column_stack(patches(roi.mean(axis=0), form.lobes_px))
        if not len(found):
            continue
        places[index] = found[np.argmin(np.hypot(*(found - middle).T))]
        if len(found) > 1:
            other_px[index] = np.sort(np.abs(found - places[index]).max(axis=1))[1]
    lone = np.flatnonzero(np.isinf(other_px))
    if len(lone) >= MIN_TO_COMPARE:
        # Beside each other the ROIs make a field, in which beads are registered as in any other.
        beside = np.concatenate(list(slabs), axis=2)
        corner = slabs.shape[-1] * np.arange(count)
        x, y = registered(beside, places[:, 0] + corner, places[:, 1], lone)
        places = np.column_stack([x - corner, y])
    else:
        light = slabs.mean(axis=1).astype(np.float64)
        light -= np.median(light, axis=(1, 2), keepdims=True)
        places = np.array(
            [weighted_centre(one, x, y, sigma_px=form.lobes_px) for one, (x, y) in zip(light, places, strict=True)]
        )
    depth = np.where(np.isinf(other_px), np.nan, 0.0)
    return Found(places[:, 0], places[:, 1], other_px, depth, 0.0, LateralShift())
