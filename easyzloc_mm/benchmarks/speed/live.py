"""The live loop and its offline twin, measured on this machine beside stock Picasso on the same frames."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from easyzloc_mm._picasso import picasso
from easyzloc_mm._processes import in_fresh_process
from easyzloc_mm.analysis.scoring.compare import compare
from easyzloc_mm.analysis.scoring.figures import ScoreRules
from easyzloc_mm.analysis.scoring.score import score
from easyzloc_mm.benchmarks.fixtures.place import place_in
from easyzloc_mm.benchmarks.fixtures.resources import ProcessWatch
from easyzloc_mm.benchmarks.speed.page import watched
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import FrameWriter, StoredFrames
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.localization.config import resolved
from easyzloc_mm.localization.detection.threshold import automatic_threshold
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16, Progress

if TYPE_CHECKING:
    from easyzloc_mm.model.card import ModelCard


FRAME_PX = 1200
RING = 64
"""Frames that are rendered before the run and shown in turn."""
EXPOSURE_MS = 30.0
PICASSO_FRAMES = 24
CAPACITY_FRAMES = 1024
"""Enough that the last blocks, which not every worker has, do not count."""
TRAIN_MINUTES = 0.4


def bench_live(
    seconds: float, emitters: int, model: Path | None, folder: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Run live on the embedded microscope: 1200x1200 px, 30 ms, raw frames saved.

    Camera, buffer, timing and tags are MMCore's; images are rendered before the run (`simulator.embedded.replay`).

    Parameters
    ----------
    seconds : float
        How long the camera runs.
    emitters : int
        Molecules per frame.
    model : Path, optional
        Model bundle of the embedded microscope; without it one is trained quickly.
    folder : Path
        Where the run is written: its disk is measured too.

    Returns
    -------
    dict
        ``frames_lost``, ``frames_per_s`` (of the live run: the camera's rate, if localisation keeps up),
        ``p95_latency_s`` (from MMCore's buffer to a committed row), ``raw_complete`` (1 if every stored frame is the
        one that was shown, in order), ``most_waiting``, ``catch_up_s``, ``spots_per_frame``; ``page_...``: the same
        run again with its page open in a tab, and ``page_ratio`` of the two rates;
        ``capacity_frames_per_s`` (the offline twin on the same stored frames, all cores, z included),
        ``picasso_frames_per_s`` (stock ``localize_frames`` on the same frames, 2D, at the threshold that
        `automatic_threshold` finds for it), and ``ratio`` of these two;
        ``recall``, ``precision`` and ``picasso_recall``, ``picasso_precision``: what both find, by x and y alone.
    """
    from easyzloc_mm.acquire.live import run_live
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.model.card import ModelCard
    from easyzloc_mm.simulator.embedded.replay import render_frames, replayed, truth_of_frames

    profile = bench_profile()
    frames = max(int(1000 * seconds / EXPOSURE_MS), RING)
    with place_in(folder) as place:
        card = ModelCard.load(model or quick_model(profile, place, progress), profile)
        ring = render_frames(profile, emitters, RING)
        with replayed(ring), connect(profile) as microscope:
            report = run_live(microscope, profile, card, place / "run.zarr", frames=frames, progress=progress)
            with watched(place / "watched.zarr"):
                seen = run_live(microscope, profile, card, place / "watched.zarr", frames=frames, progress=progress)
        threshold = automatic_threshold(ring, profile.localize.box_px)
        result: dict[str, Any] = {
            "emitters": emitters,
            "frames": report.frames,
            "frames_lost": report.frames_lost,
            "raw_complete": int(_shown_in_order(place / "run.zarr", ring, report.frames)),
            "frames_per_s": report.frames_per_s,
            "p95_latency_s": report.p95_latency_s,
            "most_waiting": report.most_waiting,
            "catch_up_s": report.catch_up_s,
            "spots_per_frame": report.localizations / report.frames,
            "page_frames_lost": seen.frames_lost,
            "page_frames_per_s": seen.frames_per_s,
            "page_p95_latency_s": seen.p95_latency_s,
            "page_ratio": seen.frames_per_s / report.frames_per_s,
        }
        if progress:
            progress("offline twin on the same frames", 1.0)
        linked = linked_run(place / "part.zarr", ring, CAPACITY_FRAMES)
        result["capacity_frames_per_s"] = _offline(linked, card, profile, place / "part_table.zarr")["frames_per_s"]
        if progress:
            progress("Picasso on the same frames", 1.0)
        result["picasso_frames_per_s"], found = picasso_rate(ring[:PICASSO_FRAMES], threshold, profile)
        truth = truth_of_frames(profile, emitters, RING)
        table, _ = read_localizations(place / "part_table.zarr")
        for name, one, frames_seen in (("", table, RING), ("picasso_", found, PICASSO_FRAMES)):
            shares = _found_share(one, truth, frames_seen, profile.optics.pixel_size_nm)
            result |= {f"{name}{figure}": share for figure, share in shares.items()}
    result["ratio"] = result["capacity_frames_per_s"] / result["picasso_frames_per_s"]
    return result


