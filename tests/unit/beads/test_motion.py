"""Stages that slide sideways, fields in focus at different heights, planes that are means of frames."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from easyzloc_mm.beads.camera_response import mean_of_frames, of_averaged
from easyzloc_mm.beads.detection.lateral_shift import LateralShift, common_lateral_shift, pooled
from easyzloc_mm.beads.report.summary import fit_foci, lateral_shift_nm_per_um
from easyzloc_mm.beads.sources import beads_from_sources
from easyzloc_mm.benchmarks.beads import MATCH_PX, score
from easyzloc_mm.benchmarks.fixtures.bead_fields import photograph_slides
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.cli.app import app
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set, write_bead_set
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.psf.crlb import empirical_psf

ZERO_NM = 50_000.0
SLIDES = ((100.0, 0.0), (-60.0, 80.0), (0.0, -100.0))
"""Nm per um: 100 each, another way in every field."""
OFFSETS = (0.0, 140.0, -90.0)
LENS_NM_PER_UM = 12.0
"""What unequal aberrations of the simulated lens may add to the slide that is measured."""


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo").replace(beads={"z_start_nm": -1500.0, "z_stop_nm": 1500.0, "z_step_nm": 50.0})


@pytest.fixture(scope="module")
def slides(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("slides") / "slides.ome.zarr"
    truth = photograph_slides(profile, out, fovs=3, seed=5, lateral_shifts_nm_per_um=SLIDES, focus_offsets_nm=OFFSETS)
    return out, truth


@dataclass(frozen=True)
class Commanded:
    """What `beads` wrote, its report beside it, and what it printed."""

    path: Path
    printed: dict[str, Any]


@pytest.fixture(scope="module")
def commanded(slides: tuple[Path, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Commanded:
    out = tmp_path_factory.mktemp("beads") / "b.zarr"
    done = CliRunner().invoke(app, ["beads", str(slides[0]), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    return Commanded(out, json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def beads(commanded: Commanded) -> BeadDataset:
    return read_bead_set(commanded.path)


def matched(beads: BeadDataset, truth: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Accepted beads and the true things they are."""
    which, things = [], []
    for index in np.flatnonzero(beads.accepted):
        near = truth[truth.fov == beads.stack[index]]
        distance = np.hypot(near.x - beads.x[index], near.y - beads.y[index])
        if distance.min() <= MATCH_PX:
            which.append(index)
            things.append(distance.idxmin())
    return np.array(which), truth.loc[things]


def test_the_common_motion_is_measured(beads: BeadDataset) -> None:
    found = beads.stacks[["lateral_shift_x_nm_per_um", "lateral_shift_y_nm_per_um"]].to_numpy(float)
    assert found == pytest.approx(np.array(SLIDES), abs=LENS_NM_PER_UM)
    assert (beads.stacks["lateral_shift_uncertainty_nm_per_um"] < LENS_NM_PER_UM).all()


def test_a_sliding_stage_costs_neither_labels_nor_beads(beads: BeadDataset, slides: tuple[Path, pd.DataFrame]) -> None:
    figures = score(beads, slides[1], ZERO_NM)
    assert figures["sd_bright_nm"] <= 4
    assert figures["sd_dim_nm"] <= 10
    assert figures["good_kept"] >= 0.95
    assert np.median(beads.measures["lateral_scatter_px"][beads.accepted]) < 0.05


