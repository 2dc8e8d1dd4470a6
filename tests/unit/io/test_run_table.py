"""The localisation table of a run, as it is written and read."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Semaphore
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import (
    CHUNK_ROWS,
    COLUMNS_2D,
    COLUMNS_Z,
    LocalizationWriter,
    read_localizations,
    update_run,
)
from easyzloc_mm.io.runs.metadata import RunMetadata
from tests.helpers.known_rows import assert_whole, known_rows
from tests.helpers.patience import PATIENCE_S

SHAPE = (96, 128)
FRAMES = 30
PIXEL_NM = 110.0
METADATA = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=SHAPE[0], width_px=SHAPE[1], frames=FRAMES)


def write_in_bursts(path: Path, total: int, seed: int, turns: Semaphore) -> None:
    """Append until `total` rows are written; after every flush a reader may have a look first."""
    rng = np.random.default_rng(seed)
    with LocalizationWriter.create(path, METADATA) as writer:
        done = 0
        while done < total:
            count = min(int(rng.integers(0, 3000)), total - done)
            writer.append(known_rows(done, count), frames_done=done + count)
            done += count
            if rng.random() < 0.3:
                writer.flush()
                turns.acquire(timeout=PATIENCE_S)


def test_a_reader_never_sees_a_torn_row(tmp_path: Path) -> None:
    """Another process writes across many chunk borders while this one reads without pause."""
    path, total = tmp_path / "run.zarr", 5 * CHUNK_ROWS + 77
    context = multiprocessing.get_context("spawn")
    turns = context.Semaphore(2)
    writer = context.Process(target=write_in_bursts, args=(path, total, 1, turns))
    writer.start()
    seen = []
    while writer.is_alive():
        try:
            table, _ = read_localizations(path)
        except InputError:
            continue  # not there yet
        if len(table):
            assert_whole(table)
        seen.append(len(table))
        turns.release()
    writer.join()
    assert writer.exitcode == 0
    assert len(set(seen)) > 3  # it was read while it grew
    assert seen == sorted(seen)
    table, _ = read_localizations(path)
    assert len(table) == total
    assert_whole(table)
    tail, _ = read_localizations(path, first_row=total - 10)
    assert tail["frame"].tolist() == table["frame"].tolist()[-10:]


@pytest.mark.parametrize("before", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 5])
def test_a_table_is_gone_on_with_at_any_row(tmp_path: Path, before: int) -> None:
    path = tmp_path / "run.zarr"
    writer = LocalizationWriter.create(path, METADATA.changed(who="me"), columns=[*COLUMNS_2D, *COLUMNS_Z])
    writer.append(known_rows(0, before), frames_done=7)
    writer.flush()
    writer.append(known_rows(before, 40), frames_done=8)  # never committed: as if killed here
    again = LocalizationWriter.resume(path)
    assert (again.rows, again.frames_committed, again.metadata.extra["who"]) == (before, 7, "me")
    again.append(known_rows(before, CHUNK_ROWS + 3), frames_done=9)
    again.close()
    table, _ = read_localizations(path)
    assert len(table) == before + CHUNK_ROWS + 3
    assert_whole(table)
    update_run(path, note="late")
    assert read_localizations(path)[1].extra["note"] == "late"


def test_rows_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with LocalizationWriter.create(tmp_path / "run.zarr", METADATA) as writer:
        writer.append(known_rows(0, 5))
        with pytest.raises(ValueError, match="lpx"):
            writer.append(known_rows(5, 5).assign(lpx=np.nan))
    assert len(read_localizations(tmp_path / "run.zarr")[0]) == 5
