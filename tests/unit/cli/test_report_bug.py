"""`report-bug`: what the archive holds, and what it must never hold."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import run_log
from easyzloc_mm.cli.app import main
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata

USER = "anna_berg"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in Anna's home, whose log and metadata name her."""
    import pandas as pd

    home = tmp_path / "home" / USER
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("LOGNAME", USER)
    monkeypatch.chdir(tmp_path)
    out = home / "cell1.zarr"
    profile = load_profile("demo").model_dump(mode="json")
    metadata = RunMetadata(pixel_size_nm=110, height_px=32, width_px=32, movie=f"{home}/a.tif", profile=profile)
    with LocalizationWriter.create(out, metadata) as writer:
        writer.append(pd.DataFrame({name: np.ones(5, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)}))
    frames = FrameWriter(out, (32, 32), pixel_size_nm=110, expected=2)
    frames.append(0, np.full((32, 32), 7, np.uint16))
    frames.close()
    with run_log("live run", {"out": out, "by": USER}, out / LOG):
        pass
    return out


def test_it_holds_what_explains_a_fault_and_no_data(run: Path, tmp_path: Path) -> None:
    assert main(["report-bug", str(run)]) == 0
    with zipfile.ZipFile(tmp_path / "cell1.bug.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) == {"environment.json", LOG, "metadata.json", "profile.json"}
    assert "live run is done" in texts[LOG]
    assert json.loads(texts["profile.json"])["name"] == "demo"
    assert json.loads(texts["metadata.json"])["pixel_size_nm"] == 110
    facts = json.loads(texts["environment.json"])
    assert facts["kind"] == "run"
    assert {"easyzloc_mm", "python", "system", "processors", "memory_gb", "versions"} <= set(facts)
    for text in texts.values():
        assert USER not in text
    assert f'out: "{Path("~") / "cell1.zarr"}"' in texts[LOG]


def test_an_archive_is_never_replaced_unasked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report-bug", str(run)]) == 0
    assert main(["report-bug", str(run)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["report-bug", str(run), "--overwrite"]) == 0


def test_a_folder_is_packed_with_the_logs_of_its_runs(run: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    scan.mkdir()
    (scan / "scan.json").write_text("{}", encoding="utf-8")
    run.rename(scan / run.name)
    assert main(["report-bug", str(scan), "--out", "b.zip"]) == 0
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        names = set(archive.namelist())
    assert names == {
        "environment.json",
        "scan.json",
        "cell1.zarr/log.txt",
        "cell1.zarr/metadata.json",
        "cell1.zarr/profile.json",
    }


def test_what_is_no_result_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    for source in ("thesis", "nowhere"):
        assert main(["report-bug", str(tmp_path / source), "--out", str(tmp_path / "b.zip")]) == 2
        assert source in capsys.readouterr().err
    assert not (tmp_path / "b.zip").exists()
