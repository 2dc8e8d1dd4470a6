"""The page finds out itself what it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.monitor.choose import page_of
from tests.helpers.monitored_run import monitored_run


def title(path: Path) -> str:
    """What the tab of a path is headed."""
    from bokeh.document import Document
    from bokeh.models.widgets import Div

    document = Document()
    page_of(path, print)[0](document, "")
    divisions: list[Any] = list(document.select({"type": Div}))
    return " ".join(division.text for division in divisions)


def test_what_is_not_there_yet_is_awaited(tmp_path: Path) -> None:
    assert "waiting for the first localisations" in title(tmp_path / "run.zarr")
    assert "stacks" in title(tmp_path / "stacks.ome.zarr")
    assert "waiting for it to begin" in title(tmp_path / "today")
    (tmp_path / "empty").mkdir()
    assert "waiting for it to begin" in title(tmp_path / "empty")


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("beads in the second drawer", encoding="utf-8")
    (tmp_path / "model").mkdir()
    for name in ("calibration.json", "model.onnx"):
        (tmp_path / "model" / name).touch()
    with monitored_run(tmp_path / "folder" / "run.zarr"):
        pass
    (tmp_path / "drawer").mkdir()
    (tmp_path / "drawer" / "notes.txt").touch()
    for path, reason in (
        (tmp_path / "notes.txt", "nothing that easyzloc_mm makes"),
        (tmp_path / "drawer", "nothing that easyzloc_mm makes"),
        (tmp_path / "model", "is a model bundle"),
        (tmp_path / "folder", "did you mean .*run.zarr"),
        (tmp_path / "nowhere" / "run.zarr", "does not exist"),
    ):
        with pytest.raises(InputError, match=reason):
            page_of(path, print)


@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        ("run.zarr", "zarr.json", "run.zarr holds no localisations"),
        ("stacks.ome.zarr", "zarr.json", "cannot be read as a Zarr store"),
        ("scan", "scan.json", "cannot be read as a scan's ledger"),
    ],
)
@pytest.mark.parametrize("content", [b"\x97\x00", b"", b"{"])
def test_what_is_damaged_is_said_and_not_awaited(
    tmp_path: Path, name: str, file: str, reason: str, content: bytes
) -> None:
    (tmp_path / name / "localizations").mkdir(parents=True)
    (tmp_path / name / "localizations" / "zarr.json").write_text("{}", encoding="utf-8")
    (tmp_path / name / file).write_bytes(content)
    with pytest.raises(InputError, match=reason):
        page_of(tmp_path / name, print)


@pytest.mark.parametrize("host", ["nobody.invalid", "192.0.2.1", "", "x" * 80, "http://127.0.0.1"])
def test_an_address_of_another_computer_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert main(["monitor", str(tmp_path / "run.zarr"), "--port", "0", "--host", host]) == 2
    assert f"--host '{host}' is no address of this computer" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given", [[], ["--camera"], ["--profile", "demo"], ["run.zarr", "--camera", "--profile", "demo"]]
)
def test_one_thing_is_shown(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", *given]) == 2
    assert "give what to show, or --camera with --profile" in capsys.readouterr().err
