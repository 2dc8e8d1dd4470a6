"""The likelihood fit under a measured PSF, against scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from easyzloc_mm.benchmarks.fixtures.embedded import EmitterMaker, true_table
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.psf.bead_psf import COARSE, SplinePsf
from easyzloc_mm.psf.bead_psf import point_image as point_image_of
from easyzloc_mm.psf.kernels.crop_size import cells, sized
from easyzloc_mm.psf.kernels.point_image import (
    KNOTS_PER_PX,
    coarse_images,
    ordered,
    point_image,
    workspace,
)
from easyzloc_mm.psf.mle import SpotPrior, fit_psf, likely_depths
from easyzloc_mm.simulator.optics.objective import embedded_optics
from tests.helpers.exact_psf import exact_table, image_of

SIZE = sized(ROI_PX)
CELLS = cells(SIZE)


@pytest.fixture(scope="module")
def table() -> SplinePsf:
    return exact_table()


def _places() -> np.ndarray:
    """Which pixel (counted from 1) each cell of the kernels' order holds; 0 where it holds none."""
    place = np.zeros(CELLS, np.float32)
    numbers = np.arange(1, ROI_PX**2 + 1, dtype=np.float32).reshape(ROI_PX, ROI_PX)
    ordered(numbers, np.float32(0), SIZE, place, np.float32(0))
    return place


@pytest.mark.parametrize("x", [-1.6, -0.31, 0.0, 0.5, 1.6])
@pytest.mark.parametrize(("y", "z_nm"), [(-1.6, -390.0), (0.0, 0.0), (0.77, 120.0), (1.6, 400.0)])
def test_the_fits_image_and_its_derivatives_are_scipys(table: SplinePsf, x: float, y: float, z_nm: float) -> None:
    images, place = np.zeros(4 * CELLS, np.float32), _places()
    flat = table.padded[0]
    point_image(flat, x, y, (z_nm - table.z_start_nm) / table.z_pitch_nm, SIZE, workspace(SIZE), images)
    pixels = np.empty((4, ROI_PX**2))
    pixels[:, place[place > 0].astype(int) - 1] = images.reshape(4, CELLS)[:, place > 0]
    scale = [1, -KNOTS_PER_PX, -KNOTS_PER_PX, 1 / table.z_pitch_nm]
    said = pixels.reshape(4, ROI_PX, ROI_PX) * np.array(scale)[:, None, None]
    true = image_of(table, x, y, z_nm)
    assert np.abs(said[0] - true).max() < 1e-5 * true.max()
    for derivative, step, nudge in (
        (said[1], (1e-3, 0, 0), 1e-3),
        (said[2], (0, 1e-3, 0), 1e-3),
        (said[3], (0, 0, 0.1), 0.1),
    ):
        ahead, behind = (image_of(table, *np.add((x, y, z_nm), np.multiply(sign, step))) for sign in (1, -1))
        slope = (ahead - behind) / (2 * nudge)
        assert np.abs(derivative - slope).max() < 1e-3 * np.abs(slope).max()


def test_the_quick_look_over_depths_finds_where_to_start(table: SplinePsf) -> None:
    flat = table.coarse[0]
    images, place = np.zeros((8, CELLS), np.float32), _places()
    coarse_images(flat, 0.4, -0.3, SIZE, workspace(SIZE), images)
    for k, image in enumerate(images):
        true = image_of(table, 0.4, -0.3, table.z_start_nm + (1 + k * COARSE) * table.z_pitch_nm)
        assert np.abs(image[place > 0] - true.ravel()[place[place > 0].astype(int) - 1]).max() < 1e-5 * true.max()
    profile = load_profile("demo")
    molecules = EmitterMaker(profile, np.array([120.0]), np.array([400.0]), 300, 500.0, 0).light(
        (4000, 6000), (20, 40), 1
    )
    prior = EmitterPrior().prior(molecules.x, molecules.y)
    depths = likely_depths(molecules.crops, table, np.zeros(300, np.int64), 1.5, prior)
    away = np.abs(depths - molecules.z_nm[:, None])
    assert np.mean(np.nanmin(away, axis=1) < 1.5 * COARSE * table.z_pitch_nm) > 0.97
    assert np.mean(away[:, 0] < 1.5 * COARSE * table.z_pitch_nm) > 0.9
    assert np.isnan(depths[:, 1:]).mean() > 0.3


