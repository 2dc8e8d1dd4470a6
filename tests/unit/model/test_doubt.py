"""Which depths are doubted: two that one uncertainty spans, and those of images that the frame shows in part."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import ROI_PX, UNSEEN_NOISE_E
from easyzloc_mm.model.likelihood_refinement import POOLED, Maxima, refined
from easyzloc_mm.model.mixture import APART_SIGMAS, Mixture, Posterior
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.psf.bead_psf import SplinePsf, point_image
from easyzloc_mm.psf.mle import SpotFits
from tests.helpers.localize_bench import small_bundle

FIELD, BACKGROUND, PHOTONS = (64, 64), 20.0, 3000.0


def _torn(apart_nm: float, sigma_nm: float) -> tuple[Posterior, Maxima]:
    """A network and a likelihood that hold the same two depths for equally possible."""
    mixture = Mixture(np.full((1, 2), 0.5), np.array([[0.0, apart_nm]]), np.full((1, 2), sigma_nm))
    nothing = {one.name: np.zeros((1, 2)) for one in fields(SpotFits)}
    fits = SpotFits(**{**nothing, "z_nm": mixture.mean_nm, "sigma_nm": mixture.sd_nm})
    return Posterior(*mixture.main_mode(), mixture), Maxima(fits, mixture.weight)


@pytest.mark.parametrize("apart_nm", [120.0, 300.0, 700.0])
def test_two_depths_are_doubted_also_where_one_uncertainty_spans_both(apart_nm: float) -> None:
    network, likelihood = _torn(apart_nm, 15.0)
    found = refined(network, network.sigma_nm, likelihood)
    assert found.way[0] == POOLED
    assert found.reach_nm[0] == pytest.approx(APART_SIGMAS * 15.0)
    assert found.p_outlier[0] > 0.4


def test_by_the_stated_uncertainty_they_would_not_be() -> None:
    network, likelihood = _torn(120.0, 15.0)
    found = refined(network, network.sigma_nm, likelihood, by_image=False)
    assert found.lpz_nm[0] > 50.0
    assert found.p_outlier[0] < 0.01


def test_a_single_depth_is_not_doubted() -> None:
    network, likelihood = _torn(0.0, 15.0)
    assert refined(network, network.sigma_nm, likelihood).p_outlier[0] < 0.01


def _crops(table: SplinePsf, z_nm: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    images = np.stack([point_image(table, 0, z, 0.2, -0.1, ROI_PX // 2) for z in z_nm])
    return rng.poisson(BACKGROUND + PHOTONS * images).astype(np.float32)


def test_where_the_frame_ends_the_network_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor.load(small_bundle(tmp_path / "model", field=FIELD))
    z_nm = np.tile(np.linspace(100.0, 600.0, 20), 2)
    crops = _crops(predictor.psf[1], z_nm, 4)
    cut = np.arange(len(z_nm)) < 20
    noise = np.full(crops.shape, 1.5, np.float32)
    noise[cut, :, : ROI_PX // 2 - 1] = UNSEEN_NOISE_E
    crops[cut, :, : ROI_PX // 2 - 1] = crops[cut, :, ROI_PX // 2 - 1, None]  # as crops are cut there
    x = y = np.full(len(z_nm), 32.0)
    real = Predictor.raw_output

    def answers(shift: float) -> NDArray[np.float32]:
        def raw_output(self: Predictor, *of: NDArray[np.float32]) -> NDArray[np.float32]:
            return real(self, *of) + np.float32(shift)

        monkeypatch.setattr(Predictor, "raw_output", raw_output)
        found = predictor.predict(crops, x, y, read_noise_e=noise)
        return np.stack([found.z_nm, found.lpz_nm])

    one, other = answers(0.0), answers(1.5)
    same = np.abs(one - other).max(axis=0) <= 0.05 * one[1]
    assert np.mean(same[cut]) >= 0.9  # a climb that begins at another depth ends where rounding decides
    assert np.mean(same[~cut]) <= 0.5
