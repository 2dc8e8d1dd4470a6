"""Crops and normalisation: what the network sees."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.camera.crops import ROI_PX, crop_photons
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.model.inputs import network_input
from easyzloc_mm.training.recipes.architectures import bicubic_matrix

FIELD = (512, 512)


def test_a_crop_is_the_pixels_in_photons_and_repeats_the_edge() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(100, 1000, (2, 30, 40), dtype=np.uint16)
    response = CameraResponse(baseline_adu=90.0, electrons_per_adu=0.5, read_noise_e=1.0)
    crops = crop_photons(frames, np.array([1, 0]), np.array([20.4, 0.2]), np.array([14.6, 2.0]), response, ROI_PX)
    assert np.allclose(crops[0], (frames[1, 8:23, 13:28].astype(float) - 90) * 0.5)
    padded = np.pad(frames[0].astype(float), 7, mode="edge")
    assert np.allclose(crops[1], (padded[2:17, 0:15] - 90) * 0.5)


def test_a_spot_looks_the_same_to_the_network_alone_and_in_any_company() -> None:
    rng = np.random.default_rng(1)
    crops = rng.poisson(30, (20, 15, 15)).astype(np.float32)
    crops[3] *= 100
    x, y = rng.uniform(0, 500, (2, 20))
    image, aux = network_input(crops, x, y, FIELD)
    for i in (0, 7, 19):
        alone = network_input(crops[i : i + 1], x[i : i + 1], y[i : i + 1], FIELD)
        assert np.array_equal(alone[0][0], image[i])
        assert np.array_equal(alone[1][0], aux[i])
    assert np.allclose(image.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    assert np.allclose(aux[:, 4], x - np.rint(x), atol=1e-5)
    unknown = network_input(crops, x, y, FIELD, field_known=False)[1]
    assert not unknown[:, :2].any()
    assert np.array_equal(unknown[:, 2:], aux[:, 2:])


def test_bicubic_weights_sum_to_one_and_reproduce_a_ramp() -> None:
    matrix = bicubic_matrix(15, 64)
    assert np.allclose(matrix.sum(axis=0), 1, atol=1e-6)
    ramp = np.arange(15) @ matrix
    assert np.allclose(ramp[8:-8], ((np.arange(64) + 0.5) * 15 / 64 - 0.5)[8:-8], atol=1e-5)
