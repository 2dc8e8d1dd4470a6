"""Benches write into the folder that they are given, and leave nothing of theirs in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from easyzloc_mm.benchmarks.fixtures.place import place_in
from easyzloc_mm.cli.app import main


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "fast disk" / "benches"
    with place_in(folder) as place:
        assert place.parent == folder
        (place / "run.zarr").mkdir()
    assert list(folder.iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").touch()
    assert main(["bench", "live", "--seconds", "2", "--folder", str(tmp_path / "notes.txt")]) == 2
    assert "notes.txt" in capsys.readouterr().err
