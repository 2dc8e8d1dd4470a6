"""EM gain: images of a multiplying register, photon transfer on them, and fits in effective photons."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import ROI_PX, crop_photons
from easyzloc_mm.camera.exposure import camera_counts, multiplied
from easyzloc_mm.camera.photon_transfer import collect, photon_transfer
from easyzloc_mm.camera.response import EM_EXCESS, CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.psf.bead_psf import SplinePsf, point_image
from easyzloc_mm.psf.mle import fit_psf
from tests.helpers.localize_bench import widening_psf

EMCCD = CameraResponse(baseline_adu=200.0, electrons_per_adu=0.15, read_noise_e=0.5, excess_noise=EM_EXCESS)
CMOS = CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.6)


@pytest.mark.parametrize("excess", [1.0, 1.5, 2.0])
def test_a_register_keeps_the_mean_and_multiplies_the_variance(excess: float) -> None:
    rng = np.random.default_rng(1)
    electrons = rng.poisson(7.0, 200_000)
    counts = multiplied(electrons, excess, rng)
    spread = np.sqrt(excess * 7.0 / len(counts))
    assert abs(counts.mean() - 7.0) < 5 * spread
    assert counts.var() == pytest.approx(excess * 7.0, rel=0.03)  # 5 of its standard errors
    assert (counts[electrons == 0] == 0).all()


def test_effective_photons_are_as_many_as_their_variance() -> None:
    rng = np.random.default_rng(2)
    counts = camera_counts(np.full((400, 20, 20), 30.0), EMCCD, rng).astype(float)
    camera = EMCCD.effective()
    photons = (counts - camera.baseline_adu) * camera.electrons_per_adu
    assert photons.mean() == pytest.approx(30.0 / EM_EXCESS, rel=0.01)
    expected = photons.mean() + camera.read_noise_e**2 + camera.electrons_per_adu**2 / 12
    assert photons.var() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("camera", [EMCCD, CMOS], ids=["emccd", "cmos"])
def test_photon_transfer_finds_the_units_of_a_camera_whose_excess_noise_is_known(camera: CameraResponse) -> None:
    rng = np.random.default_rng(3)
    level = np.linspace(20.0, 200.0, 40)[:, None] * np.ones((1, 40))
    dark = collect(camera_counts(np.zeros((100, 40, 40)), camera, rng))
    flat = collect(camera_counts(np.broadcast_to(level, (100, 40, 40)), camera, rng))
    found = photon_transfer(dark, [flat], excess_noise=camera.excess_noise).response
    assert found.electrons_per_adu == pytest.approx(camera.electrons_per_adu, rel=0.02)
    assert found.read_noise_e == pytest.approx(camera.read_noise_e, rel=0.03)
    assert found.excess_noise == camera.excess_noise
    # Without knowing it, precision is the same: it depends on the effective camera alone.
    assert photon_transfer(dark, [flat]).response.effective() == found.effective()


def test_units_that_cannot_be_are_refused_and_files_without_em_gain_stay_as_they_are() -> None:
    assert "excess_noise" not in CMOS.model_dump(mode="json")
    assert CameraResponse.model_validate(EMCCD.model_dump(mode="json")) == EMCCD
    with pytest.raises(InputError, match="`excess_noise`"):
        CMOS.replaced(excess_noise=300.0)  # the EM gain itself
    assert CMOS.replaced(electrons_per_adu=None, excess_noise=2.0).excess_noise == 2.0


def drawn(table: SplinePsf, count: int, response: CameraResponse) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Crops in effective photons of molecules, as a camera takes them, and x, y (px), z (nm), photons."""
    rng = np.random.default_rng(4)
    truth = np.stack(
        [rng.uniform(-0.5, 0.5, count), rng.uniform(-0.5, 0.5, count), rng.uniform(200, 600, count),
         rng.uniform(2000, 4000, count)], axis=1,
    )  # fmt: skip
    light = np.stack([n * point_image(table, 0, z, x, y, ROI_PX // 2) for x, y, z, n in truth])
    frames = camera_counts(np.maximum(light, 0.0) + 20.0, response, rng)
    middle = np.full(count, ROI_PX // 2, float)
    return crop_photons(frames, np.arange(count), middle, middle, response.effective(), ROI_PX), truth


@pytest.mark.parametrize("camera", [EMCCD, CMOS], ids=["emccd", "cmos"])
def test_errors_of_fits_in_effective_photons_are_what_they_state(camera: CameraResponse) -> None:
    table = widening_psf().table((64, 64))
    crops, truth = drawn(table, 600, camera)
    starts = truth[:, 2:3] + 30.0
    read_noise_e = camera.effective().read_noise_e
    fits = fit_psf(crops, table, np.zeros(len(crops), np.int64), starts, read_noise_e)
    for found, sigma, true in (
        (fits.x_px, fits.sigma_x_px, truth[:, 0]),
        (fits.y_px, fits.sigma_y_px, truth[:, 1]),
        (fits.z_nm, fits.sigma_nm, truth[:, 2]),
        (camera.excess_noise * fits.photons, camera.excess_noise * fits.sigma_photons, truth[:, 3]),
    ):
        pull = (found[:, 0] - true) / sigma[:, 0]
        # 600 draws: a standard deviation within 4 standard errors, and next to no bias.
        assert np.std(pull) == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(pull)))
        assert abs(np.mean(pull)) < 4 / np.sqrt(len(pull)) + 0.1
