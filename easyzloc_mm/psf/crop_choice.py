"""How large the crops have to be that hold the image of a point at all depths."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.camera.crops import LARGEST_ROI_PX, ROI_PX
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.bead_psf import BEYOND_CROP_PX, bead_photons
from easyzloc_mm.psf.registration import register
from easyzloc_mm.typing import F32

LIGHT_SHARE, SHARE_DEPTH_NM = 0.75, 600.0
"""Of the light within the largest crop, over depths this near to focus: what a crop has to hold. The rest is thin: more
pixels bring more background than light, and cost time."""
MOST_BEADS = 60
WIDER_PX, INTERPOLATED_PX = 6, 2
"""What a larger crop (`wider_px`) has more than a crop, and what the beads' regions have to hold beyond it."""


def crop_of(images: F32, *, every_depth: bool = False) -> int:
    """Return the edge of the smallest crop that holds `LIGHT_SHARE` of the light, over all depths.

    Parameters
    ----------
    images : ndarray, shape (n, S, edge, edge)
        Light above background of beads that stand alone, through focus, each in the middle; crops are no larger than
        these.
    every_depth : bool
        So much of the light at each depth: of images that are points at some depths and long lines at others.
    """
    middle = images.shape[-1] // 2
    typical = np.median(images / np.maximum(images.sum(axis=(1, 2, 3), keepdims=True), 1e-9), axis=0)
    if not every_depth:
        typical = typical.mean(axis=0, keepdims=True)

    def light(edge: int) -> F32:
        part = slice(middle - edge // 2, middle + edge // 2 + 1)
        return np.asarray(typical[:, part, part].sum(axis=(1, 2)))

    edges = range(ROI_PX, min(LARGEST_ROI_PX, images.shape[-1]) + 1, 2)
    return next(edge for edge in edges if np.all(light(edge) >= LIGHT_SHARE * light(edges[-1])))


def check_crop_px(wanted: int) -> int:
    """Return the edge of crops that was asked for.

    Raises
    ------
    InputError
        It is even, or beyond what the kernels are made for.
    """
    if wanted % 2 == 0 or not ROI_PX <= wanted <= LARGEST_ROI_PX:
        raise InputError(f"`roi_px` {wanted}: an odd number from {ROI_PX} to {LARGEST_ROI_PX} is needed")
    return wanted


def wider_px(beads: BeadDataset, roi_px: int) -> int | None:
    """Return the edge of the larger crops in which several depths are told apart (`model.wider_look`).

    Parameters
    ----------
    beads : BeadDataset
    roi_px : int
        Edge of the crops.

    Returns
    -------
    int or None
        None where the beads' regions, or the kernels, hold none.
    """
    edge = roi_px + WIDER_PX
    return edge if edge <= min(int(beads.rois.shape[-1]) - INTERPOLATED_PX, LARGEST_ROI_PX) else None


def crop_px(beads: BeadDataset, wanted: int | None = None) -> int:
    """Return the edge of the crops for a bead data set.

    Regions that were cut out of whole stacks are as large as the beads' light needs (`beads.detection.form`), and say
    it by their size; of ready-cut ones the light itself decides.

    Parameters
    ----------
    beads : BeadDataset
    wanted : int, optional
        The edge that was asked for.

    Raises
    ------
    InputError
        Such crops are impossible, or larger than the regions allow.
    """
    region = int(beads.rois.shape[-1])
    most = max(min((region - BEYOND_CROP_PX - 1) // 2 * 2 + 1, LARGEST_ROI_PX), ROI_PX)
    if wanted is not None:
        if check_crop_px(wanted) > most:
            raise InputError(
                f"`roi_px` {wanted}: the beads' regions of {region} px hold crops of up to {most} px; give it to "
                "`beads` already"
            )
        return wanted
    if beads.field_known or most == ROI_PX:
        return most
    images = []
    for bead in np.flatnonzero(beads.accepted)[:MOST_BEADS]:
        z_nm, photons, _ = bead_photons(beads, int(bead))
        near = np.abs(z_nm) <= SHARE_DEPTH_NM
        x, y = beads.centres(int(bead), z_nm)
        patches = register(photons[near], x[near], y[near], most)
        images.append(patches.mean(axis=0).reshape(1, most, most))
    return crop_of(np.stack(images))
