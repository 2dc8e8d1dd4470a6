"""A real MMCore on its demo devices as a "python" backend, small and fast, for tests that injure it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.scene import Scene, Setting

WIDTH, HEIGHT = 160, 128

EXTRA_LINES = f"""
Property,Camera,PixelType,16bit
Property,Camera,OnCameraCCDXSize,{WIDTH}
Property,Camera,OnCameraCCDYSize,{HEIGHT}
Property,Camera,FastImage,0
PixelSize_um,Res10x,0.11
ConfigGroup,Light,Low,Excitation,State,0
ConfigGroup,Light,High,Excitation,State,1
"""


def first_image() -> None:
    """Take an image of the embedded microscope's: its kernels are compiled then, and its optics tabulated."""
    scene = Scene(load_profile("demo"), 1)
    scene.expose(Setting(x_um=0.0, y_um=0.0, z_um=scene.focus_um, power=1.0, exposure_s=0.01, middle_s=0.0), 0)


def bench_profile(folder: Path) -> Profile:
    """Write a configuration into `folder` and return the profile that uses it."""
    import mm_test_adapters

    adapters = Path(mm_test_adapters.device_adapter_path())
    configuration = folder / "bench.cfg"
    demo = (adapters / "MMConfig_demo.cfg").read_text(encoding="utf-8")
    configuration.write_text(demo + EXTRA_LINES, encoding="utf-8")
    return Profile.model_validate(
        {
            "name": "bench",
            "connection": {
                "backend": "python",
                "mm_dir": str(adapters),
                "config_file": str(configuration),
                "buffer_size_mb": 40,
            },
            "devices": {
                "camera": "Camera",
                "z_stage": "Z",
                "xy_stage": "XY",
                "shutter": "White Light Shutter",
                "illumination_group": "Light",
            },
            "optics": {
                "na": 1.4, "immersion_index": 1.518, "sample_index": 1.33, "emission_nm": 680,
                "pixel_size_nm": 110,
            },
            "camera": {
                "width_px": WIDTH, "height_px": HEIGHT,
                "baseline_adu": 100, "electrons_per_adu": 0.5, "read_noise_e": 1.5,
            },
            "limits": {
                "x_min_um": -1000, "x_max_um": 1000, "y_min_um": -1000, "y_max_um": 1000,
                "z_min_um": -50, "z_max_um": 500,
            },
            "beads": {
                "z_start_nm": -200, "z_stop_nm": 200, "z_step_nm": 50, "fovs": 3, "exposures_ms": [2, 4],
                "illuminations": ["Low", "High"], "settle_ms": 0, "focus_um": 20,
            },
            "imaging": {"exposure_ms": 2, "illumination": "High", "frames": 20},
        }
    )  # fmt: skip


def running_core() -> Any:
    """The MMCore that `connect` has started in this process."""
    from mmpycorex import Core

    return Core()


class LastState:
    """What the devices were like when `connect` let go of them."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        core = running_core()
        unload = core.unloadAllDevices

        def look_then_unload() -> None:
            self.seen = {
                "z": core.get_position("Z"),
                "xy": (core.get_x_position("XY"), core.get_y_position("XY")),
                "shutter_open": core.get_shutter_open("White Light Shutter"),
                "running": core.is_sequence_running(),
                "exposure": core.get_exposure(),
                "auto_shutter": core.get_auto_shutter(),
                "light": core.get_current_config("Light"),
            }
            unload()

        core.unloadAllDevices = look_then_unload


SAFE = {
    "z": 0.0,
    "xy": (0.0, 0.0),
    "shutter_open": False,
    "running": False,
    "exposure": 10.0,
    "auto_shutter": True,
}
"""How the bench stands when nobody has touched it."""


def assert_safe(state: LastState, **except_for: object) -> None:
    expected = {**SAFE, **except_for}
    assert {key: state.seen[key] for key in expected} == {
        key: pytest.approx(value) if isinstance(value, float | tuple) else value for key, value in expected.items()
    }


def spoil(core: Any, name: str, replacement: Any) -> None:
    """Replace a method of the running core (instance attribute, under the name that our code calls)."""
    setattr(core, name, replacement)
