"""Simulated data sets: what is written, and that it is what the truth says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.datasets import simulate_beads, simulate_movie


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo").replace(
        camera={"width_px": 200, "height_px": 160},
        beads={"fovs": 2, "z_start_nm": -600.0, "z_stop_nm": 600.0, "z_step_nm": 100.0},
    )


def test_bead_stacks_show_the_beads_of_the_truth(profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "beads.ome.zarr"
    reported: list[float] = []
    result = simulate_beads(profile, out, seed=4, progress=lambda _, fraction: reported.append(fraction))
    assert reported[-1] == 1
    assert sorted(reported) == reported
    stacks = open_bead_stacks(out)
    assert [stack.pixels.shape for stack in stacks] == [(13, 160, 200)] * 2
    assert stacks[0].response == profile.camera.response
    assert np.diff(stacks[1].planes["measured_z_um"]) == pytest.approx(0.1)
    truth = pd.read_parquet(result.truth)
    beads = truth[truth["structure"] == "bead"]
    assert result.beads == len(beads[["fov", "emitter"]].drop_duplicates()) > 10
    for fov, stack in enumerate(stacks):
        at_focus = beads[(beads["fov"] == fov) & (beads["plane"] == 6) & beads["x"].between(3, 195)]
        at_focus = at_focus[at_focus["y"].between(3, 155) & (at_focus["z"].abs() < 150)]
        image = stack.pixels[6]
        bright = [
            image[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].max()
            for x, y in zip(at_focus["x"], at_focus["y"], strict=True)
        ]
        assert len(bright) > 3
        assert min(bright) > np.median(image) + 500
    one = beads[beads["emitter"] == beads["emitter"].iloc[0]].sort_values("plane")
    assert np.diff(one["z"]) == pytest.approx(100, abs=5)
    assert np.all(np.diff(one["photons"]) < 0)  # bleaching


def test_bead_stacks_as_a_camera_program_writes_them(profile: Profile, tmp_path: Path) -> None:
    few = profile.replace(beads={"z_step_nm": 100.0})
    simulate_beads(few, tmp_path / "beads.ome.zarr", seed=4)
    result = simulate_beads(few, tmp_path / "stacks.tif", seed=4)
    assert result.truth == tmp_path / "stacks.truth.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(result.truth), pd.read_parquet(tmp_path / "beads.truth.parquet"))
    ours, theirs = (open_bead_stacks(tmp_path / name) for name in ("beads.ome.zarr", "stacks.tif"))
    assert len(ours) == len(theirs) == few.beads.fovs
    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(np.asarray(mine.pixels), np.asarray(other.pixels))
        assert (other.pixel_size_nm, other.z_step_nm) == pytest.approx((110, 100))
        assert other.response is None


def test_movie_comes_with_its_truth(profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "movie.tif"
    result = simulate_movie(profile, out, frames=12, seed=4)
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_ome
        movie = tiff.asarray()
        assert 'PhysicalSizeX="0.11"' in str(tiff.ome_metadata)
    assert movie.shape == (12, 160, 200)
    assert movie.dtype == np.uint16
    truth, drift = pd.read_parquet(result.truth), pd.read_parquet(result.drift)
    assert drift["frame"].tolist() == list(range(12))
    assert result.emitters_per_frame == pytest.approx(len(truth) / 12)
    bright = truth[(truth["photons"] > 3000) & (truth["z"].abs() < 200)
                   & truth["x"].between(3, 195) & truth["y"].between(3, 155)]  # fmt: skip
    peaks = []
    row: Any
    for row in bright.itertuples():
        x, y = round(row.x), round(row.y)
        peaks.append(movie[row.frame, y - 1 : y + 2, x - 1 : x + 2].max())
    assert len(peaks) > 5
    assert np.min(peaks) > np.median(movie) + 80
    again = tmp_path / "again.tif"
    simulate_movie(profile, again, frames=12, seed=4)
    assert np.array_equal(tifffile.imread(again), movie)


def test_refusals_leave_nothing_behind(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.tif"):
        simulate_movie(profile, tmp_path / "movie.avi", frames=2)
    with pytest.raises(InputError, match="Bright"):
        simulate_movie(profile.replace(imaging={"illumination": "Bright"}), tmp_path / "movie.tif", frames=2)
    (tmp_path / "beads.truth.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match="already exists"):
        simulate_beads(profile, tmp_path / "beads.ome.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["beads.truth.parquet"]


def test_interrupted_simulation_leaves_nothing_behind(profile: Profile, tmp_path: Path) -> None:
    def stop(message: str, fraction: float) -> None:
        if fraction > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_beads(profile, tmp_path / "beads.ome.zarr", progress=stop)
    with pytest.raises(KeyboardInterrupt):
        simulate_movie(profile, tmp_path / "movie.tif", frames=10, progress=stop)
    assert list(tmp_path.iterdir()) == []
