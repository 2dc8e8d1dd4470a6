"""The camera's units held against the noise of the beads' background."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.api.calibrating.calibration import train
from easyzloc_mm.beads.camera_response import noise_ratio, warn_of_noise
from easyzloc_mm.camera.exposure import camera_counts
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.dataset import BeadDataset

CMOS = CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.6)
EMCCD = CameraResponse(baseline_adu=200.0, electrons_per_adu=0.15, read_noise_e=0.5, excess_noise=2.0)
BACKGROUND, FLICKER = 20.0, 0.05


def beads(camera: CameraResponse, background: float = BACKGROUND) -> BeadDataset:
    """Gaussian beads through focus under a lamp that flickers."""
    rng = np.random.default_rng(8)
    z_nm, pixels, count = np.arange(-1000.0, 1001.0, 50.0), np.arange(23.0), 8
    sigma = 1.3 * np.sqrt(1 + (z_nm / 500) ** 2)[:, None, None]
    lamp = 1 + FLICKER * rng.standard_normal((count, len(z_nm), 1, 1))
    away = (pixels[None, :] - 11) ** 2 + (pixels[:, None] - 11) ** 2
    light = lamp * (background + 30_000 / (2 * np.pi * sigma**2) * np.exp(-away / (2 * sigma**2)))
    middle, nothing = np.full(count, 11.0), np.zeros(count, np.int64)
    return BeadDataset(
        rois=camera_counts(light, camera, rng), z_nm=np.tile(z_nm, (count, 1)).astype(np.float32), x=middle, y=middle,
        roi_x0=nothing, roi_y0=nothing, stack=nothing, region=np.arange(count), accepted=np.ones(count, bool),
        reason=("",) * count, response=camera, pixel_size_nm=110.0, field_size_px=(23, 23), field_known=False,
        measures=pd.DataFrame({"snr": np.full(count, 50.0)}),
    )  # fmt: skip


@pytest.mark.parametrize("camera", [CMOS, EMCCD], ids=["cmos", "emccd"])
def test_right_units_are_found_right_and_wrong_ones_are_said(camera: CameraResponse) -> None:
    right = beads(camera)
    assert noise_ratio(right) == pytest.approx(1.0, abs=0.08)
    warn_of_noise(right)  # a warning would be an error
    for factor in (0.8, 1.25):
        wrong = replace(right, response=camera.replaced(electrons_per_adu=factor * camera.electrons_per_adu))
        # Counts that are taken for more electrons: the read noise, which is in electrons, is too.
        read = camera.read_noise_e**2
        shot = camera.excess_noise * BACKGROUND
        expected = factor**2 * (shot + read) / (factor * shot + read)
        assert noise_ratio(wrong) == pytest.approx(expected, rel=0.08)
        with pytest.warns(EasyZlocWarning, match="the noise around the beads .* enter `electrons_per_adu`"):
            warn_of_noise(wrong)


def test_training_on_beads_that_were_built_elsewhere_says_it_before_it_begins(tmp_path: Path) -> None:
    wrong = replace(beads(CMOS), response=CMOS.replaced(electrons_per_adu=0.7 * CMOS.electrons_per_adu))
    with (
        pytest.warns(EasyZlocWarning, match="the noise around the beads .* enter `electrons_per_adu`"),
        pytest.raises(InputError, match="`roi_px` 31: the beads' regions"),
    ):
        train(wrong, tmp_path / "model", roi_px=31)


def test_em_gain_that_was_not_stated_is_named() -> None:
    with pytest.warns(EasyZlocWarning, match="enter `excess_noise` 2"):
        warn_of_noise(replace(beads(EMCCD), response=EMCCD.replaced(excess_noise=1.0)))


def test_there_is_no_verdict_where_the_read_noise_hides_the_gain_or_units_were_guessed() -> None:
    dark = beads(CMOS, background=0.1)
    assert noise_ratio(replace(dark, response=CMOS.replaced(electrons_per_adu=0.4))) is None
    guessed = CMOS.model_copy(update={"estimated": True, "electrons_per_adu": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_noise(replace(beads(CMOS), response=guessed))
