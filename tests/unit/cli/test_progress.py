"""Progress, alarms and results as a person sees them: in 80 columns, in a file, and at the end."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from easyzloc_mm._alarms import split_alarms, with_alarms
from easyzloc_mm.cli.notices import notices
from easyzloc_mm.cli.output import finish
from easyzloc_mm.cli.progress import Bar, Lines

ALARMS = ("too dense: fewer molecules at a time, lower the activation", "12 frames dropped")


class Time:
    """A clock that a test turns on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("easyzloc_mm.cli.progress.time.monotonic", lambda: self.now)


def shown(bar: Bar, width: int = 80) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=width).print(bar.draw())
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_alarms_travel_in_a_message() -> None:
    message = with_alarms("120 frames, 4.0/s", ALARMS)
    assert split_alarms(f"imaging: {message}") == ("imaging: 120 frames, 4.0/s", tuple(map(str.upper, ALARMS)))
    assert with_alarms("120 frames", ()) == "120 frames"
    assert split_alarms("no end! in sight") == ("no end! in sight", ())


def test_nothing_is_cut_off_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    bar = Bar()
    message = ", ".join(f"part {number} of a long message" for number in range(12))
    bar.show(with_alarms(message, ALARMS), 0.0)
    clock.now += 60
    bar.show(with_alarms(message, ALARMS), 0.25)
    lines = shown(bar)
    assert all(len(line) <= 80 for line in lines)
    text = " ".join(lines)
    assert lines[0].startswith("! TOO DENSE")
    assert "! 12 FRAMES DROPPED" in text
    assert "25%" in text
    assert "0:01:00 gone, 0:03:00 left of this step" in text
    assert "part 11 of a long message" in " ".join(text.split())


def test_the_clock_goes_on_when_a_step_is_done_and_the_next_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    bar = Bar()
    bar.show("photographing", 1.0)
    clock.now += 100
    assert "0:01:40 gone" in " ".join(shown(bar))
    bar.show("training", 0.0)
    clock.now += 50
    bar.show("training", 0.5)
    assert "0:02:30 gone, 0:00:50 left" in " ".join(shown(bar))


def test_a_pipe_gets_a_line_every_few_seconds_and_every_alarm_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Time(monkeypatch)
    lines = Lines()
    for frame in range(1, 201):
        clock.now += 0.1
        lines.show(with_alarms(f"{frame} frames, {9 * frame} localisations", (f"{frame} frames dropped",)), frame / 200)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("!")] == ["! 1 FRAMES DROPPED"]
    assert 4 <= len(said) - 1 <= 5


def test_many_short_stages_do_not_flood_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Time(monkeypatch)
    lines = Lines()
    for number in range(100):
        clock.now += 0.1
        lines.show(f"{'abcdefghij'[number % 10]}: working", number / 100)
    assert len(capsys.readouterr().err.splitlines()) <= 11


def test_intervals_and_answers_stand_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    finish({"frc_nm": 65.0, "frc_ci_nm": (64.0, 66.04), "whole": True, "quick": False, "rows": [1, 2]}, as_json=False)
    lines = capsys.readouterr().out.splitlines()[1:-1]
    assert [[cell.strip() for cell in line.split("│")[1:3]] for line in lines] == [
        ["frc (nm)", "65"], ["frc ci (nm)", "64 to 66.04"], ["whole", "yes"], ["quick", "no"],
    ]  # fmt: skip


def test_what_calls_for_attention_stands_under_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    notices.begin()
    notices.working = True
    notices.warn("the disk is nearly full")
    notices.working = False
    result = {"frames": 7, "alarms": ["98 % of the localisations carry a flag"]}
    finish(result, as_json=False, title="localised")
    out = capsys.readouterr().out
    assert "localised, but look at the lines below" in out
    *_, warned, alarm = out.splitlines()
    assert (warned, alarm) == ("warning: the disk is nearly full", "! 98 % of the localisations carry a flag")
    finish(result, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said == {**result, "warnings": ["the disk is nearly full"]}
    notices.begin()
