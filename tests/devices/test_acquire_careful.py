"""The careful half of bead acquisition, on the embedded microscope: focus, counting, stopping, going on."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.acquire.beads.acquire import acquire_bead_stacks
from easyzloc_mm.acquire.beads.autofocus import NoFocusError, find_focus
from easyzloc_mm.acquire.beads.plan import BACKLASH_UM, plan_fields
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import StagePosition


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo").replace(
        camera={"width_px": 208, "height_px": 208},
        beads={"fovs": 2, "z_start_nm": -400, "z_stop_nm": 400, "z_step_nm": 100, "exposures_ms": (20.0,)},
    )


def test_autofocus_finds_the_layer_from_below(profile: Profile) -> None:
    with connect(profile) as microscope:
        microscope.set_exposure(20.0)
        microscope.move_xy(0.0, 0.0)
        visited: list[float] = []
        move = microscope.move_z

        def watched(z_um: float) -> float:
            visited.append(z_um)
            return move(z_um)

        microscope.move_z = watched  # type: ignore[method-assign]
        focus = find_focus(microscope, profile.limits, 52.0, reach_um=4.0, settle_s=0.0)
        # The stage falls only to take up the play before each search; every image is taken on the way up.
        falls = np.flatnonzero(np.diff(visited) < 0)
        assert len(falls) >= 1
        assert all(visited[at + 2] - visited[at + 1] == pytest.approx(BACKLASH_UM) for at in falls)
        for far_um in (10.0, 15.0, 20.0, 80.0, 85.0):  # noise alone is no focus, however often it is tried
            with pytest.raises(NoFocusError):
                find_focus(microscope, profile.limits, far_um, reach_um=1.5, settle_s=0.0)
    # Truth: the layer is sharp at 50 um, drift and heights of beads aside.
    assert focus.z_um == pytest.approx(50.0, abs=0.2)


def test_stacks_are_centred_counted_and_checked_for_bleaching(profile: Profile, tmp_path: Path) -> None:
    told: list[str] = []
    off = profile.replace(beads={"focus_um": 51.5})
    with connect(off) as microscope:
        report = acquire_bead_stacks(
            microscope, off, tmp_path / "b.ome.zarr", progress=lambda message, _part: told.append(message)
        )
    stacks = open_bead_stacks(tmp_path / "b.ome.zarr")
    assert [stack.planes.requested_z_um.mean() for stack in stacks] == pytest.approx([50, 50], abs=0.25)
    assert report.fovs == 2
    assert report.good_beads > 10
    assert 0 < report.coverage <= 1
    # 60 s of full light bleach to 1/e: 9 planes of 20 ms at a third of it are 0.1 %, the noise a few times that.
    assert all(stack.bleaching_per_um is not None and abs(stack.bleaching_per_um) < 0.1 for stack in stacks)
    assert any("good beads" in message and "covered" in message for message in told)


def test_enough_beads_end_the_acquisition(profile: Profile, tmp_path: Path) -> None:
    wanted = profile.replace(beads={"fovs": 30, "enough_beads": 60})
    with connect(wanted) as microscope:
        report = acquire_bead_stacks(microscope, wanted, tmp_path / "b.ome.zarr")
    assert report.fovs < 30
    assert report.good_beads >= 60
    assert report.coverage == 1.0


def test_fields_without_enough_beads_are_skipped_and_said(profile: Profile, tmp_path: Path) -> None:
    greedy = profile.replace(beads={"fovs": 1, "min_beads": 500})
    with (
        pytest.raises(InputError, match=r"none of the 4 places has 500 or more beads"),
        connect(greedy) as microscope,
    ):
        acquire_bead_stacks(microscope, greedy, tmp_path / "b.ome.zarr")
    assert list(tmp_path.iterdir()) == []
    crowded = profile.replace(beads={"fovs": 1, "max_beads": 2})
    with pytest.raises(InputError, match="none of the 4 places"), connect(crowded) as microscope:
        acquire_bead_stacks(microscope, crowded, tmp_path / "b.ome.zarr")


def test_an_interrupted_run_goes_on_where_it_stopped(profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "b.ome.zarr"
    three = profile.replace(beads={"fovs": 3})

    def stop(message: str, part: float) -> None:
        if part > 0.45:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), connect(three) as microscope:
        acquire_bead_stacks(microscope, three, out, progress=stop)
    kept = np.asarray(open_bead_stacks(out)[0].pixels)
    assert [len(stack.pixels) for stack in open_bead_stacks(out)] == [9, 4]
    other = three.replace(beads={"z_step_nm": 50})
    with pytest.raises(InputError, match=r"begun with another beads\.z_step_nm"), connect(other) as microscope:
        acquire_bead_stacks(microscope, other, out, if_exists="resume")
    with pytest.raises(InputError, match="already exists"), connect(three) as microscope:
        acquire_bead_stacks(microscope, three, out)
    with connect(three) as microscope:
        report = acquire_bead_stacks(microscope, three, out, if_exists="resume")
    stacks = open_bead_stacks(out)
    assert (report.resumed, report.fovs, report.planes) == (1, 3, 27)
    assert [len(stack.pixels) for stack in stacks] == [9, 9, 9]
    assert np.array_equal(np.asarray(stacks[0].pixels), kept)
    # Nothing is photographed twice: the beads of the stack that was broken off are bleached.
    places = {(round(stack.planes.x_um[0]), round(stack.planes.y_um[0])) for stack in stacks}
    assert len(places) == 3
    assert (80, 0) not in places


def test_frames_are_averaged(profile: Profile, tmp_path: Path) -> None:
    noise = []
    for frames in (1, 8):
        plan = profile.replace(beads={"fovs": 1, "frames_per_plane": frames})
        out = tmp_path / f"{frames}.ome.zarr"
        with connect(plan) as microscope:
            acquire_bead_stacks(microscope, plan, out)
        planes = np.asarray(open_bead_stacks(out)[0].pixels[3:6], float)
        noise.append(np.median(np.abs(planes[0] - 2 * planes[1] + planes[2])))
    assert noise[0] / noise[1] == pytest.approx(np.sqrt(8), rel=0.15)


def test_a_stage_that_creeps_is_noticed(profile: Profile, tmp_path: Path) -> None:
    plan = profile.replace(beads={"fovs": 1, "autofocus": False})
    with connect(plan) as microscope:
        position = microscope.position

        def off_target() -> StagePosition:
            here = position()
            return StagePosition(here.x_um, here.y_um, here.z_um + 0.3)

        microscope.position = off_target  # type: ignore[method-assign]
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            acquire_bead_stacks(microscope, plan, tmp_path / "b.ome.zarr")
    words = [str(warning.message) for warning in said if issubclass(warning.category, EasyZlocWarning)]
    assert any("first plane was asked for" in message for message in words)


def test_a_grid_is_compact_and_starts_where_told(profile: Profile) -> None:
    grid = profile.replace(beads={"fovs": 9, "pattern": "grid"})
    places = [(f.x_um / 80, f.y_um / 80) for f in plan_fields(grid, StagePosition(0, 0, 50))]
    assert places[0] == (0, 0)
    assert set(places) == {(column, row) for column in range(3) for row in range(3)}
