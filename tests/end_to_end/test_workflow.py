"""The whole way on the embedded microscope, by the commands a person types, small enough for every test run."""

from __future__ import annotations

import contextlib
import json
import runpy
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.model.card import ModelCard
from tests.helpers.paths import HELPERS, SCRIPTS
from tests.helpers.patience import PATIENCE_S, wait_until
from tests.helpers.program import FRAMES, SIZE_PX, calibrate_briefly, command, command_here, write_profile

COLUMNS = (
    "frame", "x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy", "ellipticity", "net_gradient", "z", "lpz", "z_flag"
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("localised_here")


@dataclass(frozen=True)
class Walk:
    """What the commands made, and what they said."""

    folder: Path
    profile: Path
    model: Path
    run: Path
    calibrated: dict[str, Any]
    live: dict[str, Any]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    folder = tmp_path_factory.mktemp("walk")
    profile = write_profile(folder)
    calibrated = calibrate_briefly(profile, folder / "today")
    model, run = folder / "today" / "model", folder / "cell.zarr"
    live = command("live", "--profile", profile, "--model", model, "--out", run)
    return Walk(folder, profile, model, run, calibrated, live)


def test_calibrate_leaves_beads_model_and_reports(walk: Walk) -> None:
    today = walk.folder / "today"
    assert walk.calibrated["accepted"] >= 8
    assert walk.calibrated["accepted"] + sum(walk.calibrated["rejected"].values()) == walk.calibrated["found"]
    # A guess that knows nothing has an error of 577 nm over +-1 um; even seconds of training beat it by far.
    assert walk.calibrated["rmse_z_nm"] < 250
    assert walk.calibrated["rmse_z_nm"] > walk.calibrated["limit_z_nm"] * 0.8
    for page in (today / "beads_report", walk.model / "report"):
        assert (page / "index.html").stat().st_size > 0
        assert list(page.glob("*.png"))
    calibration = json.loads((walk.model / "calibration.json").read_text(encoding="utf-8"))
    assert {"schema_version", "roi_px", "z_range_nm", "pixel_size_nm", "field_size_px", "response", "recipe",
            "training_data", "versions", "accuracy"} <= set(calibration)  # fmt: skip
    assert (walk.model / "model.keras").is_file()
    passport = json.loads((walk.model / "passport.json").read_text(encoding="utf-8"))
    graded = {item["name"] for item in passport["items"] if item["grade"] is not None}
    assert {"considered_valid_count", "fwhm_micron_x_mean", "rmse_z_over_limit"} <= graded
    assert passport["light"]
    assert (walk.model / "report" / "passport.html").stat().st_size > 0


@pytest.mark.slow
def test_the_same_instrument_passes_its_check(walk: Walk) -> None:
    """New stacks, at coarse steps; the stage, the lens and the lamp of the embedded microscope are those of before."""
    out = walk.folder / "check"
    found = command_here("calibrate", "--check", walk.model, "--profile", walk.profile, "--out", out)
    assert found["verdict"] == "valid"
    assert found["changes"]["light"]["value"] == pytest.approx(1.0, abs=0.2)
    assert (out / "stacks.ome.zarr").is_dir()
    assert (out / "check" / "check.json").is_file()


def test_the_run_holds_every_frame_and_a_table_without_holes(walk: Walk) -> None:
    assert (walk.live["frames"], walk.live["frames_lost"]) == (FRAMES, 0)
    table, attributes = read_localizations(walk.run)
    assert len(table) == walk.live["localizations"] > 100
    assert set(COLUMNS) <= set(table.columns)
    assert np.isfinite(table.to_numpy(float)).all()
    assert table["frame"].between(0, FRAMES - 1).all()
    assert attributes.complete is True
    assert attributes.model is not None
    assert attributes.model.digest == ModelCard.load(walk.model).digest


def test_raw_frames_open_in_stock_readers(walk: Walk) -> None:
    import yaozarrs
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    yaozarrs.validate_zarr_store(str(walk.run / "frames"))
    (node,) = Reader(parse_url(str(walk.run / "frames")))()
    assert node.data[0].shape == (FRAMES, SIZE_PX, SIZE_PX)
    assert np.asarray(node.data[0][3]).std() > 0


def test_a_movie_file_gives_what_the_camera_gave(walk: Walk) -> None:
    """The offline twin on a TIFF of the same frames: the same molecules, row by row."""
    movie = walk.folder / "cell.tif"
    tifffile.imwrite(movie, open_movie(walk.run).read(0, FRAMES))
    said = command_here(
        "localize", movie, "--model", walk.model, "--out", walk.folder / "offline.zarr",
        "--passes", "1",
    )  # fmt: skip
    assert said["frames"] == FRAMES
    order = ["frame", "y", "x"]
    live, offline = (
        read_localizations(path)[0][list(COLUMNS)].sort_values(order, ignore_index=True)
        for path in (walk.run, walk.folder / "offline.zarr")
    )
    assert len(live) == len(offline)
    np.testing.assert_allclose(live.to_numpy(float), offline.to_numpy(float), rtol=1e-4, atol=0.05)


def test_analysis_and_exports_follow(walk: Walk) -> None:
    from picasso import io

    corrected = walk.folder / "cell.undrifted.zarr"
    command_here("undrift", walk.run, "--out", corrected)
    command_here("render", corrected, "--out", walk.folder / "cell.png")
    assert (walk.folder / "cell.png").stat().st_size > 1000
    said = command_here("export", corrected, "--out", walk.folder / "cell.hdf5")
    locs, info = io.load_locs(str(walk.folder / "cell.hdf5"))
    table, _ = read_localizations(corrected)
    # Without its drift, a molecule at the image's edge may lie outside of it, where Picasso shows none.
    inside = table[(table[["x", "y"]] >= 0).all(axis=1) & (table[["x", "y"]] < SIZE_PX).all(axis=1)]
    assert len(locs) == len(inside) == said["rows"] >= 0.95 * len(table)
    np.testing.assert_allclose(np.sort(locs["z"]), np.sort(inside["z"]), rtol=1e-6)
    assert info[0]["Width"] == SIZE_PX


def test_a_scan_images_every_field_once(walk: Walk) -> None:
    plan = walk.folder / "plan.toml"
    plan.write_text('name = "two"\nframes = 25\npositions_um = [[5000.0, 0.0], [5040.0, 0.0]]\n', encoding="utf-8")
    out = walk.folder / "scan"
    arguments = ("scan", "--profile", walk.profile, "--plan", plan, "--model", walk.model, "--out", out)
    first, again = command_here(*arguments), command_here(*arguments)
    assert (first["done"], first["frames"], first["frames_lost"]) == (2, 50, 0)
    assert (again["done"], again["already_done"], again["frames"]) == (0, 2, 0)
    for name in ("field_000", "field_001"):
        assert len(read_localizations(out / f"{name}.zarr")[0]) > 0


@pytest.mark.parametrize(
    ("script", "arguments", "made"),
    [
        pytest.param(
            "calibrate_before_imaging.py", ["--steps", "10"], ["stacks.ome.zarr", "beads.zarr", "model/model.onnx"],
            marks=pytest.mark.slow,  # what it calls is what `calibrate` calls, above
        ),
        ("live_3d.py", ["--model", "MODEL", "--frames", "30"], ["localizations"]),
        ("scan_fields.py", ["--model", "MODEL", "--at", "5000", "0", "--grid", "2", "1", "--frames", "20"],
         ["scan.json", "row00_col00.zarr", "row00_col01.zarr"]),
    ],
)  # fmt: skip
def test_the_acquisition_scripts_run_as_they_stand(
    walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, arguments: list[str], made: list[str]
) -> None:
    out = tmp_path / ("run.zarr" if script == "live_3d.py" else "out")
    profile = write_profile(tmp_path, **{"fovs = 6": "fovs = 2", "z_step_nm = 25.0": "z_step_nm = 100.0"})
    arguments = [str(walk.model) if argument == "MODEL" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", [script, "--profile", str(profile), "--out", str(out), *arguments])
    with contextlib.suppress(SystemExit), warnings.catch_warnings():
        warnings.simplefilter("ignore", EasyZlocWarning)
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    for name in made:
        assert (out / name).exists(), name


def refused(capsys: pytest.CaptureFixture[str], out: Path, *arguments: str | Path) -> str:
    """Run a command that must refuse its input; give its one line."""
    code = main([*map(str, arguments), "--out", str(out)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("easyzloc-mm:")]
    assert code == 2
    assert len(lines) == 1
    assert not out.exists()
    return lines[0]


def test_a_model_for_another_pixel_size_is_refused(
    walk: Walk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_profile(tmp_path, **{"pixel_size_nm = 110.0": "pixel_size_nm = 100.0"})
    line = refused(capsys, tmp_path / "r.zarr", "live", "--profile", other, "--model", walk.model)
    assert "110" in line
    assert "optics.pixel_size_nm" in line


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (np.zeros((0, 40, 40), np.uint16), "empty"),
        (np.ones((2, 5, 40, 40), np.uint16), "axes"),
        (np.full((5, 40, 40), 0.5, np.float32), "float32"),
        (b"not a picture", "cannot be read"),
    ],
)
def test_a_movie_that_cannot_be_localised_is_named(
    walk: Walk, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: np.ndarray | bytes, named: str
) -> None:
    movie = tmp_path / "movie.tif"
    if isinstance(content, bytes):
        movie.write_bytes(content)
    elif content.size:
        tifffile.imwrite(movie, content, photometric="minisblack")
    else:
        with tifffile.TiffWriter(movie):
            pass
    line = refused(capsys, tmp_path / "r.zarr", "localize", movie, "--model", walk.model)
    assert "movie.tif" in line
    assert named in line


def planes_of(stacks: Path) -> int:
    """Planes of the first stack that are there to be read."""
    with contextlib.suppress(Exception):
        return len(open_bead_stacks(stacks)[0].pixels)
    return 0


def rows_of(run: Path) -> int:
    """Localisations that are there to be read."""
    with contextlib.suppress(Exception):
        return len(read_localizations(run)[0])
    return 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one child process alone")
# A live run is interrupted in devices/test_live_faults.py, and its program in test_live_program.py.
@pytest.mark.parametrize("name", ["acquire-beads", pytest.param("live", marks=pytest.mark.slow)])
def test_ctrl_c_leaves_a_safe_microscope_and_a_readable_store(walk: Walk, tmp_path: Path, name: str) -> None:
    long = write_profile(
        tmp_path, **{"frames = 6000": "frames = 50000", "z_step_nm = 25.0": "z_step_nm = 2.0", "fovs = 6": "fovs = 1"}
    )
    out = tmp_path / ("beads.ome.zarr" if name == "acquire-beads" else "run.zarr")
    arguments: list[str | Path] = [name, "--profile", long, "--out", out]
    if name == "live":
        arguments += ["--model", walk.model]
    with subprocess.Popen(
        [sys.executable, HELPERS / "interrupted_command.py", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stderr is not None
        kept = planes_of if name == "acquire-beads" else rows_of
        wait_until(lambda: kept(out) > 10 or child.poll() is not None, "there is something to keep")
        child.send_signal(signal.SIGINT)
        said, complaint = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 130, complaint
    assert "Traceback" not in complaint
    before, after = (
        json.loads(line.split(maxsplit=1)[1]) for line in said.splitlines() if line.startswith(("BEFORE", "AFTER"))
    )
    assert after["position"] == pytest.approx(before["position"], abs=0.02)
    assert not after["shutter_open"]
    assert not after["running"]
    if name == "acquire-beads":
        (stack,) = open_bead_stacks(out)
        planes = len(stack.pixels)
        assert 10 < planes < 1201
        assert np.asarray(stack.pixels[planes - 1]).std() > 0
    else:
        table, attributes = read_localizations(out)
        frames = open_movie(out).shape[0]
        assert 10 < frames < 50_000
        assert attributes.complete is False
        assert len(table) > 0
        assert table["frame"].max() < frames


@pytest.mark.slow
def test_the_network_alone_leaves_x_and_y_to_the_gaussian_fit(walk: Walk) -> None:
    runs = walk.folder / "network_alone.zarr", walk.folder / "by_picasso.zarr"
    for out, refine in zip(runs, ("--no-refine", "--refine"), strict=True):
        command_here("localize", walk.run, "--model", walk.model, "--out", out, refine, "--detection", "picasso")
    rough, refined = (read_localizations(path)[0] for path in runs)
    assert len(rough) == len(refined)
    moved = np.hypot(*(rough[axis].to_numpy(float) - refined[axis].to_numpy(float) for axis in "xy"))
    # Refinement moves most spots, by less than a pixel: it looks for the same molecule.
    assert (moved > 0).any()
    assert np.median(moved[moved > 0]) < 1.0


@pytest.mark.parametrize(
    ("exposure_ms", "passes", "status", "advice"),
    [(1000.0, "", "ok", "localize.passes = 2"), (0.02, "[localize]\npasses = 2\n", "warn", "localize.passes = 1")],
)
def test_the_doctor_says_whether_this_computer_keeps_up(
    walk: Walk, tmp_path: Path, exposure_ms: float, passes: str, status: str, advice: str
) -> None:
    exposure = {"exposure_ms = 30.0": f"exposure_ms = {exposure_ms}", "[imaging]": f"{passes}[imaging]"}
    found = command_here("doctor", "--profile", write_profile(tmp_path, **exposure), "--model", walk.model)
    assert found["healthy"] is True
    (speed,) = (finding for finding in found["findings"] if finding["subject"] == "localisation speed")
    assert speed["status"] == status
    assert ("lag" in speed["text"]) == (status == "warn")
    assert advice in speed["text"]
