"""Images of beads at known depths, cut out as those of molecules are: what an instrument is held against its PSF by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.beads.camera_response import of_averaged
from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.typing import F64, I64

DEPTH_LIMIT_NM = 800.0
"""Farther from focus images are dim and large, and say little that nearer ones do not."""
MOST_BEADS, MOST_PLANES = 60, 25
"""More make the answer no better, and later."""


@dataclass(frozen=True)
class BeadImages:
    """Images of several beads through focus.

    Attributes
    ----------
    molecules : Molecules
        Their crops; `z_nm` holds the labels.
    bead : ndarray, shape (n,)
        Which bead each image is of, counted from 0.
    """

    molecules: Molecules
    bead: I64

    @property
    def z_nm(self) -> F64:
        """Return the height of the stage above the bead's focus, shape (n,)."""
        return self.molecules.z_nm


def bead_images(beads: BeadDataset, roi_px: int, emitters: EmitterPrior, depths_nm: tuple[float, float]) -> BeadImages:
    """Cut out the accepted beads, spread over the field where there are more than `MOST_BEADS`.

    Parameters
    ----------
    beads : BeadDataset
    roi_px : int
        Edge of the crops.
    emitters : EmitterPrior
        Of the model that the images are fitted by.
    depths_nm : (float, float)
        That it covers.
    """
    low, high = max(depths_nm[0], -DEPTH_LIMIT_NM), min(depths_nm[1], DEPTH_LIMIT_NM)
    accepted = np.flatnonzero(beads.accepted)
    chosen = accepted[np.linspace(0, len(accepted) - 1, min(len(accepted), MOST_BEADS)).round().astype(int)]
    crops, places, labels, numbers = [], [], [], []
    noise_e = []
    for number, bead in enumerate(chosen):
        z_nm = beads.z_nm[bead].astype(float)
        with np.errstate(invalid="ignore"):
            planes = np.flatnonzero((z_nm >= low) & (z_nm <= high))
        planes = planes[np.linspace(0, len(planes) - 1, min(len(planes), MOST_PLANES)).round().astype(int)]
        x, y = beads.centres(int(bead), z_nm[planes])
        response = of_averaged(beads.response, beads.frames_per_plane(int(bead))).effective()
        crops.append(crop_photons(beads.rois[bead], planes, x, y, response, roi_px))
        places.append(np.stack([x + beads.roi_x0[bead], y + beads.roi_y0[bead]], axis=1))
        labels.append(z_nm[planes])
        numbers.append(np.full(len(planes), number))
        noise_e.append(response.read_noise_e)
    place = np.concatenate(places)
    molecules = Molecules(
        crops=np.concatenate(crops),
        x=place[:, 0],
        y=place[:, 1],
        z_nm=np.concatenate(labels),
        prior=emitters.prior(place[:, 0], place[:, 1]),
        read_noise_e=float(np.median(noise_e)),
    )
    return BeadImages(molecules, np.concatenate(numbers))
