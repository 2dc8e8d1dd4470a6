"""What a person meets: start-up, help, exit codes, one clear line for bad input, nothing left behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import typer.main

from easyzloc_mm.cli.app import app, main
from easyzloc_mm.io.profiles import shipped_profiles


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_import_and_help_load_neither_tensorflow_nor_picasso() -> None:
    script = (
        "import sys, easyzloc_mm\n"
        "from easyzloc_mm.cli import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'tensorflow', 'keras', 'picasso', 'pycromanager', 'numba', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group of the program, as a person types it."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, (*path, name))


@pytest.mark.parametrize("command", [*_commands(typer.main.get_command(app))], ids=" ".join)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert "Usage" in out
    assert " ".join(command) in out
    options = out.partition("Options")[2].partition("Commands")[0]
    assert not re.search(r"<(bool|str|path|int|float|list)", options), "a type of Python is no help"


def test_help_shows_what_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "live", "--help")
    for shown in (r"--monitor +[A-Z]", r"--size-px +N N ", r"--out +-o +PATH ", r"--frames +-n +N \[x>=1\]"):
        assert re.search(shown, out), shown


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "nonsense"),
        (["train"], "beads"),
        (["profile", "check", "nobody.toml"], "nobody.toml"),
        (["profile", "check", "nobody"], "nobody"),
        (["beads", "none.ome.zarr", "--out", "OUT"], "none.ome.zarr"),
        (["train", "none.zarr", "--out", "OUT"], "none.zarr"),
        (["evaluate", "none", "none.zarr"], "none"),
        (["localize", "none.tif", "--model", "none", "--out", "OUT"], "none"),
        (["assign-z", "none.hdf5", "none.tif", "--model", "none", "--out", "OUT"], "none"),
        (["live", "--profile", "nobody.toml", "--model", "none", "--out", "OUT"], "nobody.toml"),
        (["acquire-beads", "--profile", "nobody.toml", "--out", "OUT"], "nobody.toml"),
        (["undrift", "none.zarr", "--out", "OUT"], "none.zarr"),
        (["render", "none.zarr", "--out", "OUT.png"], "none.zarr"),
        (["npc", "none.zarr", "--out", "OUT"], "none.zarr"),
        (["export", "none.zarr", "--out", "OUT.csv"], "none.zarr"),
        (["export", "none.zarr", "--out", "OUT.xyz"], ".xyz"),
        (["acquire-beads", "--profile", "demo", "--out", "OUT.tif"], "OUT.tif would be named like another kind"),
        (["calibrate", "--profile", "demo", "--out", "OUT.zarr"], "give a name without an ending"),
        (["calibrate", "--profile", "demo", "--out", "OUT", "--recipe", "x"], "--recipe x: choose one of matched"),
        (["calibrate", "--profile", "demo", "--out", "OUT", "--minutes", "inf"], "--minutes"),
        (["beads", "r.tif", "--rois", "--roi-px", "21", "--out", "OUT.zarr"], "--roi-px is for stacks"),
        (["beads", "r.tif", "--rois", "--partial", "--out", "OUT.zarr"], "--partial is for stacks"),
        (["beads", "s.tif", "--z-step-nm", "nan", "--out", "OUT.zarr"], "--z-step-nm states planes nan nm apart"),
        (["beads", "s.tif", "--pixel-size-nm", "0", "--out", "OUT.zarr"], "--pixel-size-nm states a pixel of 0 nm"),
        (["beads", "s.tif", "--out", "."], ". already exists"),
        (["localize", "m.tif", "--model", "m", "--out", "OUT.zarr", "--origin-px", "0", "-1"], "count from 0"),
        (
            ["localize", "m.tif", "--model", "m", "--out", "OUT.zarr", "--min-snr", "1"],
            "must be at least 3.0",
        ),
    ],
)
def test_bad_input_is_one_line_exit_2_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2, err
    assert named in err
    assert len([line for line in err.splitlines() if line.startswith("easyzloc-mm:")]) == 1
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("beginning", ["model/calibration.json", "notes.txt"])
def test_a_calibration_goes_on_in_no_other_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, beginning: str
) -> None:
    other = tmp_path / "other" / beginning
    other.parent.mkdir(parents=True)
    other.write_text("{}", encoding="utf-8")
    code, _, err = run(capsys, "calibrate", "--profile", "demo", "--out", tmp_path / "other", "--resume")
    assert (code, "is no calibration that could be resumed: leave out --resume" in err) == (2, True), err
    assert [path for path in (tmp_path / "other").rglob("*") if path.is_file()] == [other]


def test_an_existing_output_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    code, _, err = run(capsys, "acquire-beads", "--profile", "demo", "--out", tmp_path / "out")
    assert code == 2
    assert "--overwrite" in err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("inside", "command"),
    [
        ("calibration/model", ["evaluate", "demo", "beads.zarr"]),
        ("model", ["localize", "m.tif", "--model", "demo", "--out", "r.zarr"]),
    ],
)
def test_a_folder_that_holds_what_is_meant_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "demo" / inside
    model.mkdir(parents=True)
    for name in ("calibration.json", "model.onnx"):
        (model / name).write_text("{}", encoding="utf-8")
    code, _, err = run(capsys, *command)
    assert code == 2
    assert f"did you mean {Path('demo') / inside}?" in err


def test_a_backend_that_is_missing_is_no_mistake_of_ours(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, words in (("theano", "set it to one of tensorflow"), ("torch", "pip install torch")):
        monkeypatch.setenv("KERAS_BACKEND", value)
        monkeypatch.setattr("easyzloc_mm._extras.find_spec", lambda _name: None)
        out = str(tmp_path / "out")
        for command in (["calibrate", "-p", "demo", "-o", out], ["train", "b.zarr", "-o", out]):
            code, _, err = run(capsys, *command)
            assert (code, words in err) == (2, True), err
    assert not list(tmp_path.iterdir())


def test_profile_check_prints_json_last(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "profile", "check", shipped_profiles()["demo"], "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["valid"] is True


def test_a_plan_past_the_stage_is_refused_before_anything_moves(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    profile = tmp_path / "far.toml"
    text = shipped_profiles()["demo"].read_text(encoding="utf-8")
    profile.write_text(text.replace("focus_um = 50.0\n\n[imaging]", "focus_um = 99.5\n\n[imaging]"), encoding="utf-8")
    code, _, err = run(capsys, "acquire-beads", "--profile", profile, "--out", tmp_path / "stacks.ome.zarr")
    assert code == 2
    assert "beads.focus_um" in err
    assert not (tmp_path / "stacks.ome.zarr").exists()


@pytest.mark.parametrize(
    ("shape", "dtype", "named"),
    [((3, 20, 40, 40), "uint16", "axes"), ((40, 40), "float32", "float32"), ((40, 40, 3), "uint8", "uint8")],
)
def test_a_wrong_bead_stack_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, shape: tuple[int, ...], dtype: str, named: str
) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.ones(shape, dtype))
    code, _, err = run(
        capsys, "beads", path, "--pixel-size-nm", "110", "--z-step-nm", "50", "--out", tmp_path / "beads.zarr"
    )
    assert code == 2
    assert "stack.tif" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["stack.tif"]
