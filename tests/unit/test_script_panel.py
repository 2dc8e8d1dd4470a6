"""The script for Micro-Manager's Script Panel: the commands that it gives are ones that this program takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.helpers.beanshell import run_in_panel
from tests.helpers.command_lines import parse
from tests.helpers.paths import SCRIPTS

SCRIPT = SCRIPTS / "micro_manager" / "easyzloc.bsh"
RECORDER = f"""#!{sys.executable}
import json, sys
print("page: http://127.0.0.1:5007/?token=abc")
json.dump(sys.argv[1:], open("arguments.json", "w"))
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for the program is a script of Unix")


def filled_in(folder: Path, what: str) -> str:
    """The script as a person fills it in, with a program that only notes how it is called."""
    program = folder / "recorder"
    program.write_text(RECORDER, encoding="utf-8")
    program.chmod(0o755)
    text = SCRIPT.read_text(encoding="utf-8")
    for name, value in {"what": what, "program": str(program), "folder": str(folder)}.items():
        head = f"String {name} = "
        begin = text.index(head) + len(head)
        text = text[:begin] + json.dumps(value) + text[text.index(";", begin) :]
    return text


def arguments(folder: Path) -> list[str]:
    return list(json.loads((folder / "arguments.json").read_text(encoding="utf-8")))


def test_calibrating_and_then_imaging_with_what_is_set(tmp_path: Path) -> None:
    said = run_in_panel(filled_in(tmp_path, "calibrate"), tmp_path)
    assert said[-1] == "done"
    given = arguments(tmp_path)
    assert given[0] == "calibrate"
    assert given[given.index("--size-px") + 1 :][:2] == ["256", "128"]
    parse(given)
    (tmp_path / "calibration" / "model").mkdir(parents=True)
    for positions, command in ((0, "live"), (3, "scan")):
        said = run_in_panel(filled_in(tmp_path, "live"), tmp_path, positions=positions)
        assert said[-1] == "done"
        given = arguments(tmp_path)
        assert given[0] == command
        assert given[given.index("--exposure-ms") + 1] == "25.0"
        parse(given)
    assert Path(given[given.index("--plan") + 1]).is_file()


def test_what_cannot_be_done_is_said_and_nothing_is_begun(tmp_path: Path) -> None:
    (said,) = run_in_panel(filled_in(tmp_path, "live"), tmp_path)
    assert "calibrate" in said
    (tmp_path / "calibration" / "model").mkdir(parents=True)
    (tmp_path / "calibration_roi.txt").write_text("0 0 256 128", encoding="utf-8")
    (said,) = run_in_panel(filled_in(tmp_path, "live"), tmp_path)
    assert "ROI" in said
    (tmp_path / "calibration_roi.txt").unlink()
    (said,) = run_in_panel(filled_in(tmp_path, "live"), tmp_path, camera_running=True)
    assert "Live" in said
    assert not (tmp_path / "arguments.json").exists()
