"""The wizard: every task asks, explains, and shows a command that the program takes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from easyzloc_mm.cli.app import app
from easyzloc_mm.cli.commands.begin.wizard import TASKS
from tests.helpers.command_lines import parse


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """An empty folder with a model and a table in it; the commands that the wizard then runs."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "today" / "model"
    model.mkdir(parents=True)
    for name in ("calibration.json", "model.onnx"):
        (model / name).write_text("{}", encoding="utf-8")
    (tmp_path / "locs.csv").write_text("frame", encoding="utf-8")
    commands: list[list[str]] = []

    def note(command: list[str]) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr("easyzloc_mm.cli.app.main", note)
    return commands


def start(*answers: str) -> str:
    result = CliRunner().invoke(app, ["start"], input="\n".join(answers) + "\n")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("answers", "command"),
    [
        (["1", "", "y"], "demo --quick --out easyzloc-demo-1"),
        (["2", "yes", "1.49", "", "108", "", "", "", "", "y"],
         "profile new --java --na 1.49 --pixel-size-nm 108 --out my_microscope1.toml"),
        (["2", "no", ".", "my.cfg", *[""] * 7, "y"],
         "profile new --mm-dir . --config-file my.cfg --out my_microscope1.toml"),
        (["2", "maybe", "y", *[""] * 7, "y"], "profile new --java --out my_microscope1.toml"),
        (["3", "", "", "", "y"], "calibrate --profile demo --minutes 1 --out calibration-1 --monitor"),
        (["4", "", "", "500", "", "y"],
         f"live --profile demo --model {Path('today/model')} --frames 500 --out cell1.zarr --monitor"),
        (["5", "locs.csv", "y"], "undrift locs.csv --out locs.undrifted.zarr"),
    ],
)  # fmt: skip
def test_the_command_is_shown_and_run(ran: list[list[str]], answers: list[str], command: str) -> None:
    said = start(*answers)
    assert f"easyzloc-mm {command}" in said
    assert ran[0] == shlex.split(command, posix=False)
    for one in ran:
        parse(one)


def test_a_wrong_answer_is_asked_again_and_nothing_runs_unasked(ran: list[list[str]]) -> None:
    said = start("9", "3", "nowhere.toml", "demo", "many", "5", "", "n")
    assert "give a number from 1 to 5" in said
    assert "nowhere.toml does not exist" in said
    assert "give a number\n" in said
    assert "easyzloc-mm calibrate --profile demo --minutes 5" in said
    assert not ran


def test_what_the_command_would_refuse_is_asked_again_at_once(ran: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[optics]\nna = 1.46\n", encoding="utf-8")
    said = start("4", "my.toml", "nobody", "demo", "today", "today/model", "0.5", "20", "", "y")
    assert "profile my.toml: name: is missing" in said
    assert "profile nobody is neither" in said
    assert "today is no model; did you mean today" in said
    assert "give a whole number above 0" in said
    assert ran[0][ran[0].index("--frames") + 1] == "20"


def test_every_question_is_explained_in_a_line() -> None:
    for task in TASKS.values():
        for question in task.questions:
            assert 10 < len(question.why) < 100
