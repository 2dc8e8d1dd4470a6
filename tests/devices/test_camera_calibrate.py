"""Photon transfer against cameras with known units."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from easyzloc_mm.acquire.camera import calibrate_from_files, calibrate_on_microscope
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.camera_database import read_cameras
from easyzloc_mm.io.camera_map import CameraMapMetadata, read_camera_map, write_camera_map
from easyzloc_mm.io.profiles import load_profile

SHAPE = (48, 64)


class Chip:
    """A camera whose every pixel has its own baseline and read noise."""

    def __init__(self, electrons_per_adu: float) -> None:
        self.rng = np.random.default_rng(6)
        self.gain: float | NDArray[np.float64] = electrons_per_adu
        self.baseline = 200 + self.rng.normal(0, 4, SHAPE)
        self.read_noise = self.rng.uniform(1.0, 2.0, SHAPE)
        self.read_noise[5, 7] = 30.0

    def movie(self, path: Path, frames: int, electrons: float, drift: float = 0.0) -> Path:
        lamp = electrons * (1 + drift * np.arange(frames) / frames)[:, None, None]
        counts = self.rng.poisson(np.broadcast_to(lamp, (frames, *SHAPE)))
        noisy = counts + self.read_noise * self.rng.standard_normal(counts.shape)
        adu = np.clip(np.rint(self.baseline + noisy / self.gain), 0, 65535).astype(np.uint16)
        tifffile.imwrite(path, adu, photometric="minisblack")
        return path


@pytest.mark.parametrize("gain", [0.25, 1.2])
def test_units_and_maps_are_those_of_the_chip(gain: float, tmp_path: Path) -> None:
    chip = Chip(gain)
    # The lamp drifts by a fifth: that is no noise.
    camera = calibrate_from_files(
        chip.movie(tmp_path / "dark.tif", 250, 0.0),
        [chip.movie(tmp_path / "a.tif", 250, 300.0, drift=0.2), chip.movie(tmp_path / "b.tif", 250, 2000.0, drift=0.2)],
    )
    assert camera.response.electrons_per_adu == pytest.approx(gain, rel=0.01)
    assert camera.response.baseline_adu == pytest.approx(200, abs=1)
    assert camera.response.read_noise_e == pytest.approx(1.5, abs=0.05)
    assert not camera.response.estimated
    assert np.abs(camera.baseline_adu - chip.baseline).max() < 5 * 30 / gain / np.sqrt(250)
    assert np.corrcoef(camera.read_noise_e.ravel(), chip.read_noise.ravel())[0, 1] > 0.95
    assert camera.noisy_pixels == 1
    write_camera_map(tmp_path / "camera.zarr", camera, CameraMapMetadata(camera_response=camera.response))
    assert np.array_equal(read_camera_map(tmp_path / "camera.zarr").baseline_adu, camera.baseline_adu)


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_pixel_gains_are_believed_as_far_as_they_are_known(spread: float, tmp_path: Path) -> None:
    # Two light series of 250 frames tell a pixel's gain to 8 %: more than pixels differ on most chips.
    chip = Chip(0.5)
    each = 0.5 * np.exp(chip.rng.normal(0, spread, SHAPE)) if spread else np.full(SHAPE, 0.5)
    chip.gain = each
    camera = calibrate_from_files(
        chip.movie(tmp_path / "dark.tif", 250, 0.0),
        [chip.movie(tmp_path / "a.tif", 250, 500.0), chip.movie(tmp_path / "b.tif", 250, 2000.0)],
    )
    error = np.delete(camera.electrons_per_adu / each, 5 * SHAPE[1] + 7) - 1  # but for the noisy pixel
    assert np.std(error) < max(0.085, 0.45 * spread) * (1.0 if spread else 0.35)
    assert abs(np.mean(error)) < 0.03


def test_the_embedded_camera_is_measured(tmp_path: Path) -> None:
    profile = load_profile("demo").replace(camera={"width_px": 192, "height_px": 160})
    taken = calibrate_on_microscope(profile, dark_preset="Off", light_preset="High", exposure_ms=20.0, frames=40)
    camera = taken.camera
    assert taken.serial
    assert "Gain" in taken.readout_mode
    assert camera.response.electrons_per_adu == pytest.approx(profile.camera.electrons_per_adu, rel=0.03)
    assert camera.response.baseline_adu == pytest.approx(profile.camera.baseline_adu, abs=1)
    assert camera.response.read_noise_e == pytest.approx(profile.camera.read_noise_e, abs=0.1)


def test_a_camera_with_a_number_is_entered_into_the_data_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: str(tmp_path / "data"))
    chip = Chip(0.5)
    dark, flat = chip.movie(tmp_path / "d.tif", 30, 0.0), chip.movie(tmp_path / "f.tif", 30, 1000.0)
    command = ["camera-calibrate", "--dark", str(dark), "--flat", str(flat), "--json"]
    assert main([*command, "--out", str(tmp_path / "one.zarr")]) == 0
    assert "number is not known" in json.loads(capfd.readouterr().out.splitlines()[-1])["entered"]
    assert not (tmp_path / "data").exists()
    numbered = ["--serial", "A123", "--readout-mode", "Gain 1", "--out", str(tmp_path / "two.zarr")]
    assert main([*command, *numbered]) == 0
    found = read_cameras().find("A123", "Gain 1")
    assert found is not None
    assert found.response.electrons_per_adu == pytest.approx(0.5, rel=0.1)
    assert found.measured == date.today()


def test_bad_series_are_one_clear_sentence(tmp_path: Path) -> None:
    chip = Chip(0.5)
    dark, flat = chip.movie(tmp_path / "d.tif", 20, 0.0), chip.movie(tmp_path / "f.tif", 20, 500.0)
    with pytest.raises(InputError, match="5 frame"):
        calibrate_from_files(chip.movie(tmp_path / "short.tif", 5, 0.0), [flat])
    with pytest.raises(InputError, match="swapped"):
        calibrate_from_files(flat, [dark])
    with pytest.raises(InputError, match="maximum"):
        calibrate_from_files(dark, [chip.movie(tmp_path / "white.tif", 20, 50000.0)])
    with pytest.raises(InputError, match="no flat"):
        calibrate_from_files(dark, [])
