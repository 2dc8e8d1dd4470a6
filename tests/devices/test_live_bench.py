"""The soak bench and the watch that it looks through."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.benchmarks.fixtures.resources import ProcessWatch
from easyzloc_mm.benchmarks.speed.soak import bench_soak
from tests.helpers.localize_bench import small_bundle
from tests.helpers.patience import wait_until


def test_the_watch_sees_memory_threads_files_and_children_come_and_stay(tmp_path: Path) -> None:
    with ProcessWatch(0.02) as watch:

        def count() -> int:
            return len(watch.samples()["time_s"])

        wait_until(lambda: count() >= 3, "the watch looks")
        # Pages of its own: an array may lie in memory that earlier tests have left to the process.
        kept = mmap.mmap(-1, 100 * 2**20)
        kept.write(b"\1" * len(kept))
        stop = threading.Event()
        threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        files = [(tmp_path / str(i)).open("w") for i in range(5)]
        code = "import sys; x = bytearray(50 * 2**20); print(len(x), flush=True); sys.stdin.read()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        before = count()
        wait_until(lambda: count() >= before + 2, "the watch has looked again")
        assert kept[0] == 1
    samples = watch.samples()
    first, last = ({key: values[i] for key, values in samples.items()} for i in (2, -1))
    child.communicate()
    stop.set()
    for file in files:
        file.close()
    assert last["program_mb"] - first["program_mb"] == pytest.approx(100, abs=15)
    assert 50 < last["workers_mb"] - first["workers_mb"] < 100
    assert last["threads"] - first["threads"] == 3
    assert last["files"] - first["files"] >= 5
    assert (np.diff(samples["time_s"]) > 0).all()


def test_a_short_soak_tells_both_ends_of_the_run(tmp_path: Path) -> None:
    result = bench_soak(0.1, small_bundle(tmp_path / "model", field=(256, 256)), tmp_path)
    assert result["frames"] == 200
    assert result["frames_lost"] == 0
    assert result["localizations"] > 10 * 200
    assert all(np.isfinite(value) for value in result.values())
    assert result["workers_mb_end"] > 50
    assert result["program_mb_begin"] > 50
    assert result["threads_end"] >= 3
    assert result["rate_end"] > 0
    assert not list(tmp_path.glob("easyzloc-bench-*"))
