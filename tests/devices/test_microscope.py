"""The microscope on the real MMCore: it moves, exposes, and is safe again whatever happens."""

# ruff: noqa: PT012, PT031  what must fail is a whole session, with what leads up to the failure

from __future__ import annotations

import _thread
import contextlib
import gc
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.microscope import stages
from easyzloc_mm.microscope.adapter import CoreMicroscope, made_safe
from easyzloc_mm.microscope.backends import embedded as embedded_backend
from easyzloc_mm.microscope.connect import connect, open_core
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.microscope.setup.checks import check_profile
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.embedded.truth import ground_truth
from tests.helpers.localize_bench import embedded_profile
from tests.helpers.microscope_bench import (
    HEIGHT,
    WIDTH,
    LastState,
    assert_safe,
    bench_profile,
    running_core,
    spoil,
)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return bench_profile(tmp_path_factory.mktemp("bench"))


def test_moves_are_measured_and_undone(profile: Profile) -> None:
    with connect(profile) as microscope:
        state = LastState()
        assert microscope.move_z(12.345) == pytest.approx(12.345, abs=1e-6)
        x, y = microscope.move_xy(100.0, -50.0)
        # The demo stage has a 15 nm grid.
        assert (x, y) == pytest.approx((100, -50), abs=0.02)
        here = microscope.position()
        assert (here.x_um, here.y_um) == (x, y)
        assert here.z_um == pytest.approx(12.345)
        assert microscope.set_exposure(3.0) == pytest.approx(3.0)
        microscope.set_illumination("High")
        assert running_core().get_current_config("Light") == "High"
    assert_safe(state)


def _cores_alive() -> int:
    from pymmcore import CMMCore

    gc.collect()
    return sum(issubclass(type(thing), CMMCore) for thing in gc.get_objects())


@pytest.mark.parametrize("embedded", [False, True])
def test_a_closed_connection_leaves_no_core_in_memory(profile: Profile, embedded: bool) -> None:
    """Each would keep its image buffer, half a gigabyte by default, for as long as the program lives."""
    if embedded:
        profile = embedded_profile(load_profile("demo"))
    before = _cores_alive()
    with connect(profile) as microscope:
        assert len(list(microscope.stream(3))) == 3
        assert _cores_alive() == before + 1
    del microscope
    assert _cores_alive() == before


def test_the_shutter_is_open_exactly_while_exposing(profile: Profile) -> None:
    with connect(profile) as microscope:
        core, seen = running_core(), []
        snap = core.snap_image

        def look_and_snap() -> None:
            seen.append(core.get_shutter_open("White Light Shutter"))
            snap()

        spoil(core, "snap_image", look_and_snap)
        image = microscope.expose()
        assert image.shape == (HEIGHT, WIDTH)
        assert image.dtype == np.uint16
        assert not core.get_shutter_open("White Light Shutter")
        with microscope.hold_shutter_open():
            microscope.expose()
            assert core.get_shutter_open("White Light Shutter")
        assert not core.get_shutter_open("White Light Shutter")
        start = core.start_sequence_acquisition

        def look_and_start(*how: Any) -> None:
            seen.append(core.get_shutter_open("White Light Shutter"))
            start(*how)

        spoil(core, "start_sequence_acquisition", look_and_start)
        assert len(list(microscope.stream(3))) == 3
        assert not core.get_shutter_open("White Light Shutter")
    # Two images, a warm-up in the dark, and the stream.
    assert seen == [True, True, False, True]


def test_limits_stop_a_move_before_the_device_hears_of_it(profile: Profile) -> None:
    with connect(profile) as microscope:
        commanded: list[object] = []
        spoil(running_core(), "set_position", lambda *a: commanded.append(a))
        spoil(running_core(), "set_xy_position", lambda *a: commanded.append(a))
        with pytest.raises(InputError, match=r"z = 500\.001 um is outside"):
            microscope.move_z(500.001)
        with pytest.raises(InputError, match=r"y = -1000\.500 um is outside"):
            microscope.move_xy(0.0, -1000.5)
        with pytest.raises(InputError, match="nan"):
            microscope.move_z(float("nan"))
        assert commanded == []


def test_a_stage_outside_the_limits_is_not_moved(profile: Profile) -> None:
    narrow = profile.replace(limits={"z_min_um": 10.0})
    with (
        pytest.warns(EasyZlocWarning, match=r"z position: 0\.000 um, limits 10\.\.500"),
        connect(narrow) as microscope,
        pytest.raises(InputError, match="stands outside the profile's limits now"),
    ):
        microscope.move_z(20.0)


def test_a_stage_that_refuses_is_an_error_and_the_rest_is_restored(profile: Profile) -> None:
    # The demo stage ends at 300 um; the profile claims 500.
    with pytest.raises(HardwareError, match="out of range"), connect(profile) as microscope:
        state = LastState()
        microscope.move_xy(20.0, 20.0)
        microscope.move_z(450.0)
    assert_safe(state)


