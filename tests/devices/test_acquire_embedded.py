"""The same acquisition on the embedded microscope, whose images come from the optics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.acquire.beads.acquire import acquire_bead_stacks
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.ground_truth import read_record
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.embedded.truth import ground_truth, truth_beside


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo").replace(
        camera={"width_px": 192, "height_px": 160},
        beads={"fovs": 2, "min_beads": 2, "z_start_nm": -600, "z_stop_nm": 600, "z_step_nm": 200},
    )


def test_beads_come_into_focus_and_go_out_again(profile: Profile, tmp_path: Path) -> None:
    with connect(profile) as microscope:
        acquire_bead_stacks(microscope, profile, tmp_path / "b.ome.zarr")
        back = microscope.position()
    # The last image is that of the plane in focus, for the bleaching.
    assert back.z_um == pytest.approx(profile.beads.focus_um, abs=0.25)
    for stack in open_bead_stacks(tmp_path / "b.ome.zarr"):
        sharpness = np.asarray(stack.pixels, dtype=float).std(axis=(1, 2))
        # Focused beads concentrate their light: contrast peaks within 200 nm of z = 0 and falls beyond.
        assert abs(int(sharpness.argmax()) - 3) <= 1
        assert sharpness.max() > 1.2 * max(sharpness[0], sharpness[-1])


def test_the_truth_belongs_to_the_frames_of_the_stream(profile: Profile, tmp_path: Path) -> None:
    run = tmp_path / "run.zarr"
    with connect(profile) as microscope, truth_beside(run):
        microscope.move_xy(5000.0, 0.0)
        microscope.set_exposure(30.0)
        microscope.set_illumination("High")
        run.mkdir()
        frames = np.stack([frame.pixels for frame in microscope.stream(60)])
        tables = ground_truth()
    emitters = tables["emitters"]
    inside = emitters[emitters.x.between(6, 185) & emitters.y.between(6, 153)]
    assert set(emitters.frame) <= set(range(60))
    # An emitter is brightest in its own frame: warm-up frames, or a count shifted by one, would break this.
    bright = inside[(inside.photons > 1500) & (inside.z.abs() < 400) & inside.frame.between(1, 58)]
    assert len(bright) > 10
    contrast: dict[int, list[float]] = {-1: [], 0: [], 1: []}
    row: Any
    for row in bright.itertuples():
        x, y = round(row.x), round(row.y)
        box = frames[:, y - 2 : y + 3, x - 2 : x + 3].sum(axis=(1, 2), dtype=float)
        for shift, values in contrast.items():
            values.append(box[row.frame + shift] / np.median(box))
    own, others = np.median(contrast[0]), max(np.median(contrast[-1]), np.median(contrast[1]))
    assert own > 1.05 * others
    assert own > 1.3
    assert read_record(run, "emitters").equals(emitters)
    with pytest.raises(InputError, match="only runs on the embedded microscope"):
        read_record(tmp_path / "other.zarr", "emitters")


def test_a_run_that_fails_keeps_its_truth_and_a_real_one_has_none(profile: Profile, tmp_path: Path) -> None:
    run, not_begun = tmp_path / "run.zarr", tmp_path / "not_begun.zarr"
    run.mkdir()
    with pytest.raises(ValueError, match="broken off"), connect(profile) as microscope:  # noqa: PT012
        with truth_beside(not_begun):
            assert len(list(microscope.stream(2))) == 2
        with truth_beside(run):
            assert len(list(microscope.stream(2))) == 2
            raise ValueError("broken off")
    assert read_record(run, "drift")["frame"].tolist() == [0, 1]
    assert not not_begun.with_suffix(".records").exists()
    # Without the embedded microscope there is no truth, and none of an earlier run may stay.
    with truth_beside(run):
        pass
    assert not run.with_suffix(".records").exists()
