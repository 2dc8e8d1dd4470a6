"""A calibration that fails, is interrupted, and goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import easyzloc_mm as ez
from easyzloc_mm.io.beads.stacks import open_bead_stacks


@pytest.fixture(scope="module")
def profile() -> ez.Profile:
    return ez.load_profile("demo").replace(
        camera={"width_px": 192, "height_px": 160},
        beads={"fovs": 2, "min_beads": 2, "z_start_nm": -600, "z_stop_nm": 600, "z_step_nm": 150},
    )


def test_a_microscope_that_does_not_answer_leaves_nothing_behind(profile: ez.Profile, tmp_path: Path) -> None:
    nobody = profile.replace(connection={"backend": "java", "java_port": 1, "mm_dir": None})
    for _ in range(2):
        with pytest.raises(ez.EasyZlocError) as failure:
            ez.calibrate(nobody, tmp_path / "today")
        assert "exists" not in str(failure.value)
        assert not (tmp_path / "today").exists()


def test_stacks_of_too_few_planes_are_refused_before_the_microscope_is_asked(
    profile: ez.Profile, tmp_path: Path
) -> None:
    with pytest.raises(ez.InputError, match=r"7 plane\(s\), a bead stack needs 8"):
        ez.calibrate(profile.replace(beads={"z_step_nm": 200}), tmp_path / "today")
    assert not (tmp_path / "today").exists()


def test_a_camera_map_that_is_none_is_refused_before_the_microscope_is_asked(
    profile: ez.Profile, tmp_path: Path
) -> None:
    with pytest.raises(ez.InputError, match=r"camera map .*none\.zarr does not exist"):
        ez.calibrate(profile.replace(camera={"map": tmp_path / "none.zarr"}), tmp_path / "today")
    assert not (tmp_path / "today").exists()


def test_an_interrupted_calibration_goes_on(profile: ez.Profile, tmp_path: Path) -> None:
    """Ctrl-C in the middle of the second stack: `resume` keeps the first; then nothing is left to do but the beads."""

    class CutError(Exception):
        pass

    today = tmp_path / "today"

    def at_the_second_stack(message: str, _share: float) -> None:
        if len(list((today / "stacks.ome.zarr").glob("[0-9]*"))) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ez.calibrate(profile, today, steps=10, progress=at_the_second_stack)
    with pytest.raises(ez.InputError, match="exists"):
        ez.calibrate(profile, today, steps=10)

    def at_the_beads(message: str, _share: float) -> None:
        if message.startswith("judging"):
            raise CutError

    first = open_bead_stacks(today / "stacks.ome.zarr")[0].pixels[:]
    with pytest.raises(CutError):
        ez.calibrate(profile, today, steps=10, if_exists="resume", progress=at_the_beads)
    stacks = open_bead_stacks(today / "stacks.ome.zarr")
    assert len(stacks) == 2
    assert np.array_equal(stacks[0].pixels[:], first)
    with pytest.raises(CutError):  # the stacks are whole: no plane is taken again
        ez.calibrate(profile, today, steps=10, if_exists="resume", progress=at_the_beads)
    assert (today / "log.txt").read_text(encoding="utf-8").count("# calibration") == 3
    (today / "model").mkdir()
    with pytest.raises(ez.InputError, match="nothing is left to resume"):
        ez.calibrate(profile, today, if_exists="resume")
