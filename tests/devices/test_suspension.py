"""A run pauses while something is wrong, on the real MMCore: camera off, shutter closed, and on again by itself."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from easyzloc_mm.acquire import suspension
from easyzloc_mm.acquire.suspension import GaveUpError, Watch
from easyzloc_mm.errors import InputError
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.focus import FocusState
from easyzloc_mm.profile.schema import Profile
from tests.helpers.microscope_bench import bench_profile, running_core
from tests.helpers.patience import wait_until

INTERLOCK = {"device": "Camera", "property": "Gain", "value": "0"}
FRAMES = 60


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    watch: dict[str, object] = {"every_s": 0.02, "wait_min": 10.0, "interlocks": [INTERLOCK]}
    return bench_profile(tmp_path_factory.mktemp("bench")).replace(watch=watch, imaging={"exposure_ms": 5.0})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "LOOK_AGAIN_S", 0.02)


@pytest.fixture
def microscope(profile: Profile) -> Iterator[Microscope]:
    with connect(profile) as connected:
        yield connected


class Trouble:
    """Goes wrong at a frame and, once the run has paused, comes right."""

    def __init__(self, watch: Watch, begin: Callable[[], object], end: Callable[[], object]) -> None:
        self._watch, self._begin, self._end = watch, begin, end
        self.shutter_open: list[bool] = []

    def run(self, count: int) -> list[int]:
        done = threading.Event()

        def mend() -> None:
            while not self._watch.alarms() and not done.wait(0.005):
                pass
            self.shutter_open.append(running_core().get_shutter_open("White Light Shutter"))
            self._end()

        mender = threading.Thread(target=mend)
        numbers = []
        for frame in self._watch.frames(count, threading.Event()):
            numbers.append(frame.index)
            if len(numbers) == 10:
                self._begin()
                mender.start()
        done.set()
        mender.join()
        return numbers


def troubles(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Callable[[], object], Callable[[], object], str]]:
    core: Any = running_core()
    full = SimpleNamespace(free=10**8)

    def unplug(_folder: Path) -> Any:
        raise OSError(5, "Input/output error")

    def fill() -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _folder: full)

    return {
        "disk": (fill, monkeypatch.undo, "the disk has 0.1 GB left"),
        "no disk": (
            lambda: monkeypatch.setattr(shutil, "disk_usage", unplug),
            monkeypatch.undo,
            "the disk of ",
        ),
        "interlock": (
            lambda: core.set_property("Camera", "Gain", "1"),
            lambda: core.set_property("Camera", "Gain", "0"),
            "Camera says Gain = '1', and '0' where all is well",
        ),
        "stage": (
            lambda: core.set_xy_position("XY", 30.0, 0.0),
            lambda: core.set_xy_position("XY", 0.0, 0.0),
            "the sample was moved by hand, 30 um away: move it back to x, y = ",
        ),
    }


@pytest.mark.parametrize("what", ["disk", "no disk", "interlock", "stage"])
def test_a_run_pauses_in_the_dark_and_goes_on_with_the_next_frame(
    microscope: Microscope, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    begin, end, words = troubles(monkeypatch)[what]
    watch = Watch(microscope, profile, tmp_path / "run.zarr")
    trouble = Trouble(watch, begin, end)
    assert trouble.run(FRAMES) == list(range(FRAMES))
    assert trouble.shutter_open == [False]
    (pause,) = watch.pauses
    assert pause.reason.startswith(words)
    assert 10 <= pause.frame < FRAMES
    assert watch.alarms() == ()


def test_a_focus_that_is_lost_is_locked_again(microscope: Microscope, profile: Profile, tmp_path: Path) -> None:
    class Lock:
        is_on, held = True, 0
        now = FocusState.LOCKED

        def state(self) -> FocusState:
            return self.now

        def hold(self) -> float:
            self.held += 1
            self.now = FocusState.LOCKED if self.held == 3 else FocusState.OUT_OF_RANGE
            return 0.0

    lock = Lock()
    with_lock: Any = SimpleNamespace(
        focus_lock=lock,
        **{
            name: getattr(microscope, name)
            for name in ("position", "lit_ms", "broken_interlock", "camera_in_use", "stream")
        },
    )
    watch = Watch(with_lock, profile, tmp_path / "run.zarr")
    numbers = []
    for frame in watch.frames(FRAMES, threading.Event()):
        numbers.append(frame.index)
        if frame.index == 5:
            lock.now = FocusState.OUT_OF_RANGE
    assert numbers == list(range(FRAMES))
    assert lock.held == 3
    assert [pause.reason for pause in watch.pauses] == ["the focus lock has lost the focus (out_of_range)"]


def test_a_live_view_that_was_left_on_is_waited_for_in_the_dark(
    microscope: Microscope, profile: Profile, tmp_path: Path
) -> None:
    core = running_core()
    watch = Watch(microscope, profile, tmp_path / "run.zarr")
    core.start_continuous_sequence_acquisition(0)

    def switch_off() -> None:
        wait_until(watch.alarms, "a pause")
        assert core.is_sequence_running()  # nobody ends what somebody else looks at
        assert microscope.lit_ms() == 0.0
        core.stop_sequence_acquisition()

    person = threading.Thread(target=switch_off)
    person.start()
    assert [frame.index for frame in watch.frames(6, threading.Event())] == list(range(6))
    person.join()
    assert [pause.frame for pause in watch.pauses] == [0]
    assert "switch Live off" in watch.pauses[0].reason


def test_what_does_not_come_right_ends_the_run(microscope: Microscope, profile: Profile, tmp_path: Path) -> None:
    hasty = profile.replace(watch={"wait_min": 0.001})
    watch = Watch(microscope, hasty, tmp_path / "run.zarr")
    running_core().set_property("Camera", "Gain", "1")
    with pytest.raises(GaveUpError, match=r"Camera says Gain = '1'.*waited 0\.001 min for it"):
        next(watch.frames(3, threading.Event()))
    assert len(watch.pauses) == 1
    assert microscope.lit_ms() == 0.0
    stopped = threading.Event()
    stopped.set()
    assert list(watch.frames(3, stopped)) == []


def test_a_light_budget_ends_the_run_cleanly(microscope: Microscope, profile: Profile, tmp_path: Path) -> None:
    budget_ms = 150.0
    plan = profile.imaging.model_copy(update={"light_budget_ms": budget_ms})
    watch = Watch(microscope, profile.model_copy(update={"imaging": plan}), tmp_path / "run.zarr")
    frames = list(watch.frames(10_000, threading.Event()))
    assert watch.ended_by == "the light budget of 150 ms is used up"
    assert watch.light_ms > budget_ms - plan.exposure_ms
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(frames) < 10_000
    # Light counts while the shutter is open, and only then.
    lit_ms = microscope.lit_ms()
    microscope.position()
    assert microscope.lit_ms() == lit_ms


def test_bleaching_comes_before_the_frames_and_counts(microscope: Microscope, profile: Profile, tmp_path: Path) -> None:
    plan = profile.imaging.model_copy(
        update={"bleach_ms": 60.0, "bleach_illumination": "Low", "light_budget_ms": 5000.0, "illumination": "High"}
    )
    watch = Watch(microscope, profile.model_copy(update={"imaging": plan}), tmp_path / "run.zarr")
    microscope.set_illumination("High")
    core = running_core()
    lights: list[str] = []
    frames = watch.frames_after_bleaching(5, threading.Event())
    set_config = core.set_config

    def watched(*which: str) -> None:
        lights.append(which[-1])
        set_config(*which)

    core.set_config = watched
    first = next(frames)
    assert lights == ["Low", "High"]
    assert watch.light_ms >= 60.0
    assert [first.index, *(frame.index for frame in frames)] == list(range(5))
    # A budget that bleaching uses up leaves no frame.
    spent = plan.model_copy(update={"light_budget_ms": 30.0})
    watch = Watch(microscope, profile.model_copy(update={"imaging": spent}), tmp_path / "run.zarr")
    assert list(watch.frames_after_bleaching(5, threading.Event())) == []
    assert watch.ended_by == "the light budget of 30 ms is used up"


def test_an_interlock_that_is_not_there_is_refused(profile: Profile) -> None:
    wrong = profile.replace(watch={"interlocks": [{**INTERLOCK, "device": "Door"}]})
    with pytest.raises(InputError, match=r"watch\.interlocks: there is no device 'Door'"), connect(wrong):
        pass


def test_nothing_wrong_is_nothing_noticed(microscope: Microscope, profile: Profile, tmp_path: Path) -> None:
    watch = Watch(microscope, profile, tmp_path / "run.zarr")
    taken = [dataclasses.replace(frame) for frame in watch.frames(12, threading.Event())]
    assert len(taken) == 12
    assert watch.pauses == []
    assert watch.trouble() is None
