"""Emitters in uneven light: fits that know of it scatter less, and as widely as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from easyzloc_mm.localization.matched.light.uneven_fit import light_around
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import add_emitters
from easyzloc_mm.psf.mle import Optimum, SpotPrior, fit_psf
from easyzloc_mm.psf.uneven_light import LIGHT_PX
from easyzloc_mm.typing import F32, F64
from tests.helpers.ring_psf import ring_psf

DRAWS, BACKGROUND, PHOTONS, READ_NOISE_E = 300, 40.0, 2500.0, 1.0
TRUE = np.array([0.2, -0.3, 250.0])


@pytest.fixture(scope="module")
def table() -> SplinePsf:
    return ring_psf().table((48, 48))


def crops_in_light(table: SplinePsf, light_sd: float) -> F32:
    """Crops of the same emitter on backgrounds that are lit differently."""
    rng, edge = np.random.default_rng(4), table.roi_px
    image = np.zeros((edge, edge), np.float32)
    theta = np.array([[edge // 2 + TRUE[0], edge // 2 + TRUE[1], 0.0, PHOTONS, 0.0]])
    theta[:, 2] = (TRUE[2] - table.z_start_nm) / table.z_pitch_nm
    add_emitters(table.coefficients, np.zeros(1, np.int64), theta, sized(edge), image)
    light = np.zeros((DRAWS, edge, edge))
    for width_px in LIGHT_PX:
        # A Gaussian that white noise is blurred with is narrower than the autocorrelation by the root of two.
        blurred = gaussian_filter(rng.normal(size=(DRAWS, 99, 99)), (0, *2 * (width_px / np.sqrt(2),)), mode="wrap")
        light += (blurred / blurred.std())[:, :edge, :edge] / np.sqrt(len(LIGHT_PX))
    expected = image + BACKGROUND + light_sd * light
    return (rng.poisson(np.maximum(expected, 0)) + rng.normal(0, READ_NOISE_E, expected.shape)).astype(np.float32)


def errors_of(table: SplinePsf, light_sd: float, said_sd: float) -> tuple[F64, F64, F64, F64]:
    """Errors, and stated uncertainties, of fits on an even background, and of those that know of the light."""
    crops, place = crops_in_light(table, light_sd), np.zeros(DRAWS, np.int64)
    prior = SpotPrior(np.full(DRAWS, TRUE[0]), np.full(DRAWS, TRUE[1]), 0.5, np.log(PHOTONS), 1.0)
    start, both = np.full((DRAWS, 1), TRUE[2]), []
    first = fit_psf(crops, table, place, start, READ_NOISE_E, prior)
    even = Optimum.of(first, place)
    found = light_around(crops, table, place, READ_NOISE_E, even, prior, np.full(DRAWS, said_sd))
    second = fit_psf(crops, table, place, start, READ_NOISE_E, prior, found.light)
    for fit, wider in ((first, np.ones(3)), (second, found.widening)):
        both.append(np.stack([fit.x_px, fit.y_px, fit.z_nm], axis=2)[:, 0] - TRUE)
        both.append(wider * np.stack([fit.sigma_x_px, fit.sigma_y_px, fit.sigma_nm], axis=2)[:, 0])
    return both[0], both[1], both[2], both[3]


def test_light_is_told_from_the_emitter_and_what_is_not_known_of_it_is_stated(table: SplinePsf) -> None:
    even, even_sd, lit, lit_sd = errors_of(table, 8.0, 8.0)
    scatter, known = (np.sqrt(np.mean(error**2, axis=0)) for error in (even, lit))
    # A root mean square of 300 draws is known to 4 %; five times that is allowed for.
    assert known / lit_sd.mean(axis=0) == pytest.approx(np.ones(3), abs=0.2)
    assert (scatter / even_sd.mean(axis=0)).max() > 1.5
    assert (known < scatter).all()
    assert known.prod() < 0.5 * scatter.prod()


def test_where_light_is_hardly_uneven_nothing_is_changed(table: SplinePsf) -> None:
    even, even_sd, lit, lit_sd = errors_of(table, 0.0, 0.05)
    assert (np.abs(lit - even) < 0.05 * even_sd.min(axis=0)).all()
    assert lit_sd == pytest.approx(even_sd, rel=0.02)
