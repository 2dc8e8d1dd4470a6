"""Compiled Levenberg-Marquardt of single spots under a `BlurTable` (`likelihood`)."""

from __future__ import annotations

import numba
import numpy as np

from easyzloc_mm.network.spline_kernels import along, axial, lateral

FAST = {"reassoc", "contract", "arcp", "nsz"}
"""All but the assumption that no number is NaN: a NaN start means none."""
ITERATIONS = 30
CONVERGED = 0.01
"""A step that gains less deviance was the last: it moved by less than a tenth of a standard deviation."""
HOPELESS, HOPELESS_GAIN = 12.0, 0.1
"""A start that is so much deviance behind another one, and gains less than this share of it by a step, is given up: its
optimum would have a probability below exp(-HOPELESS / 2) of the other's."""
FAILED = 1e30
"""Deviance of a start that was not asked for."""


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _model(table, theta, pitch, work, images):  # type: ignore[no-untyped-def]
    """Image of one photon and its derivatives by x, y (px) and z (knots) into images[0..3]."""
    plane, plane_by_z, columns, base_x, base_y, wx, dx, wy, dy = work
    axial(table, theta[2], plane, plane_by_z)
    lateral(theta[0], pitch, table.shape[2], base_x, wx, dx)
    lateral(theta[1], pitch, table.shape[1], base_y, wy, dy)
    along(plane, base_y, wy, columns)
    along(columns, base_x, wx, images[0])
    along(columns, base_x, dx, images[1])
    along(plane, base_y, dy, columns)
    along(columns, base_x, wx, images[2])
    along(plane_by_z, base_y, wy, columns)
    along(columns, base_x, wx, images[3])
    scale = np.float32(-1.0 / pitch)
    for a in range(images.shape[1]):
        for b in range(images.shape[2]):
            images[1, a, b] *= scale
            images[2, a, b] *= scale


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _normal(crop, images, theta, variance, matrix, slope):  # type: ignore[no-untyped-def]
    """Deviance, Fisher matrix and gradient at `theta`."""
    deviance = 0.0
    photons, background = theta[3], theta[4]
    s0 = s1 = s2 = s3 = s4 = 0.0
    m00 = m10 = m11 = m20 = m21 = m22 = m30 = m31 = m32 = m33 = m40 = m41 = m42 = m43 = m44 = 0.0
    for a in range(crop.shape[0]):
        for b in range(crop.shape[1]):
            shape = images[0, a, b]
            mu = max(photons * shape + background + variance, 0.01)
            data = max(crop[a, b] + variance, 0.0)
            weight = 1 / mu
            deviance += 2 * (mu - data)
            if data > 0:
                deviance += 2 * data * np.log(data * weight)
            x, y, z = images[1, a, b], images[2, a, b], images[3, a, b]
            pull = data * weight - 1
            s0 += pull * x
            s1 += pull * y
            s2 += pull * z
            s3 += pull * shape
            s4 += pull
            wx, wy, wz, wn = weight * x, weight * y, weight * z, weight * shape
            m00 += wx * x
            m10 += wy * x
            m11 += wy * y
            m20 += wz * x
            m21 += wz * y
            m22 += wz * z
            m30 += wn * x
            m31 += wn * y
            m32 += wn * z
            m33 += wn * shape
            m40 += wx
            m41 += wy
            m42 += wz
            m43 += wn
            m44 += weight
    slope[0], slope[1], slope[2], slope[3], slope[4] = photons * s0, photons * s1, photons * s2, s3, s4
    square = photons * photons
    matrix[0, 0], matrix[1, 0], matrix[1, 1] = square * m00, square * m10, square * m11
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = square * m20, square * m21, square * m22
    matrix[3, 0], matrix[3, 1], matrix[3, 2], matrix[3, 3] = photons * m30, photons * m31, photons * m32, m33
    matrix[4, 0], matrix[4, 1], matrix[4, 2], matrix[4, 3] = photons * m40, photons * m41, photons * m42, m43
    matrix[4, 4] = m44
    for p in range(5):
        for q in range(p):
            matrix[q, p] = matrix[p, q]
    return deviance


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _known(theta, expected, knowledge, matrix, slope):  # type: ignore[no-untyped-def]
    """Add a prior on place and photons to Fisher matrix and gradient; returns what it adds to the deviance."""
    weight, middle, light = knowledge[0], knowledge[1], knowledge[2]
    total = 0.0
    for p in range(2):
        away = theta[p] - expected[p]
        total += weight * away * away
        matrix[p, p] += weight
        slope[p] -= weight * away
    away = np.log(max(theta[3], 1.0)) - middle
    matrix[3, 3] += light / theta[3] ** 2
    slope[3] -= light * away / theta[3]
    return total + light * away * away


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _cholesky(matrix, factor):  # type: ignore[no-untyped-def]
    for i in range(matrix.shape[0]):
        for k in range(i + 1):
            total = matrix[i, k]
            for m in range(k):
                total -= factor[i, m] * factor[k, m]
            if i == k:
                if total <= 1e-14 * abs(matrix[i, i]) or total <= 0:
                    return False
                factor[i, i] = np.sqrt(total)
            else:
                factor[i, k] = total / factor[k, k]
    return True


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _solve(factor, right, out):  # type: ignore[no-untyped-def]
    n = len(right)
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= factor[i, k] * out[k]
        out[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = out[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * out[k]
        out[i] = total / factor[i, i]


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def fit(crops, tables, place, starts, pitch, variance, expected, knowledge, out):  # type: ignore[no-untyped-def]
    """Fit every crop from every start (in knots; NaN: none).

    A row of `out` is x, y, z, photons, background, deviance, standard deviation of z, logarithm of the root of the
    covariance's determinant, standard deviations of x and of y.
    """
    size, knots = crops.shape[1], tables.shape[2]
    plane = np.empty((knots, knots), np.float32)
    plane_by_z = np.empty((knots, knots), np.float32)
    columns = np.empty((knots, size), np.float32)
    base_x, base_y = np.empty(size, np.int64), np.empty(size, np.int64)
    wx, dx, wy, dy = np.empty((size, 4)), np.empty((size, 4)), np.empty((size, 4)), np.empty((size, 4))
    work = (plane, plane_by_z, columns, base_x, base_y, wx, dx, wy, dy)
    images = np.empty((4, size, size), np.float32)
    matrix, damped, factor = np.empty((5, 5)), np.empty((5, 5)), np.zeros((5, 5))
    slope, step, theta, trial = np.empty(5), np.empty(5), np.empty(5), np.empty(5)
    fresh, fresh_slope = np.empty((5, 5)), np.empty(5)
    border = np.empty(4 * (size - 1))
    top = tables.shape[1] - 2.002
    for i in range(len(crops)):
        crop, table = crops[i], tables[place[i]]
        n = 0
        total = 0.0
        for a in range(size):
            for b in range(size):
                total += crop[a, b]
                if a == 0 or b == 0 or a == size - 1 or b == size - 1:
                    border[n] = crop[a, b]
                    n += 1
        border.sort()
        rim = max(border[n // 3], 0.1)
        best = FAILED
        for s in range(starts.shape[1]):
            if np.isnan(starts[i, s]):
                out[i, s, :] = 0.0
                out[i, s, 5] = FAILED
                continue
            theta[0], theta[1], theta[2] = expected[i, 0], expected[i, 1], min(max(starts[i, s], 1.0), top)
            _model(table, theta, pitch, work, images)
            light = 0.0
            for a in range(size):
                for b in range(size):
                    light += images[0, a, b]
            theta[3] = max((total - rim * size * size) / max(light, 0.05), 30.0)
            theta[4] = rim
            deviance = _normal(crop, images, theta, variance, matrix, slope)
            deviance += _known(theta, expected[i], knowledge, matrix, slope)
            damping = 0.01
            for _ in range(ITERATIONS):
                damped[:] = matrix
                for p in range(5):
                    damped[p, p] = matrix[p, p] * (1 + damping) + 1e-12
                if not _cholesky(damped, factor):
                    damping = max(10 * damping, 1e-3)
                    if damping > 1e6:
                        break
                    continue
                _solve(factor, slope, step)
                for p in range(2):
                    trial[p] = min(max(theta[p] + min(max(step[p], -0.5), 0.5), -3.0), 3.0)
                trial[2] = min(max(theta[2] + min(max(step[2], -1.5), 1.5), 1.0), top)
                trial[3] = max(theta[3] + step[3], 0.3 * theta[3])
                trial[4] = max(theta[4] + step[4], 0.1 * theta[4])
                _model(table, trial, pitch, work, images)
                now = _normal(crop, images, trial, variance, fresh, fresh_slope)
                now += _known(trial, expected[i], knowledge, fresh, fresh_slope)
                if now <= deviance:
                    gain = deviance - now
                    deviance = now
                    theta[:] = trial
                    matrix[:] = fresh
                    slope[:] = fresh_slope
                    damping = max(0.1 * damping, 1e-6)
                    if gain < CONVERGED or gain < HOPELESS_GAIN * (deviance - best - HOPELESS):
                        break
                else:
                    if now - deviance < 1e-4:
                        break
                    damping *= 10
                    if damping > 1e4:
                        break
            best = min(best, deviance)
            for p in range(5):
                out[i, s, p] = theta[p]
            out[i, s, 5] = deviance
            out[i, s, 6] = 1e3
            out[i, s, 7] = 0.0
            out[i, s, 8] = out[i, s, 9] = size
            for p in range(5):
                matrix[p, p] += 1e-9 * matrix[p, p] + 1e-12
            if _cholesky(matrix, factor):
                volume = 0.0
                for p in range(5):
                    volume -= np.log(factor[p, p])
                for p, column in ((2, 6), (0, 8), (1, 9)):
                    slope[:] = 0.0
                    slope[p] = 1.0
                    _solve(factor, slope, step)
                    out[i, s, column] = np.sqrt(max(step[p], 1e-12))
                # Brightness counts by its logarithm: no brightness is more likely than another of its scale.
                out[i, s, 7] = volume - np.log(max(theta[3], 1.0))
