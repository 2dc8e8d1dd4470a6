"""Where the measured PSF has its z = 0, for each bead: what a focal surface has to follow.

Labels count from each bead's own focus. The measured PSF is smooth over the field, and labels may not be: behind a
mask no plane is clearly the sharpest. z of a molecule counts from the PSF's zero: it is the stage position of that
which matters.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.bead_psf import bead_photons
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.mle import SpotPrior, fit_psf
from easyzloc_mm.psf.registration import register

NEAR_NM = 500.0
"""Planes that are looked at lie this near to a bead's focus."""
BACKGROUND = 20.0
"""Photons per pixel that are added to images without background: a fit needs some."""
PLACE_SD_PX = 0.5


def foci_by_psf(beads: BeadDataset, psf: FieldPsf, roi_px: int) -> BeadDataset:
    """Return beads whose foci are where the PSF has its z = 0; those of beads without foci stay unknown.

    Parameters
    ----------
    beads : BeadDataset
        At known places of the field.
    psf : FieldPsf
        Measured from them.
    roi_px : int
        Edge of the images that are fitted.
    """
    if "focus_um" not in beads.measures or not beads.field_known:
        return beads
    table = psf.table(beads.field_size_px)
    place = psf.place(beads.x, beads.y, beads.field_size_px)
    read_noise_e, foci_um = beads.response.effective().read_noise_e, beads.measures["focus_um"].to_numpy(float).copy()
    for bead in np.flatnonzero(beads.accepted):
        z_nm, photons, brightness = bead_photons(beads, int(bead))
        near = np.abs(z_nm) <= NEAR_NM
        x, y = beads.centres(int(bead), z_nm)
        images = register(photons[near], x[near], y[near], roi_px).reshape(-1, roi_px, roi_px) + BACKGROUND
        count = len(images)
        middle = np.zeros(count)
        prior = SpotPrior(middle, middle, PLACE_SD_PX, float(np.log(max(brightness, 1.0))), 1.0)
        here = np.full(count, place[bead])
        fit = fit_psf(images.astype(np.float32), table, here, z_nm[near][:, None], read_noise_e, prior)
        foci_um[bead] -= float(np.median(fit.z_nm[:, 0] - z_nm[near])) / 1000
    return replace(beads, measures=beads.measures.assign(focus_um=foci_um))
