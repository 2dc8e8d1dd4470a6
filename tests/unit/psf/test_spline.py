"""One cubic B-spline: its weights are SciPy's, and the three kernels that draw images with it agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from easyzloc_mm.numerics.spline import compiled_slopes, compiled_weights, cubic_b_spline, cubic_slopes, cubic_weights
from easyzloc_mm.psf.bead_psf import PADDING, PITCH_PX, knots_of
from easyzloc_mm.psf.kernels.crop_size import cells, lane, line, sized
from easyzloc_mm.psf.kernels.point_image import point_image, workspace
from easyzloc_mm.psf.kernels.spline import draw, drawing
from easyzloc_mm.simulator.optics.kernels import emitter_image
from easyzloc_mm.typing import F32, F64, AnyFloat

T = np.linspace(0, 1, 21)


def test_the_weights_are_scipys() -> None:
    curve = BSpline.basis_element(np.arange(-2.0, 3.0))
    at = [T + 1, T, 1 - T, 2 - T]  # distances from the four knots
    inside = [np.where(distance < 2, curve(np.minimum(distance, 2)), 0.0) for distance in at]
    assert np.allclose(cubic_weights(T), inside)
    assert np.allclose(np.sum(cubic_weights(T), axis=0), 1)
    assert np.allclose(cubic_b_spline(np.concatenate([-at[0], at[1]])), np.concatenate([inside[0], inside[1]]))
    rise = np.subtract(cubic_weights(T + 1e-6), cubic_weights(T - 1e-6)) / 2e-6
    assert np.allclose(cubic_slopes(T), rise, atol=1e-8)


def test_compiled_weights_are_those_of_arrays() -> None:
    assert np.allclose([compiled_weights(t) for t in T], np.transpose(cubic_weights(T)), rtol=0, atol=1e-15)
    assert np.allclose([compiled_slopes(t) for t in T], np.transpose(cubic_slopes(T)), rtol=0, atol=1e-15)


def _design(at: AnyFloat, knots: int) -> F64:
    return cubic_b_spline(np.atleast_1d(at).astype(np.float64)[:, None] - np.arange(knots))


@pytest.mark.parametrize(
    ("x", "y", "z", "edge"),
    [(0.0, 0.0, 6.0, 15), (0.31, -0.47, 5.2, 15), (-0.5, 0.5, 3.9, 15), (0.2, -0.4, 4.2, 21)],
)
def test_every_kernel_draws_the_same_image(x: float, y: float, z: float, edge: int) -> None:
    """The fit's (with derivatives), the training's (values of one place), the simulator's (between places)."""
    pixels, knots, size = np.arange(edge) - edge // 2, knots_of(edge), sized(edge)
    table = np.random.default_rng(0).random((12, knots, knots)).astype(np.float32)
    rows, columns = (_design((pixels - at) / PITCH_PX + knots // 2, knots) for at in (y, x))
    expected = rows @ np.tensordot(_design(np.array(z), 12)[0], table, axes=1) @ columns.T

    padded = np.pad(table, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)), "edge").reshape(12, -1)
    images = np.zeros(4 * cells(size), np.float32)
    point_image(padded, x, y, z, size, workspace(size), images)
    lanes = images[: cells(size)].reshape(edge, line(size))
    fitted = np.empty((edge, edge), np.float32)
    even, odd = lanes[:, : lane(size)], lanes[:, lane(size) :]
    fitted[:, ::2], fitted[:, 1::2] = even[:, : edge // 2 + 1], odd[:, : edge // 2]
    assert np.abs(fitted - expected).max() < 1e-5

    assert np.abs(_training_image(table, x, y, z, edge) - expected).max() < 1e-5

    samples = 2
    side = samples * (edge + 5) + 1
    counts = np.random.default_rng(1).integers(0, 1000, (3, 3, 12, side, side), dtype=np.int16)
    counts[:] = counts[1, 1]  # alike all over the field
    image = np.zeros((edge, edge), np.float32)
    work, row = np.zeros((side, side), np.float32), np.zeros(side, np.float32)
    scale = np.full((3, 3, 12), 1e-3, np.float32)
    emitter_image(counts, scale, 0.0, 1.0, samples, 0.2, -0.3, 1.1, x, y, z, edge // 2, work, row, image)
    rows, columns = (_design(samples * (pixels - at) + side // 2, side) for at in (y, x))
    expected = rows @ np.tensordot(_design(np.array(z), 12)[0], 1e-3 * counts[0, 0], axes=1) @ columns.T
    assert np.abs(image - expected).max() < 1e-5


def _training_image(table: F32, x: float, y: float, z: float, edge: int) -> F32:
    image = np.empty((edge, edge), np.float32)
    draw(table, x, y, z, PITCH_PX, drawing(edge, table.shape[1]), image)
    return image
