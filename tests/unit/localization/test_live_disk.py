"""Live runs on a disk that is full, broken, or away for a moment: every write fails once, and what was there stays."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm._log import run_log
from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import StoredFrames
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.writing import atomic
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.live.run import LiveOptions
from easyzloc_mm.localization.live.stream import localize_stream
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Frame
from tests.helpers.at_once import ROWS_PER_FRAME, SIZE, AtOnce, pixels, rows
from tests.helpers.faulty_disk import FaultyDisk
from tests.helpers.localize_bench import embedded_profile, small_bundle

FRAMES = 12
STRIDE = 17
"""Of every so many writes one fails in the usual test run; all of them with ``-m slow``."""


@pytest.fixture(scope="module")
def profile() -> Profile:
    return embedded_profile(load_profile("demo"), *SIZE).replace(localize={"min_net_gradient": 500.0})


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=SIZE))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    monkeypatch.setattr(atomic, "SHARE_S", 0.2)
    return FaultyDisk(monkeypatch)


def live(profile: Profile, card: ModelCard, out: Path) -> RunReport:
    def camera() -> Iterator[Frame]:
        for number in range(FRAMES):
            yield Frame(number, pixels(number), 0.0)

    settings = LocalizerConfig(card.path, profile.camera.response, profile.localize)
    options = LiveOptions(FRAMES, workers=AtOnce(settings))
    with run_log("live run", {}) as log:
        return localize_stream(camera(), card, out, profile, options, log, {})


def kept(out: Path) -> tuple[int, int]:
    """Frames and rows that can be read: each is what was given, and none is damaged."""
    try:
        stored = StoredFrames(out)
    except InputError:
        frames = 0
    else:
        there = [number for number in range(stored.shape[0]) if number not in stored.missing]
        assert all(np.array_equal(stored.read(number, number + 1)[0], pixels(number)) for number in there)
        frames = len(there)
    try:
        table, _ = read_localizations(out)
    except InputError:
        return frames, 0
    given = pd.concat([rows(number) for number in range(FRAMES)], ignore_index=True)
    assert np.array_equal(table.to_numpy(float), given[list(table.columns)].to_numpy(float)[: len(table)])
    return frames, len(table)


def steps_of(disk: FaultyDisk, profile: Profile, card: ModelCard, out: Path) -> int:
    report = live(profile, card, out)
    assert kept(out) == (FRAMES, report.localizations) == (FRAMES, FRAMES * ROWS_PER_FRAME)
    shutil.rmtree(out)
    return disk.steps


@pytest.mark.parametrize("stride", [STRIDE, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_becomes_full_keeps_what_it_has(
    disk: FaultyDisk, profile: Profile, card: ModelCard, tmp_path: Path, stride: int
) -> None:
    out = tmp_path / "run.zarr"
    for step in range(0, steps_of(disk, profile, card, out), stride):
        disk.fail(step, errno.ENOSPC)
        try:
            live(profile, card, out)
        except HardwareError as error:
            said = str(error)
        else:
            assert not disk.failed, f"step {step} failed, and nobody was told"
            said = ""
        disk.repair()
        if said:
            assert f"the disk of {out} is full" in said
            frames, localizations = kept(out)
            told = re.search(r"\((\d+) frames and (\d+) localisations are kept", said)
            if told is None:
                assert "(nothing was acquired)" in said
            else:
                # Rows whose count was written, and could not be confirmed, are there without being promised.
                assert (int(told[1]), True) == (frames, int(told[2]) <= localizations)
                assert not verify(out).damaged, verify(out).damage
        shutil.rmtree(out)


@pytest.mark.parametrize("stride", [STRIDE, pytest.param(1, marks=pytest.mark.slow)])
def test_a_share_that_is_away_for_a_moment_costs_nothing(
    disk: FaultyDisk, profile: Profile, card: ModelCard, tmp_path: Path, stride: int
) -> None:
    out, failed = tmp_path / "run.zarr", 0
    steps = range(0, steps_of(disk, profile, card, out), stride)
    for step in steps:
        disk.fail(step, errno.EIO, times=1)
        report = live(profile, card, out)
        failed += disk.failed  # how many steps a run takes depends on how often it commits
        disk.repair()
        assert kept(out) == (FRAMES, report.localizations) == (FRAMES, FRAMES * ROWS_PER_FRAME)
        assert verify(out).whole
        shutil.rmtree(out)
    assert failed > len(steps) // 2


def test_a_disk_that_fails_for_good_is_said_after_a_while(
    disk: FaultyDisk, profile: Profile, card: ModelCard, tmp_path: Path
) -> None:
    total = steps_of(disk, profile, card, tmp_path / "run.zarr")
    disk.fail(total // 2, errno.EIO)
    with pytest.raises(HardwareError, match=r"could not be written .*check the disk or the network share.*are kept"):
        live(profile, card, tmp_path / "run.zarr")
    assert disk.failed > 2  # it was tried again
    disk.repair()
    assert kept(tmp_path / "run.zarr")[0] > 0
