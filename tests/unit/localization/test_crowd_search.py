"""A better explanation of a crowd is found where fits from where the emitters are do not reach it."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.localization.matched.crowds.members import Emitters
from easyzloc_mm.localization.matched.crowds.search import CrowdSearch
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import add_emitters, refit
from easyzloc_mm.psf.mle import SpotPrior
from easyzloc_mm.typing import F32, F64
from tests.helpers.ring_psf import ring_psf

SIDE, BACKGROUND, THRESHOLD, ROUNDS = 128, 20.0, 5.0, 25
NO_NOISE = np.zeros((1, 1), np.float32)
PRIOR = SpotPrior(np.zeros(1), np.zeros(1), 0.5, np.log(2500.0), 1.2)
PAIR = ((60.3, 63.8, -400.0, 3000.0), (66.1, 64.6, 300.0, 3000.0))
FAR = (74.0, 64.0, 0.0, 3000.0)
NM_APART = 100.0


@pytest.fixture(scope="module")
def table() -> SplinePsf:
    return ring_psf().table((SIDE, SIDE))


def emitters(table: SplinePsf, *rows: tuple[float, float, float, float]) -> Emitters:
    """Emitters at x, y (px), z (nm), of so many photons."""
    theta = np.array([(*row, BACKGROUND) for row in rows])
    theta[:, 2] = (theta[:, 2] - table.z_start_nm) / table.z_pitch_nm
    return Emitters(theta, np.zeros(len(rows), np.int64), np.full(len(rows), 9.0), np.full(len(rows), -1))


def light_of(table: SplinePsf, found: Emitters) -> F32:
    light = np.zeros((SIDE, SIDE), np.float32)
    add_emitters(table.coefficients, found.place, found.theta, sized(table.roi_px), light)
    return light


def depths_nm(table: SplinePsf, found: Emitters) -> F64:
    """Depths from left to right."""
    return np.asarray(table.z_start_nm + table.z_pitch_nm * found.theta[np.argsort(found.theta[:, 0]), 2])


def frame_of(table: SplinePsf, seed: int, *others: tuple[float, float, float, float]) -> F32:
    light = light_of(table, emitters(table, *PAIR, *others)) + BACKGROUND
    return np.random.default_rng(seed).poisson(light).astype(np.float32)


def searched(table: SplinePsf, photons: F32, found: Emitters, turns: int = 3) -> tuple[Emitters, F32]:
    model = light_of(table, found)
    search = CrowdSearch(table, PRIOR, photons, NO_NOISE, model, found)
    for _ in range(turns):
        search.improve(THRESHOLD)
    return search.found, model


@pytest.mark.parametrize("seed", range(3))
def test_an_emitter_at_the_wrong_depth_goes_to_the_right_one_where_fits_together_leave_it(
    table: SplinePsf, seed: int
) -> None:
    photons, truth = frame_of(table, seed), [row[2] for row in PAIR]
    (x, y, z, light), other = PAIR
    wrong = emitters(table, (x, y, -z, light), other)
    found, _ = searched(table, photons, emitters(table, (x, y, -z, light), other))
    assert depths_nm(table, found) == pytest.approx(truth, abs=NM_APART)
    model, nothing = light_of(table, wrong), (np.array([4.0, 0.0, 0.0]), np.zeros((2, 2)))
    chosen, rows, size = np.arange(2), np.zeros((2, 12)), sized(table.roi_px)
    tables = table.coefficients, table.padded
    refit(photons, NO_NOISE, model, *tables, wrong.place, wrong.theta, chosen, *nothing, ROUNDS, size, rows)
    assert abs(depths_nm(table, wrong)[0] - truth[0]) > 3 * NM_APART


@pytest.mark.parametrize("seed", range(3))
def test_who_is_not_needed_goes_and_who_is_stays(table: SplinePsf, seed: int) -> None:
    photons = frame_of(table, seed)
    (x, y, z, light), other = PAIR
    needless = (x + 1.5, y + 1.0, z, 250.0), (x + 3.0, y + 6.0, 0.0, 60.0)
    found, _ = searched(table, photons, emitters(table, (x, y, z, light - 250.0), other, *needless))
    assert np.sort(found.theta[:, 0]) == pytest.approx([PAIR[0][0], PAIR[1][0]], abs=0.5)
    assert depths_nm(table, found) == pytest.approx([PAIR[0][2], PAIR[1][2]], abs=NM_APART)


def test_the_light_is_that_of_those_who_are_left_whatever_was_tried(table: SplinePsf) -> None:
    photons = frame_of(table, 5)
    (x, y, z, light), other = PAIR
    beyond = (-0.4, 3.0, 0.0, 900.0), (3.0, 5.0, 0.0, 900.0)  # nothing is there
    found, model = searched(
        table, photons, emitters(table, (x, y, -z, light), (x + 1, y + 1, z, 500.0), other, *beyond)
    )
    assert len(found) < 5
    assert model == pytest.approx(light_of(table, found), abs=0.01)


def test_emitters_that_are_added_are_tried_too(table: SplinePsf) -> None:
    photons = frame_of(table, 7)
    (x, y, z, light), other = PAIR
    first = emitters(table, other)
    model = light_of(table, first)
    search = CrowdSearch(table, PRIOR, photons, NO_NOISE, model, first)
    search.improve(THRESHOLD)
    search.add(emitters(table, (x, y, -z, light)))
    for _ in range(2):
        search.improve(THRESHOLD)
    assert depths_nm(table, search.found) == pytest.approx([PAIR[0][2], PAIR[1][2]], abs=NM_APART)


@pytest.mark.parametrize("seed", range(3))
def test_one_emitter_in_the_place_of_two_becomes_two(table: SplinePsf, seed: int) -> None:
    """At depths of their own, where trying other depths of the one cannot explain both."""
    photons = frame_of(table, seed, FAR)
    middle = np.mean([row[:2] for row in PAIR], axis=0)
    found, model = searched(table, photons, emitters(table, (*middle, 0.0, 6000.0), FAR), turns=2)
    assert len(found) == 2
    search = CrowdSearch(table, PRIOR, photons, NO_NOISE, model, found)
    search.improve(THRESHOLD)
    search.tell_apart(THRESHOLD)
    for _ in range(2):
        search.improve(THRESHOLD)
    left = search.found.theta[search.found.theta[:, 0] < FAR[0] - 3.0]
    assert np.sort(left[:, 0]) == pytest.approx([PAIR[0][0], PAIR[1][0]], abs=0.5)
    assert depths_nm(table, search.found)[:2] == pytest.approx([PAIR[0][2], PAIR[1][2]], abs=NM_APART)
    assert model == pytest.approx(light_of(table, search.found), abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_who_is_explained_stays_one(table: SplinePsf, seed: int) -> None:
    photons = frame_of(table, seed)
    found, model = searched(table, photons, emitters(table, *PAIR))
    search = CrowdSearch(table, PRIOR, photons, NO_NOISE, model, found)
    search.tell_apart(THRESHOLD)
    assert len(search.found) == 2
    assert search.found.theta == pytest.approx(found.theta)
