"""The type of the boundary against the real pymmcore: every call exists, and is made on the thread that it states."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from easyzloc_mm.microscope.adapter import CoreMicroscope, made_safe
from easyzloc_mm.microscope.connect import open_core
from easyzloc_mm.microscope.mmcore import CALLS, MMCore
from easyzloc_mm.profile.schema import Profile
from tests.helpers.microscope_bench import bench_profile


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return bench_profile(tmp_path_factory.mktemp("bench"))


def recording(core: Any, threads: dict[str, set[str]]) -> None:
    """Note on which kind of thread each call of `MMCore` is made."""

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            device = threading.current_thread().name.startswith("device: ")
            threads[name].add("Device" if device else "Caller's")
            return real(*arguments)

        return call

    for name in CALLS:
        setattr(core, name, recorded(name, getattr(core, name)))


def test_every_call_exists_and_is_made_on_the_thread_that_it_states(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    from easyzloc_mm.microscope.backends import local
    from easyzloc_mm.microscope.setup import discover as setup

    threads: dict[str, set[str]] = defaultdict(set)
    real = local.active_core

    def active_core() -> MMCore:
        core = real()
        if not hasattr(core, "is_recorded"):
            assert set(dir(core)) >= CALLS
            recording(core, threads)
            core.is_recorded = True  # type: ignore[attr-defined]
        return core

    monkeypatch.setattr(local, "active_core", active_core)
    lock: dict[str, object] = {"device": "Autofocus", "settle_ms": 0.0}
    worded = profile.replace(focus_lock={**lock, "state_property": "Name", "states": {"DAutoFocus": "locked"}})
    profile = profile.replace(focus_lock=lock)
    with open_core(profile.connection) as core, ExitStack() as session:
        type(core).set_auto_focus_device(core, "")
        with made_safe(CoreMicroscope(core, worded)) as microscope:
            assert microscope.focus_lock is not None
            microscope.focus_lock.search()
            assert microscope.focus_lock.state() == "locked"
        type(core).set_camera_device(core, "")  # as where another camera is the default one
        type(core).set_property(core, "Excitation", "State", "5")  # and the light stands in no preset
        microscope = session.enter_context(made_safe(CoreMicroscope(core, profile)))
        microscope.describe()
        microscope.move_z(3.0)
        microscope.move_xy(20.0, 10.0)
        microscope.set_exposure(2.0)
        microscope.set_illumination("High")
        assert microscope.focus_lock is not None
        microscope.focus_lock.hold()
        microscope.focus_lock.set_offset(1.0)
        microscope.expose()
        frames = iter(microscope.stream(1000))
        next(frames)
        frames.close()  # type: ignore[attr-defined]
    setup.discover(profile.connection)
    stated = {
        name: {"Device", "Caller's"} if "Either thread" in text else {text.split(" thread;")[0].split()[-1]}
        for name, text in ((name, str(vars(MMCore)[name].__doc__)) for name in CALLS)
    }
    assert dict(threads) == stated
