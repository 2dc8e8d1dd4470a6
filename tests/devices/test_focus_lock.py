"""The focus lock on the real MMCore, with a lock that says "locked" too early, loses its reflection, and wanders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.acquire.beads import acquire
from easyzloc_mm.acquire.beads.acquire import acquire_bead_stacks
from easyzloc_mm.acquire.live import go_to_sample
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.microscope.adapter import CoreMicroscope, made_safe
from easyzloc_mm.microscope.backends.embedded import embedded_core
from easyzloc_mm.profile.focus import FocusState
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.embedded.focus_lock import CAPTURE_UM, OIL_S, SimulatedFocusLock
from tests.helpers.localize_bench import embedded_profile
from tests.helpers.microscope_bench import spoil

FOCUS_UM = 50.0
WANDERS_UM = 0.05
"""More than sample and lock wander by in some seconds."""
WAITS: dict[str, object] = {"device": "Lock", "settle_ms": 250, "settle_ms_per_mm": 1500, "timeout_s": 0.6}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return embedded_profile(load_profile("demo"), 96, 80).replace(focus_lock=WAITS)


@pytest.fixture(scope="module")
def shared_core(profile: Profile) -> Iterator[Any]:
    with embedded_core(profile) as core:
        yield core


@pytest.fixture
def core(shared_core: Any) -> Any:
    """In focus, at rest, the lock off."""
    shared_core.enable_continuous_focus(False)
    shared_core.set_position("Z", FOCUS_UM)
    return shared_core


def test_it_holds_only_when_it_really_does_and_z_is_read_back(core: Any, profile: Profile) -> None:
    with made_safe(CoreMicroscope(core, profile)) as microscope:
        lock = microscope.focus_lock
        assert lock is not None
        assert (lock.state(), lock.is_on) == (FocusState.OFF, False)
        microscope.move_z(FOCUS_UM + 2.0)
        core.enable_continuous_focus(True)
        assert core.is_continuous_focus_locked()  # a lie: z has not moved yet, and nothing is busy
        assert not core.device_busy("Lock")
        assert core.get_position("Z") == pytest.approx(FOCUS_UM + 2.0, abs=0.3)
        assert lock.hold() == pytest.approx(FOCUS_UM, abs=WANDERS_UM)
        assert lock.state() is FocusState.LOCKED
        with pytest.raises(InputError, match=r"while the focus lock is on: switch it off before"):
            microscope.move_z(FOCUS_UM)
        assert lock.set_offset(0.4) == pytest.approx(FOCUS_UM + 0.4, abs=WANDERS_UM)
        lock.off()
        assert microscope.move_z(FOCUS_UM + 1.0) == pytest.approx(FOCUS_UM + 1.0)
    # As it was found.
    assert not core.is_continuous_focus_enabled()
    assert core.get_auto_focus_offset() == 0.0
    assert core.get_position("Z") == pytest.approx(FOCUS_UM)


def test_one_that_somebody_switches_on_by_hand_is_not_worked_against(core: Any, profile: Profile) -> None:
    with made_safe(CoreMicroscope(core, profile)) as microscope:
        microscope.move_z(FOCUS_UM + 0.5)
        core.enable_continuous_focus(True)  # at the stand, or in Micro-Manager
        with pytest.raises(InputError, match="while the focus lock is on"):
            microscope.move_z(FOCUS_UM + 1.0)
        assert core.is_continuous_focus_enabled()
        microscope.move_xy(5.0, 0.0)
        assert microscope.focus_lock is not None
        assert microscope.focus_lock.state() is FocusState.LOCKED


def test_after_a_large_move_it_waits_for_the_oil_and_holds_again(core: Any, profile: Profile) -> None:
    with made_safe(CoreMicroscope(core, profile)) as microscope:
        assert microscope.focus_lock is not None
        microscope.focus_lock.hold()
        microscope.move_xy(OIL_S * 1000, 0.0)
        assert microscope.focus_lock.state() is FocusState.LOCKED
        core.enable_continuous_focus(False)
        core.set_xy_position("XY", 0.0, 0.0)
        core.enable_continuous_focus(True)  # as who does not wait
        assert core.is_continuous_focus_locked()
        microscope.focus_lock.off()


def test_the_first_hold_counts_the_move_before_it(
    core: Any, profile: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    with made_safe(CoreMicroscope(core, profile)) as microscope:
        assert microscope.focus_lock is not None
        microscope.move_xy(OIL_S * 1000, 0.0)
        with caplog.at_level("INFO"):
            assert microscope.focus_lock.hold() == pytest.approx(FOCUS_UM, abs=WANDERS_UM)
        assert "it searches" not in caplog.text
        microscope.focus_lock.off()


def test_where_the_reflection_is_lost_it_searches_once_and_then_says_so(core: Any, profile: Profile) -> None:
    hasty = profile.replace(focus_lock={"settle_ms_per_mm": 0.0})
    search = core.full_focus
    with made_safe(CoreMicroscope(core, hasty)) as microscope:
        lock = microscope.focus_lock
        assert lock is not None
        lock.hold()
        searched: list[None] = []

        def counted() -> None:
            searched.append(None)
            search()

        spoil(core, "full_focus", counted)
        microscope.move_xy(OIL_S * 1000, 0.0)  # too hasty: it finds its reflection by the search alone
        assert (len(searched), lock.state()) == (1, FocusState.LOCKED)
        spoil(core, "full_focus", lambda: None)
        lock.off()
        microscope.move_z(FOCUS_UM + CAPTURE_UM + 1.0)
        with pytest.raises(HardwareError, match=r"focus lock 'Lock' does not hold the focus at x, y = "):
            lock.hold()
        assert not lock.is_on
        assert not core.is_continuous_focus_enabled()
    spoil(core, "full_focus", search)


def test_another_surface_and_places_outside_the_limits_are_not_held(core: Any, profile: Profile) -> None:
    near = profile.replace(focus_lock={"range_um": 1.0})
    with made_safe(CoreMicroscope(core, near)) as microscope:
        assert microscope.focus_lock is not None
        microscope.move_z(FOCUS_UM + 3.0)
        with pytest.raises(HardwareError, match=r"took z from 53\.000 to .* more than focus_lock\.range_um"):
            microscope.focus_lock.hold()
        assert microscope.focus_lock.state() is FocusState.OFF


def test_it_is_off_during_bead_stacks_and_on_again_where_it_was_on(
    core: Any, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acquire, "good_spots", lambda _image, _maximum: np.zeros((1, 2)))
    plan: dict[str, object] = {
        "z_start_nm": -400,
        "z_stop_nm": 400,
        "z_step_nm": 400,
        "fovs": 1,
        "autofocus": False,
        "settle_ms": 0.0,
    }
    core.enable_continuous_focus(True)
    with made_safe(CoreMicroscope(core, profile.replace(beads=plan))) as microscope:
        assert microscope.focus_lock is not None
        assert microscope.focus_lock.is_on
        acquire_bead_stacks(microscope, microscope.profile, tmp_path / "s.ome.zarr")
    (stack,) = open_bead_stacks(tmp_path / "s.ome.zarr")
    assert stack.planes["measured_z_um"].tolist() == pytest.approx([49.6, 50.0, 50.4], abs=1e-3)
    assert core.is_continuous_focus_enabled()
    assert core.get_position("Z") == pytest.approx(FOCUS_UM, abs=WANDERS_UM)


def test_a_live_run_goes_to_its_sample_and_is_held_there(core: Any, profile: Profile) -> None:
    with made_safe(CoreMicroscope(core, profile.replace(imaging={"start_position_um": [900.0, 0.0]}))) as microscope:
        assert microscope.focus_lock is not None
        go_to_sample(microscope, microscope.profile)
        assert microscope.focus_lock.state() is FocusState.LOCKED
        frames = list(microscope.stream(3))
        assert len(frames) == 3
        assert microscope.position().z_um == pytest.approx(FOCUS_UM, abs=WANDERS_UM)
        go_to_sample(microscope, microscope.profile)  # off and on again: z is the run's own


def test_one_that_the_profile_does_not_know_is_told(core: Any, profile: Profile) -> None:
    unknown = Profile.model_validate({**profile.model_dump(exclude_unset=True), "focus_lock": None})
    core.enable_continuous_focus(True)
    with pytest.warns(EasyZlocWarning, match=r"focus lock: one is on, and the profile has no \[focus_lock\]"):
        CoreMicroscope(core, unknown)
    faults: list[tuple[dict[str, object], str]] = [
        ({"device": "Z"}, r"focus_lock\.device = 'Z' is no such device; there is: Lock"),
        ({"offset_device": "Lock"}, r"focus_lock\.offset_device = 'Lock' is no such device; there is: Z"),
        ({"state_property": "Mood"}, r"focus_lock\.state_property = 'Mood' is no property of Lock"),
    ]
    for wrong, words in faults:
        with pytest.raises(InputError, match=words):
            CoreMicroscope(core, profile.replace(focus_lock=wrong))


def test_its_words_are_its_state(core: Any, profile: Profile) -> None:
    worded = profile.replace(focus_lock={"state_property": "Name", "states": {"DAutoFocus": FocusState.WITHIN_RANGE}})
    with made_safe(CoreMicroscope(core, worded)) as microscope:
        assert microscope.focus_lock is not None
        assert microscope.focus_lock.state() is FocusState.WITHIN_RANGE


def test_the_embedded_lock_wanders_while_it_says_locked() -> None:
    """100 nm in 20 minutes, on top of following the sample."""

    class Core:
        z_um, offset, on = FOCUS_UM, 0.0, False

        def get_position(self, _label: str) -> float:
            return self.z_um

        def set_position(self, _label: str, z_um: float) -> None:
            self.z_um = z_um

        def set_xy_position(self, *_where: Any) -> None: ...

        def enable_continuous_focus(self, on: bool) -> None:
            self.on = on

        def is_continuous_focus_locked(self) -> bool:
            return False

        def full_focus(self) -> None: ...

        def get_auto_focus_offset(self) -> float:
            return self.offset

    now = [0.0]
    fake: Any = Core()
    devices = load_profile("demo").devices
    SimulatedFocusLock(fake, devices, FOCUS_UM, lambda time_s: 0.5 * time_s, clock=lambda: now[0])
    fake.enable_continuous_focus(True)
    now[0] = 10.0
    early = fake.get_position("Z")
    now[0] = 10.0 + 20 * 60
    assert fake.is_continuous_focus_locked()
    followed = -0.5e-3 * 20 * 60
    assert fake.get_position("Z") - early == pytest.approx(followed + 0.1, abs=1e-6)
