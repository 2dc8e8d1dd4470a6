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
    for path, reason in (
        (tmp_path / "notes.txt", "nothing that easyzloc_mm makes"),
        (tmp_path / "model", "is a model bundle"),
        (tmp_path / "folder", "did you mean .*run.zarr"),
        (tmp_path / "nowhere" / "run.zarr", "does not exist"),
    ):
        with pytest.raises(InputError, match=reason):
            page_of(path, print)


@pytest.mark.parametrize(
    "given", [[], ["--camera"], ["--profile", "demo"], ["run.zarr", "--camera", "--profile", "demo"]]
)
def test_one_thing_is_shown(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", *given]) == 2
    assert "give what to show, or --camera with --profile" in capsys.readouterr().err