@pytest.mark.parametrize(("x", "y"), [(2.5, -0.4), (-0.3, 2.7), (-2.8, -2.6)])
def test_a_molecule_far_from_the_middle_of_its_crop_is_found_there(table: SplinePsf, x: float, y: float) -> None:
    """A Gaussian fit misses a skewed, defocused spot by up to two pixels."""
    rows, columns = np.clip(np.arange(15) - round(y), 0, 14), np.clip(np.arange(15) - round(x), 0, 14)
    image = image_of(table, x - round(x), y - round(y), 100.0)[rows][:, columns]
    crop = np.random.default_rng(7).poisson(8000 * image + 20).astype(np.float32)
    fit = fit_psf(crop[None], table, np.zeros(1, np.int64), np.array([50.0]), 0.0)
    assert fit.x_px[0, 0] == pytest.approx(x, abs=0.1)
    assert fit.y_px[0, 0] == pytest.approx(y, abs=0.1)
    assert fit.z_nm[0, 0] == pytest.approx(100, abs=40)


def test_the_fit_agrees_with_scipy_on_the_same_likelihood(table: SplinePsf) -> None:
    rng = np.random.default_rng(5)
    truth = np.array([0.2, -0.3, 210.0, 3000.0, 25.0])
    mean = truth[3] * image_of(table, *truth[:3]) + truth[4]
    crop = rng.poisson(mean).astype(np.float32)
    fit = fit_psf(crop[None], table, np.zeros(1, np.int64), np.array([150.0]), 0.0)

    def deviance(theta: np.ndarray) -> float:
        mu = 1000 * theta[3] * image_of(table, theta[0], theta[1], 100 * theta[2]) + 10 * theta[4]
        return float(2 * np.sum(mu - crop + crop * np.log(np.maximum(crop, 1e-9) / np.maximum(mu, 1e-9))))

    best = minimize(deviance, [0.0, 0.0, 1.5, 2.5, 2.0], method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-5})
    assert fit.z_nm[0, 0] == pytest.approx(100 * best.x[2], abs=0.5)
    assert fit.deviance[0, 0] == pytest.approx(best.fun, abs=0.02)
    assert fit.x_px[0, 0] == pytest.approx(best.x[0], abs=0.005)


@pytest.mark.slow
def test_a_larger_crop_is_drawn_as_by_the_plainer_kernel() -> None:
    edge_px = 21
    wide = true_table(
        embedded_optics(load_profile("demo")), np.array([120.0]), np.array([400.0]), 300.0, roi_px=edge_px
    )  # fmt: skip
    size, half = sized(edge_px), edge_px // 2
    place, images = np.zeros(cells(size), np.float32), np.zeros(4 * cells(size), np.float32)
    ordered(np.arange(1, edge_px**2 + 1, dtype=np.float32).reshape(edge_px, edge_px), np.float32(0), size, place, 0.0)
    depth = (150.0 - wide.z_start_nm) / wide.z_pitch_nm
    point_image(wide.padded[0], 0.3, -0.2, depth, size, workspace(size), images)
    drawn = np.zeros(edge_px**2)
    drawn[place[place > 0].astype(int) - 1] = images[: cells(size)][place > 0]
    true = point_image_of(wide, 0, 150.0, 0.3, -0.2, half).ravel()
    assert np.abs(drawn - true).max() < 1e-5 * true.max()


@pytest.mark.slow
def test_a_larger_crop_is_fitted_by_the_same_likelihood() -> None:
    """Scipy's deviance is that of the whole crop, and the optimum is where it is least."""
    wide = true_table(embedded_optics(load_profile("demo")), np.array([120.0]), np.array([400.0]), 600.0, roi_px=21)
    mean = 3000 * point_image_of(wide, 0, 250.0, 0.3, -0.2, 10) + 25.0
    crop = np.random.default_rng(6).poisson(mean).astype(np.float32)
    fit = fit_psf(
        crop[None], wide, np.zeros(1, np.int64), likely_depths(crop[None], wide, np.zeros(1, np.int64), 0.0), 0.0
    )

    def deviance(theta: np.ndarray) -> float:
        mu = 1000 * theta[3] * point_image_of(wide, 0, 100 * theta[2], theta[0], theta[1], 10) + 10 * theta[4]
        return float(2 * np.sum(mu - crop + crop * np.log(np.maximum(crop, 1e-9) / np.maximum(mu, 1e-9))))

    best = int(np.argmin(fit.deviance[0]))
    found = [fit.x_px[0, best], fit.y_px[0, best], fit.z_nm[0, best] / 100, fit.photons[0, best] / 1000]
    start = np.array([*found, fit.background[0, best] / 10])
    assert fit.deviance[0, best] == pytest.approx(deviance(start), abs=0.05)
    assert minimize(deviance, start, method="Nelder-Mead").fun == pytest.approx(fit.deviance[0, best], abs=0.05)


