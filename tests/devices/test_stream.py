"""The camera's stream: every frame once, and every way in which it ends."""

# ruff: noqa: PT012  what must fail is a whole session, with what leads up to the failure

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.microscope import camera
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.microscope.streaming import core_buffer as frame_stream
from easyzloc_mm.profile.schema import Profile
from tests.helpers.microscope_bench import (
    HEIGHT,
    WIDTH,
    LastState,
    assert_safe,
    bench_profile,
    running_core,
    spoil,
)
from tests.helpers.patience import wait_until


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return bench_profile(tmp_path_factory.mktemp("bench"))


def test_stream_gives_every_frame_once_over_several_sequences(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_stream, "BLOCK_FRAMES", 7)
    with connect(profile) as microscope:
        microscope.set_exposure(1.0)
        running_core().set_property("Camera", "FastImage", "0")
        frames = list(microscope.stream(20))
    assert [frame.index for frame in frames] == list(range(20))
    assert {frame.pixels.shape for frame in frames} == {(HEIGHT, WIDTH)}
    # The demo camera draws a moving wave: frames that shared memory would be equal.
    assert len({frame.pixels.tobytes() for frame in frames}) > 1
    assert all(a.received_s < b.received_s for a, b in itertools.pairwise(frames))


def test_stream_ends_cleanly_when_asked(profile: Profile) -> None:
    stop = threading.Event()
    with connect(profile) as microscope:
        state = LastState()
        microscope.set_exposure(1.0)
        got = []
        for frame in microscope.stream(5000, stop):
            got.append(frame.index)
            if frame.index == 9:
                stop.set()
        assert got == list(range(len(got)))
        assert 10 <= len(got) < 5000
        assert not running_core().is_sequence_running()
    assert_safe(state)


@pytest.mark.parametrize("asked_to_stop", [True, False])
def test_frames_that_wait_in_the_buffer_are_fetched_in_the_dark(profile: Profile, asked_to_stop: bool) -> None:
    stop = threading.Event()
    with connect(profile) as microscope:
        core = running_core()
        microscope.set_exposure(1.0)
        lit = []
        for frame in microscope.stream(100, stop):
            if frame.index == 0:
                assert core.get_shutter_open("White Light Shutter")
                wait_until(lambda: core.get_remaining_image_count() > 30, "frames gather in the buffer")
                if asked_to_stop:
                    stop.set()
                else:
                    wait_until(lambda: not core.is_sequence_running(), "the camera is done")
            else:
                lit.append(core.get_shutter_open("White Light Shutter"))
        assert len(lit) > 30
        assert not any(lit)


def test_the_buffer_overflow_is_an_error_after_what_was_got(profile: Profile) -> None:
    with connect(profile) as microscope:
        state, core = LastState(), running_core()
        got: list[int] = []
        microscope.set_exposure(1.0)
        with pytest.raises(HardwareError, match="buffer overflowed"):
            for frame in microscope.stream(5000):
                if not got:
                    wait_until(core.is_buffer_overflowed, "the buffer overflows")
                got.append(frame.index)
        # 16 MB hold about 400 of these frames; all of them are kept, the oldest first.
        assert got == list(range(len(got)))
        assert len(got) > 100
        # The next stream starts clean.
        assert [frame.index for frame in microscope.stream(5)] == list(range(5))
    assert_safe(state)


def test_a_camera_that_stops_by_itself_is_an_error(profile: Profile) -> None:
    with connect(profile) as microscope:
        got = []
        with pytest.raises(HardwareError, match=r"stopped by itself after \d+ of 5000"):
            for frame in microscope.stream(5000):
                got.append(frame.index)
                if frame.index == 4:
                    running_core().stop_sequence_acquisition()
        assert got == list(range(len(got)))
        assert len(got) >= 5


def test_a_lost_frame_leaves_a_gap_and_is_reported(profile: Profile) -> None:
    with connect(profile) as microscope:
        core = running_core()
        list(microscope.stream(2))
        pop, calls = core.pop_next_tagged_image, []

        def pop_and_lose_one() -> Any:
            calls.append(1)
            if len(calls) == 6:
                while core.get_remaining_image_count() < 2:
                    time.sleep(0.001)
                pop()
            return pop()

        spoil(core, "pop_next_tagged_image", pop_and_lose_one)
        got = []
        with pytest.raises(HardwareError, match=r"1 of 20 frames were lost .*\(frame 5\)"):
            for frame in microscope.stream(20):
                got.append(frame.index)
        assert got == [0, 1, 2, 3, 4, *range(6, 20)]


@pytest.mark.parametrize("taken", [3, 9])
def test_another_program_takes_a_frame(profile: Profile, taken: int) -> None:
    """Micro-Manager's own windows empty the buffer too: that frame is lost, the run goes on to its end."""
    with connect(profile) as microscope:
        state, core = LastState(), running_core()
        list(microscope.stream(1))  # the buffer is allocated
        pop = core.pop_next_tagged_image
        popped: list[None] = []

        def pop_after_somebody_else() -> Any:
            popped.append(None)
            if len(popped) == taken + 1:
                pop()
                wait_until(lambda: core.get_remaining_image_count() == 0 or len(popped) > 99, "the buffer is empty")
                raise RuntimeError("Circular buffer is empty.")
            return pop()

        spoil(core, "pop_next_tagged_image", pop_after_somebody_else)
        got = []
        with pytest.raises(HardwareError, match=rf"1 of 10 frames were lost .*\(frame {taken}\)"):
            for frame in microscope.stream(10):
                got.append(frame.index)
        assert got == [index for index in range(10) if index != taken]
    assert_safe(state)


def test_a_silent_camera_is_noticed(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_stream, "FIRST_FRAME_S", 0.3)
    monkeypatch.setattr(frame_stream, "FRAME_S", 0.2)
    with connect(profile) as microscope:
        state = LastState()
        list(microscope.stream(2))
        spoil(running_core(), "get_remaining_image_count", lambda: 0)
        with pytest.raises(HardwareError, match="sent nothing"):
            list(microscope.stream(5000))
    assert_safe(state)


def test_a_failing_camera_is_an_error_in_its_own_words(profile: Profile) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("Camera is on fire (451)")

    for name in ("snap_image", "get_image"):
        with pytest.raises(HardwareError, match="on fire"), connect(profile) as microscope:
            state = LastState()
            spoil(running_core(), name, broken)
            microscope.expose()
        assert_safe(state)
    with pytest.raises(HardwareError, match="on fire"), connect(profile) as microscope:
        state = LastState()
        spoil(running_core(), "start_sequence_acquisition", broken)
        list(microscope.stream(5))
    assert_safe(state)


def test_a_hanging_camera_does_not_hang_us(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(camera, "CALL_S", 0.3)
    with pytest.raises(HardwareError, match=r"no answer within 0\.3"), connect(profile) as microscope:
        state = LastState()
        microscope.move_z(5.0)
        microscope.set_exposure(1.0)
        spoil(running_core(), "snap_image", lambda: release.wait(60))
        microscope.expose()
    release.set()
    assert_safe(state)
