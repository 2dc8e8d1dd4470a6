"""A first profile of a camera that was measured before."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.camera_database import MeasuredCamera
from easyzloc_mm.io.profiles import parse_profile
from easyzloc_mm.microscope.setup.discover import Discovered
from easyzloc_mm.microscope.setup.identity import CameraIdentity
from easyzloc_mm.microscope.setup.profile_draft import draft_profile
from easyzloc_mm.profile.schema import Backend, Connection
from easyzloc_mm.typing import StagePosition

FOUND = Discovered(
    devices={"camera": "Cam", "z_stage": "Z", "xy_stage": "XY"},
    choices={},
    groups={},
    width_px=512,
    height_px=512,
    bit_depth=16,
    pixel_size_nm=110.0,
    position=StagePosition(0.0, 0.0, 50.0),
    identity=CameraIdentity("S/N 42", "Gain 2"),
)
MEASURED = MeasuredCamera(
    serial="S/N 42",
    readout_mode="Gain 2",
    response=CameraResponse(baseline_adu=99.83, electrons_per_adu=0.46137, read_noise_e=1.4142),
    measured=date(2026, 3, 9),
)


def written(path: Path, before: MeasuredCamera | None, **known: float) -> tuple[str, list[str]]:
    text, to_check = draft_profile(
        FOUND, Connection(backend=Backend.JAVA), name="mine", known=known, measured_before=before
    )
    path.write_text(text, encoding="utf-8")
    return text, to_check


def test_measured_units_are_filled_in_with_their_day(tmp_path: Path) -> None:
    text, to_check = written(tmp_path / "p.toml", MEASURED)
    camera = parse_profile(tmp_path / "p.toml").camera
    assert (camera.serial, camera.readout_mode) == ("S/N 42", "Gain 2")
    assert (camera.baseline_adu, camera.electrons_per_adu, camera.read_noise_e) == (99.8, 0.4614, 1.41)
    (gain,) = (line for line in text.splitlines() if line.startswith("electrons_per_adu"))
    assert "measured on 2026-03-09" in gain
    assert not [name for name in to_check if name.startswith("camera.")]


def test_what_is_given_counts_more_and_what_nobody_measured_is_marked(tmp_path: Path) -> None:
    text, _ = written(tmp_path / "p.toml", MEASURED, electrons_per_adu=0.5)
    assert parse_profile(tmp_path / "p.toml").camera.electrons_per_adu == 0.5
    (gain,) = (line for line in text.splitlines() if line.startswith("electrons_per_adu"))
    assert "measured" not in gain
    _, to_check = written(tmp_path / "p.toml", None)
    assert "camera.electrons_per_adu" in to_check
    assert parse_profile(tmp_path / "p.toml").camera.serial == "S/N 42"
