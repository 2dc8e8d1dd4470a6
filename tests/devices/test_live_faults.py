"""Live runs on the real MMCore that something goes wrong in: what was acquired is kept, counted, and said."""

# ruff: noqa: PT012, PT031, SIM117  what must fail is a whole session, with what leads up to the failure

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.acquire.live import run_live
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, LocalizerError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import FrameWriter, StoredFrames
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.runs.status import read_status
from easyzloc_mm.localization.live.status import LiveStatus
from easyzloc_mm.localization.live.stream import live_pool
from easyzloc_mm.localization.workers.local import Workers
from easyzloc_mm.localization.workers.messages import FindThreshold, Outcome
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from tests.helpers.localize_bench import embedded_profile, small_bundle
from tests.helpers.microscope_bench import running_core
from tests.helpers.patience import wait_until

SIZE = (192, 160)
THRESHOLD = 500.0


@pytest.fixture(scope="module")
def profile() -> Profile:
    return embedded_profile(load_profile("demo"), *SIZE).replace(localize={"min_net_gradient": THRESHOLD})


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=SIZE))


@pytest.fixture(scope="module")
def pool(profile: Profile, card: ModelCard) -> Iterator[Workers]:
    """Localising processes that serve every test, as they serve every field of a scan."""
    with live_pool(profile, card) as workers:
        yield workers


class Watch:
    """Where the stages stood before, and whether they and the light are as they should be after."""

    def __init__(self) -> None:
        self.core = running_core()
        self.before = self._where()
        self.after: dict[str, Any] = {}
        unload = self.core.unloadAllDevices

        def look_then_unload() -> None:
            self.after = {
                "where": self._where(),
                "shutter_open": self.core.get_shutter_open("White Light Shutter"),
                "running": self.core.is_sequence_running(),
            }
            unload()

        self.core.unloadAllDevices = look_then_unload

    def _where(self) -> list[float]:
        return [self.core.get_x_position("XY"), self.core.get_y_position("XY"), self.core.get_position("Z")]

    def assert_safe(self) -> None:
        assert self.after["where"] == pytest.approx(self.before, abs=0.05)
        assert not self.after["shutter_open"]
        assert not self.after["running"]


@contextlib.contextmanager
def session(profile: Profile) -> Iterator[tuple[Any, Watch]]:
    """Connect, and check that whatever happens inside leaves the instrument safe and no thread behind."""
    watches = []
    try:
        with connect(profile) as microscope:
            watches.append(Watch())
            yield microscope, watches[0]
    finally:
        watches[0].assert_safe()
        wait_until(lambda: not _our_threads(), "the threads of the run end")


def _our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in ("camera", "raw frames")]


