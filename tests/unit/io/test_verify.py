"""`verify`: what is whole is called whole, and what was damaged behind our back is named."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import easyzloc_mm as ez
from easyzloc_mm.acquire.plans.plan import Grid, ScanPlan
from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger
from easyzloc_mm.camera.response import MAPS, CameraResponse, PixelResponse
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set, write_bead_set
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from easyzloc_mm.io.camera_map import read_camera_map, write_camera_map
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.io.runs.drift import Drift, DriftRecord, write_drift
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, LocalizationWriter, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.model.bundle import write_digests
from easyzloc_mm.model.card import ModelCard
from tests.helpers.localize_bench import small_bundle

V1 = Path(__file__).parents[2] / "data" / "stores" / "v1"
FRAMES, SHAPE = 6, (20, 24)
FLIPS = 25
RESPONSE = CameraResponse(baseline_adu=100.0, electrons_per_adu=0.45, read_noise_e=1.5)


def image(number: int) -> np.ndarray:
    return np.random.default_rng(number).poisson(200, SHAPE).astype(np.uint16)


def write_run(path: Path, *, complete: bool = True, close: bool = True) -> None:
    """A run that lost frame 3 on the way from the camera."""
    numbers = [number for number in range(FRAMES) if number != 3]
    metadata = RunMetadata(pixel_size_nm=110.0, height_px=SHAPE[0], width_px=SHAPE[1], complete=False)
    table = LocalizationWriter.create(path, metadata)
    raw = FrameWriter(path, SHAPE, pixel_size_nm=110.0, expected=FRAMES)
    for number in numbers:
        raw.append(number, image(number))
        rows = np.random.default_rng(number).random((4, len(COLUMNS_2D))).astype(np.float32)
        table.append(pd.DataFrame(rows, columns=list(COLUMNS_2D)).assign(frame=number), frames_done=number + 1)
    if close:
        kept = len(numbers)
        table.update(complete=complete, frames=kept, frames_stored=kept, frames_lost=1, frames_localized=kept)
        table.close()
        raw.close()
        write_drift(
            path, Drift(pd.DataFrame({name: np.arange(6.0) for name in ("frame", "x", "y", "z")}), DriftRecord())
        )
    else:
        table.flush()
        raw.flush()


def write_stacks(path: Path, planes: int = 5) -> None:
    with BeadStackWriter(path, {"name": "t"}, 110.0, 50.0, SHAPE, planned_planes=5) as writer:
        for stack in range(2):
            writer.add_fov(stack, 5)
            for plane in range(planes):
                readings = PlaneRecord(plane * 0.05, plane * 0.05, 0.0, 0.0, 30.0, None, float(plane))
                writer.write_plane(stack, plane, image(plane), readings)


def write_beads(path: Path) -> None:
    rng, count = np.random.default_rng(1), 20
    numbers = np.arange(count)
    write_bead_set(
        path,
        BeadDataset(
            rois=rng.poisson(200, (count, 5, 9, 9)).astype(np.uint16), z_nm=rng.random((count, 5)).astype(np.float32),
            x=rng.random(count), y=rng.random(count), roi_x0=numbers, roi_y0=numbers, stack=0 * numbers, region=numbers,
            accepted=numbers < 0, reason=("faint",) * count, response=RESPONSE,
            pixel_size_nm=110.0, field_size_px=(64, 64), field_known=True,
            measures=pd.DataFrame({"photons": rng.random(count)}),
        ),
    )  # fmt: skip


def write_map(path: Path) -> None:
    write_camera_map(path, PixelResponse(**{name: np.ones(SHAPE, np.float32) for name in MAPS}))


def write_model(path: Path) -> None:
    write_digests(small_bundle(path, field=(32, 32)))


WRITERS: dict[str, Callable[[Path], None]] = {
    "run.zarr": write_run,
    "b.ome.zarr": write_stacks,
    "beads.zarr": write_beads,
    "camera.zarr": write_map,
    "model": write_model,
}
READERS: dict[str, tuple[Callable[[Path], object], ...]] = {
    "run.zarr": (read_localizations, lambda path: open_movie(path).read(0, FRAMES)),
    "b.ome.zarr": (lambda path: [np.asarray(stack.pixels) for stack in open_bead_stacks(path)],),
    "beads.zarr": (read_bead_set,),
    "camera.zarr": (read_camera_map,),
    "model": (ModelCard.load,),
}
DATA_FILES = {"zarr.json", "model.onnx", "model.keras", "calibration.json", "psf.npz", "digests.json"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for name, write in WRITERS.items():
        write(folder / name)
    return folder


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("quick", [False, True])
def test_what_was_just_written_is_whole(written: Path, name: str, quick: bool) -> None:
    report = ez.verify(written / name, quick=quick)
    assert report.whole, report.sentence()
    assert report.counts["files"] > 2


def test_counts_are_those_of_the_content(written: Path) -> None:
    run = ez.verify(written / "run.zarr").counts
    assert (run["rows"], run["frames"], run["frames_lost"]) == (4 * (FRAMES - 1), FRAMES - 1, 1)
    stacks = ez.verify(written / "b.ome.zarr").counts
    assert (stacks["stacks"], stacks["planes"]) == (2, 10)
    assert ez.verify(written / "beads.zarr").counts["beads"] == 20


@pytest.mark.parametrize("name", WRITERS)
def test_a_flipped_bit_is_found_wherever_it_is(written: Path, tmp_path: Path, name: str) -> None:
    """One bit of one file, anywhere but in the log: either it says nothing (white space), or it is named."""
    files = [file for file in sorted((written / name).rglob("*")) if file.is_file()]
    files = [file for file in files if "c" in file.relative_to(written).parts or file.name in DATA_FILES]
    rng = np.random.default_rng(5)
    copy = tmp_path / name
    shutil.copytree(written / name, copy)
    for _ in range(FLIPS):
        file = copy / files[int(rng.integers(len(files)))].relative_to(written / name)
        before = file.read_bytes()
        content = bytearray(before)
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
        same = file.suffix == ".json" and _same_json(file, written / name / file.relative_to(copy))
        assert same or ez.verify(copy).damaged, f"{file.relative_to(copy)} was changed"
        for read in READERS[name]:  # a reader gives what is there, or says in one sentence why not
            assert str(copy) in (_fault_of(read, copy) or str(copy))
        file.write_bytes(before)


def _fault_of(read: Callable[[Path], object], path: Path) -> str:
    """What a reader says; nothing where it reads, or warns. Any other exception is the test's failure."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EasyZlocWarning)
            read(path)
    except InputError as error:
        return str(error)
    return ""


