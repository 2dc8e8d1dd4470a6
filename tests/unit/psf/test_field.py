"""Places in the field, the terms of its polynomial, and the background of a spot's image."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.field_polynomial import field_coordinates, number_of_terms, polynomial, powers
from easyzloc_mm.psf.registration import rim_background


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
