"""A calibration held against beads of another day, on optics that share no code with the pupil model."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.api.calibrating.check import check_calibration
from easyzloc_mm.benchmarks.second_optics.datasets import BEAD_BACKGROUND, EXPOSURE_MS
from easyzloc_mm.camera.exposure import camera_counts
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from easyzloc_mm.io.calibration_check import CHECK_FILE, CHECK_FOLDER, CalibrationCheck, Verdict
from easyzloc_mm.io.passport import LightLevel, Passport
from easyzloc_mm.io.profiles import shipped_profiles
from easyzloc_mm.model.card import PSF_FILE, ModelCard
from easyzloc_mm.passport.change import Calibrated
from easyzloc_mm.passport.verdict import LEAST_LIGHT, REFRESH_RAD, VALID_RAD, VALID_SURFACE_NM, Figures
from easyzloc_mm.psf.bead_psf import point_image
from easyzloc_mm.psf.field_psf import FieldPsf
from tests.helpers.localize_bench import small_bundle
from tests.helpers.sample_run import ADDED, BEADS, MICROSCOPE, PROFILE, SAMPLE, SIDE_PX, one_place

PHOTONS = 20_000.0
HALF_PX = 11
HERE = PROFILE.replace(camera={"width_px": SIDE_PX, "height_px": SIDE_PX})


def write_stacks(path: Path, psf: FieldPsf, light: float, seed: int) -> None:
    """Three fields of four beads, 21 planes."""
    rng = np.random.default_rng(seed)
    table = psf.table((SIDE_PX, SIDE_PX))
    stage_nm = np.arange(-1000.0, 1001.0, 100.0)
    places = np.stack(np.meshgrid([35.0, 92.0], [35.0, 92.0]), axis=-1).reshape(-1, 2)
    with BeadStackWriter(path, HERE.model_dump(mode="json"), 110.0, 100.0, (SIDE_PX, SIDE_PX)) as writer:
        for field in range(3):
            at = places + rng.uniform(-15, 15, places.shape)
            writer.add_fov(field, len(stage_nm))
            for plane, z_nm in enumerate(stage_nm):
                photons = np.full((SIDE_PX, SIDE_PX), BEAD_BACKGROUND)
                for x, y in at:
                    column, row = round(x), round(y)
                    window = np.s_[row - HALF_PX : row + HALF_PX + 1, column - HALF_PX : column + HALF_PX + 1]
                    image = point_image(table, 0, float(z_nm), x - column, y - row, HALF_PX)
                    photons[window] += light * PHOTONS * np.maximum(image, 0)
                z_um = 50 + z_nm / 1000
                record = PlaneRecord(z_um, z_um, 80.0 * field, 0.0, EXPOSURE_MS, None, float(plane))
                writer.write_plane(field, plane, camera_counts(photons, MICROSCOPE.response, rng), record)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a lens, and beads on a day like any, and on one with other aberrations and half the light."""
    folder = tmp_path_factory.mktemp("desk")
    psf = one_place(BEADS)
    small_bundle(folder / "model", field=(SIDE_PX, SIDE_PX))
    psf.save(folder / "model" / PSF_FILE)
    level = LightLevel(photons_per_ms=PHOTONS / EXPOSURE_MS, relative_sd=0.02, beads=100)
    Passport(made="2026-01-01", items=(), light={"": level}).write(folder / "model")
    write_stacks(folder / "same.ome.zarr", psf, 1.0, seed=1)
    write_stacks(folder / "other.ome.zarr", one_place(SAMPLE), 0.8, seed=2)
    return folder


def profile_file(folder: Path) -> Path:
    """`HERE`, as people write it."""
    text = shipped_profiles()["demo"].read_text(encoding="utf-8")
    known = {**HERE.optics.model_dump(), **HERE.camera.model_dump()}
    for name, value in known.items():
        text = re.sub(rf"^{name} = [^#\n]*", f"{name} = {value}", text, flags=re.MULTILINE)
    path = folder / "here.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def said(desk: Path) -> dict[str, Any]:
    """What the command prints of a day like any."""
    printed = io.StringIO()
    options = ["--profile", str(profile_file(desk)), "--stacks", str(desk / "same.ome.zarr"), "--json"]
    with contextlib.redirect_stdout(printed):
        assert main(["calibrate", "--check", str(desk / "model"), "--out", str(desk / "check"), *options]) == 0
    found: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def same(desk: Path, said: dict[str, Any]) -> CalibrationCheck:
    assert said["verdict"] == "valid"
    stored = json.loads((desk / "check" / CHECK_FILE).read_text(encoding="utf-8"))
    return CalibrationCheck.from_stored(stored, CHECK_FILE)


@pytest.fixture(scope="module")
def other(desk: Path) -> CalibrationCheck:
    return check_calibration(desk / "model", HERE, stacks=[desk / "other.ome.zarr"])


def test_an_instrument_as_it_was_is_valid(same: CalibrationCheck) -> None:
    assert same.verdict is Verdict.VALID
    assert same.beads == 12
    for change in same.changes:
        if change.unit == "rad" and change.value is not None and change.sd is not None:
            assert abs(change.value) < 3 * change.sd


