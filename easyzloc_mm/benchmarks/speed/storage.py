"""What it costs to have frames and rows on the device within a second, at a camera's rate and as fast as it goes."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.benchmarks.fixtures.place import place_in
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.profile.detection import Sync
from easyzloc_mm.typing import U16, Progress

FRAME_PX = 1200
INTERVAL_S = 0.03
ROWS = 200
ROUNDS = 3
PIXEL_NM = 110.0


def bench_storage(seconds: float, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Store 1200x1200 px frames, and 200 rows of each, by every `Sync`, in turn.

    Parameters
    ----------
    seconds : float
        How long the camera runs in each of `ROUNDS` rounds.
    folder : Path
        Its disk is measured.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    dict
        Of every policy: ``NAME_frames_per_s`` at the camera's 33 frames/s, until the last one is committed, and
        ``NAME_greatest_frames_per_s`` without a camera to wait for, best of the rounds; ``NAME_lag_s``, the longest
        time to a commit at the camera's rate. ``ratio_second``, ``ratio_always``: frames/s at the camera's rate against
        ``never``.
    """
    rng = np.random.default_rng(0)
    ring = rng.poisson(120, (8, FRAME_PX, FRAME_PX)).astype(np.uint16)
    frames = max(int(seconds / INTERVAL_S), len(ring))
    paced: dict[Sync, list[float]] = {sync: [] for sync in Sync}
    free: dict[Sync, list[float]] = {sync: [] for sync in Sync}
    lag_s = dict.fromkeys(Sync, 0.0)
    steps = ROUNDS * len(Sync)
    for step in range(steps):
        sync = list(Sync)[step % len(Sync)]
        if progress:
            progress(f"storage: {sync}", step / steps)
        with place_in(folder) as place:
            rate, lag = _store(place / "paced.zarr", ring, frames, sync, INTERVAL_S)
            paced[sync].append(rate)
            lag_s[sync] = max(lag_s[sync], lag)
            free[sync].append(_store(place / "free.zarr", ring, frames, sync, 0.0)[0])
    result: dict[str, Any] = {"frames": frames}
    for sync in Sync:
        result[f"{sync}_frames_per_s"] = max(paced[sync])
        result[f"{sync}_greatest_frames_per_s"] = max(free[sync])
        result[f"{sync}_lag_s"] = lag_s[sync]
    for sync in (Sync.SECOND, Sync.ALWAYS):
        result[f"ratio_{sync}"] = max(paced[sync]) / max(paced[Sync.NEVER])
    return result


def _store(out: Path, ring: U16, frames: int, sync: Sync, interval_s: float) -> tuple[float, float]:
    """Store a run as the live loop does, rows by another thread than frames; return frames/s and the longest lag, s."""
    metadata = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=FRAME_PX, width_px=FRAME_PX)
    table = LocalizationWriter.create(out, metadata, columns=(*COLUMNS_2D, *COLUMNS_Z), sync=sync)
    raw = FrameWriter(out, ring.shape[1:], pixel_size_nm=PIXEL_NM, expected=frames, sync=sync)
    rows = pd.DataFrame({name: np.ones(ROWS, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)})
    begin = time.monotonic()

    def wait_for(number: int) -> None:
        time.sleep(max(0.0, begin + (number + 1) * interval_s - time.monotonic()))

    def write_rows() -> None:
        for number in range(frames):
            wait_for(number)
            table.append(rows, frames_done=number + 1)
        table.flush()

    writer = threading.Thread(target=write_rows, name="rows")
    writer.start()
    for number in range(frames):
        wait_for(number)
        raw.append(number, ring[number % len(ring)])
    raw.flush()
    writer.join()
    rate = frames / (time.monotonic() - begin)
    table.close()
    raw.close()
    return rate, max(raw.commit_lag_s, table.commit_lag_s)
