"""The parts of the bead room: profiles, registration, field surfaces, light."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import shift as ndimage_shift
from scipy.stats import skewnorm

from easyzloc_mm.beads.alignment.align import align
from easyzloc_mm.beads.alignment.registered import RegisteredStack
from easyzloc_mm.beads.alignment.sharpness import sharpness_focus
from easyzloc_mm.beads.bleaching import bleaching_per_um, brightness_ratio
from easyzloc_mm.beads.quality.checks import DEPTHS_NM, check_directions, check_verdict
from easyzloc_mm.beads.quality.coverage import field_coverage
from easyzloc_mm.beads.quality.profiles import fit_axial, fit_lateral
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.numerics.field_polynomial import polynomial, robust_surface
from easyzloc_mm.psf.registration import register, weighted_centre

GRID = np.arange(31) - 15.0


def spot(x: float, y: float, sigma: float = 1.3) -> np.ndarray:
    return np.exp(-((GRID[None] - x) ** 2 + (GRID[:, None] - y) ** 2) / (2 * sigma**2))


def test_a_skewed_gaussian_is_recognised_and_two_peaks_are_not() -> None:
    z = np.arange(-1000.0, 1001.0, 40.0)
    skewed = skewnorm.pdf(z, 3, loc=-250, scale=400)
    double = np.exp(-(((z + 400) / 150) ** 2)) + np.exp(-(((z - 400) / 150) ** 2))
    fit = fit_axial(z, np.stack([skewed / skewed.max(), double]), np.zeros((2, len(z))))
    assert fit.residual[0] < 0.01
    assert fit.residual[1] > 0.1
    above = z[skewed >= skewed.max() / 2]
    assert fit.width_nm[0] == pytest.approx(np.ptp(above), abs=80)


def test_the_lateral_fit_rejects_what_the_published_limit_lets_pass() -> None:
    rng = np.random.default_rng(0)
    inner = slice(8, 23)
    images = np.stack(
        [
            spot(0.2, -0.3)[inner, inner],
            (spot(-3, 0) + spot(3, 0))[inner, inner],
            rng.random((15, 15)),
            np.indices((15, 15)).sum(axis=0) % 2,
        ]
    )
    fit = fit_lateral(images, np.zeros_like(images))
    assert fit.residual[0] < 0.005
    assert (fit.width_px[0], fit.length_px[0]) == pytest.approx((1.3, 1.3), rel=0.03)
    for bad in (1, 2, 3):
        assert fit.residual[bad] > 0.03 or fit.length_px[bad] > 1.3 * fit.length_px[0]


def test_registration_centres_on_any_fraction_of_a_pixel() -> None:
    image = (1000 * spot(0.37, -0.81)).astype(np.float32)
    x, y = weighted_centre(image.astype(float), 15, 15)
    assert (x - 15, y - 15) == pytest.approx((0.37, -0.81), abs=0.005)
    registered = register(image[None], x, y).reshape(15, 15)
    truth = 1000 * spot(0, 0)[8:23, 8:23]
    linear = ndimage_shift(image, (0.81, -0.37), order=1)[8:23, 8:23]
    assert np.abs(registered - truth).max() < 0.5 * np.abs(linear - truth).max()
    assert np.abs(registered.sum() - truth.sum()) < 1e-3 * truth.sum()


def test_a_surface_ignores_outliers() -> None:
    rng = np.random.default_rng(1)
    place = rng.uniform(-1, 1, (200, 2))
    truth = polynomial(place, 2) @ np.array([5.0, -20, 15, 40, 0, 10])  # 1, v, v^2, u, u v, u^2
    values = truth + rng.normal(0, 2, 200)
    values[::10] += 400
    surface, _, scatter = robust_surface(values, place, np.ones(200, bool), 2)
    assert np.abs(surface - truth).max() < 3
    assert scatter == pytest.approx(2, rel=0.3)


def astigmatic(z_nm: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """An astigmatic bead, whose two sides of focus differ, with shot noise and background."""
    offsets = np.arange(15) - 7.0
    sx, sy = (1.3 * np.sqrt(1 + ((z_nm - side) / 450) ** 2)[:, None, None] for side in (250, -250))
    shape = np.exp(-(offsets[None, None] ** 2) / (2 * sx**2) - offsets[None, :, None] ** 2 / (2 * sy**2))
    image = photons * shape / shape.sum(axis=(1, 2), keepdims=True)
    return np.asarray((rng.poisson(image + 20) - 20.0).reshape(len(z_nm), -1), np.float32)


@pytest.mark.parametrize("step_nm", [10.0, 50.0])
def test_alignment_finds_fractions_of_a_plane(step_nm: float) -> None:
    rng = np.random.default_rng(2)
    stage = np.arange(-1300.0, 1301.0, step_nm)
    focus = rng.uniform(-150, 150, 24)
    photons = rng.choice([3000.0, 40000.0], 24)
    stacks = [
        RegisteredStack(astigmatic(stage - at, n, rng), stage, 0, 0, 20.0) for at, n in zip(focus, photons, strict=True)
    ]
    sharp = np.array([sharpness_focus(stack.patches, stage) for stack in stacks])
    found = align(stacks, sharp, field_known=False)
    error = found.focus_nm - focus
    assert np.std(error - error.mean()) < 4
    assert np.std(error - error.mean()) < 0.5 * np.std((sharp - focus) - np.mean(sharp - focus))


def test_alignment_ignores_brightness_and_leaves_a_missing_focus_open() -> None:
    rng = np.random.default_rng(3)
    stage = np.arange(-1300.0, 1301.0, 50.0)
    images = [astigmatic(stage - at, 30000, rng) for at in (0, 40, -60, 20, 80)]
    stacks = [RegisteredStack(image, stage, 0, 0, 20.0) for image in images]
    sharp = np.array([sharpness_focus(image, stage) for image in images])
    plain = align(stacks, sharp, field_known=False).focus_nm
    stacks[1] = RegisteredStack(3 * images[1], stage, 0, 0, 60.0)
    brighter = align(stacks, sharp, field_known=False).focus_nm
    assert brighter == pytest.approx(plain, abs=3)
    sharp[2] = np.nan
    assert np.isnan(align(stacks, sharp, field_known=False).focus_nm[2])


def test_focus_at_the_end_of_a_stack_is_no_focus() -> None:
    stage = np.arange(0.0, 1000.0, 50.0)
    rising = astigmatic(stage - 1200, 30000, np.random.default_rng(4))
    assert np.isnan(sharpness_focus(rising, stage))


def test_brightness_ratio_is_that_of_the_spots_alone() -> None:
    rng = np.random.default_rng(5)
    before = rng.poisson(20000 * spot(0, 0) + 300).astype(np.uint16)
    after = rng.poisson(18000 * spot(0, 0) + 500).astype(np.uint16)
    ratio = brightness_ratio(before, after, np.array([[15.0, 15.0], [1.0, 1.0]]))
    assert ratio == pytest.approx(0.9, abs=0.02)
    assert bleaching_per_um(0.9, 1.5) == pytest.approx(np.log(0.9) / 1.5)
    assert np.isnan(brightness_ratio(before, after, np.empty((0, 2))))


def test_one_dirty_bead_does_not_turn_its_stack_upside_down() -> None:
    random = np.random.default_rng(0)
    depth = np.linspace(-1, 1, len(DEPTHS_NM))[:, None]
    psf = np.exp(-((depth - 0.2) ** 2) * np.linspace(1, 6, 25)) + 0.3 * depth
    profiles = psf + 0.05 * random.standard_normal((20, *psf.shape))
    profiles[3] = 1e4 * psf[::-1]  # so faint that its brightness is a guess, and its shape the wrong way round
    check_directions([None, None], np.repeat([0, 1], 10), profiles)  # type: ignore[list-item]


def test_coverage_counts_cells_with_three_beads() -> None:
    corner = np.array([[10.0, 10.0]] * 3)
    assert field_coverage(corner[:, 0], corner[:, 1], (100, 100)) == pytest.approx(1 / 25)
    assert field_coverage(corner[:2, 0], corner[:2, 1], (100, 100)) == 0


def test_a_slide_of_which_most_beads_have_neighbours_is_said() -> None:
    check_verdict(["neighbour"] * 6 + [""] * 4)  # a warning would be an error
    check_verdict(["neighbour"] * 3 + [""])  # of four candidates nothing can be told
    with pytest.warns(EasyZlocWarning, match="7 of 10 candidates have another object near them.*dilute"):
        check_verdict(["neighbour"] * 7 + [""] * 3)
