"""The report of a run: its figures against a table whose truth is known, its page and its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.analysis.quality.figures import FLAGS
from easyzloc_mm.cli.app import main
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import write_table
from easyzloc_mm.model.predictor import AMBIGUOUS, OUT_OF_DISTRIBUTION, OUT_OF_RANGE, OUTSIDE_FIELD

FRAMES, EMITTERS, ON = 400, 60, 3
PIXEL_NM, PRECISION_PX = 100.0, 0.1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Emitters that are on for three frames, far from each other; every tenth row carries a flag."""
    rng = np.random.default_rng(2)
    place = np.stack(np.meshgrid(np.arange(8) * 20.0 + 10, np.arange(8) * 20.0 + 10), -1).reshape(-1, 2)[:EMITTERS]
    rows = []
    for begin in range(0, FRAMES - ON, 10):
        at = place + rng.normal(0, 0.001, place.shape)
        for frame in range(begin, begin + ON):
            x, y = (at + rng.normal(0, PRECISION_PX, at.shape)).T
            rows.append(pd.DataFrame({"frame": frame, "x": x, "y": y}))
    table = pd.concat(rows, ignore_index=True)
    given = {"photons": 1500.0, "bg": 20.0, "lpx": PRECISION_PX, "lpy": PRECISION_PX, "lpz": 30.0, "sx": 1.0, "sy": 1.0}
    table = table.assign(**given, z=rng.normal(50, 30, len(table)), ellipticity=0.0, net_gradient=100.0, z_flag=0)
    table.loc[::10, ["z_flag", "photons"]] = (OUT_OF_RANGE | OUT_OF_DISTRIBUTION, 9e9)
    path = tmp_path_factory.mktemp("run") / "run.zarr"
    facts = RunMetadata(pixel_size_nm=PIXEL_NM, width_px=180, height_px=180, frames=FRAMES, frames_lost=4)
    write_table(path, table[[*COLUMNS_2D, *COLUMNS_Z]].astype({"frame": np.uint32, "z_flag": np.uint8}), facts)
    return path


def test_the_figures_are_those_of_the_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page"
    assert main(["report", str(run), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert {name: said[name] for name in found} == found
    rows = EMITTERS * ON * len(range(0, FRAMES - ON, 10))
    assert (found["localizations"], found["believed"]) == (rows, rows - len(range(0, rows, 10)))
    assert (found["frames"], found["frames_lost"]) == (FRAMES + 4, 4)
    assert found["flags"][FLAGS[1]] == found["flags"][FLAGS[4]] == rows - found["believed"]
    assert found["flags"][FLAGS[2]] == found["flags"][FLAGS[8]] == 0
    assert found["photons"]["median"] == 1500
    assert found["lpx_nm"]["median"] == pytest.approx(PIXEL_NM * PRECISION_PX)
    assert found["nena_nm"]["x"] == pytest.approx(PIXEL_NM * PRECISION_PX, rel=0.15)
    assert found["localizations_per_frame"] == pytest.approx(found["believed"] / (FRAMES + 4))
    assert 2 < found["on_frames"] <= ON
    assert found["drift_nm"] is None
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Nothing was taken out" in page
    assert {path.name for path in out.iterdir()} >= {"index.html", "report.json", "photons.png", "time.png",
                                                     "blinking.png", "resolution.png"}  # fmt: skip


def test_figures_for_papers_and_an_older_report(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    for form, head in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        replaced = ["--overwrite"] if out.exists() else []
        short = ["--where", "frame < 40"]
        assert main(["report", str(run), "--out", str(out), "--figures", form, *short, *replaced]) == 0
        assert (out / f"time.{form}").read_bytes().startswith(head)
    assert 'src="time.png"' in (out / "index.html").read_text(encoding="utf-8")
    assert main(["report", str(run), "--out", str(out)]) == 2
    assert main(["report", str(run), "--out", str(tmp_path / "other"), "--figures", "bmp"]) == 2


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_other_figures_too_and_they_are_known_again(run: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"picture.{ending}"
    for more in ([], ["--overwrite"]):
        assert main(["render", str(run), "--out", str(out), "--region", "0", "5", "0", "5", *more]) == 0
    assert out.read_bytes()[:5] == {"svg": b"<?xml", "pdf": b"%PDF-", "png": b"\x89PNG\r"}[ending]


def test_flags_are_those_of_the_predictor() -> None:
    assert set(FLAGS) == {OUT_OF_RANGE, AMBIGUOUS, OUT_OF_DISTRIBUTION, OUTSIDE_FIELD}