def test_bright_spots_reach_the_information_limit_under_the_true_blur() -> None:
    profile = load_profile("demo")
    x, y = np.array([120.0, 300.0]), np.array([400.0, 90.0])
    exact = true_table(embedded_optics(profile), x, y, 600.0)
    molecules = EmitterMaker(profile, x, y, 400, 500.0, 0).light((10000, 10000), (20, 20), 1)
    fit = fit_psf(molecules.crops, exact, molecules.bead, np.linspace(-550, 550, 12), 1.5)
    best = np.argmin(fit.deviance, axis=1)
    rows = np.arange(len(best))
    pull = (fit.z_nm[rows, best] - molecules.z_nm) / molecules.limit_nm
    assert 0.9 < np.std(pull) < 1.15
    assert np.median(fit.sigma_nm[rows, best] / molecules.limit_nm) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("beside_px", [0.0, 0.25])
def test_a_prior_on_the_place_adds_nothing_to_what_the_data_say(table: SplinePsf, beside_px: float) -> None:
    rng, count = np.random.default_rng(7), 60
    image = image_of(table, 0.2, -0.3, 200.0)
    crops = rng.poisson(np.maximum(900 * image / image.sum(), 0) + 20, (count, ROI_PX, ROI_PX)).astype(np.float32)
    place, starts = np.zeros(count, np.int64), np.full((count, 1), 200.0)
    free = fit_psf(crops, table, place, starts, 0.0)
    sigma_px = float(np.median(free.sigma_x_px))
    prior = SpotPrior(
        free.x_px[:, 0] + beside_px, free.y_px[:, 0] + beside_px, 3 * sigma_px, np.log(900.0), 100.0
    )  # fmt: skip
    held = fit_psf(crops, table, place, free.z_nm, 0.0, prior)
    for name in ("sigma_x_px", "sigma_y_px", "sigma_nm"):
        assert np.median(getattr(held, name) / getattr(free, name)) == pytest.approx(1.0, abs=0.02)
    for name, spread in (("x_px", "sigma_x_px"), ("y_px", "sigma_y_px"), ("z_nm", "sigma_nm")):
        moved = (getattr(held, name) - getattr(free, name)) / getattr(free, spread)
        # As it is, such a prior would draw a fit a tenth of the way to its place.
        assert np.abs(np.median(moved)) < 0.03 * max(beside_px / sigma_px, 1.0)


def test_a_known_background_moves_a_fit_as_far_as_its_own_uncertainty_allows(table: SplinePsf) -> None:
    rng, count, sd = np.random.default_rng(8), 80, 0.3
    image = image_of(table, 0.2, -0.3, 350.0)
    crops = rng.poisson(np.maximum(1500 * image / image.sum(), 0) + 20, (count, ROI_PX, ROI_PX)).astype(np.float32)
    place, starts = np.zeros(count, np.int64), np.full((count, 1), 350.0)
    free = SpotPrior(np.full(count, 0.2), np.full(count, -0.3), 0.5, np.log(1500.0), 100.0)
    level = rng.normal(20, sd, count)
    fit = fit_psf(crops, table, place, starts, 0.0, free)
    knows = replace(free, background=level, background_sd=np.full(count, sd))
    held = fit_psf(crops, table, place, fit.z_nm, 0.0, knows)
    # Two measurements of one number, each with its own error.
    own, known = fit.sigma_background**-2, sd**-2
    joint = (own * fit.background + known * level[:, None]) / (own + known)
    assert held.background == pytest.approx(joint, abs=0.1)
    assert np.median(held.sigma_background * np.sqrt(own + known)) == pytest.approx(1, abs=0.03)
    # What is known of one parameter makes another certain that is hard to tell from it.
    assert np.median(held.sigma_photons) < 0.95 * np.median(fit.sigma_photons)
    nothing = replace(free, background=np.zeros(count), background_sd=np.full(count, np.inf))
    same = fit_psf(crops, table, place, starts, 0.0, nothing)
    for name in ("z_nm", "photons", "background", "deviance", "sigma_nm"):
        assert np.array_equal(getattr(same, name), getattr(fit, name))
