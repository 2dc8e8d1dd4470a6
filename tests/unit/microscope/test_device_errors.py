"""A device's error is a `HardwareError` with the device's words, wherever it is asked; a mistake of ours stays one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.microscope.backends import java_bridge
from easyzloc_mm.microscope.backends.java_bridge import BridgeCore
from easyzloc_mm.microscope.camera import CoreCamera
from easyzloc_mm.microscope.deadlines import answer
from easyzloc_mm.microscope.light import CoreLight
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.microscope.stages import CoreStages
from tests.helpers.patience import PATIENCE_S


class FailingCore:
    """Answers every call with 1, until one name is to fail."""

    def __init__(self) -> None:
        self.fails: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_arguments: object) -> Any:
            if name in self.fails:
                raise self.fails[name]
            return {"get_available_configs": ["High"], "device_busy": False, "is_sequence_running": False}.get(name, 1)

        return call


@dataclass(frozen=True)
class Bench:
    core: FailingCore
    stages: CoreStages
    camera: CoreCamera
    light: CoreLight


CASES: dict[str, Callable[[Bench], object]] = {
    "get_position": lambda bench: bench.stages.position(),
    "get_x_position": lambda bench: bench.stages.move_xy(1.0, 1.0),
    "set_position": lambda bench: bench.stages.move_z(1.0),
    "get_exposure": lambda bench: bench.camera.exposure_ms(),
    "set_exposure": lambda bench: bench.camera.set_exposure(10.0),
    "get_image_width": lambda bench: bench.camera.warm_up(10.0),
    "is_sequence_running": lambda bench: bench.camera.is_running(),
    "snap_image": lambda bench: bench.camera.snap(1.0),
    "get_available_configs": lambda bench: bench.light.set_illumination("High"),
    "set_config": lambda bench: bench.light.set_illumination("High"),
    "set_shutter_open": lambda bench: bench.light.close_shutter(),
}


@pytest.fixture
def bench() -> Bench:
    profile, core = load_profile("demo"), FailingCore()
    devices = profile.devices
    return Bench(
        core,
        CoreStages(core, devices, profile.limits),
        CoreCamera(core, profile),
        CoreLight(core, devices, shared=False),
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "error", [RuntimeError('Error in device "Z": no answer (107)'), Exception("java.lang.Exception: no answer\n at mm")]
)
def test_a_device_that_fails_is_a_hardware_error(name: str, error: Exception, bench: Bench) -> None:
    bench.core.fails[name] = error
    with pytest.raises(HardwareError, match="no answer") as told:
        CASES[name](bench)
    assert "\n" not in str(told.value)


def test_a_mistake_of_ours_is_not_taken_for_a_devices() -> None:
    def mistaken() -> None:
        raise TypeError("no such argument")

    with pytest.raises(TypeError):
        answer("reading the stages", mistaken)


def test_a_micro_manager_that_freezes_is_told_with_the_light_that_it_may_have_left_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its port still takes connections; no answer comes, and no later call waits for one again."""
    monkeypatch.setattr(java_bridge, "ANSWER_S", 0.2)
    monkeypatch.setattr(java_bridge, "CHECK_S", 0.05)
    freeze, thaw, asked = threading.Event(), threading.Event(), list[str]()

    class Remote(FailingCore):
        _bridge = SimpleNamespace(_closed=False, _java_objects=())

        def __getattr__(self, name: str) -> Callable[..., Any]:
            answered = super().__getattr__(name)

            def call(*arguments: object) -> Any:
                asked.append(name)
                if freeze.is_set():
                    thaw.wait(PATIENCE_S)
                return answered(*arguments)

            return call

    with socket.create_server(("127.0.0.1", 0)) as port:
        core = BridgeCore(Remote(), port.getsockname()[1])
        light = CoreLight(cast(MMCore, core), load_profile("demo").devices, shared=True)
        words = (
            r"did not answer set_shutter_open within 0 s; shutter 'White Light Shutter' may be open: close it by hand"
        )
        with pytest.raises(HardwareError, match=words), light.hold_shutter_open():
            freeze.set()
        count = len(asked)
        with pytest.raises(HardwareError, match=r"did not answer .* may be open"):
            light.close_shutter()
        assert len(asked) == count
        assert core._remote._bridge._closed  # or the program would not end
    thaw.set()
