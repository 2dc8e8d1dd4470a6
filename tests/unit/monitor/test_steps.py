"""What may come after a run, and the process that does it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import read_metadata
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.monitor.run_controls import RunControls
from easyzloc_mm.monitor.steps import AGAIN, Launcher, Step, next_steps
from tests.helpers.monitored_run import molecules, monitored_run
from tests.helpers.patience import wait_until


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    with monitored_run(tmp_path / "cell 1.zarr") as writer:
        writer.append(molecules(range(10)))
        writer.update(complete=True)
    return writer.path


def names(run: Path) -> list[str]:
    return [step.name for step in next_steps(run, read_metadata(run))]


def test_what_is_there_is_not_offered_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(AGAIN, raising=False)
    assert names(finished) == ["undrift", "render", "report"]
    with monitored_run(finished.with_name("cell 1.undrifted.zarr")):
        pass
    steps = {step.name: step for step in next_steps(finished, read_metadata(finished))}
    assert list(steps) == ["render", "report"]
    assert "cell 1.undrifted.zarr" in steps["render"].line  # the better one is drawn
    finished.with_name("cell 1.undrifted.png").touch()
    assert names(finished) == ["report"]


def test_another_live_run_has_a_name_of_its_own(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AGAIN, json.dumps(["live", "--profile", "demo"]))
    live = next_steps(finished, read_metadata(finished))[-1]
    assert live.command[:3] == ("live", "--profile", "demo")
    out = Path(live.command[live.command.index("--out") + 1])
    check_output(out, Kind.RUN, if_exists="error")
    assert "'" in live.line or '"' in live.line  # the blank in the name is quoted: the line can be copied


def test_one_step_at_a_time_each_a_process_of_its_own(tmp_path: Path) -> None:
    said: list[str] = []
    go = tmp_path / "go"
    wait = "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)"
    say = r"print('run: http://127.0.0.1:1/?token=a'); print('all done'); print('\u2514\u2500 the end of a table')"
    script = f"import sys, time, pathlib\n{wait}\n{say}"
    launcher = Launcher(said.append, [sys.executable, "-c", script])
    assert launcher.state() == ""
    assert launcher.start(Step("undrift", "correct the drift", (str(go),))) == f"runs: {said[0]}"
    assert said == [f"easyzloc-mm {go}"]
    with pytest.raises(InputError, match="one after the other"):
        launcher.start(Step("report", "write the report", ()))
    assert launcher.state().startswith("at work")
    go.touch()
    wait_until(lambda: not launcher.running, "the step ends")
    assert launcher.state() == f"done: easyzloc-mm {go} - all done"
    assert launcher.page() == "http://127.0.0.1:1/?token=a"


def test_no_step_begins_while_the_run_is_at_work(tmp_path: Path) -> None:
    with monitored_run(tmp_path / "run.zarr") as writer:
        controls = RunControls(writer.path, None, Launcher(print))
        deeds = controls.deeds()
        with pytest.raises(InputError, match="still at work"):
            deeds["render"]()
        with pytest.raises(InputError, match="cannot stop it"):
            deeds["stop"]()
    with pytest.raises(InputError, match="is still at work"):
        RunControls(tmp_path / "later.zarr", None, Launcher(print)).deeds()["live"]()