@pytest.mark.slow
def test_what_has_changed_is_measured(other: CalibrationCheck) -> None:
    assert other.verdict is Verdict.REFRESH
    coma, spherical = other.change("coma x"), other.change("spherical")
    assert coma.value == pytest.approx(ADDED[3], abs=3 * (coma.sd or 0))
    assert spherical.value == pytest.approx(ADDED[4], abs=3 * (spherical.sd or 0))
    assert "aberrations" in other.because


@pytest.mark.slow
def test_light_is_held_against_that_of_the_calibration(same: CalibrationCheck, other: CalibrationCheck) -> None:
    then, now = same.change("light"), other.change("light")
    assert then.value is not None
    assert now.value is not None
    assert now.value / then.value == pytest.approx(0.8, abs=0.05)


def test_what_is_not_known_is_said(same: CalibrationCheck) -> None:
    surface = same.change("focal_surface")
    assert surface.value is None
    assert "beads are too few" in surface.remark
    assert "not told: focal surface" in same.because


def test_what_the_command_prints_is_what_it_keeps(desk: Path, said: dict[str, Any], same: CalibrationCheck) -> None:
    assert said["changes"]["coma_x"]["value"] == same.change("coma x").value
    assert said["changes"]["light"]["sd"] == same.change("light").sd
    assert said["because"] == same.because
    assert Path(said["out"]) == desk / "check"
    passport = Passport.read(desk / "check")
    assert passport is not None
    assert passport.light[""].photons_per_ms == pytest.approx(PHOTONS / EXPOSURE_MS, rel=0.2)
    assert "valid" in (desk / "check" / "index.html").read_text(encoding="utf-8")


def test_the_folder_of_a_check_is_whole_without_a_model(desk: Path, same: CalibrationCheck, tmp_path: Path) -> None:
    shutil.copytree(desk / "same.ome.zarr", tmp_path / "today" / "stacks.ome.zarr")
    assert not verify(tmp_path / "today", quick=True).whole
    shutil.copytree(desk / "check", tmp_path / "today" / CHECK_FOLDER)
    assert verify(tmp_path / "today", quick=True).whole


def test_a_bundle_of_an_earlier_release_is_held_against_as_far_as_it_goes(tmp_path: Path) -> None:
    """It has no passport, and no focal surface."""
    then = Calibrated.of(ModelCard.load(small_bundle(tmp_path / "model", field=(SIDE_PX, SIDE_PX))))
    assert then.surface is None
    assert then.light == {}
    assert then.lateral_shift_nm_per_um is None
    assert then.psf.high_nm > then.psf.low_nm


def test_what_cannot_be_held_against_each_other_is_refused(desk: Path, tmp_path: Path) -> None:
    small_bundle(tmp_path / "large", field=(512, 512))
    with (
        pytest.warns(EasyZlocWarning, match="covers a field of 512 x 512 px"),
        pytest.raises(InputError, match="is for 512 x 512 px"),
    ):
        check_calibration(tmp_path / "large", HERE, stacks=[desk / "same.ome.zarr"])
    with (
        pytest.warns(EasyZlocWarning, match="covers a field of 512 x 512 px"),
        pytest.raises(InputError, match="is for 512 x 512 px"),
    ):
        check_calibration(tmp_path / "large", HERE, tmp_path / "check")  # before anything is connected
    with pytest.raises(InputError, match="`out` is needed"):
        check_calibration(desk / "model", HERE)


def figures(**changed: float | None) -> Figures:
    known: dict[str, float | None] = {
        "total_rad": 0.0, "spherical_rad": 0.0, "scale": 1.0, "left_nm": 5.0, "surface_nm": 0.0, "light": 1.0
    }  # fmt: skip
    return Figures(**{**known, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, Verdict.VALID),
        ({"surface_nm": None, "light": None}, Verdict.VALID),
        ({"total_rad": 1.1 * VALID_RAD}, Verdict.REFRESH),
        ({"total_rad": 1.1 * REFRESH_RAD}, Verdict.CALIBRATE),
        ({"total_rad": 1.1 * REFRESH_RAD, "spherical_rad": REFRESH_RAD}, Verdict.OPTICS),
        ({"surface_nm": 1.1 * VALID_SURFACE_NM, "total_rad": 1.1 * VALID_RAD}, Verdict.CALIBRATE),
        ({"scale": 0.95}, Verdict.CALIBRATE),
        ({"light": 0.9 * LEAST_LIGHT, "surface_nm": 1.1 * VALID_SURFACE_NM}, Verdict.OPTICS),
    ],
)
def test_the_first_thing_to_do_is_the_verdict(changed: dict[str, float | None], verdict: Verdict) -> None:
    assert figures(**changed).verdict() is verdict


@pytest.mark.parametrize(
    ("options", "said"),
    [([], "--out is missing"), (["--stacks", "s.ome.zarr", "--out", "o"], "--stacks go with --check")],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--profile", "demo", *options]) == 2
    assert said in capfd.readouterr().err
