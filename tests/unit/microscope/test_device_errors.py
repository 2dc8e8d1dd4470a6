"""A device's error is a `HardwareError` with the device's words, wherever it is asked; a mistake of ours stays one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.microscope.camera import CoreCamera
from easyzloc_mm.microscope.deadlines import answer
from easyzloc_mm.microscope.light import CoreLight
from easyzloc_mm.microscope.stages import CoreStages


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
    "is_sequence_running": lambda bench: bench.camera.stop(),
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
