"""Profiles are checked before anything moves, and an error names the field."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.profiles import load_profile, shipped_profiles
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.profile.schema import Profile
from tests.helpers.microscope_bench import HEIGHT, WIDTH, bench_profile

DEMO = shipped_profiles()["demo"].read_text(encoding="utf-8")


def test_the_shipped_profiles_are_the_four_of_the_design_and_valid() -> None:
    assert {"demo", "axiovert200_prime95b", "openframe", "template"} <= set(shipped_profiles())
    for name in shipped_profiles():
        assert load_profile(name).camera.response.electrons_per_adu > 0


def test_the_paper_instrument_follows_the_paper() -> None:
    plan = load_profile("axiovert200_prime95b").beads
    assert (plan.z_start_nm, plan.z_stop_nm, plan.z_step_nm, plan.fovs) == (-3000, 3000, 10, 10)
    assert plan.planes == 601
    assert plan.exposures_ms == (300, 500, 1000)
    assert len(plan.illuminations) == 3


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("na = 1.46", "na = 1.46\nmagic = 1", "optics.magic"),
        ("na = 1.46", "na = 1.6", "na (1.6)"),
        ("na = 1.46\n", "", "optics.na"),
        ("pixel_size_nm = 110.0", "pixel_size_nm = -1.0", "optics.pixel_size_nm"),
        ("electrons_per_adu = 0.45", "electrons_per_adu = nan", "camera.electrons_per_adu"),
        ("z_step_nm = 25.0", "z_step_nm = 0.0", "beads.z_step_nm"),
        ("z_start_nm = -1500.0", "z_start_nm = 2000.0", "z_start_nm"),
        ("z_max_um = 100.0", "z_max_um = 2.0", "beads.z_start_nm"),
        ("z_max_um = 100.0", "z_max_um = 51.0", "beads.focus_um"),
        ("x_min_um = -10000.0", "x_min_um = 10000.0", "x_min_um"),
        ("[5000.0, 0.0]", "[50000.0, 0.0]", "imaging.start_position_um"),
        ('backend = "embedded"', 'backend = "python"', "mm_dir"),
        ('illumination_group = "Illumination"\n', "", "devices.illumination_group"),
        ("fovs = 6", "fovs = 0", "beads.fovs: must be at least 1"),
        ("fovs = 6", 'fovs = "six"', "beads.fovs: must be a whole number, and it is 'six'"),
        ("pixel_size_nm = 110.0", "pixel_size_nm = 1000.0", "0.23 pixels of this size"),
        ("z_step_nm = 25.0", "z_step_nm = 0.02", "150001 planes"),
        ("width_px = 512", f"width_px = 1{400 * '0'}", "camera.width_px: must be at most 32768"),
        ("exposure_ms = 30.0", "exposure_ms = 1e30", "imaging.exposure_ms: must be at most"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in DEMO
    path = tmp_path / "wrong.toml"
    path.write_text(DEMO.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=r"wrong\.toml") as caught:
        load_profile(path)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_broken_toml_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("name = ", encoding="utf-8")
    with pytest.raises(InputError, match="TOML"):
        load_profile(tmp_path / "broken.toml")


def test_a_profile_that_notepad_saved_is_read_and_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "Gerät ü.toml"
    path.write_text(DEMO, encoding="utf-8-sig")
    assert load_profile(path).optics.pixel_size_nm == 110
    for other in ("utf-16", "latin-1"):
        path.write_bytes((DEMO + "# größer").encode(other))
        with pytest.raises(InputError, match="save it as UTF-8"):
            load_profile(path)


def test_an_untouched_template_describes_no_microscope(tmp_path: Path) -> None:
    text = shipped_profiles()["template"].read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="describes no microscope"):
        load_profile(path)
    path.write_text(text.replace("z_max_um = 100.0", "z_max_um = 90.0"), encoding="utf-8")
    assert load_profile(path).limits.z_max_um == 90


def test_an_unusual_pixel_is_doubted_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(DEMO.replace("pixel_size_nm = 110.0", "pixel_size_nm = 250.0"), encoding="utf-8")
    with pytest.warns(EasyZlocWarning, match=r"pixel_size_nm \(250\) is unusual.*230 nm wide"):
        load_profile(path)


def test_a_windows_path_in_double_quotes_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "a"\n[connection]\nmm_dir = "C:\\Program Files"\n', encoding="utf-8")
    with pytest.raises(InputError, match="single quotes"):
        load_profile(path)


def test_replace_validates_again() -> None:
    profile = Profile.model_validate(tomllib.loads(DEMO))
    assert profile.replace(beads={"fovs": 2}).beads.fovs == 2
    assert profile.replace(beads={"fovs": 2}).beads.z_step_nm == profile.beads.z_step_nm
    with pytest.raises(InputError, match=r"beads\.fovs"):
        profile.replace(beads={"fovs": -1})


def test_limits_name_the_axis() -> None:
    with pytest.raises(InputError, match=r"limits\.z_min_um"):
        load_profile("demo").limits.check(z_um=-0.5)


def test_a_new_profile_fits_the_microscope_that_it_was_written_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = bench_profile(tmp_path)
    path = tmp_path / "mine.toml"
    where = ["--mm-dir", str(bench.connection.mm_dir), "--config-file", str(bench.connection.config_file)]
    assert main(["profile", "new", "--out", str(path), *where, "--na", "1.4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    with pytest.warns(EasyZlocWarning, match="emission_nm.*are marked CHECK"):
        profile = load_profile(path)
    assert profile.devices.camera == "Camera"
    assert profile.devices.z_stage == "Z"
    assert profile.devices.illumination_group == "Light"
    assert (profile.camera.width_px, profile.camera.height_px) == (WIDTH, HEIGHT)
    assert profile.optics.na == 1.4
    assert "optics.na" not in said["check by hand"]
    assert "optics.emission_nm" in said["check by hand"]
    # It can be used as it stands: devices, camera size and limits fit what is there.
    with connect(profile) as microscope:
        here = microscope.position()
        profile.limits.check(x_um=here.x_um, y_um=here.y_um, z_um=here.z_um)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [([], "--mm-dir"), (["--mm-dir", "nowhere", "--config-file", "a.cfg"], "nowhere")],
)
def test_profile_new_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(["profile", "new", "--out", str(tmp_path / "p.toml"), *arguments]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_draft_that_cannot_be_is_said_and_a_configuration_is_looked_for_here_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo configuration has a pixel of 1 um."""
    import mm_test_adapters

    monkeypatch.chdir(tmp_path)
    adapters = Path(mm_test_adapters.device_adapter_path())
    shutil.copy(adapters / "MMConfig_demo.cfg", "here.cfg")
    new = ["profile", "new", "--mm-dir", str(adapters), "--out", "new.toml", "--config-file"]
    assert main([*new, "MMConfig_demo.cfg"]) == 2
    assert "is no profile: optics: pixel_size_nm (1000) cannot be" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["here.cfg"]
    assert main([*new, "here.cfg", "--pixel-size-nm", "110"]) == 0
    drafted = tomllib.loads((tmp_path / "new.toml").read_text(encoding="utf-8"))
    assert Path(drafted["connection"]["config_file"]) == tmp_path / "here.cfg"
