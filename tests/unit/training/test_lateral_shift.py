"""The stage's sideways motion does not reach the blur that trains the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.bead_psf import PITCH_PX, BeadPsfs, knots_of, z_range_of_beads
from easyzloc_mm.training.recipes.published import recorded_planes

SLIDE = (1.2, -0.8)
"""Pixels per um."""


@pytest.fixture(scope="module")
def beads() -> BeadDataset:
    rng = np.random.default_rng(0)
    z_nm = np.arange(-1000.0, 1001.0, 50.0)
    pixels = np.arange(23.0)
    rois = []
    for _ in range(6):
        x, y = (11 + rng.uniform(-0.5, 0.5) + slide * z_nm / 1000 for slide in SLIDE)
        sigma = 1.3 * np.sqrt(1 + (z_nm / 500) ** 2)[:, None, None]
        away = (pixels - x[:, None])[:, None, :] ** 2 + (pixels - y[:, None])[:, :, None] ** 2
        rois.append(rng.poisson(100 + 60_000 / (2 * np.pi * sigma**2) * np.exp(-away / (2 * sigma**2))))
    count = len(rois)
    centres = np.array([_centre(roi[20] - 100.0) for roi in rois])
    return BeadDataset(
        rois=np.array(rois, np.uint16),
        z_nm=np.tile(z_nm, (count, 1)).astype(np.float32),
        x=centres[:, 0],
        y=centres[:, 1],
        roi_x0=np.zeros(count, np.int64),
        roi_y0=np.zeros(count, np.int64),
        stack=np.zeros(count, np.int64),
        region=np.arange(count),
        accepted=np.ones(count, bool),
        reason=("",) * count,
        response=CameraResponse(baseline_adu=0, electrons_per_adu=1, read_noise_e=1),
        pixel_size_nm=110.0,
        field_size_px=(23, 23),
        field_known=False,
        measures=pd.DataFrame({"snr": np.full(count, 50.0)}),
        lateral_shift_px_per_um=np.tile(SLIDE, (count, 1)),
    )


def _centre(image: np.ndarray) -> tuple[float, float]:
    pixels = np.arange(image.shape[0])
    return float(image.sum(axis=0) @ pixels / image.sum()), float(image.sum(axis=1) @ pixels / image.sum())


def _moves(beads: BeadDataset) -> np.ndarray:
    """Sideways motion of the modelled blur, pixels per um along x and y."""
    table = BeadPsfs.from_beads(beads, np.arange(len(beads))).table
    image = table.coefficients.mean(axis=0)
    z_um = (table.z_start_nm + table.z_pitch_nm * np.arange(image.shape[0])) / 1000
    near = np.abs(z_um) < 0.6
    places = PITCH_PX * (np.arange(knots_of(ROI_PX)) - knots_of(ROI_PX) // 2)
    total = image[near].sum(axis=(1, 2))
    along_x = (image[near].sum(axis=1) @ places) / total
    along_y = (image[near].sum(axis=2) @ places) / total
    return np.array([np.polyfit(z_um[near], along, 1)[0] for along in (along_x, along_y)])


def test_the_blur_that_trains_the_network_stands_still(beads: BeadDataset) -> None:
    assert np.abs(_moves(beads)).max() < 0.05
    still = replace(beads, lateral_shift_px_per_um=np.zeros((len(beads), 2)))
    assert np.abs(_moves(still)).min() > 0.5


def test_recorded_crops_are_centred_on_the_nearest_pixel(beads: BeadDataset) -> None:
    crops, _, z_nm = recorded_planes(beads, np.arange(len(beads)), (-600.0, 600.0))
    for at in (-600.0, 600.0):
        mean = np.clip(crops[z_nm == at].mean(axis=0) - 100, 0, None)
        assert np.hypot(*(np.array(_centre(mean)) - 7)) < 0.5


def test_the_depths_that_beads_cover_are_known_before_they_are_prepared(beads: BeadDataset) -> None:
    """One bead of six has no label at either end, another lacks more: the range is that of the prepared ones."""
    labels = beads.z_nm.copy()
    labels[2, :3], labels[2, -1:], labels[4, :7] = np.nan, np.nan, np.nan
    cut, everyone = replace(beads, z_nm=labels), np.arange(len(beads))
    low, high = z_range_of_beads(cut, everyone)
    assert -1000 < low < -700 < 900 < high < 1000
    assert (low, high) == pytest.approx(BeadPsfs.from_beads(cut, everyone).z_range_nm)
