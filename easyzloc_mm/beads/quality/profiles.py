"""Skewed Gaussians fitted to beads, many at a time: along z in one dimension, in focus in two (paper, section 2.2).

f = b + a exp(-t^2 / 2) (1 + erf(s t / sqrt 2)): the skewed normal shape that an aberrated focus has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from easyzloc_mm.typing import F64

ITERATIONS = 25
STEP = 1e-4
CHUNK = 128


@dataclass(frozen=True)
class AxialFit:
    """Skewed Gaussian along z; arrays of shape (n,).

    Attributes
    ----------
    residual : ndarray
        Root mean square difference that noise does not explain, relative to the height.
    width_nm : ndarray
        Full width at half maximum of the fitted curve.
    largest : ndarray
        Largest difference at any depth, noise included, relative to the height.
    """

    residual: F64
    width_nm: F64
    largest: F64


@dataclass(frozen=True)
class LateralFit:
    """Skewed Gaussian in the plane of focus; arrays of shape (n,).

    Attributes
    ----------
    residual : ndarray
        Root mean square difference that noise does not explain, relative to the height.
    width_px, length_px : ndarray
        Standard deviations along the short and the long axis of the fitted image.
    """

    residual: F64
    width_px: F64
    length_px: F64


def fit_axial(z_nm: F64, profiles: F64, noise: F64) -> AxialFit:
    """Fit brightness along z.

    Parameters
    ----------
    z_nm : ndarray, shape (K,)
        Depths around focus.
    profiles : ndarray, shape (n, K)
        Brightness in the middle of each bead; NaN where there is no plane.
    noise : ndarray, shape (n, K)
        Its standard deviation.
    """
    top = np.maximum(np.nanmax(profiles, axis=1, keepdims=True), 1e-9)
    weight = np.isfinite(profiles).astype(float)
    data = np.nan_to_num(profiles / top)
    span = float(np.ptp(z_nm)) / 2

    def curve(p: F64) -> F64:
        t = (z_nm / span - p[:, 1:2]) / np.exp(p[:, 2:3])
        return np.asarray(p[:, 4:5] + p[:, 0:1] * np.exp(-t * t / 2) * (1 + erf(p[:, 3:4] * t / np.sqrt(2))))

    start = np.tile([0.9, 0.0, np.log(0.3), 0.0, 0.1], (len(data), 1))
    fitted = curve(_levenberg_marquardt(curve, start, data, weight))
    height = fitted.max(axis=1) - fitted.min(axis=1)
    residual = _beyond_noise(fitted - data, np.nan_to_num(noise / top), weight, height)
    above = fitted - fitted.min(axis=1, keepdims=True) >= height[:, None] / 2
    largest = np.max(np.abs(fitted - data) * weight, axis=1) / np.maximum(height, 1e-9)
    return AxialFit(residual, above.sum(axis=1) * float(np.median(np.diff(z_nm))), largest)


def fit_lateral(images: F64, noise: F64) -> LateralFit:
    """Fit images in focus.

    Parameters
    ----------
    images : ndarray, shape (n, size, size)
        Photons above background, the bead in the middle.
    noise : ndarray, shape (n, size, size)
        Standard deviation.
    """
    size = images.shape[1]
    grid = np.arange(size) - size // 2.0
    across, down = (axis.ravel() for axis in np.meshgrid(grid, grid))
    top = np.maximum(images.max(axis=(1, 2)), 1e-9)[:, None]
    data = images.reshape(len(images), -1) / top

    def axes(p: F64) -> tuple[F64, F64]:
        cosine, sine = np.cos(p[:, 5:6]), np.sin(p[:, 5:6])
        x, y = across - p[:, 1:2], down - p[:, 2:3]
        return (cosine * x + sine * y) / np.exp(p[:, 3:4]), (cosine * y - sine * x) / np.exp(p[:, 4:5])

    def surface(p: F64) -> F64:
        u, v = axes(p)
        skew = 1 + erf((p[:, 6:7] * u + p[:, 7:8] * v) / np.sqrt(2))
        return np.asarray(p[:, 8:9] + p[:, 0:1] * np.exp(-(u * u + v * v) / 2) * skew)

    start = np.tile([0.9, 0.0, 0.0, np.log(1.4), np.log(1.2), 0.3, 0.0, 0.0, 0.0], (len(data), 1))
    found = _levenberg_marquardt(surface, start, data, np.ones_like(data))
    fitted = surface(found)
    height = fitted.max(axis=1) - found[:, 8]
    residual = _beyond_noise(fitted - data, noise.reshape(len(images), -1) / top, np.ones_like(data), height)
    light = np.maximum(fitted - found[:, 8:9], 0.0)
    total = np.maximum(light.sum(axis=1), 1e-9)
    mean_x, mean_y = light @ across / total, light @ down / total
    xx, yy = light @ across**2 / total - mean_x**2, light @ down**2 / total - mean_y**2
    xy = light @ (across * down) / total - mean_x * mean_y
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return LateralFit(residual, np.sqrt(np.maximum(middle - half, 0.0)), np.sqrt(np.maximum(middle + half, 0.0)))


def _beyond_noise(difference: F64, noise: F64, weight: F64, height: F64) -> F64:
    excess = np.sum(weight * (difference**2 - noise**2), axis=1) / np.maximum(weight.sum(axis=1), 1.0)
    return np.asarray(np.sqrt(np.maximum(excess, 0.0)) / np.maximum(height, 1e-9))


def _levenberg_marquardt(model: Callable[[F64], F64], start: F64, data: F64, weight: F64) -> F64:
    """Least squares for many small problems side by side."""
    answers = [
        _solve(model, start[first : first + CHUNK], data[first : first + CHUNK], weight[first : first + CHUNK])
        for first in range(0, len(data), CHUNK)
    ]
    return np.concatenate(answers) if answers else start


def _solve(model: Callable[[F64], F64], start: F64, data: F64, weight: F64) -> F64:
    point, damping = start.copy(), np.full(len(start), 1e-2)
    value = model(point)
    cost = np.sum(weight * (data - value) ** 2, axis=1)
    identity = np.eye(start.shape[1])
    for _ in range(ITERATIONS):
        slopes = np.stack(
            [(model(point + STEP * unit) - value) / STEP for unit in identity],
            axis=1,
        )
        weighted = slopes * weight[:, None]
        normal = weighted @ slopes.transpose(0, 2, 1)
        diagonal = np.einsum("nii->ni", normal)[:, :, None] * identity
        gradient = weighted @ (data - value)[:, :, None]
        step = np.linalg.solve(normal + damping[:, None, None] * diagonal + 1e-9 * identity, gradient)[:, :, 0]
        # No parameter is wider than a few: one wild step must not end in an overflow.
        trial = point + np.clip(step, -1.0, 1.0)
        trial_value = model(trial)
        trial_cost = np.sum(weight * (data - trial_value) ** 2, axis=1)
        better = trial_cost < cost
        point[better], value[better] = trial[better], trial_value[better]
        gain = np.where(better, (cost - trial_cost) / np.maximum(cost, 1e-12), 0.0)
        cost = np.where(better, trial_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 8), 1e-7, 1e6)
        if gain.max() < 1e-4 and better.any():
            break
    return point
