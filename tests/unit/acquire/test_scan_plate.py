"""The plate of a scan: valid for other programs at every moment of its growth, and what it shows is where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaozarrs
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from easyzloc_mm.acquire.plans.plan import ScanField, ScanPlan
from easyzloc_mm.acquire.plans.wells import plate_places
from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger, read_ledger
from easyzloc_mm.acquire.scans.results.page import write_scan_page
from easyzloc_mm.acquire.scans.results.plate import PLATE, grow_plate
from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.cli.app import main
from easyzloc_mm.io.images import plates
from easyzloc_mm.io.images.plates import PlatePlace, listed_places
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata

SHAPE, PIXEL_NM = (100, 300), 100.0
WELLS = ("A1", "A1_2", "B3", "C12")
PLAN = ScanPlan(
    name="plate", fields=tuple(ScanField(name=name, position_um=(i * 9000.0, 0.0)) for i, name in enumerate(WELLS))
)
AT_PX = {"A1": (20.0, 30.0), "A1_2": (250.0, 30.0), "B3": (20.0, 80.0), "C12": (150.0, 50.0)}
"""x, y of the molecules of each field."""


def write_run(path: Path, at_px: tuple[float, float], *, raw: bool = False) -> None:
    rows: dict[str, Any] = {name: np.ones(80, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)}
    rows |= {"x": np.full(80, at_px[0]), "y": np.full(80, at_px[1]), "z_flag": np.zeros(80), "frame": np.arange(80)}
    about = RunMetadata(
        pixel_size_nm=PIXEL_NM, height_px=SHAPE[0], width_px=SHAPE[1], frames=80, complete=True, z_range_nm=(-500, 500),
        frames_stored=2 if raw else 0,
    )  # fmt: skip
    with LocalizationWriter.create(path, about) as table:
        table.append(pd.DataFrame(rows), frames_done=80)
    if raw:
        writer = FrameWriter(path, SHAPE, pixel_size_nm=PIXEL_NM, expected=2)
        for number in range(2):
            writer.append(number, np.random.default_rng(number).integers(90, 110, SHAPE, np.uint16))
        writer.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "scan"
    folder.mkdir()
    ledger = Ledger(folder, PLAN, "digest")
    for name in WELLS:
        write_run(folder / f"{name}.zarr", AT_PX[name], raw=name == "A1")
        ledger.note(name, FieldStatus.DONE, folder / f"{name}.zarr", frames=80, frames_lost=0, localizations=80)
    return folder


@pytest.fixture
def scan(finished: Path, tmp_path: Path) -> Path:
    """A scan of which no field has a picture yet."""
    return Path(shutil.copytree(finished, tmp_path / "scan"))


def end(folder: Path, *names: str) -> None:
    """Make these the only fields that are over."""
    path = folder / "scan.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    for name, state in stored["fields"].items():
        state["status"] = "done" if name in names else "running"
    path.write_text(json.dumps(stored), encoding="utf-8")


def shown(plate: Path) -> list[np.ndarray[Any, Any]]:
    """The image of a whole plate as ome-zarr, and napari with it, show it: level by level."""
    location = parse_url(plate)
    assert location is not None
    (node,) = list(Reader(location)())
    return [np.asarray(level) for level in node.data]


def test_fields_named_by_wells_go_to_their_wells_and_others_share_one() -> None:
    assert plate_places(["B03", "B3-Site_1", "AA12"]) == {
        "B03": PlatePlace("B", "3", 0), "B3-Site_1": PlatePlace("B", "3", 1), "AA12": PlatePlace("AA", "12", 0),
    }  # fmt: skip
    assert [place.path for place in plate_places(["A1", "cell"]).values()] == ["A/1/0", "A/1/1"]


def test_a_plate_grows_field_by_field_and_shows_each_where_it_is(scan: Path) -> None:
    plate = scan / PLATE
    for known in range(1, len(WELLS) + 1):
        end(scan, *WELLS[:known])
        assert grow_plate(scan, read_ledger(scan)) == 1
        yaozarrs.validate_zarr_store(str(plate))
        assert len(listed_places(plate)) == known
    assert grow_plate(scan, read_ledger(scan)) == 0
    whole = shown(plate)[0]
    height, width = 342, 1024  # 30 um along the longer edge
    # Rows A to C, columns 1, 3 and 12; a well with two fields is two fields wide, so each is.
    assert whole.shape == (3, 3 * height, 3 * width)
    for name, place in plate_places(WELLS).items():
        picture = plates.read_picture(plate, place, edge_px=1024)
        assert picture.shape == (3, height, width)
        lit = picture.max(axis=0).astype(float)
        row, column = (float((lit * axis).sum() / lit.sum()) for axis in np.indices(lit.shape))
        x_px, y_px = ((place + 0.5) * width / SHAPE[1] - 0.5 for place in AT_PX[name])
        assert row == pytest.approx(y_px, abs=1.0)
        assert column == pytest.approx(x_px, abs=1.0)
    facts = json.loads((plate / "A/1/0/zarr.json").read_text())["attributes"]["easyzloc"]
    frames = (plate / "A/1/0" / facts["runs"][0]["frames"]).resolve()
    assert frames == (scan / "A1.zarr" / "frames").resolve()
    assert "frames" not in json.loads((plate / "B/3/0/zarr.json").read_text())["attributes"]["easyzloc"]["runs"][0]


def test_a_plate_is_valid_between_any_two_of_its_steps(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate, looks = scan / PLATE, []

    def watched(step: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            for moment in (lambda: None, lambda: step(*arguments, **options)):
                moment()
                if (plate / "zarr.json").is_file():
                    yaozarrs.validate_zarr_store(str(plate))
                    looks.append(len(listed_places(plate)))

        return act

    for name in ("put_group", "_take", "_put_image"):
        monkeypatch.setattr(plates, name, watched(getattr(plates, name)))
    grow_plate(scan, read_ledger(scan))
    assert sorted(set(looks)) == [1, 2, 3, 4]


@pytest.mark.parametrize("stop", ["put_group", "_take"])
def test_what_a_killed_program_left_is_completed(scan: Path, monkeypatch: pytest.MonkeyPatch, stop: str) -> None:
    end(scan, "A1")
    grow_plate(scan, read_ledger(scan))
    end(scan, *WELLS)

    class Killed(BaseException):
        pass

    def killed(*_arguments: object, **_options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(plates, stop, killed)
        patch.setattr(plates, "remove", lambda _path: None)  # nobody tidies up after kill -9
        with pytest.raises(Killed):
            grow_plate(scan, read_ledger(scan))
    yaozarrs.validate_zarr_store(str(scan / PLATE))
    assert grow_plate(scan, read_ledger(scan)) == 3
    yaozarrs.validate_zarr_store(str(scan / PLATE))
    assert verify(scan).whole


def test_verify_reads_the_plate_too(scan: Path) -> None:
    grow_plate(scan, read_ledger(scan))
    assert verify(scan).counts["pictures"] == len(WELLS)
    assert verify(scan / PLATE).whole
    chunk = scan / PLATE / "B/3/0/0/c/0/0/0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    report = verify(scan)
    assert report.damaged == 1
    assert "B/3/0/0/c/0/0/0" in report.damage[0]


def test_the_page_is_one_file_with_every_field(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(scan, PLAN, "digest")
    facts = {"frames": 80, "frames_lost": 0, "localizations": 80, "light_ms": 2000.0, "seconds": 3.0, "overhead_s": 0.5}
    ledger.note("B3", FieldStatus.DONE, scan / "B3.zarr", reasons=("photons is 80, less than 500",),
                ended_by="the light budget of 9 ms is used up", **facts)  # fmt: skip
    (scan / "C12.zarr").rename(scan / "gone")
    ledger.note("C12", FieldStatus.FAILED, scan / "C12.zarr", error="the <camera> is gone")
    assert main(["report", str(scan), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["verdicts"] == {"good": 2, "poor": 1, "failed": 1}
    assert (said["light_s"], said["overhead"]) == (2.0, pytest.approx(0.5 / 3.0))
    page = (scan / "report" / "index.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert page.count("data:image/jpeg;base64,") == 3
    assert "photons is 80, less than 500" in page
    assert "ended early: the light budget of 9 ms is used up" in page
    assert "the &lt;camera&gt; is gone" in page
    assert not any(mark in page for mark in ('src="http', "<script", "<link"))
    assert {path.name for path in (scan / "report").iterdir()} == {"index.html", "report.json"}
    assert json.loads((scan / "report" / "report.json").read_text())["fields"][2]["reasons"] == [
        "photons is 80, less than 500"
    ]
    # Elsewhere, and never over anything else.
    assert len(write_scan_page(scan, scan.parent / "page").fields) == len(WELLS)
    assert main(["report", str(scan), "--out", str(scan.parent / "page")]) == 2
    assert main(["report", str(scan), "--where", "z > 0"]) == 2
