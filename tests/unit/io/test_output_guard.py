"""The output guard: nothing but an older result of the same kind is ever replaced."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.writing.kinds import Kind, kind_of
from easyzloc_mm.io.writing.output import check_output, replaced_stream, whole_or_nothing
from easyzloc_mm.model.bundle import write_digests
from easyzloc_mm.model.card import KERAS_FILE, WIDER_PSF_FILE
from easyzloc_mm.report.figures import picture
from tests.helpers.localize_bench import small_bundle, spots_movie

Make = Callable[[Path], None]


def run(path: Path) -> None:
    rows = {name: np.ones(3, np.float32) for name in ("x", "y", "z", "lpz", "lpx", "lpy", "photons", "sx", "sy", "bg")}
    rows |= {"ellipticity": np.zeros(3, np.float32), "net_gradient": np.ones(3, np.float32)}
    table = pd.DataFrame({"frame": np.arange(3), **rows, "z_flag": np.zeros(3, np.uint8)})
    facts = RunMetadata.model_validate(
        {"pixel_size_nm": 110.0, "height_px": 32, "width_px": 32, "frames": 3, "z_range_nm": (-900.0, 900.0)}
    )
    with LocalizationWriter.create(path, facts) as writer:
        writer.append(table)


def bundle(path: Path) -> None:
    """As `train` leaves it, with every file."""
    small_bundle(path, field=(32, 32))
    for name in (KERAS_FILE, WIDER_PSF_FILE):
        (path / name).write_bytes(b"x")
    write_digests(path)


def report(path: Path) -> None:
    path.mkdir()
    (path / "index.html").write_text("<html>", encoding="utf-8")
    with picture(path / "curve.png", 1, 1):
        pass


def plot(path: Path) -> None:
    with picture(path, 1, 1):
        pass


def scan(path: Path) -> None:
    path.mkdir()
    (path / "scan.json").write_text("{}", encoding="utf-8")
    run(path / "cell1.zarr")


def calibration(path: Path) -> None:
    path.mkdir()
    (path / "stacks.ome.zarr").mkdir()
    attributes = {"easyzloc": {"kind": "bead stacks"}}
    (path / "stacks.ome.zarr" / "zarr.json").write_text(json.dumps({"attributes": attributes}), encoding="utf-8")
    bundle(path / "model")
    report(path / "beads_report")


KINDS: dict[Kind, tuple[str, Make]] = {
    Kind.RUN: ("run.zarr", run),
    Kind.MODEL: ("model", bundle),
    Kind.REPORT: ("beads_report", report),
    Kind.PICTURE: ("plot.png", plot),
    Kind.SCAN: ("scan1", scan),
    Kind.CALIBRATION: ("today", calibration),
}


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_result_of_the_same_kind_is_replaced(kind: Kind, tmp_path: Path) -> None:
    name, make = KINDS[kind]
    make(tmp_path / name)
    assert kind_of(tmp_path / name) is kind
    with pytest.raises(InputError, match=rf"already exists \({kind}\).*overwrite"):
        check_output(tmp_path / name, kind, if_exists="error")
    assert check_output(tmp_path / name, kind, if_exists="overwrite") == tmp_path / name


@pytest.mark.parametrize(("there", "wanted"), list(itertools.permutations(KINDS, 2)))
def test_nothing_of_another_kind_is_replaced(there: Kind, wanted: Kind, tmp_path: Path) -> None:
    name, make = KINDS[there]
    make(tmp_path / name)
    before = everything(tmp_path)
    with pytest.raises(InputError, match=f"holds a {there}, not a {wanted}"):
        check_output(tmp_path / name, wanted, if_exists="overwrite")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Kind.PICTURE])
def test_a_result_that_holds_a_foreign_file_anywhere_is_kept(kind: Kind, tmp_path: Path) -> None:
    name, make = KINDS[kind]
    make(tmp_path / name)
    for folder in [tmp_path / name, *(path for path in (tmp_path / name).rglob("*") if path.is_dir())]:
        for foreign in ("thesis.docx", "c.txt", "0.csv"):
            planted = folder / foreign
            planted.write_text("years of work", encoding="utf-8")
            with pytest.raises(InputError, match=f"holds .*{foreign}, which easyzloc_mm did not write"):
                check_output(tmp_path / name, kind, if_exists="overwrite")
            planted.unlink()
    assert check_output(tmp_path / name, kind, if_exists="overwrite")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.png", b"\x89PNG\r\n\x1a\n of a cat"),
        ("locs.csv", b'"frame","x [nm]","y [nm]","sigma [nm]"\n1,2,3,4\n'),
        ("locs.hdf5", b"\x89HDF\r\n\x1a\n"),
        ("locs.parquet", b"PAR1....PAR1"),
        ("locs.yaml", b"microscope: mine\n"),
        ("movie.tif", b"II*\0 a week of work"),
        ("film.mp4", b"\0\0\0 ftypisom"),
        ("notes.txt", b"notes"),
    ],
)
def test_a_file_that_another_program_wrote_is_kept(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for kind in Kind:
        with pytest.raises(InputError, match="is not replaced"):
            check_output(tmp_path / name, kind, if_exists="overwrite")


def test_a_folder_of_the_users_is_kept_and_an_empty_one_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert check_output(tmp_path / "empty", Kind.MODEL, if_exists="overwrite")
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "movie.tif").write_bytes(b"II*\0")
    for kind in Kind:
        with pytest.raises(InputError, match=f"is no {kind} that easyzloc_mm wrote"):
            check_output(tmp_path / "day1", kind, if_exists="overwrite")


def test_an_output_is_never_an_input_or_around_one(tmp_path: Path) -> None:
    run(tmp_path / "run.zarr")
    with pytest.raises(InputError, match="is what this command reads"):
        check_output(tmp_path / "run.zarr", Kind.RUN, if_exists="overwrite", inputs=[tmp_path / "run.zarr"])
    scan(tmp_path / "scan1")
    inside = tmp_path / "scan1" / "cell1.zarr"
    with pytest.raises(InputError, match=r"holds .*cell1\.zarr, which this command reads"):
        check_output(tmp_path / "scan1", Kind.SCAN, if_exists="overwrite", inputs=[inside])
    link = tmp_path / "link.zarr"
    link.symlink_to(tmp_path / "run.zarr", target_is_directory=True)
    with pytest.raises(InputError, match="is what this command reads"):
        check_output(link, Kind.RUN, if_exists="overwrite", inputs=[tmp_path / "run.zarr"])


def test_an_output_never_lies_inside_a_store(tmp_path: Path) -> None:
    run(tmp_path / "run.zarr")
    with pytest.raises(InputError, match="would lie inside it"):
        check_output(tmp_path / "run.zarr" / "more.zarr", Kind.RUN, if_exists="error")


def test_an_output_never_lies_inside_a_model_bundle(tmp_path: Path) -> None:
    calibration(tmp_path / "today")
    assert check_output(tmp_path / "today" / "cell1.zarr", Kind.RUN, if_exists="error")
    (tmp_path / "today" / "model" / "report").mkdir(exist_ok=True)
    for inside in ("cell1.zarr", "report/cell1.zarr"):
        with pytest.raises(InputError, match=r"model is a model bundle, and cell1\.zarr would lie inside it"):
            check_output(tmp_path / "today" / "model" / inside, Kind.RUN, if_exists="error")


def test_the_working_folder_and_what_holds_it_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration(tmp_path / "today")
    monkeypatch.chdir(tmp_path / "today" / "model")
    for path in (tmp_path / "today", Path(), Path("..")):
        with pytest.raises(InputError, match="the folder that you work in"):
            check_output(path, Kind.CALIBRATION, if_exists="overwrite", acquires=True)


def test_computed_results_never_replace_raw_frames(tmp_path: Path) -> None:
    run(tmp_path / "run.zarr")
    FrameWriter(tmp_path / "run.zarr", (32, 32), pixel_size_nm=110.0).close()
    with pytest.raises(InputError, match="raw frames of a microscope"):
        check_output(tmp_path / "run.zarr", Kind.RUN, if_exists="overwrite")
    assert check_output(tmp_path / "run.zarr", Kind.RUN, if_exists="overwrite", acquires=True)


def test_a_computed_result_replaces_the_older_one_only_when_it_is_whole(tmp_path: Path) -> None:
    bundle(tmp_path / "model")
    before = everything(tmp_path)
    with (  # noqa: PT012
        pytest.raises(RuntimeError, match="half-way"),
        whole_or_nothing(tmp_path / "model", Kind.MODEL, if_exists="overwrite") as draft,
    ):
        draft.mkdir()
        raise RuntimeError("half-way")
    assert everything(tmp_path) == before


@pytest.mark.filterwarnings("ignore:what .* was before is kept:easyzloc_mm.errors.EasyZlocWarning")
@pytest.mark.parametrize("begun", [False, True])
def test_an_older_stream_is_set_aside_until_the_new_one_is_complete(begun: bool, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    run(out)
    before = everything(out)
    with pytest.raises(RuntimeError), replaced_stream(out, Kind.RUN, if_exists="overwrite") as place:  # noqa: PT012
        if begun:
            place.mkdir()
        raise RuntimeError("half-way")
    assert everything(tmp_path / "run.previous-1.zarr" if begun else out) == before
    shutil.rmtree(out)
    run(out)
    with replaced_stream(out, Kind.RUN, if_exists="overwrite") as place:
        assert not place.exists()
        run(place)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == ({"run.zarr", "run.previous-1.zarr"} if begun else {"run.zarr"})


def commands(source: Path, out: Path) -> list[list[str]]:
    """Calls of every command that writes without a microscope, with `--overwrite` and a wrong output."""
    model, movie, table = source / "model", source / "movie.tif", source / "run.zarr"
    overwrite = ["--out", str(out), "--overwrite"]
    return [
        ["localize", str(movie), "--model", str(model), *overwrite],
        ["assign-z", str(table), str(movie), "--model", str(model), *overwrite],
        ["beads", str(movie), "--pixel-size-nm", "110", "--z-step-nm", "50", *overwrite],
        ["train", str(source / "beads.zarr"), *overwrite],
        ["undrift", str(table), *overwrite],
        ["link", str(table), *overwrite],
        ["render", str(table), *overwrite],
        ["npc", str(table), *overwrite],
        ["resolution", str(table), *overwrite],
        ["export", str(table), "--format", "zarr", *overwrite],
        ["camera-calibrate", "--dark", str(movie), "--flat", str(movie), *overwrite],
        ["simulate", "movie", "--frames", "2", *overwrite],
        ["simulate", "beads", *overwrite],
        ["calibrate", "--profile", "demo", *overwrite],
        ["acquire-beads", "--profile", "demo", *overwrite],
        ["live", "--profile", "demo", "--model", str(model), *overwrite],
        ["scan", "--profile", "demo", "--plan", str(source / "plan.toml"), "--model", str(model), *overwrite],
        ["demo", *overwrite],
    ]


@pytest.mark.parametrize("number", range(18))
@pytest.mark.parametrize("target", ["day1", "day1/movie.tif", "day1/model", "thesis", "notes.txt"])
def test_no_command_removes_what_it_did_not_make(
    number: int, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "day1"
    source.mkdir()
    bundle(source / "model")
    run(source / "run.zarr")
    tifffile.imwrite(source / "movie.tif", spots_movie(4, (64, 64))[0], photometric="minisblack")
    (source / "plan.toml").write_text('name = "p"\npositions = [{ name = "a", position_um = [0, 0] }]\n')
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("x", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    before = everything(tmp_path)
    arguments = commands(source, tmp_path / target)[number]
    code = main(arguments)
    assert code == 2, capsys.readouterr().err
    assert everything(tmp_path) == before