def test_a_stage_that_never_arrives_is_an_error(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "MOVE_S", 0.3)
    with connect(profile) as microscope:
        core = running_core()
        real = core.set_position
        spoil(core, "set_position", lambda label, z: real(label, z - 1.0))
        with pytest.raises(HardwareError, match=r"did not reach z = 7\.000 um"):
            microscope.move_z(7.0)
        spoil(core, "set_position", real)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_everything_is_restored_when_a_stream_is_broken_off(profile: Profile, failure: type[BaseException]) -> None:
    with pytest.raises(failure), connect(profile) as microscope:
        state = LastState()
        microscope.move_z(30.0)
        microscope.move_xy(200.0, 100.0)
        microscope.set_illumination("High")
        microscope.set_exposure(2.0)
        for frame in microscope.stream(5000):
            if frame.index == 3:
                raise failure
    assert_safe(state)


def test_a_second_ctrl_c_does_not_stop_the_making_safe(profile: Profile) -> None:
    with pytest.raises(KeyboardInterrupt), connect(profile) as microscope:
        state, core = LastState(), running_core()
        microscope.move_z(30.0)
        microscope.move_xy(200.0, 100.0)
        move = core.set_position

        def impatient(*arguments: Any) -> None:
            _thread.interrupt_main()
            time.sleep(0.3)
            move(*arguments)

        spoil(core, "set_position", impatient)
        raise KeyboardInterrupt
    assert_safe(state)


def test_what_cannot_be_made_safe_is_said(profile: Profile) -> None:
    def stuck(*_arguments: object) -> None:
        raise RuntimeError("Stage is jammed")

    with (
        pytest.raises(HardwareError, match=r"could not be made safe: .*jammed"),
        connect(profile) as microscope,
    ):
        state = LastState()
        microscope.move_z(30.0)
        microscope.move_xy(50.0, 50.0)
        spoil(running_core(), "set_position", stuck)
    assert_safe(state, z=30.0)
    with (
        pytest.warns(EasyZlocWarning, match="jammed"),
        pytest.raises(ValueError, match="mine"),
        connect(profile) as microscope,
    ):
        microscope.move_z(30.0)
        spoil(running_core(), "set_position", stuck)
        raise ValueError("mine")


def _as_found(core: Any) -> dict[str, object]:
    return {
        "set_camera_device": core.get_camera_device(),
        "set_shutter_device": core.get_shutter_device(),
        "set_auto_shutter": core.get_auto_shutter(),
        "set_circular_buffer_memory_footprint": core.get_circular_buffer_memory_footprint(),
        "set_property": core.get_property("Excitation", "State"),
        "set_exposure": core.get_exposure("Camera"),
        "set_position": core.get_position("Z"),
        "set_xy_position": round(core.get_x_position("XY"), 1),
    }


def test_what_was_found_is_put_back_even_where_one_thing_of_it_cannot_be(profile: Profile) -> None:
    """By the call that puts it back; a light that stands in no preset is put back by its settings."""

    def stuck(*_arguments: object) -> None:
        raise RuntimeError("no answer (7)")

    with open_core(profile.connection) as opened:
        core: Any = opened
        core.set_camera_device("")
        core.set_circular_buffer_memory_footprint(30)
        core.set_shutter_device("LED Shutter")
        core.set_property("Excitation", "State", "5")
        found = _as_found(core)
        for fails in (None, "set_shutter_open", *found):
            real = getattr(core, fails) if fails else None
            expected = pytest.raises(HardwareError, match="no answer") if fails else contextlib.nullcontext()
            with expected as told, made_safe(CoreMicroscope(core, profile)) as microscope:
                microscope.move_z(5.0)
                microscope.move_xy(30.0, 0.0)
                microscope.set_exposure(3.0)
                microscope.set_illumination("High")
                assert len(list(microscope.stream(2))) == 2
                assert not [name for name, value in _as_found(core).items() if value == found[name]]
                if fails:
                    spoil(core, fails, stuck)
            if fails:
                spoil(core, fails, real)
            differing = {name for name, value in _as_found(core).items() if value != found[name]}
            assert differing == ({fails} & set(found))
            if fails == "set_shutter_open":
                assert told is not None
                assert "shutter 'White Light Shutter' may be open: close it by hand" in str(told.value)
            for name in differing:  # by hand
                change = {"set_property": ("Excitation", "State", "5"), "set_exposure": ("Camera", found[name])}
                stage = {"set_position": ("Z", 0.0), "set_xy_position": ("XY", 0.0, 0.0)}
                getattr(core, name)(*(change | stage).get(name, (found[name],)))
                core.wait_for_system()


