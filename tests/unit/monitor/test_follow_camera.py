"""The camera before a run: light and camera only while somebody asked, and measures that say what is sharp."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest

from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.monitor.follow.camera import CameraWatch
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16, StagePosition
from tests.helpers.patience import wait_until

PROFILE = load_profile("demo")
FOCUS_UM = 3.0


class Fake:
    """A microscope with one bead, whose stage rises by 1 um between images."""

    def __init__(self) -> None:
        self.connected, self.lit, self.images = False, 0, 0
        self.settings: list[object] = []
        self.go_on = threading.Event()

    @contextmanager
    def connect(self, _profile: Profile) -> Iterator[Microscope]:
        self.connected = True
        try:
            yield cast(Microscope, self)
        finally:
            self.connected = False

    def set_exposure(self, ms: float) -> None:
        self.settings.append(ms)

    def set_illumination(self, preset: str | None) -> None:
        self.settings.append(preset)

    def expose(self) -> U16:
        if self.images >= 6:
            self.go_on.wait()
        self.images += 1
        y, x = np.mgrid[:64, :64] - 32.0
        width = 1.5 + abs(self.images - FOCUS_UM)
        bead = 60_000 / width**2 * np.exp(-(x**2 + y**2) / (2 * width**2))
        return np.asarray(100 + bead, np.uint16)

    def position(self) -> StagePosition:
        return StagePosition(0.0, 0.0, float(self.images))

    def lit_ms(self) -> float:
        return 10.0 * self.images


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setattr("easyzloc_mm.monitor.follow.camera.SHORTEST_S", 0.0)
    made = Fake()
    yield made
    made.go_on.set()


def test_the_camera_is_held_only_while_somebody_looks(fake: Fake) -> None:
    watch = CameraWatch(PROFILE, fake.connect)
    assert not fake.connected
    assert watch.newest() is None
    watch.look()
    wait_until(lambda: watch.number == 6, "six images come")
    assert fake.connected
    assert fake.settings == [PROFILE.imaging.exposure_ms, PROFILE.imaging.illumination]
    with pytest.raises(InputError, match="looks already"):
        watch.look()
    fake.go_on.set()
    watch.end(wait=True)
    assert not fake.connected
    assert not watch.looking
    assert watch.lit_ms == 10.0 * fake.images


def test_no_image_is_there_before_its_measures(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = CameraWatch(PROFILE, fake.connect)
    told: list[tuple[int, bool]] = []

    def measure(_image: U16) -> float:
        told.append((watch.number, watch.newest() is None))
        return 1.0

    monkeypatch.setattr("easyzloc_mm.monitor.follow.camera.spot_contrast", measure)
    watch.look()
    wait_until(lambda: watch.number == 6, "six images come")
    assert [number for number, _ in told] == list(range(6))
    assert told[0] == (0, True)
    fake.go_on.set()
    watch.end(wait=True)


def test_the_sharpest_image_is_that_in_focus(fake: Fake) -> None:
    watch = CameraWatch(PROFILE, fake.connect)
    watch.look()
    wait_until(lambda: watch.number == 6, "six images come")
    measures = list(watch.measures)
    best = max(measures, key=lambda one: one.contrast)
    assert best.z_um == FOCUS_UM
    assert measures[0].contrast < measures[1].contrast < best.contrast > measures[3].contrast > measures[4].contrast
    assert best.brightest == pytest.approx((100 + 60_000 / 1.5**2) / 65_535, abs=1e-4)
    assert best.saturated == 0
    fake.go_on.set()
    watch.end(wait=True)


def test_the_light_goes_off_by_itself_and_a_camera_in_use_is_left_alone(fake: Fake) -> None:
    watch = CameraWatch(PROFILE, fake.connect)
    fake.go_on.set()
    watch.look(seconds=0.0)
    wait_until(lambda: not watch.looking, "it stops by itself")
    assert not fake.connected

    @contextmanager
    def in_use(_profile: Profile) -> Iterator[Any]:
        raise HardwareError("the camera is running already")
        yield

    watch = CameraWatch(PROFILE, in_use)
    watch.look()
    wait_until(lambda: not watch.looking, "it gives up")
    assert "running already" in watch.trouble
    assert watch.number == 0
