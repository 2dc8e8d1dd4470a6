"""Power cuts while runs and bead stacks are written: what was promised to be on the device is, whole."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import easyzloc_mm as ez
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from easyzloc_mm.io.runs import frames, localizations
from easyzloc_mm.io.runs.frames import FrameWriter, StoredFrames
from easyzloc_mm.io.runs.localizations import LocalizationWriter, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.zarr import files
from easyzloc_mm.profile.detection import Sync
from easyzloc_mm.typing import U16
from tests.helpers.power_cut import Recorder

SHAPE = (12, 10)
FRAMES, INTERVAL_S, STEP_S = 40, 0.1, 0.0005
ROWS_PER_FRAME = 9
COLUMNS = ("frame", "x", "y", "photons")
PROMISED_S = 1.0
METADATA = RunMetadata(pixel_size_nm=110.0, height_px=SHAPE[0], width_px=SHAPE[1])


def pixels(number: int) -> U16:
    return np.random.default_rng(number).poisson(200, SHAPE).astype(np.uint16)


def rows(number: int) -> pd.DataFrame:
    values = np.random.default_rng(number).random((ROWS_PER_FRAME, len(COLUMNS))).astype(np.float32)
    return pd.DataFrame(values, columns=list(COLUMNS)).assign(frame=np.uint32(number))


class Clock:
    """Time that passes with every frame, and a little with every step of the disk."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def step(self) -> float:
        self.now_s += STEP_S
        return self.now_s


class AtOnce:
    """Threads of the writers, as far as the record is concerned: whatever they are given is done at once."""

    def __init__(self, *_arguments: object, **_names: object) -> None: ...

    def submit(self, act: Callable[..., None], *arguments: object) -> Future[None]:
        done: Future[None] = Future()
        act(*arguments)
        done.set_result(None)
        return done

    def map(self, act: Callable[..., None], items: Iterable[object]) -> Iterator[None]:
        return map(act, items)

    def shutdown(self) -> None: ...


class Film:
    """A run that was written under record, and when each of its frames and rows was given to it."""

    def __init__(self, folder: Path, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = folder / "run.zarr"
        clock = Clock()
        for module in (frames, localizations, files):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
        monkeypatch.setattr(files, "ThreadPoolExecutor", AtOnce)
        monkeypatch.setattr(localizations, "CHUNK_ROWS", 64)  # many chunks, and columns that become longer
        monkeypatch.setattr(localizations, "FIRST_CAPACITY", 128)
        self.record = Recorder(folder, monkeypatch, clock.step)
        table = LocalizationWriter.create(self.run, METADATA, columns=COLUMNS, sync=sync)
        raw = FrameWriter(self.run, SHAPE, pixel_size_nm=110.0, expected=20, sync=sync)
        self.begun = len(self.record.steps)
        self.given_s = []
        for number in range(FRAMES):
            clock.now_s += INTERVAL_S
            raw.append(number, pixels(number))
            table.append(rows(number), frames_done=number + 1)
            self.given_s.append(clock.now_s)
        self.written = len(self.record.steps)
        self.lag_s = max(table.commit_lag_s, raw.commit_lag_s)
        table.close()
        raw.close()
        self.frames = [pixels(number) for number in range(FRAMES)]
        self.table = pd.concat([rows(number) for number in range(FRAMES)], ignore_index=True)

    def cut(self, seed: int, to: Path, promised_s: float = PROMISED_S) -> tuple[int, int]:
        """Cut the power at some moment, and look at what is left; return how many old frames and rows are gone."""
        rng = np.random.default_rng(seed)
        after = int(rng.integers(max(self.begun, 1), len(self.record.steps) + 1))
        cut_s = self.record.steps[after - 1][0]
        old = sum(given_s < cut_s - promised_s for given_s in self.given_s)
        self.record.cut(after, to, rng)
        run = to / self.run.name
        try:
            stored, (table, _) = StoredFrames(run), read_localizations(run)
        except InputError:
            return old, old * ROWS_PER_FRAME
        there = [number for number in range(stored.shape[0]) if number not in stored.missing]
        for number in there:
            assert np.array_equal(stored.read(number, number + 1)[0], self.frames[number]), number
        assert table.equals(self.table.iloc[: len(table)]), "a row is torn"
        return old - len(set(there) & set(range(old))), max(0, old * ROWS_PER_FRAME - len(table))


@pytest.mark.parametrize(
    ("sync", "cuts"), [(Sync.SECOND, 40), pytest.param(Sync.SECOND, 200, marks=pytest.mark.slow), (Sync.ALWAYS, 10)]
)
def test_nothing_older_than_a_second_is_lost(
    sync: Sync, cuts: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = Film(tmp_path_factory.mktemp("run"), sync, monkeypatch)
    assert film.lag_s < PROMISED_S
    disk = tmp_path_factory.mktemp("disk")
    for seed in range(cuts):
        left = disk / str(seed)
        assert film.cut(seed, left) == (0, 0), seed
        found = ez.verify(left / "run.zarr")
        assert not found.damaged, found.damage
        if seed % 20 == 0:
            go_on(left / "run.zarr", film)


def go_on(run: Path, film: Film) -> None:
    """Continue the table of a run after the cut, as `localize` does."""
    table = LocalizationWriter.resume(run)
    assert table.rows == table.frames_committed * ROWS_PER_FRAME
    for number in range(table.frames_committed, FRAMES):
        table.append(rows(number), frames_done=number + 1)
    table.update(complete=True)
    table.close()
    assert read_localizations(run)[0].equals(film.table)


def test_without_syncing_a_cut_does_cost_something(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cuts of this test are such that the promise is worth something."""
    film = Film(tmp_path_factory.mktemp("run"), Sync.NEVER, monkeypatch)
    lost = [film.cut(seed, tmp_path_factory.mktemp("disk")) for seed in range(5)]
    assert max(frames for frames, _ in lost) > FRAMES // 4


def test_with_always_no_frame_that_was_stored_is_lost(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = Film(tmp_path_factory.mktemp("run"), Sync.ALWAYS, monkeypatch)
    for seed in range(10):
        gone, _ = film.cut(seed, tmp_path_factory.mktemp("disk"), promised_s=0.0)
        assert gone == 0, seed


def test_planes_of_beads_that_were_taken_are_kept(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, counter = tmp_path_factory.mktemp("beads"), itertools.count()
    record = Recorder(folder, monkeypatch, lambda: float(next(counter)))
    done = []
    with BeadStackWriter(
        folder / "b.ome.zarr", {"name": "t"}, 110.0, 50.0, SHAPE, planned_planes=6, sync=Sync.ALWAYS
    ) as writer:
        begun = len(record.steps)
        for stack in range(2):
            writer.add_fov(stack, 6)
            for plane in range(6):
                readings = PlaneRecord(plane * 0.05, plane * 0.05, 0.0, 0.0, 30.0, ("Low", None)[stack], float(plane))
                writer.write_plane(stack, plane, pixels(6 * stack + plane), readings)
                done.append(len(record.steps))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        after = int(rng.integers(begun, len(record.steps) + 1))
        disk = tmp_path_factory.mktemp("disk")
        record.cut(after, disk, rng)
        kept, stacks = 0, []
        with contextlib.suppress(InputError):  # it holds no complete plane yet
            stacks = open_bead_stacks(disk / "b.ome.zarr")
        for found in stacks:
            for plane in range(len(found.planes)):
                assert np.array_equal(found.pixels[plane], pixels(6 * found.fov + plane))
                kept += 1
        assert kept >= sum(steps <= after for steps in done), seed
        assert not ez.verify(disk / "b.ome.zarr").damaged
