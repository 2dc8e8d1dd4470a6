"""Which beads train and which test, from one bead up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.accuracy import HeldOut
from easyzloc_mm.training.split import MIN_BEADS, Fold, split_beads


def beads_of(stack: list[int], region: list[int], bead_id: list[int], *, step_nm: float = 50.0) -> BeadDataset:
    count = len(stack)
    z_nm = np.arange(-1000.0, 1001.0, step_nm)
    rng = np.random.default_rng(0)
    return BeadDataset(
        rois=rng.integers(0, 1000, (count, len(z_nm), 23, 23)).astype(np.uint16),
        z_nm=np.tile(z_nm, (count, 1)).astype(np.float32),
        x=np.full(count, 11.0), y=np.full(count, 11.0), roi_x0=np.zeros(count, np.int64),
        roi_y0=np.zeros(count, np.int64), stack=np.array(stack), region=np.array(region),
        accepted=np.ones(count, bool), reason=("",) * count,
        response=CameraResponse(baseline_adu=0, electrons_per_adu=1, read_noise_e=1), pixel_size_nm=110.0,
        field_size_px=(512, 512), field_known=True, bead_id=np.array(bead_id),
    )  # fmt: skip


def _beads_in(beads: BeadDataset, fold: Fold) -> tuple[set[int], set[int]]:
    train, test = (set(beads.bead_id[part.chosen].tolist()) for part in (fold.train, fold.test))
    return train, test


def test_enough_beads_are_split_once() -> None:
    numbers = list(range(MIN_BEADS))
    split = split_beads(beads_of([0] * MIN_BEADS, numbers, numbers), 0)
    assert (split.held_out, split.folds) == (HeldOut.BY_BEAD, ())
    assert sorted([*split.train, *split.validation, *split.test]) == numbers
    assert len(split.test) >= 2


@pytest.mark.parametrize("count", [2, 3, 6, 7])
def test_few_beads_are_tested_in_turn(count: int) -> None:
    numbers = list(range(count))
    beads = beads_of([0] * count, numbers, numbers)
    split = split_beads(beads, 1)
    assert split.held_out is HeldOut.BY_BEAD
    assert split.train.tolist() == numbers
    assert not len(split.test)
    assert len(split.folds) == min(count, 3)
    tested = [bead for fold in split.folds for bead in fold.test.chosen.tolist()]
    assert sorted(tested) == numbers
    for fold in split.folds:
        train, test = _beads_in(beads, fold)
        assert train.isdisjoint(test)
        assert train | test == set(numbers)


def test_six_beads_in_two_recordings_are_six() -> None:
    beads = beads_of([0] * 6 + [1] * 6, list(range(12)), list(range(6)) * 2)
    split = split_beads(beads, 0)
    assert split.held_out is HeldOut.BY_BEAD
    assert len(split.folds) == 3
    for fold in split.folds:
        train, test = _beads_in(beads, fold)
        assert train.isdisjoint(test)


def test_recordings_do_not_make_up_for_beads() -> None:
    beads = beads_of([0] * 12 + [1] * 12 + [2] * 12, list(range(36)), list(range(12)) * 3)
    split = split_beads(beads, 0)
    for part in (split.validation, split.test):
        assert len(set(beads.bead_id[part].tolist())) >= 2


def test_a_bead_that_was_recorded_again_joins_regions_of_two_stacks() -> None:
    # Beads 0 and 1 share pixels in the first stack, 1 and 2 in the second.
    beads = beads_of([0, 0, 1, 1, *[2] * 8], [0, 0, 1, 1, *range(2, 10)], [0, 1, 1, 2, *range(4, 12)])
    for seed in range(5):
        split = split_beads(beads, seed)
        where = [name for name in ("train", "validation", "test") for one in getattr(split, name) if one < 4]
        assert len(where) == 4
        assert len(set(where)) == 1


def test_one_bead_is_tested_in_its_other_planes() -> None:
    beads = beads_of([0, 1], [0, 1], [0, 0])
    beads = replace(beads, z_nm=np.where(np.arange(41) < 3, np.nan, beads.z_nm).astype(np.float32))
    split = split_beads(beads, 0)
    assert split.held_out is HeldOut.BY_PLANES
    for fold in split.folds:
        train, test = (np.isfinite(part.beads.z_nm) for part in (fold.train, fold.test))
        assert not (train & test).any()
        assert ((train | test) == np.isfinite(beads.z_nm)).all()
        assert abs(int(train.sum()) - int(test.sum())) <= 2


def test_planes_too_far_apart_are_not_halved() -> None:
    split = split_beads(beads_of([0], [0], [0], step_nm=200.0), 0)
    assert (split.held_out, split.folds) == (HeldOut.NONE, ())


def test_no_bead_is_no_training() -> None:
    with pytest.raises(InputError, match="no accepted bead"):
        split_beads(replace(beads_of([0], [0], [0]), accepted=np.zeros(1, bool)), 0)
