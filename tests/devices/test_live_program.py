"""The whole program, killed, interrupted and losing its camera."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.cli.app import main
from easyzloc_mm.io.runs.frames import StoredFrames
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.model.card import ModelCard
from tests.helpers.localize_bench import small_bundle
from tests.helpers.paths import DEMO_PROFILE
from tests.helpers.patience import PATIENCE_S, wait_until

SIZE = (192, 160)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=SIZE))


def _program(profile_file: Path, model: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "easyzloc_mm", "live", "--profile", str(profile_file), "--model", str(model),
               "--out", str(out), *more]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for_rows(out: Path, rows: int) -> None:
    def written() -> bool:
        with contextlib.suppress(Exception):
            return len(read_localizations(out)[0]) >= rows
        return False

    wait_until(written, "the program localises", pause_s=0.1)


@pytest.fixture
def program(card: ModelCard, tmp_path: Path) -> tuple[Path, Path, Path]:
    text = DEMO_PROFILE.read_text(encoding="utf-8")
    text = text.replace("width_px = 512", f"width_px = {SIZE[0]}").replace("height_px = 512", f"height_px = {SIZE[1]}")
    profile_file = tmp_path / "small.toml"
    profile_file.write_text(text.replace("exposure_ms = 30.0", "exposure_ms = 10.0"), encoding="utf-8")
    return profile_file, card.path, tmp_path / "run.zarr"


@pytest.mark.parametrize("rows", [300, *(pytest.param(rows, marks=pytest.mark.slow) for rows in (1, 700, 1500))])
@pytest.mark.usefixtures("localised_here")
def test_kill_9_of_the_whole_program_and_going_on(program: tuple[Path, Path, Path], rows: int) -> None:
    profile_file, model, out = program
    process = _program(profile_file, model, out, "--frames", "60000")
    _wait_for_rows(out, rows)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert not alive, "a localising process outlived the program"
    table, facts = read_localizations(out)
    assert facts.complete is False
    assert len(table) >= rows
    found = verify(out)
    assert not found.damaged, found.damage
    assert "it was cut off" in found.sentence()
    frames = StoredFrames(out)
    assert frames.shape[0] > int(table["frame"].max())
    assert all(frames.read(i, i + 1).min() > 0 for i in range(0, frames.shape[0], 25))
    # The same store, gone on with: first rows stay, the rest is added from the raw frames.
    assert main(["localize", str(out), "--model", str(model), "--out", str(out), "--workers", "1", "--resume"]) == 0
    whole, facts = read_localizations(out)
    assert facts.complete is True
    assert facts.frames == frames.shape[0]
    assert whole.iloc[: len(table)].equals(table)
    assert whole["frame"].max() >= frames.shape[0] - 3
    assert whole["frame"].is_monotonic_increasing
    assert not verify(out).damaged
    again = out.with_name("again.zarr")
    threshold = str(facts.min_snr)
    assert main(["localize", str(out), "--model", str(model), "--out", str(again), "--min-snr", threshold,
                 "--passes", "1", "--electrons-per-adu", "0.45", "--workers", "1"]) == 0  # fmt: skip
    assert read_localizations(again)[0].equals(whole)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGTERM that a program could hear")
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_an_interrupted_program_says_so(program: tuple[Path, Path, Path], number: signal.Signals) -> None:
    profile_file, model, out = program
    process = _program(profile_file, model, out, "--frames", "60000")
    _wait_for_rows(out, 50)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "interrupted" in err.splitlines()[-1]
    assert "Traceback" not in err
    _, facts = read_localizations(out)
    assert facts.complete is False
    assert facts.frames == facts.frames_localized == StoredFrames(out).shape[0] > 10


def test_a_program_that_loses_its_camera_says_so(program: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Exit code 3, one line, from the command itself; the buffer is too small for a frame rate of 1000/s."""
    profile_file, model, out = program
    text = profile_file.read_text(encoding="utf-8").replace("buffer_size_mb = 512", "buffer_size_mb = 16")
    profile_file.write_text(text.replace("exposure_ms = 10.0", "exposure_ms = 0.1"), encoding="utf-8")
    process = _program(profile_file, model, out, "--frames", "50000", "--json")
    stdout, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, err
    assert "overflowed" in err.splitlines()[-1]
    assert not stdout.strip()
    table, facts = read_localizations(out)
    assert f"{facts.frames} frames and {len(table)} localisations are kept in {out}" in err.splitlines()[-1]
    assert json.dumps(facts.stored())
