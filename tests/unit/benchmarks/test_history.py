"""The history of benchmarks: what is recorded, where, and that it is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from easyzloc_mm import __version__
from easyzloc_mm.benchmarks import history
from easyzloc_mm.benchmarks.history import append_record, read_history
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError

HISTORY = Path(__file__).parents[3] / history.FOLDER


@pytest.fixture
def quick_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "easyzloc_mm.benchmarks.drift.bench_drift",
        lambda frames, seed: {"frames": frames, "seed": seed, "z_nm": 3.5, "cases": {"a": [1, None]}},
    )


def test_runs_are_appended_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "detect.jsonl"
    for ratio in (2.0, 3.0):
        assert append_record("detect", {"seed": 1}, {"ratio": ratio}, file) == file
    first, second = read_history(file)
    assert (first.result["ratio"], second.result["ratio"]) == (2.0, 3.0)
    assert first.schema_version == 1
    assert first.version == __version__
    assert first.machine.cores >= 1
    assert first.machine.cpu
    assert first.date.tzinfo is not None


@pytest.mark.usefixtures("quick_bench")
def test_record_with_a_file_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(history, "source_tree", lambda: tmp_path)
    assert main(["bench", "drift", "--frames", "3000", "--record"]) == 0
    assert main(["bench", "drift", "--record", "--seed", "7", "--json"]) == 0
    first, second = read_history(tmp_path / history.FOLDER / "drift.jsonl")
    assert first.bench == "drift"
    assert first.arguments == {"frames": 3000, "seed": 0}
    assert second.arguments["seed"] == 7
    assert second.result["cases"] == {"a": [1, None]}
    assert main(["bench", "drift", "--record", str(tmp_path / "mine.jsonl")]) == 0
    assert len(read_history(tmp_path / "mine.jsonl")) == 1
    assert main(["bench", "drift"]) == 0
    assert len(read_history(tmp_path / "mine.jsonl")) == 1
    capsys.readouterr()
    monkeypatch.setattr(history, "source_tree", lambda: None)
    assert main(["bench", "drift", "--record"]) == 2
    assert "--record" in capsys.readouterr().err


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"bench": 1}\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        read_history(tmp_path / "x.jsonl")


def test_the_histories_of_this_repository_can_be_read() -> None:
    for file in HISTORY.glob("*.jsonl"):
        assert {record.bench for record in read_history(file)} == {file.stem}
