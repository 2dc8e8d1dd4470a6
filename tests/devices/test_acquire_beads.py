"""Bead acquisition on the real MMCore: the plan is followed, limits hold, and what was taken is kept."""

# ruff: noqa: PT012  what must fail is a whole session, with what leads up to the failure

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.acquire.beads.acquire import acquire_bead_stacks
from easyzloc_mm.acquire.beads.plan import BACKLASH_UM, plan_fields
from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import StagePosition
from tests.helpers.faulty_disk import FaultyDisk
from tests.helpers.microscope_bench import SAFE, LastState, bench_profile, running_core

PLANES = 9


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    # The demo camera shows no beads: nothing to focus on or to count.
    return bench_profile(tmp_path_factory.mktemp("bench")).replace(beads={"autofocus": False})


def test_the_plan_is_followed_and_the_stage_is_read(profile: Profile, tmp_path: Path) -> None:
    told: list[float] = []
    out = tmp_path / "beads.ome.zarr"
    with connect(profile) as microscope:
        state, core = LastState(), running_core()
        commanded: list[float] = []
        move = core.set_position

        def watched(label: str, z: float) -> None:
            commanded.append(z)
            # A real piezo stops a few nanometres off.
            move(label, z + 0.004)

        core.set_position = watched
        report = acquire_bead_stacks(microscope, profile, out, progress=lambda _message, part: told.append(part))
        core.set_position = move
    assert (report.fovs, report.planes, report.saturated_planes) == (3, 3 * PLANES, 0)
    assert report.z_error_nm == pytest.approx(4.0, abs=0.01)
    assert told[-1] == 1.0
    assert told == sorted(told)
    stacks = open_bead_stacks(out)
    wanted = 20 + np.arange(-200, 201, 50) / 1000
    for stack, (x, y), exposure, light in zip(
        stacks, [(0, 0), (150, 0), (150, 150)], (2, 4, 2), ("Low", "High", "Low"), strict=True
    ):
        assert stack.pixels.shape == (PLANES, 128, 160)
        assert np.allclose(stack.planes.requested_z_um, wanted)
        assert np.allclose(stack.planes.measured_z_um, wanted + 0.004)
        assert np.allclose(stack.planes[["x_um", "y_um"]], (x, y), atol=0.02)
        assert set(stack.planes.exposure_ms) == {exposure}
        assert set(stack.planes.illumination) == {light}
        assert (np.diff(stack.planes.time_s) > 0).all()
    # Every stack comes from below and takes its first plane twice.
    one_stack = [wanted[0] - BACKLASH_UM, wanted[0], *wanted]
    assert np.allclose(commanded[: 3 * len(one_stack)], one_stack * 3)
    assert {key: state.seen[key] for key in ("z", "xy", "shutter_open")} == {
        "z": 0.0, "xy": (0.0, 0.0), "shutter_open": False,
    }  # fmt: skip