@pytest.mark.slow
def test_without_the_correction_it_costs_both(
    beads: BeadDataset, slides: tuple[Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("easyzloc_mm.beads.detection.find.common_lateral_shift", lambda *_: LateralShift())
    wrong = beads_from_sources([slides[0]])
    figures = score(wrong, slides[1], ZERO_NM)
    assert figures["sd_bright_nm"] > 1.5 * score(beads, slides[1], ZERO_NM)["sd_bright_nm"]
    assert figures["bad_rejected"] < 0.97
    assert np.median(wrong.measures["lateral_scatter_px"][wrong.accepted]) > 0.2


def test_crops_are_centred_at_every_plane(beads: BeadDataset, slides: tuple[Path, pd.DataFrame]) -> None:
    which, things = matched(beads, slides[1])
    per_nm = np.array(SLIDES) / 1000 / beads.pixel_size_nm
    off, left = [], []
    for index, (_, thing) in zip(which, things.iterrows(), strict=True):
        # The simulated stage slides around the focus of the field, not around that of each bead.
        start = thing.focus_nm - OFFSETS[thing.fov]
        for z_nm in (-800.0, 800.0):
            true = np.array([thing.x, thing.y]) + per_nm[thing.fov] * (start + z_nm)
            x, y = beads.centres(index, z_nm)
            off.append((x[0] + beads.roi_x0[index] - true[0], y[0] + beads.roi_y0[index] - true[1]))
            left.append((beads.x[index] - true[0], beads.y[index] - true[1]))
    assert np.median(np.hypot(*np.array(off).T)) < 0.2
    assert np.median(np.hypot(*np.array(left).T)) > 0.6


def test_the_measured_blur_stands_still(beads: BeadDataset) -> None:
    psf = empirical_psf(beads)
    pixels = np.arange(psf.halves.shape[-1]) - psf.halves.shape[-1] // 2
    image = psf.halves.mean(axis=(0, 1))
    near = np.abs(psf.z_nm) <= 800
    light = image[near] / image[near].sum(axis=(1, 2), keepdims=True)
    for centre in ((light * pixels).sum(axis=(1, 2)), (light * pixels[:, None]).sum(axis=(1, 2))):
        assert abs(np.polyfit(psf.z_nm[near] / 1000, centre, 1)[0]) * beads.pixel_size_nm < LENS_NM_PER_UM


def test_offsets_of_the_stacks(beads: BeadDataset, slides: tuple[Path, pd.DataFrame]) -> None:
    foci = fit_foci(beads)
    true = np.array(OFFSETS) - np.median(OFFSETS)
    assert (np.abs(foci.offset_nm - true) < 4 * foci.uncertainty_nm).all()
    # Beads lie within 150 nm (87 nm standard deviation), 15 or more in a field.
    assert (foci.uncertainty_nm < 40).all()
    assert foci.beads.tolist() == [int(beads.accepted[beads.stack == stack].sum()) for stack in range(3)]
    which, things = matched(beads, slides[1])
    error = 1000 * beads.measures["focus_um"].to_numpy()[which] - ZERO_NM - things.focus_nm.to_numpy()
    by_stack = [float(np.median(error[beads.stack[which] == stack])) for stack in range(3)]
    assert np.ptp(by_stack) < 4


def test_the_command_says_it(commanded: Commanded) -> None:
    said = commanded.printed
    assert len(said["stacks"]) == 3
    for stack, slide in zip(said["stacks"], SLIDES, strict=True):
        assert stack["lateral_shift_nm_per_um"] == pytest.approx(np.hypot(*slide), abs=LENS_NM_PER_UM)
        turned = stack["slide_direction_deg"] - np.degrees(np.arctan2(slide[1], slide[0]))
        assert abs((turned + 180) % 360 - 180) < 10
        assert stack["offset_uncertainty_nm"] > 0
    assert said["label_repeat_planes_nm"] < said["label_repeat_planes_sharpness_nm"]
    page = (commanded.path.parent / "b_report" / "index.html").read_text(encoding="utf-8")
    assert "the whole image shifts sideways" in page
    assert "Offset: where the stage stood" in page


def test_the_motion_travels_with_the_data_set(beads: BeadDataset, tmp_path: Path) -> None:
    write_bead_set(tmp_path / "b.zarr", beads)
    again = read_bead_set(tmp_path / "b.zarr")
    assert np.array_equal(again.lateral_shift_px_per_um, beads.lateral_shift_px_per_um)
    assert lateral_shift_nm_per_um(again) == lateral_shift_nm_per_um(beads)


def test_stacks_of_one_stage_share_what_they_know() -> None:
    rng = np.random.default_rng(2)
    drawn = rng.normal((0.3, -0.2), 0.15, (10, 2))
    stage = [*(LateralShift(x, y, 0.15, 4) for x, y in drawn), LateralShift()]
    shared = pooled(stage)
    assert all(np.hypot(slide.x - 0.3, slide.y + 0.2) < 0.15 for slide in shared)
    assert all(slide.significant != (0, 0) for slide in shared)
    # Where stacks really differ, each keeps its own.
    apart = [LateralShift(1.0, 0.0, 0.05, 50), LateralShift(-1.0, 0.0, 0.05, 50), LateralShift(0.0, 1.0, 0.05, 50)]
    for before, after in zip(apart, pooled(apart), strict=True):
        assert (after.x, after.y) == pytest.approx((before.x, before.y), abs=0.05)


def test_noise_is_no_motion() -> None:
    rng = np.random.default_rng(0)
    offsets = np.arange(23) - 11.0
    z_nm = np.arange(-1000.0, 1001.0, 200.0)
    still = np.exp(-(offsets[None, :] ** 2 + offsets[:, None] ** 2) / (2 * 1.5**2))
    images = rng.poisson(30 * still + 20, (20, len(z_nm), 23, 23)).astype(np.float32)
    middle = np.full(20, 11.0)
    found = common_lateral_shift(images, z_nm, middle, middle, rng.uniform(-1, 1, (20, 2)))
    assert found.significant == (0, 0)
    assert 0 < found.uncertainty < 1
    alone = common_lateral_shift(images[:2], z_nm, middle[:2], middle[:2], np.zeros((2, 2)))
    assert alone == LateralShift()


def test_the_mean_of_frames_has_the_noise_that_its_units_say() -> None:
    rng = np.random.default_rng(1)
    response = CameraResponse(baseline_adu=100, electrons_per_adu=0.45, read_noise_e=1.5)
    for photons in (0.0, 5.0, 300.0):
        for count in (1, 2, 16, 100):
            exact = [
                response.baseline_adu
                + (rng.poisson(photons, (200, 200)) + rng.normal(0, response.read_noise_e, (200, 200)))
                / response.electrons_per_adu
                for _ in range(count)
            ]
            frames = [np.rint(frame).astype(np.uint16) for frame in exact]
            averaged = of_averaged(response, count)
            mean = mean_of_frames(frames, 65535)
            said = (mean - averaged.baseline_adu) * averaged.electrons_per_adu
            variance = count * photons + averaged.read_noise_e**2
            assert said.mean() == pytest.approx(count * photons, abs=4 * np.sqrt(variance) / 200 + 1e-3 * count)
            # A single frame's rounding is part of its read noise in a measured camera; here it is not. And where the
            # noise of the mean is finer than a count, rounding is no longer noise.
            if count > 1 and np.sqrt(variance) > averaged.electrons_per_adu / 2:
                assert said.var() == pytest.approx(variance, rel=0.04)
            # Rounding to whole counts costs little of what averaging brings.
            unrounded = np.mean(exact, axis=0) * averaged.electrons_per_adu
            if count <= 16:
                assert said.std() < 1.06 * unrounded.std()


def test_a_pixel_that_was_ever_saturated_stays_so() -> None:
    frames = [np.array([[65535, 10]], np.uint16), np.array([[60000, 12]], np.uint16)]
    assert mean_of_frames(frames, 65535).tolist() == [[65535, 11]]


def test_averaged_planes_are_judged_by_their_own_noise(profile: Profile, tmp_path: Path) -> None:
    built = []
    for count in (1, 4):
        plan = profile.replace(beads={"frames_per_plane": count}, camera={"width_px": 320, "height_px": 320})
        out = tmp_path / f"{count}.ome.zarr"
        # The second field is dim: the first is left out.
        photograph_slides(plan, out, fovs=2, seed=3)
        stacks = open_bead_stacks(out)
        assert [stack.frames_per_plane for stack in stacks] == [count, count]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            built.append(beads_from_sources([out]))
    one, four = built
    assert four.response == one.response == profile.camera.response
    assert four.frames_per_plane(0) == 4
    pairs = [
        (first, second)
        for first in np.flatnonzero(one.accepted)
        for second in np.flatnonzero(four.accepted)
        if one.stack[first] == four.stack[second]
        and np.hypot(one.x[first] - four.x[second], one.y[first] - four.y[second]) < 0.5
    ]
    assert len(pairs) > 15
    first, second = np.array(pairs).T
    for name, ratio in (("photons", 4), ("background", 4), ("snr", 2)):
        found = four.measures[name].to_numpy()[second] / one.measures[name].to_numpy()[first]
        assert np.median(found) == pytest.approx(ratio, rel=0.1)