def _same_json(file: Path, other: Path) -> bool:
    try:
        return bool(json.loads(file.read_bytes()) == json.loads(other.read_bytes()))
    except ValueError:
        return False


def _remove(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _rename(file: Path) -> None:
    file.rename(file.with_name(f"{file.name}7"))


@pytest.mark.parametrize("harm", [_remove, _cut, _empty, _rename])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("run.zarr", "zarr.json"),
        ("run.zarr", "localizations/zarr.json"),
        ("run.zarr", "localizations/x/zarr.json"),
        ("run.zarr", "localizations/x/c/0"),
        ("run.zarr", "frames/0/c/2/0/0"),
        ("run.zarr", "drift/z/c/0"),
        ("b.ome.zarr", "planes/1/c/2/0"),
        ("b.ome.zarr", "1/0/c/4/0/0"),
        ("b.ome.zarr", "0/0/zarr.json"),
        ("beads.zarr", "rois/c/1/0/0/0"),
        ("beads.zarr", "accepted/c/0"),
        ("beads.zarr", "measures/photons/c/0"),
        ("camera.zarr", "electrons_per_adu/c/0/0"),
        ("model", "model.onnx"),
        ("model", "calibration.json"),
    ],
)
def test_what_is_missing_or_cut_is_named(
    written: Path, tmp_path: Path, name: str, part: str, harm: Callable[[Path], None]
) -> None:
    copy = tmp_path / name
    shutil.copytree(written / name, copy)
    harm(copy / part)
    report = ez.verify(copy)
    assert any(part in what for what in report.damage) or Path(part).parent.as_posix() in report.damage[0]
    if harm in (_remove, _empty, _rename):  # what needs no reading is found by the quick form, too
        assert ez.verify(copy, quick=True).damaged
    for read in READERS[name]:
        assert str(copy) in (_fault_of(read, copy) or str(copy))


@pytest.mark.parametrize(
    ("name", "part"),
    [("run.zarr", "frames"), ("run.zarr", "localizations"), ("run.zarr", "localizations/photons"),
     ("run.zarr", "drift"), ("b.ome.zarr", "planes"), ("b.ome.zarr", "1"), ("beads.zarr", "z_nm"),
     ("camera.zarr", "baseline_adu")],
)  # fmt: skip
def test_a_part_that_was_renamed_is_named(written: Path, tmp_path: Path, name: str, part: str) -> None:
    shutil.copytree(written / name, tmp_path / name)
    (tmp_path / name / part).rename((tmp_path / name / part).with_name("elsewhere"))
    report = ez.verify(tmp_path / name, quick=True)
    assert report.damaged, report.sentence()


