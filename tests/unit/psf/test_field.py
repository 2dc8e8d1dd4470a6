"""Places in the field, the terms of its polynomial, and the background of a spot's image."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.field_polynomial import field_coordinates, number_of_terms, polynomial, powers
from easyzloc_mm.psf.bead_psf import BeadPsfs, SplinePsf
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.registration import rim_background
from easyzloc_mm.typing import F32, F64


def test_places_run_from_centre_to_centre_of_the_outermost_pixels() -> None:
    place = field_coordinates(np.array([0.0, 255.5, 511.0]), np.array([0.0, 0.0, 99.0]), (512, 100))
    assert np.array_equal(place, [[-1, -1], [0, -1], [1, 1]])
    single = np.array([3.0], np.float32)
    assert field_coordinates(single, single, (512, 512)).dtype == np.float32  # as networks were trained
    assert np.isfinite(field_coordinates(np.zeros(1), np.zeros(1), (1, 1))).all()


def test_terms_stand_in_the_order_in_which_models_store_them() -> None:
    assert powers(2) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    assert polynomial(np.array([[2.0, 3.0]]), 2).tolist() == [[1, 3, 9, 2, 6, 4]]
    assert all(number_of_terms(degree) == len(powers(degree)) for degree in range(6))


def test_the_background_comes_from_all_four_sides() -> None:
    images = np.full((2, 5, 5), 1000.0)
    images[:, [0, -1], :] = images[:, :, [0, -1]] = 10.0
    images[1] += 2
    assert rim_background(images).tolist() == [10, 12]
    assert rim_background(images, together=True) == 11
    images[:, :, 0] = 500.0  # one bright side is no background
    assert rim_background(images[0]) == 10


def test_a_bright_bead_counts_for_more_than_dim_ones() -> None:
    """All show the same image, each with noise of its own; of beads that are alike, the mean is taken as ever."""
    rng = np.random.default_rng(4)
    image = rng.uniform(0, 1, (12, 29, 29))
    sd = np.array([0.02, *[0.4] * 5])
    count = len(sd)
    shown = (image + sd[:, None, None, None] * rng.normal(size=(count, *image.shape))).astype(np.float32)
    limits = np.full(count, 400.0, np.float32)
    table = SplinePsf(shown, -440.0, 80.0, -limits, limits, np.zeros(count), np.zeros(count))

    def measured(noise: F64) -> F32:
        source = BeadPsfs(table, (64, 64), False, 1.0, bead_id=np.arange(count), noise=noise)
        return np.asarray(FieldPsf.measure(source).coefficients[0])

    assert np.std(measured(sd**2) - image) < 0.03
    assert np.std(measured(np.ones(count)) - image) > 0.1
    assert np.array_equal(measured(np.ones(count)), measured(np.empty(0)))
