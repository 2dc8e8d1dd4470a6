"""Cameras by number and readout mode: entered once, found again, held against a profile."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.camera_database import MeasuredCamera, origin_of_units, read_cameras, remember_camera
from easyzloc_mm.profile.schema import Camera


def entry(serial: str, mode: str, electrons_per_adu: float, day: int = 1) -> MeasuredCamera:
    response = CameraResponse(baseline_adu=100.0, electrons_per_adu=electrons_per_adu, read_noise_e=1.6)
    return MeasuredCamera(serial=serial, readout_mode=mode, response=response, measured=date(2026, 3, day))


def camera(serial: str | None, mode: str | None, electrons_per_adu: float) -> Camera:
    return Camera(
        width_px=64, height_px=64, baseline_adu=100.0, electrons_per_adu=electrons_per_adu, read_noise_e=1.6,
        serial=serial, readout_mode=mode,
    )  # fmt: skip


@pytest.fixture
def known(tmp_path: Path) -> Path:
    file = tmp_path / "data" / "cameras.json"
    for one in (entry("A123", "Gain 1", 0.5), entry("A123", "Gain 2", 0.25), entry("a123", "gain 1", 0.6, day=9)):
        remember_camera(one, file)
    return file


def test_the_last_measurement_of_each_mode_is_kept(known: Path) -> None:
    cameras = read_cameras(known)
    assert len(cameras.cameras) == 2
    found = cameras.find("A123", "Gain 1")
    assert found is not None
    assert found.response.electrons_per_adu == 0.6
    assert found.measured == date(2026, 3, 9)
    assert cameras.find("A123", None) is None
    assert cameras.find(None, "Gain 1") is None


@pytest.mark.parametrize(
    ("serial", "mode", "gain", "agrees", "said"),
    [
        ("A123", "Gain 1", 0.61, True, "those of camera a123, gain 1, measured on 2026-03-09"),
        ("A123", "Gain 1", 0.9, False, "electrons_per_adu 0.9, measured 0.6"),
        ("A123", "Gain 3", 0.6, False, "other readout modes only"),
        ("B9", None, 0.6, True, "not measured here yet"),
        (None, None, 0.6, True, "camera.serial is not given"),
    ],
)
def test_a_profile_is_told_where_its_units_are_from(
    known: Path, serial: str | None, mode: str | None, gain: float, agrees: bool, said: str
) -> None:
    origin = origin_of_units(camera(serial, mode, gain), known)
    assert origin.agrees is agrees
    assert said in origin.text


def test_without_a_file_nothing_is_known_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    assert read_cameras(file).cameras == ()
    file.write_text("[", encoding="utf-8")
    with pytest.raises(InputError, match=r"cameras\.json"):
        read_cameras(file)
    with pytest.raises(InputError, match=r"cameras\.json"):
        remember_camera(entry("A", "", 1.0), file)
    assert file.read_text(encoding="utf-8") == "["