def test_nobody_elses_live_view_is_ended_or_disturbed(profile: Profile) -> None:
    with open_core(profile.connection) as opened:
        core: Any = opened
        buffer_mb = core.get_circular_buffer_memory_footprint() + 1
        core.set_circular_buffer_memory_footprint(buffer_mb)
        with (
            pytest.raises(HardwareError, match=rf"does not get back its {buffer_mb} MB: the camera is running"),
            made_safe(CoreMicroscope(core, profile)) as microscope,
        ):
            assert len(list(microscope.stream(2))) == 2
            used_mb = core.get_circular_buffer_memory_footprint()
            core.start_continuous_sequence_acquisition(0)
            for use in (microscope.expose, lambda: next(microscope.stream(2))):
                with pytest.raises(HardwareError, match="switch Live off, or wait for the run to end"):
                    use()
        assert core.is_sequence_running()
        assert core.get_circular_buffer_memory_footprint() == used_mb
        core.stop_sequence_acquisition()


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("devices", {"z_stage": "PIZ"}, r"devices\.z_stage = 'PIZ' is not in .*; it has: Z"),
        ("devices", {"camera": "XY"}, r"devices\.camera = 'XY' is another kind of device; it has: Camera"),
        ("devices", {"shutter": "Sutter"}, "White Light Shutter"),
        ("devices", {"illumination_group": "Laser"}, "it has: .*Light"),
        ("imaging", {"illumination": "Max"}, "no preset Max; it has: High, Low"),
        ("camera", {"width_px": 200}, r"160 x 128 px, but camera\.width_px x height_px is 200 x 128"),
        ("connection", {"config_file": "/nowhere/lab.cfg"}, r"lab\.cfg does not exist"),
        ("connection", {"mm_dir": "/nowhere"}, "is no folder"),
    ],
)
def test_a_profile_that_does_not_fit_says_what_is_there(
    profile: Profile, section: str, change: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words), connect(profile.replace(**{section: change})):
        pass


def test_a_configuration_that_does_not_load_is_a_hardware_error(profile: Profile, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cfg"
    broken.write_text("Device,Camera,NoSuchAdapter,Cam\nProperty,Core,Initialize,1\n", encoding="utf-8")
    with (
        pytest.raises(HardwareError, match=r"broken\.cfg could not be loaded"),
        connect(profile.replace(connection={"config_file": str(broken)})),
    ):
        pass


def test_one_microscope_at_a_time(profile: Profile) -> None:
    with connect(profile) as microscope:
        with pytest.raises(InputError, match="already connected"), connect(profile):
            pass
        assert microscope.position().z_um == 0.0


def test_adapters_of_another_device_interface_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"pymmcore": "12.5.1.75.0", "mm-test-adapters": "74.20260101"}
    monkeypatch.setattr(embedded_backend, "version", versions.__getitem__)
    from easyzloc_mm.io.profiles import load_profile

    with pytest.raises(InputError, match=r"install mm-test-adapters 75\.\*"), connect(load_profile("demo")):
        pass


def test_check_profile_finds_what_is_odd_without_failing(profile: Profile) -> None:
    with connect(profile):
        odd = profile.replace(
            limits={"z_min_um": 10.0}, camera={"bit_depth": 12}, connection={"buffer_size_mb": 16},
            optics={"pixel_size_nm": 160.0},
        )  # fmt: skip
        findings = {finding.subject: finding for finding in check_profile(odd, running_core())}
    assert findings["camera"].status == "ok"
    assert findings["z position"].status == "warn"
    assert findings["bit depth"].status == "warn"
    # Micro-Manager says 110 nm.
    assert findings["pixel size"].status == "warn"
    assert findings["image buffer"].status == "warn"


def test_describe_is_plain_and_complete(profile: Profile) -> None:
    import json

    with connect(profile) as microscope:
        facts = microscope.describe()
        assert ground_truth() == {}
    assert json.loads(json.dumps(facts)) == facts
    assert facts["camera"] == "Camera"
    assert "DemoCamera/DCam" in str(facts["adapters"])
    assert (facts["camera_width_px"], facts["camera_height_px"]) == (WIDTH, HEIGHT)


class _OverTheBridge:
    """The real core with what `BridgeCore` gives differently: lists, flat pixels, integer tags."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._core, name)

        def call(*arguments: Any) -> Any:
            result = method(*arguments)
            if isinstance(result, tuple):
                return list(result)
            if isinstance(result, np.ndarray):
                return result.ravel()
            return result

        return call

    def pop_next_tagged_image(self) -> Any:
        image = self._core.pop_next_tagged_image()
        image.pix = image.pix.ravel()
        image.tags["ImageNumber"] = int(image.tags["ImageNumber"])
        return image


def test_what_the_java_bridge_gives_differently_is_understood(profile: Profile) -> None:
    with connect(profile):
        microscope = CoreMicroscope(cast(MMCore, _OverTheBridge(running_core())), profile)
        with made_safe(microscope):
            assert microscope.expose().shape == (HEIGHT, WIDTH)
            assert [frame.pixels.shape for frame in microscope.stream(3)] == [(HEIGHT, WIDTH)] * 3
            microscope.set_illumination("Low")
    with pytest.raises(InputError, match="it has: Z"), connect(profile):
        CoreMicroscope(cast(MMCore, _OverTheBridge(running_core())), profile.replace(devices={"z_stage": "PIZ"}))


def test_no_micro_manager_on_the_port_is_said(profile: Profile) -> None:
    java = profile.replace(connection={"backend": "java", "java_port": 48271})
    with pytest.raises(HardwareError, match="no Micro-Manager answers on port 48271"), connect(java):
        pass
