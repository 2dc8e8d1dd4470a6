"""Beads that are given twice, in whole or in part, and slides that are photographed again."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from easyzloc_mm.beads.build import bead_set_from_rois, build_bead_set
from easyzloc_mm.beads.report.summary import summarize_beads, summary_figures
from easyzloc_mm.beads.sources import beads_from_sources
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set, write_bead_set
from easyzloc_mm.io.beads.stack import BeadStack
from easyzloc_mm.numerics.recurrence import common_offset
from easyzloc_mm.training.split import split_beads
from easyzloc_mm.typing import F64, I64
from tests.helpers.bead_slides import MIDDLE_NM, PIXEL_NM, RESPONSE, Slide, photograph, slide, stack_of

SIZE_PX = 150


@pytest.fixture(scope="module")
def one_slide() -> Slide:
    return slide(9, SIZE_PX, np.random.default_rng(1))


@pytest.fixture(scope="module")
def first(one_slide: Slide) -> BeadStack:
    return stack_of(photograph(one_slide, SIZE_PX, np.random.default_rng(2)), "first.tif")


@pytest.fixture(scope="module")
def alone(first: BeadStack) -> BeadDataset:
    return build_bead_set([first], RESPONSE, PIXEL_NM)


@pytest.fixture(scope="module")
def again(one_slide: Slide, first: BeadStack) -> BeadDataset:
    """The same slide in three recordings, moved in between."""
    stacks = [first]
    for number, moved in enumerate(((3.4, -2.7), (-1.2, 4.1))):
        pixels = photograph(one_slide, SIZE_PX, np.random.default_rng(3 + number), moved_px=moved)
        stacks.append(stack_of(pixels, f"again{number}.tif"))
    with pytest.warns(EasyZlocWarning, match=r"again0.tif, field 0 and again1.tif, field 0 show the same beads"):
        return build_bead_set(stacks, RESPONSE, PIXEL_NM)


def test_a_stack_that_is_given_three_times_counts_once(first: BeadStack, alone: BeadDataset) -> None:
    copies = [stack_of(first.pixels[:], f"copy{number}.tif") for number in range(2)]
    with pytest.warns(EasyZlocWarning, match=r"first.tif, field 0, copy0.tif, field 0 and copy1.tif.*are copies"):
        beads = build_bead_set([first, *copies], RESPONSE, PIXEL_NM)
    assert len(beads) == 3 * len(alone)
    assert beads.accepted.sum() == alone.accepted.sum() == beads.distinct == 9
    assert set(np.array(beads.reason)[beads.stack > 0]) == {"copy"}
    # What is left is the first stack as if there were no others.
    assert beads.z_nm[beads.accepted] == pytest.approx(alone.z_nm[alone.accepted], abs=1e-3)
    figures = summary_figures(beads, summarize_beads(beads))
    assert figures["label_repeat_nm"] is None
    assert figures["coverage"] == summary_figures(alone, summarize_beads(alone))["coverage"]


def test_overlapping_crops_of_one_recording_share_their_beads(first: BeadStack, one_slide: Slide) -> None:
    pixels, edge = first.pixels[:], 110
    crops = [stack_of(np.ascontiguousarray(pixels[:, :, start : start + edge]), f"x{start}.tif") for start in (0, 40)]
    with pytest.warns(EasyZlocWarning, match="x0.tif, field 0 and x40.tif, field 0 hold the same images"):
        beads = build_bead_set(crops, RESPONSE, PIXEL_NM)
    assert beads.accepted.sum() == beads.distinct
    # Every bead whose ROI is whole in one of the crops is there, once.
    assert beads.distinct == len(one_slide.x)


def test_a_slide_that_is_photographed_again_shows_the_same_beads(again: BeadDataset, one_slide: Slide) -> None:
    assert again.accepted.sum() == 27
    assert again.distinct == 9
    for bead in range(27):
        same = np.flatnonzero(again.bead_id == again.bead_id[bead])
        assert np.ptp(again.x[same]) < 8
        assert again.stack[same].tolist() == [0, 1, 2]
    split = split_beads(again, 0)
    parts = [set(again.bead_id[part].tolist()) for part in (split.train, split.validation, split.test)]
    assert all(parts)
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(parts, 2))


def _truth(beads: BeadDataset, what: Slide) -> I64:
    """Return which bead of the slide each recording is of; it was not moved before the first stack."""
    distance = np.hypot(what.x[:, None] - beads.x[None], what.y[:, None] - beads.y[None])
    return np.asarray(np.argmin(distance, axis=0)[beads.bead_id], np.int64)


def test_labels_repeat_between_recordings_as_well_as_they_are_true(again: BeadDataset, one_slide: Slide) -> None:
    found = summarize_beads(again).repeat
    assert found is not None
    assert found.beads == 9
    which = _truth(again, one_slide)
    error = 1000 * again.measures["focus_um"].to_numpy(float) - (MIDDLE_NM - one_slide.height_nm[which])
    error -= np.array([np.median(error[again.stack == stack]) for stack in range(3)])[again.stack]
    assert error.std() < 10
    # What the recordings of a bead have in common does not show; what differs from one to the next does.
    noise = error - np.array([error[which == bead].mean() for bead in range(9)])[which]
    assert 0 < found.sd_nm < 2 * noise.std() * np.sqrt(3 / 2)


def test_which_beads_are_the_same_is_stored_and_found_out_again(again: BeadDataset, tmp_path: Path) -> None:
    write_bead_set(tmp_path / "b.zarr", again)
    assert read_bead_set(tmp_path / "b.zarr").bead_id.tolist() == again.bead_id.tolist()
    shutil.rmtree(tmp_path / "b.zarr" / "bead_id")
    older = read_bead_set(tmp_path / "b.zarr")
    assert older.bead_id.tolist() == again.bead_id.tolist()
    assert older.digest() == again.digest()


def test_one_bead_given_twice_is_one(one_slide: Slide) -> None:
    lone = Slide(np.array([30.2]), np.array([29.7]), np.zeros(1), np.array([40_000.0]))
    pixels = photograph(lone, 60, np.random.default_rng(5))
    with pytest.warns(EasyZlocWarning) as said:
        beads = build_bead_set([stack_of(pixels, "a.tif"), stack_of(pixels, "b.tif")], RESPONSE, PIXEL_NM)
    assert any("are copies" in str(one.message) for one in said)
    assert (beads.accepted.sum(), beads.distinct) == (1, 1)
    rois = np.stack([pixels[:, 15:46, 15:46], pixels[:, 14:45, 16:47]])
    with pytest.warns(EasyZlocWarning) as said:
        cut = bead_set_from_rois(rois, RESPONSE, PIXEL_NM, 60.0)
    assert any("1 of the ROIs are copies" in str(one.message) for one in said)
    assert (cut.accepted.sum(), cut.distinct) == (1, 1)


def test_other_slides_are_never_the_same() -> None:
    rng = np.random.default_rng(6)
    for count, extent in ((3, 100.0), (10, 200.0), (60, 512.0), (250, 512.0)):
        for _ in range(10):
            first, second = rng.uniform(0, extent, (2, count, 2))
            assert common_offset(first, second, (int(extent), int(extent))) is None
            # Two fields that share a quarter.
            moved = np.array([extent / 2, extent / 2])
            shared = np.all(first >= moved, axis=1)
            if shared.sum() >= 8:
                second = np.concatenate([second[np.any(second > moved, axis=1)], first[shared] - moved])
                offset = common_offset(first, second + rng.normal(0, 0.3, second.shape), (int(extent), int(extent)))
                assert offset == pytest.approx(-moved, abs=1)


@pytest.mark.slow
def test_labels_of_a_real_slide_in_three_recordings(shared_data: Path) -> None:
    sources = [shared_data / f"real_astigmatic_quadrant_{number}.tif" for number in (1, 2, 3)]
    if not all(source.is_file() for source in sources):
        pytest.skip("the real quadrants are not beside this checkout")
    with pytest.warns(EasyZlocWarning, match="show the same beads, up to 10 of them"):
        beads = beads_from_sources(
            sources, z_step_nm=100.0, pixel_size_nm=129.0, baseline_adu=100.0, electrons_per_adu=0.5
        )
    kept = np.flatnonzero(beads.accepted)
    # Ten places in each stack, of which one is accepted in none.
    assert beads.distinct == 9 < len(kept) / 2
    planes = [tifffile.imread(source).astype(float) for source in sources]
    images = np.stack([_cut(planes[beads.stack[bead]], beads.x[bead], beads.y[bead]) for bead in kept])
    difference = 1000 * beads.measures["focus_um"].to_numpy(float)[kept] - _registered(images, 100.0)
    # The data's README: 60 nm with a curved surface, 17 nm with a flat one.
    assert np.std(difference) <= 17
    repeat = summarize_beads(beads).repeat
    assert repeat is not None
    assert repeat.sd_nm > 0


def _cut(planes: F64, x: float, y: float) -> F64:
    rows, columns = np.meshgrid(y + np.arange(-6, 7), x + np.arange(-6, 7), indexing="ij")
    image = np.stack([map_coordinates(plane, [rows, columns], order=3, mode="nearest") for plane in planes])
    image -= np.median(image[:, :, [0, -1]])
    return np.asarray(image / image.sum())


def _registered(images: F64, step_nm: float) -> F64:
    """Return where each bead is in focus, against the mean of the others: least squares over shifts, no field."""
    z = step_nm * np.arange(images.shape[1])
    inner = np.abs(z - z.mean()) <= 700
    shift = np.zeros(len(images))
    tried = np.arange(-300.0, 301.0, 10.0)
    for _ in range(5):
        moved = np.stack(
            [CubicSpline(z, one)(np.clip(z + at, z[0], z[-1])) for one, at in zip(images, shift, strict=True)]
        )
        for bead, image in enumerate(images):
            template = CubicSpline(z, (moved.sum(axis=0) - moved[bead]) / (len(images) - 1))
            wanted = image[inner].ravel()
            costs = []
            for at in tried:
                model = template(np.clip(z[inner] - shift[bead] - at, z[0], z[-1])).ravel()
                slope, level = np.polyfit(model, wanted, 1)
                costs.append(float(np.sum((slope * model + level - wanted) ** 2)))
            best = int(np.clip(np.argmin(costs), 1, len(tried) - 2))
            before, here, after = costs[best - 1 : best + 2]
            shift[bead] += tried[best] + 10 * 0.5 * (before - after) / (before - 2 * here + after)
        shift -= shift.mean()
    return shift


def test_real_rois_that_overlap_hold_different_beads(shared_data: Path) -> None:
    source = shared_data / "real_astigmatic_bead_rois_94.tif"
    with pytest.warns(EasyZlocWarning) as said:
        beads = beads_from_sources([source], rois=True, z_step_nm=50.0, pixel_size_nm=122.0)
    assert not any("copies" in str(one.message) for one in said)
    assert beads.distinct == beads.accepted.sum()