def assert_kept(
    out: Path, *, frames: list[int], complete: bool = False, localized: bool = True, bright: bool = True
) -> RunMetadata:
    """Check that the store holds these frames with their pixels, rows of no other, and says so."""
    table, facts = read_localizations(out)
    assert facts.complete is complete
    assert facts.frames == len(frames)
    assert facts.frames_lost == (frames[-1] + 1 - len(frames) if frames else 0)
    stored = StoredFrames(out)
    assert stored.shape[0] == (frames[-1] + 1 if frames else 0)
    assert sorted(stored.missing) == sorted(set(range(stored.shape[0])) - set(frames))
    for number in frames[:: max(1, len(frames) // 10)]:
        assert stored.read(number, number + 1).mean() > 100  # the baseline; a frame that is not there reads as zeros
    assert np.isfinite(table.to_numpy(float)).all()
    assert set(table["frame"]) <= set(frames)
    if localized:
        assert facts.frames_localized == len(frames)
        assert table["frame"].is_monotonic_increasing
        # How many molecules are on in a few frames depends on the instant; that there are some does not.
        assert len(table) > 0 or not bright
    return facts


def spoil(name: str, replacement: Any) -> Any:
    core = running_core()
    real = getattr(core, name)
    setattr(core, name, replacement)
    return real


def on_frame(number: int, act: Any) -> None:
    """Call `act` once, in the camera's thread, when that many frames have been taken from the core."""
    taken = [0]

    def pop() -> Any:
        taken[0] += 1
        if taken[0] == number:
            act()
        return real()

    real = spoil("pop_next_tagged_image", pop)


def test_a_run_without_faults(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    told: list[LiveStatus] = []
    with session(profile) as (microscope, _):
        report = run_live(
            microscope, profile, card, tmp_path / "run.zarr", frames=120, workers=pool, on_status=told.append
        )
    assert (report.frames, report.frames_lost) == (120, 0)
    facts = assert_kept(tmp_path / "run.zarr", frames=list(range(120)), complete=True)
    assert report.whole
    status = read_status(tmp_path / "run.zarr")
    assert status is not None
    assert status.whole
    assert len(read_localizations(tmp_path / "run.zarr")[0]) == report.localizations
    assert facts.min_net_gradient == THRESHOLD
    assert (report.p95_latency_s or 0.0) > 0
    assert len(told) >= 2
    assert told[-1].frames == told[-1].localized == 120
    assert told[-1].localizations == report.localizations
    assert not told[-1].camera_running
    assert told[-1].lag_frames == 0
    assert 0 < told[-1].frames_per_s < 110  # 10 ms exposures; how many less depends on the machine
    assert all(a.frames <= b.frames for a, b in itertools.pairwise(told))


def test_a_run_that_is_stopped_is_whole(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    out, stop = tmp_path / "run.zarr", threading.Event()
    told: list[LiveStatus] = []

    def see(status: LiveStatus) -> None:
        told.append(status)
        if status.frames:
            stop.set()

    with session(profile) as (microscope, _):
        report = run_live(microscope, profile, card, out, frames=5000, workers=pool, on_status=see, stop=stop)
    assert 0 < report.frames < 5000
    facts = assert_kept(out, frames=list(range(report.frames)), complete=True, bright=False)
    assert facts.ended_by == report.ended_by == "it was stopped before its last frame"
    assert report.whole
    assert not told[0].stopping
    assert told[-1].stopping


def test_a_run_that_is_stopped_before_its_first_frame_is_whole(
    profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path
) -> None:
    out, stop = tmp_path / "run.zarr", threading.Event()
    stop.set()
    with session(profile) as (microscope, _):
        report = run_live(microscope, profile, card, out, frames=50, workers=pool, stop=stop)
        assert microscope.lit_ms() == 0.0
    assert (report.frames, report.frames_lost, report.localizations) == (0, 0, 0)
    assert report.whole
    table, facts = read_localizations(out)
    assert len(table) == 0
    assert (facts.complete, facts.ended_by) == (True, "it was stopped before its last frame")
    assert StoredFrames(out).shape[0] == 0


def test_a_run_that_keeps_no_frames(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    free = profile.replace(localize={"min_net_gradient": None})
    with session(free) as (microscope, _):
        report = run_live(microscope, free, card, out, frames=80, keep_raw=False, workers=pool)
    table, facts = read_localizations(out)
    assert facts.complete is True
    assert (facts.frames, facts.frames_localized, facts.frames_stored) == (80, 80, 0)
    assert len(table) == report.localizations > 0
    assert (facts.min_net_gradient or 0) > 0
    assert not (out / "frames").exists()


def test_buffer_overflow(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    small = profile.replace(connection={"buffer_size_mb": 16}, imaging={"exposure_ms": 1.0})
    out = tmp_path / "run.zarr"

    def dawdle() -> None:
        wait_until(running_core().is_buffer_overflowed, "the buffer overflows")

    with pytest.raises(HardwareError, match=r"buffer overflowed after frame \d+.*\(\d+ frames and \d+ localisations"):
        with pytest.warns(EasyZlocWarning, match="image buffer: holds 0"), session(small) as (microscope, _):
            on_frame(10, dawdle)
            run_live(microscope, small, card, out, frames=5000, workers=pool)
    count = StoredFrames(out).shape[0]
    assert 200 < count < 5000  # what 16 MB hold, and what had been taken before
    assert_kept(out, frames=list(range(count)), bright=False)  # there is little light in 1 ms


def test_camera_stops_early(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    with pytest.raises(HardwareError, match=r"stopped by itself after \d+ of 4000 frames \(\d+ frames and"):
        with session(profile) as (microscope, _):
            on_frame(40, lambda: running_core().stop_sequence_acquisition())
            run_live(microscope, profile, card, out, frames=4000, workers=pool)
    count = StoredFrames(out).shape[0]
    assert 38 <= count < 4000  # two of the forty warmed the camera up
    assert_kept(out, frames=list(range(count)))


def test_a_frame_is_lost(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"

    def lose_one() -> None:
        wait_until(lambda: running_core().get_remaining_image_count() >= 2, "two frames wait", pause_s=0.001)
        type(running_core()).pop_next_image(running_core())

    with pytest.raises(HardwareError, match=r"1 of 60 frames were lost .*\(frame 27\).*\(59 frames and"):
        with session(profile) as (microscope, _):
            on_frame(2 + 28, lose_one)  # two frames warm the camera up
            run_live(microscope, profile, card, out, frames=60, workers=pool)
    facts = assert_kept(out, frames=[*range(27), *range(28, 60)])
    assert facts.frames_lost == 1


def test_device_error_in_the_middle(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"

    def burn() -> None:
        raise RuntimeError("Camera is on fire (451)")

    with pytest.raises(HardwareError, match=r"failed after frame 38: Camera is on fire \(451\) \(38 frames and"):
        with session(profile) as (microscope, _):
            on_frame(2 + 39, burn)
            run_live(microscope, profile, card, out, frames=4000, workers=pool)
    assert_kept(out, frames=list(range(38)))


def test_the_disk_is_full(
    profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run.zarr"
    append = FrameWriter.append

    def full(self: FrameWriter, index: int, pixels: Any) -> None:
        if index >= 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, index, pixels)

    monkeypatch.setattr(FrameWriter, "append", full)
    with pytest.raises(HardwareError, match=r"the disk of .*run\.zarr is full.*\(30 frames and \d+ localisations"):
        with session(profile) as (microscope, _):
            run_live(microscope, profile, card, out, frames=40_000, workers=pool)
    assert StoredFrames(out).shape[0] == 30
    table, facts = read_localizations(out)
    assert facts.frames_stored == 30 < facts.frames < 40_000  # the camera was stopped, not left to run
    assert facts.frames_localized == 30
    assert len(table)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files by RLIMIT_FSIZE")
def test_a_disk_that_is_really_full(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    """Every file that would be larger than a few bytes is refused by the kernel from some moment on."""
    import resource

    out = tmp_path / "run.zarr"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        wait_until(lambda: StoredFrames(out).shape[0] >= 10, "the first frames are stored")
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(HardwareError, match=r"could not be written .*check the disk") as caught:
            with session(profile) as (microscope, _):
                on_frame(40, fill)
                run_live(microscope, profile, card, out, frames=4000, workers=pool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    # Not even the final facts could be written; every frame and row from before is readable.
    kept, (table, _) = StoredFrames(out).shape[0], read_localizations(out)
    assert kept >= 10
    assert f"({kept} frames and {len(table)} localisations are kept in {out})" in str(caught.value)
    assert np.isfinite(table.to_numpy(float)).all()


def test_a_localising_process_is_killed(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"

    def kill() -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.warns(UserWarning, match=r"localising process died.*replaced"), session(profile) as (microscope, _):
        on_frame(2 + 30, kill)
        report = run_live(microscope, profile, card, out, frames=150, workers=pool)
    assert (report.frames, report.workers_replaced) == (150, pool.count)
    assert_kept(out, frames=list(range(150)), complete=True)


def test_no_block_is_blamed_for_processes_that_died_idle(pool: Workers) -> None:
    pool.start()
    before = len(pool.replaced)
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    frames = np.random.default_rng(0).poisson(100, (2, 64, 64)).astype(np.uint16)
    block = FindThreshold(0, np.arange(2), frames, 2)
    done: list[Outcome] = []

    def is_done() -> bool:
        done.extend(pool.outcomes(0.1))
        return bool(done)

    pool.submit(block)
    wait_until(is_done, "the block is done")
    assert done[0].block is block
    assert len(pool.replaced) - before == pool.count


@pytest.mark.parametrize("keep_raw", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_localiser_fails(profile: Profile, tmp_path: Path, keep_raw: bool) -> None:
    broken = ModelCard.load(small_bundle(tmp_path / "model", field=SIZE, broken=True))
    out = tmp_path / "run.zarr"
    with pytest.raises(LocalizerError, match=r"the localiser failed at frame \d+") as caught:
        with session(profile) as (microscope, _), pytest.warns() if keep_raw else contextlib.nullcontext():
            run_live(microscope, profile, broken, out, frames=150, keep_raw=keep_raw)
    table, facts = read_localizations(out)
    # Blocks of just two spots, or none, pass; the first with more does not.
    assert facts.frames_localized < 100
    assert f"({facts.frames} frames and {len(table)} localisations are kept in {out})" in str(caught.value)
    if keep_raw:
        assert_kept(out, frames=list(range(150)), localized=False)
    else:
        assert facts.frames < 150  # there was nothing left to record


@pytest.mark.skipif(os.name == "nt", reason="Windows has no way to send Ctrl-C to one process")
def test_ctrl_c(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    with pytest.raises(KeyboardInterrupt), session(profile) as (microscope, _):
        on_frame(2 + 50, lambda: os.kill(os.getpid(), signal.SIGINT))
        run_live(microscope, profile, card, out, frames=40_000, workers=pool)
    count = StoredFrames(out).shape[0]
    assert 50 <= count < 40_000
    assert_kept(out, frames=list(range(count)))


def test_workers_serve_on_after_all_that(profile: Profile, card: ModelCard, pool: Workers, tmp_path: Path) -> None:
    with session(profile) as (microscope, _):
        run_live(microscope, profile, card, tmp_path / "run.zarr", frames=20, workers=pool)
    assert_kept(tmp_path / "run.zarr", frames=list(range(20)), complete=True)