def test_a_full_disk_keeps_the_planes_that_were_taken(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, out = FaultyDisk(monkeypatch), tmp_path / "b.ome.zarr"
    with connect(profile) as microscope:
        state = LastState()
        running_core().set_property("Camera", "FastImage", "0")  # else images are black, and black is missing
        disk.fail(200, errno.ENOSPC)
        with pytest.raises(HardwareError, match=r"the disk of .* is full: .*\(\d+ planes are kept") as caught:
            acquire_bead_stacks(microscope, profile, out)
        disk.repair()
        kept = sum(len(stack.planes) for stack in open_bead_stacks(out))
        assert f"({kept} planes are kept in {out}" in str(caught.value)
        assert 0 < kept < 3 * PLANES
        report = acquire_bead_stacks(microscope, profile, out, if_exists="resume")
    assert report.whole
    assert verify(out).whole
    assert len(open_bead_stacks(out)) == 3
    assert not state.seen["shutter_open"]


def test_images_are_those_of_the_camera(profile: Profile, tmp_path: Path) -> None:
    small = profile.replace(beads={"fovs": 1})
    with connect(small) as microscope:
        core, images = running_core(), []
        core.set_property("Camera", "FastImage", "0")
        get = core.get_image

        def watched() -> Any:
            images.append(get())
            return images[-1]

        core.get_image = watched
        acquire_bead_stacks(microscope, small, tmp_path / "b.ome.zarr")
    (stack,) = open_bead_stacks(tmp_path / "b.ome.zarr")
    # The first image of a stack is thrown away.
    assert len(images) == PLANES + 1
    assert np.array_equal(np.asarray(stack.pixels), np.stack(images[1:]))
    assert stack.response == small.camera.response


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"beads": {"focus_um": None, "z_start_nm": -51000, "z_step_nm": 100}}, "z = -51.000 um is outside"),
        ({"beads": {"fovs": 200}}, r"only 169 of beads\.fovs = 200 fields fit"),
    ],
)
def test_an_impossible_plan_moves_nothing_and_leaves_nothing(
    profile: Profile, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with connect(profile) as microscope:
        core, commanded = running_core(), []
        core.set_position = lambda *a: commanded.append(a)
        core.set_xy_position = lambda *a: commanded.append(a)
        with pytest.raises(InputError, match=words):
            acquire_bead_stacks(microscope, profile.replace(**change), tmp_path / "b.ome.zarr")
        with pytest.raises(InputError, match="does not exist"):
            acquire_bead_stacks(microscope, profile, tmp_path / "nowhere" / "b.ome.zarr")
        assert commanded == []
    assert list(tmp_path.iterdir()) == []


def test_fields_stay_inside_the_limits(profile: Profile) -> None:
    corner = profile.replace(beads={"start_position_um": (1000.0, -1000.0), "fovs": 20})
    fields = plan_fields(corner, StagePosition(0.0, 0.0, 0.0))
    places = {(field.x_um, field.y_um) for field in fields}
    assert len(places) == 20
    assert all(-1000 <= x <= 1000 and -1000 <= y <= 1000 for x, y in places)
    # A compact patch: 20 fields in a corner fit into 5 x 5.
    assert min(x for x, _ in places) >= 1000 - 4 * 150
    assert max(y for _, y in places) <= -1000 + 4 * 150


def test_a_fault_in_the_middle_keeps_the_complete_planes(profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "b.ome.zarr"
    with (
        pytest.raises(HardwareError, match=r"Piezo lost.*14 planes are kept"),
        connect(profile) as microscope,
    ):
        state, core, calls = LastState(), running_core(), []
        snap = core.snap_image

        def fails_later() -> None:
            calls.append(1)
            if len(calls) > PLANES + 1 + 6:
                raise RuntimeError("Piezo lost (7)")
            snap()

        core.snap_image = fails_later
        acquire_bead_stacks(microscope, profile, out)
    assert [len(stack.pixels) for stack in open_bead_stacks(out)] == [PLANES, 5]
    assert (state.seen["z"], state.seen["xy"], state.seen["shutter_open"]) == (0.0, (0.0, 0.0), False)


def test_a_fault_before_the_first_plane_leaves_nothing(profile: Profile, tmp_path: Path) -> None:
    def broken() -> None:
        raise RuntimeError("no camera")

    with pytest.raises(HardwareError, match="nothing was acquired"), connect(profile) as microscope:
        running_core().snap_image = broken
        acquire_bead_stacks(microscope, profile, tmp_path / "b.ome.zarr")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_planes_and_makes_safe(profile: Profile, tmp_path: Path) -> None:
    import _thread

    out = tmp_path / "b.ome.zarr"

    def interrupt_in_the_second_field(_message: str, part: float) -> None:
        if part > 0.5:
            _thread.interrupt_main()
            threading.Event().wait(0.01)

    with pytest.raises(KeyboardInterrupt), connect(profile) as microscope:
        state = LastState()
        acquire_bead_stacks(microscope, profile, out, progress=interrupt_in_the_second_field)
    first, second = open_bead_stacks(out)
    assert len(first.pixels) == PLANES
    assert 1 <= len(second.pixels) < PLANES
    assert {key: state.seen[key] for key in SAFE} == {**SAFE, "xy": pytest.approx((0.0, 0.0))}