def test_rows_that_contradict_each_other_are_found(tmp_path: Path) -> None:
    metadata = RunMetadata(pixel_size_nm=110.0, height_px=20, width_px=24, frames=5, complete=True)
    for name, numbers in (("order", [0, 2, 1]), ("beyond", [0, 1, 9])):
        rows = pd.DataFrame({column: np.ones(3, np.float32) for column in COLUMNS_2D}).assign(frame=numbers)
        with LocalizationWriter.create(tmp_path / name, metadata) as writer:
            writer.append(rows, frames_done=5)
    assert "does not rise" in ez.verify(tmp_path / "order").damage[0]
    assert "goes up to 9 in a run of 5 frames" in ez.verify(tmp_path / "beyond").damage[0]


def test_what_was_cut_off_is_incomplete_but_undamaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "killed.zarr", close=False)
    write_run(tmp_path / "stopped.zarr", complete=False)
    write_stacks(tmp_path / "b.ome.zarr", planes=3)
    for name, words in (
        ("killed.zarr", "it was cut off, 6 frames are localised"),
        ("stopped.zarr", "5 of 6 frames are localised"),
        ("b.ome.zarr", "stack 0 has 3 of 5 planes; stack 1 has 3 of 5 planes"),
    ):
        report = ez.verify(tmp_path / name)
        assert not report.whole
        assert not report.damaged, report.damage
        assert words in report.sentence()
    assert main(["verify", str(tmp_path / "killed.zarr")]) == 2
    assert "not complete, but undamaged" in capsys.readouterr().err


def test_the_command_says_so_in_one_line(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(written / "run.zarr"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["whole"], told["kind"], told["damaged"]) == (True, "run", 0)
    shutil.copytree(written / "run.zarr", tmp_path / "run.zarr")
    (tmp_path / "run.zarr" / "frames" / "0" / "c" / "4" / "0" / "0").unlink()
    assert main(["verify", str(tmp_path / "run.zarr"), "--quick", "--json"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["damage"] == ["frames/0/c/4/0/0 is missing"]
    (line,) = printed.err.splitlines()
    assert "frames/0/c/4/0/0 is missing" in line
    assert main(["verify", str(tmp_path)]) == 2
    assert "no result that easyzloc_mm wrote" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run.zarr", "run.undrifted.zarr", "stacks.ome.zarr", "beads.zarr", "camera.zarr"])
def test_stores_of_the_first_version_are_whole(name: str) -> None:
    report = ez.verify(V1 / name)
    assert report.whole, report.sentence()


@pytest.mark.parametrize("part", ["run.zarr/frames/0/c/3/0/0", "run.undrifted.zarr/localizations/x/c/0",
                                  "stacks.ome.zarr/1/0/c/2/0/0", "beads.zarr/rois/c/0/0/0/0"])  # fmt: skip
def test_and_what_is_cut_of_them_is_named(part: str, tmp_path: Path) -> None:
    name, inside = part.split("/", 1)
    shutil.copytree(V1 / name, tmp_path / name)
    _cut(tmp_path / name / inside)
    assert inside in ez.verify(tmp_path / name).damage[0]


def test_a_scan_is_held_against_its_ledger(tmp_path: Path) -> None:
    folder, plan = tmp_path / "scan", ScanPlan(name="t", grid=Grid(first_um=(0, 0), columns=2, rows=1, spacing_um=50))
    folder.mkdir()
    ledger = Ledger(folder, plan, "ab")
    names = [place.name for place in plan.places()]
    for name in names:
        write_run(folder / f"{name}.zarr")
        ledger.note(name, FieldStatus.DONE, folder / f"{name}.zarr", localizations=4 * (FRAMES - 1))
    assert ez.verify(folder).whole
    ledger.note(names[1], FieldStatus.RUNNING, folder / f"{names[1]}.zarr")
    assert ez.verify(folder).incomplete == (f"field {names[1]} is running",)
    ledger.note(names[1], FieldStatus.DONE, folder / f"{names[1]}.zarr", localizations=99)
    assert "not 99" in ez.verify(folder).damage[0]
    shutil.rmtree(folder / f"{names[0]}.zarr")
    assert "is missing" in ez.verify(folder).damage[0]