def bench_localize(
    frames: int, emitters: int, model: Path | None, folder: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Localise a long movie from disk and watch the memory of all processes.

    The movie has `frames` frames of 1200x1200 px, of which 64 differ (the others are hard links to them), so it is read
    from the operating system's cache: the disk's own speed is not measured.

    Returns
    -------
    dict
        ``frames``, ``minutes``, ``frames_per_s``, ``localizations``; ``memory_mb`` (largest sum over the processes),
        ``memory_growth_mb`` (mean of the last tenth of the run less that of the second tenth).
    """
    from easyzloc_mm.model.card import ModelCard
    from easyzloc_mm.simulator.embedded.replay import render_frames

    profile = bench_profile()
    with place_in(folder) as place:
        card = ModelCard.load(model or quick_model(profile, place, progress), profile)
        movie = linked_run(place / "movie.zarr", render_frames(profile, emitters, RING), frames)
        with ProcessWatch() as watch:
            begin = time.monotonic()
            result = _offline(movie, card, profile, place / "run.zarr", progress)
            minutes = (time.monotonic() - begin) / 60
    samples = watch.samples()
    trace = samples["program_mb"] + samples["workers_mb"]
    tenth = max(len(trace) // 10, 1)
    return {
        "frames": frames,
        "emitters": emitters,
        "minutes": minutes,
        "frames_per_s": result["frames_per_s"],
        "localizations": result["localizations"],
        "memory_mb": float(trace.max()),
        "memory_growth_mb": float(np.mean(trace[-tenth:]) - np.mean(trace[tenth : 2 * tenth])),
    }


def bench_profile() -> Profile:
    """Return the demo microscope with a 1200x1200 camera."""
    return load_profile("demo").replace(
        camera={"width_px": FRAME_PX, "height_px": FRAME_PX},
        imaging={"exposure_ms": EXPOSURE_MS},
        beads={"fovs": 2, "z_start_nm": -1000, "z_stop_nm": 1000, "z_step_nm": 50},
    )


def quick_model(profile: Profile, folder: Path, progress: Progress | None) -> Path:
    """Train a model of the right size and cost for timing; its z is not accurate.

    In a process of its own, so that the memory of the training is not measured.
    """
    if progress:
        progress("training a model for this", 0.0)
    in_fresh_process(_train_quickly, profile, folder)
    return folder / "model"


def _train_quickly(profile: Profile, folder: Path) -> None:
    from easyzloc_mm.api.calibrating.calibration import build_beads, train
    from easyzloc_mm.simulator.datasets import simulate_beads

    simulate_beads(profile, folder / "stacks.ome.zarr")
    train(build_beads(folder / "stacks.ome.zarr"), folder / "model", minutes=TRAIN_MINUTES)


def linked_run(out: Path, ring: U16, frames: int) -> Path:
    """Write a store of `frames` raw frames that show `ring` in turn, each distinct frame once on disk."""
    writer = FrameWriter(out, ring.shape[1:], pixel_size_nm=bench_profile().optics.pixel_size_nm, expected=frames)
    for number, frame in enumerate(ring[:frames]):
        writer.append(number, frame)
    for number in range(len(ring), frames):
        writer.append_link(number, number % len(ring))
    writer.close()
    return out


def picasso_rate(frames: U16, min_net_gradient: float, profile: Profile) -> tuple[float, pd.DataFrame]:
    """Frames per second of Picasso's ``localize_frames`` as it comes, own threads, least squares, 2D; and its table."""
    localize = picasso("localize")
    response = profile.camera.response
    info = [
        {"Frames": len(frames), "Height": frames.shape[1], "Width": frames.shape[2], "Byte Order": "<",
         "Data Type": "uint16", "Pixelsize": profile.optics.pixel_size_nm}
    ]  # fmt: skip
    parameters = {"Min. Net Gradient": min_net_gradient, "Box Size": profile.localize.box_px}
    camera = {"Baseline": response.baseline_adu, "Sensitivity": response.electrons_per_adu, "Gain": 1,
              "Pixelsize": profile.optics.pixel_size_nm}  # fmt: skip
    spent = []
    for part in (frames[:4], frames):  # the first compiles
        start = time.perf_counter()
        table = localize.localize_frames(part, [{**info[0], "Frames": len(part)}], parameters, camera_info=dict(camera))
        spent.append(time.perf_counter() - start)
    return len(frames) / spent[-1], table


def _offline(
    movie: Path,
    card: ModelCard,
    profile: Profile,
    out: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    from easyzloc_mm.localization.offline.movie import localize_movie

    settings = resolved(profile.localize, card, live=True)
    return localize_movie(
        movie, card, out, response=profile.camera.response, settings=settings, progress=progress
    ).as_dict()


def _found_share(
    table: pd.DataFrame, truth: pd.DataFrame, frames: int, pixel_size_nm: float
) -> dict[str, float | None]:
    """Recall and precision of the first frames, by place alone: stock Picasso knows no depth."""
    parts = (one[one["frame"] < frames].reset_index(drop=True) for one in (table, truth))
    found = score(compare(*parts, pixel_size_nm=pixel_size_nm, rules=ScoreRules(axial_nm=None)))
    return {"recall": found.recall, "precision": found.precision}


def _shown_in_order(run: Path, ring: U16, frames: int) -> bool:
    """Whether a run's raw frames are the ring's, in turn, none left out or doubled."""
    stored = StoredFrames(run)
    if stored.shape[0] != frames or stored.missing:
        return False
    first = stored.read(0, 1)[0]
    start = next((i for i, frame in enumerate(ring) if np.array_equal(frame, first)), None)
    return start is not None and all(
        np.array_equal(stored.read(number, number + 1)[0], ring[(start + number) % len(ring)])
        for number in range(frames)
    )
