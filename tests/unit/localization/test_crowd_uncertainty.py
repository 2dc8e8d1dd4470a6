"""Fits of overlapping emitters scatter as widely as their uncertainty says, once that of the neighbours is in it."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.localization.matched.crowds.uncertainty import widening
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import add_emitters, refit
from easyzloc_mm.psf.mle import SpotPrior
from easyzloc_mm.typing import F32, F64
from tests.helpers.ring_psf import ring_psf

SIDE, BACKGROUND, DRAWS, ROUNDS, REACH_PX = 48, 20.0, 300, 25, 12.0
NO_NOISE = np.zeros((1, 1), np.float32)
NO_PRIOR = SpotPrior(np.zeros(1), np.zeros(1), np.inf, 0.0, np.inf)


@pytest.fixture(scope="module")
def table() -> SplinePsf:
    return ring_psf().table((SIDE, SIDE))


def emitters(table: SplinePsf, *rows: tuple[float, float, float, float]) -> F64:
    """x, y (px), z (knots), photons, background of emitters at x, y (px), z (nm), photons."""
    theta = np.array([(*row, BACKGROUND) for row in rows])
    theta[:, 2] = (theta[:, 2] - table.z_start_nm) / table.z_pitch_nm
    return theta


def light_of(table: SplinePsf, theta: F64) -> F32:
    model = np.zeros((SIDE, SIDE), np.float32)
    add_emitters(table.coefficients, np.zeros(len(theta), np.int64), theta, sized(table.roi_px), model)
    return model


def said_widening(table: SplinePsf, theta: F64) -> F64:
    place, model = np.zeros(len(theta), np.int64), light_of(table, theta)
    return widening(table, place, theta, model, NO_NOISE, NO_PRIOR, REACH_PX)


def test_fits_of_overlapping_emitters_scatter_as_widely_as_they_say(table: SplinePsf) -> None:
    truth = emitters(table, (22.3, 23.8, -250.0, 2500.0), (26.9, 24.6, 300.0, 3000.0), (24.1, 28.2, 150.0, 2000.0))
    model, place, chosen = light_of(table, truth), np.zeros(len(truth), np.int64), np.arange(len(truth))
    rng, fits, alone = np.random.default_rng(1), [], []
    for _ in range(DRAWS):
        photons = rng.poisson(model + BACKGROUND).astype(np.float32)
        theta, light, rows = truth.copy(), model.copy(), np.zeros((len(truth), 12))
        size = sized(table.roi_px)
        tables = table.coefficients, table.padded
        refit(
            photons, NO_NOISE, light, *tables, place, theta, chosen, np.zeros(3), np.zeros((3, 2)), ROUNDS, size, rows
        )
        fits.append(theta[:, :3])
        alone.append(rows[:, [8, 9, 6]])
    scatter, stated = np.std(fits, axis=0), np.mean(alone, axis=0)
    factor = said_widening(table, truth)
    # Of a standard deviation, 300 draws give 4 %; five times that is allowed for.
    assert scatter / (stated * factor) == pytest.approx(np.ones((3, 3)), abs=0.2)
    assert (scatter / stated).max() > 1.4


def test_the_nearer_the_neighbour_the_less_is_known_and_by_itself_nothing_is_lost(table: SplinePsf) -> None:
    factors = [
        said_widening(table, emitters(table, (20.0, 24.0, 0.0, 2000.0), (20.0 + away, 24.0, 100.0, 2000.0)))[0]
        for away in (3.0, 4.5, 7.0, 11.0)
    ]
    assert (np.diff(factors[:3], axis=0) < 0).all()
    assert factors[0][0] > 1.1
    assert factors[-1] == pytest.approx(np.ones(3), abs=0.02)
    far = emitters(table, (10.0, 24.0, 0.0, 2000.0), (40.0, 24.0, 0.0, 2000.0))
    assert said_widening(table, far) == pytest.approx(np.ones((2, 3)))
    assert said_widening(table, far[:1]) == pytest.approx(np.ones((1, 3)))
