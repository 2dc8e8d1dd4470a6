"""A focal surface follows the zero of the PSF, not labels that no plane is clear for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.bead_zero import foci_by_psf
from tests.helpers.ring_psf import ring_image, ring_psf

COUNT, REGION_PX, FOCUS_NM, PHOTONS = 8, 23, 50_000.0, 40_000.0


@pytest.fixture(scope="module")
def beads() -> BeadDataset:
    """Beads on a flat slide, whose labels are off by up to 80 nm, each by its own error."""
    rng = np.random.default_rng(2)
    stage_nm, middle = np.arange(-800.0, 801.0, 100.0), REGION_PX // 2
    off_nm = rng.uniform(-80, 80, COUNT)
    away = np.hypot(*(np.indices((REGION_PX, REGION_PX)) - middle))
    images = np.stack([ring_image(away, z_nm) for z_nm in stage_nm])
    none, at = np.zeros(COUNT, np.int64), np.full(COUNT, float(middle))
    return BeadDataset(
        rois=rng.poisson(20 + PHOTONS * images, (COUNT, *images.shape)).astype(np.uint16),
        z_nm=(stage_nm - off_nm[:, None]).astype(np.float32), x=at, y=at, roi_x0=none, roi_y0=none, stack=none,
        region=none, accepted=np.ones(COUNT, bool), reason=("",) * COUNT,
        response=CameraResponse(baseline_adu=0, electrons_per_adu=1, read_noise_e=1), pixel_size_nm=110.0,
        field_size_px=(REGION_PX, REGION_PX), field_known=True,
        measures=pd.DataFrame({"focus_um": (FOCUS_NM + off_nm) / 1000}),
    )  # fmt: skip


def test_foci_are_where_the_psf_has_its_zero_whatever_the_labels_say(beads: BeadDataset) -> None:
    labelled, found = (
        1000 * one.measures["focus_um"] - FOCUS_NM for one in (beads, foci_by_psf(beads, ring_psf(), ROI_PX))
    )
    assert labelled.std() > 30
    assert found.abs().max() < 15


def test_beads_that_are_not_used_or_of_unknown_place_keep_their_foci(beads: BeadDataset) -> None:
    some = replace(beads, accepted=np.arange(COUNT) > 0)
    found = foci_by_psf(some, ring_psf(), ROI_PX)
    assert found.measures["focus_um"][0] == beads.measures["focus_um"][0]
    assert (found.measures["focus_um"][1:] != beads.measures["focus_um"][1:]).all()
    nowhere = replace(beads, field_known=False)
    assert foci_by_psf(nowhere, ring_psf(), ROI_PX) is nowhere
