"""A long live run at a small frame size, to see whether anything grows, slows down or falls behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.benchmarks.fixtures.place import place_in
from easyzloc_mm.benchmarks.fixtures.resources import ProcessWatch
from easyzloc_mm.benchmarks.speed.live import EXPOSURE_MS, RING, bench_profile, quick_model
from easyzloc_mm.typing import F64, Progress

FRAME_PX = 256
SAMPLES = 600
EMITTERS = 20


def bench_soak(minutes: float, model: Path | None, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Run live for long on the embedded microscope: 256x256 px, 30 ms, 20 molecules per frame, raw frames saved.

    Parameters
    ----------
    minutes : float
        How long the camera runs.
    model : Path, optional
        Model bundle of the embedded microscope; without it one is trained quickly.
    folder : Path
        Where the run is written, 15 GB an hour; it is removed afterwards.

    Returns
    -------
    dict
        ``frames``, ``frames_lost``, ``frames_per_s``, ``localizations``, ``p95_latency_s``, ``workers_replaced``; and
        each of ``program_mb``, ``workers_mb`` (memory of this program and of the localising processes), ``threads``,
        ``files`` (open), ``rate`` (frames/s) and ``lag_frames`` as ``..._begin`` and ``..._end`` (medians of the second
        and of the last tenth of the run) and, for the first two, ``..._per_hour`` (slope after the first tenth).
    """
    from scipy.stats import theilslopes

    from easyzloc_mm.acquire.live import run_live
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.model.card import ModelCard
    from easyzloc_mm.simulator.embedded.replay import render_frames, replayed

    profile = bench_profile().replace(camera={"width_px": FRAME_PX, "height_px": FRAME_PX})
    frames = max(int(60_000 * minutes / EXPOSURE_MS), RING)
    reported: list[tuple[float, float]] = []
    with place_in(folder) as place:
        card = ModelCard.load(model or quick_model(profile, place, progress), profile)
        ring = render_frames(profile, EMITTERS, RING)
        with replayed(ring), connect(profile) as microscope, ProcessWatch(60 * minutes / SAMPLES) as watch:
            report = run_live(
                microscope, profile, card, place / "run.zarr", frames=frames, progress=progress,
                on_status=lambda status: reported.append((status.frames_per_s, float(status.lag_frames))),
            )  # fmt: skip
    samples = watch.samples()
    rate, lag = np.array(reported).T
    result: dict[str, Any] = {
        "frames": report.frames,
        "frames_lost": report.frames_lost,
        "frames_per_s": report.frames_per_s,
        "localizations": report.localizations,
        "p95_latency_s": report.p95_latency_s,
        "workers_replaced": report.workers_replaced,
    }
    for key in ("program_mb", "workers_mb", "threads", "files"):
        result |= _ends(key, samples[key])
    for key in ("program_mb", "workers_mb"):
        later = slice(len(samples[key]) // 10, None)
        hours = samples["time_s"][later] / 3600
        # Median of slopes (Theil and Sen): the last samples may see the workers already gone.
        result[f"{key}_per_hour"] = float(theilslopes(samples[key][later], hours)[0])
    return result | _ends("rate", rate) | _ends("lag_frames", lag)


def _ends(key: str, values: F64) -> dict[str, float]:
    tenth = max(len(values) // 10, 1)
    begin, end = values[tenth : 2 * tenth], values[-tenth:]
    return {f"{key}_begin": float(np.median(begin)), f"{key}_end": float(np.median(end))}
