"""Compiled Levenberg-Marquardt of single spots under a `SplinePsf` (`psf.mle`)."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.camera.crops import sorted_border
from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.psf.bead_psf import COARSE
from easyzloc_mm.psf.kernels.crop_size import cells as cell_count
from easyzloc_mm.psf.kernels.point_image import (
    KNOTS_PER_PX,
    MAX_AWAY_PX,
    coarse_images,
    ordered,
    point_image,
    workspace,
)

ITERATIONS = 30
CONVERGED = 0.01
"""A step that gains less deviance was the last: it moved by less than a tenth of a standard deviation."""
ROUNDING = 1e-3
"""Of a deviance in single precision: a step that loses less has not lost."""
HOPELESS, HOPELESS_GAIN = 12.0, 0.1
"""A start that is so much deviance behind another one, and gains less than this share of it by a step, is given up: its
optimum would have a probability below exp(-HOPELESS / 2) of the other's."""
FAILED = 1e30
"""Deviance of a start that was not asked for."""
KEPT_OF_PLACE = 0.1
"""Of what is known of an emitter's place beforehand; without any, one that the data do not hold could be anywhere."""
DARK, TINY = np.float32(0.01), np.float32(1e-12)
LOWEST = np.float32(-1e30)
"""No bound: what is known of a pixel is added before its count is held above 0."""
LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
LOG_2 = np.float32(np.log(2))
ROOT_HALF_BITS, MANTISSA_BITS = np.int32(0x3F3504F3), np.int32(23)


@kernel(fastmath=FAST)
def _deviance(data, pixel, size, cells):  # type: ignore[no-untyped-def]
    """Twice the negative log likelihood against that of a perfect fit.

    `cells` holds the expected photons first, and data over expected third; the rest is workspace. The logarithm is that
    of Cephes (Moshier 1992), written out so that eight run at a time: single precision, which over a crop adds up to
    less than a tenth of what `CONVERGED` asks for.
    """
    expected, ratio, mantissa = cells[0], cells[2], cells[3]
    bits = mantissa.view(np.int32)
    for i in range(cell_count(size)):
        mantissa[i] = max(ratio[i], TINY)
    for i in range(cell_count(size)):
        exponent = (bits[i] - ROOT_HALF_BITS) >> MANTISSA_BITS
        ratio[i] = np.float32(exponent)
        bits[i] -= exponent << MANTISSA_BITS
    total = np.float32(0)
    for i in range(cell_count(size)):
        x = mantissa[i] - np.float32(1)
        y = np.float32(LOG[0])
        for k in range(1, len(LOG)):
            y = y * x + np.float32(LOG[k])
        log = x + x * x * (x * y - np.float32(0.5)) + ratio[i] * LOG_2
        total += pixel[i] * (expected[i] - data[i] + data[i] * log)
    return 2 * total


@kernel(fastmath=FAST)
def _normal(data, pixel, images, theta, rest, size, cells, matrix, slope):  # type: ignore[no-untyped-def]
    """Deviance, Fisher matrix and gradient at `theta`."""
    photons, background = np.float32(theta[3]), np.float32(theta[4])
    count = cell_count(size)
    shape, by_x = images[:count], images[count : 2 * count]
    by_y, by_z = images[2 * count : 3 * count], images[3 * count :]
    expected, weight, ratio = cells[0], cells[1], cells[2]
    for i in range(count):
        expected[i] = max(photons * shape[i] + background + rest[i], DARK)
        weight[i] = pixel[i] / expected[i]
        ratio[i] = data[i] * weight[i]
    zero = np.float32(0)
    s0 = s1 = s2 = s3 = s4 = m30 = m31 = m32 = m33 = zero
    for i in range(count):
        pull, w, n = ratio[i] - pixel[i], weight[i], shape[i]
        x, y, z = by_x[i], by_y[i], by_z[i]
        s0 += pull * x
        s1 += pull * y
        s2 += pull * z
        s3 += pull * n
        s4 += pull
        wn = w * n
        m30 += wn * x
        m31 += wn * y
        m32 += wn * z
        m33 += wn * n
    # In two loops: a processor has registers for so many sums, and no more.
    m00 = m10 = m11 = m20 = m21 = m22 = m40 = m41 = m42 = m43 = m44 = zero
    for i in range(count):
        w = weight[i]
        x, y, z = by_x[i], by_y[i], by_z[i]
        wx, wy, wz = w * x, w * y, w * z
        m00 += wx * x
        m10 += wy * x
        m11 += wy * y
        m20 += wz * x
        m21 += wz * y
        m22 += wz * z
        m40 += wx
        m41 += wy
        m42 += wz
        m43 += w * shape[i]
        m44 += w
    lateral = -KNOTS_PER_PX * theta[3]
    depth = theta[3]
    slope[0], slope[1], slope[2], slope[3], slope[4] = lateral * s0, lateral * s1, depth * s2, s3, s4
    matrix[0, 0], matrix[1, 0], matrix[1, 1] = lateral**2 * m00, lateral**2 * m10, lateral**2 * m11
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = depth * lateral * m20, depth * lateral * m21, depth**2 * m22
    matrix[3, 0], matrix[3, 1], matrix[3, 2], matrix[3, 3] = lateral * m30, lateral * m31, depth * m32, m33
    matrix[4, 0], matrix[4, 1], matrix[4, 2], matrix[4, 3] = lateral * m40, lateral * m41, depth * m42, m43
    matrix[4, 4] = m44
    for p in range(5):
        for q in range(p):
            matrix[q, p] = matrix[p, q]
    return _deviance(data, pixel, size, cells)


@kernel(fastmath=FAST)
def _known(theta, expected, knowledge, matrix, slope):  # type: ignore[no-untyped-def]
    """Add a prior on place, photons and background to Fisher matrix and gradient; returns what it adds to the deviance.

    `expected` is x, y, the background and the inverse of its variance (0: unknown).
    """
    weight, middle, light = knowledge[0], knowledge[1], knowledge[2]
    total = 0.0
    for p in range(2):
        away = theta[p] - expected[p]
        total += weight * away * away
        matrix[p, p] += weight
        slope[p] -= weight * away
    away = theta[4] - expected[2]
    total += expected[3] * away * away
    matrix[4, 4] += expected[3]
    slope[4] -= expected[3] * away
    away = np.log(max(theta[3], 1.0)) - middle
    matrix[3, 3] += light / theta[3] ** 2
    slope[3] -= light * away / theta[3]
    return total + light * away * away


@kernel(fastmath=FAST)
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


@kernel(fastmath=FAST)
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


@kernel(fastmath=FAST)
def _rim(crop, border):  # type: ignore[no-untyped-def]
    """Background of a crop: the lower third of its border, where a broad spot still shines."""
    sorted_border(crop, border)
    return max(border[len(border) // 3], 0.1)


@kernel(fastmath=FAST)
def in_reach(place_px):  # type: ignore[no-untyped-def]
    """Nearest place, along one axis, that the kernels can draw."""
    return min(max(place_px, -MAX_AWAY_PX), MAX_AWAY_PX)


@kernel(fastmath=FAST)
def pixel_mask(size):  # type: ignore[no-untyped-def]
    """1 in the cells that are pixels, 0 elsewhere."""
    pixel = np.zeros(cell_count(size), np.float32)
    ordered(np.ones((len(size), len(size)), np.float32), np.float32(0), size, pixel, np.float32(0))
    return pixel


@kernel(fastmath=FAST)
def scan(crops, rest, tables, place, expected, slack, size, out):  # type: ignore[no-untyped-def]
    """Find the depths (in knots) at which a fit is worth starting, best first; NaN where there are no more.

    At every depth of `tables` (`SplinePsf.coarse`) photons and background are those of weighted least squares, x and y
    as expected. Depths are the minima that are less than `slack` of chi squared behind the best. `crops` and `rest` are
    those of `fit`.
    """
    depths = tables.shape[1]
    count = cell_count(size)
    work, images = workspace(size), np.zeros((depths, count), np.float32)
    data, weight, pixel = np.zeros(count, np.float32), np.zeros(count, np.float32), pixel_mask(size)
    known = np.zeros(count, np.float32)
    border, curve, minimum = np.empty(4 * (len(size) - 1)), np.empty(depths + 2), np.empty(depths)
    for i in range(len(crops)):
        rim = np.float32(_rim(crops[i], border))
        ordered(crops[i], -rim, size, data, LOWEST)
        ordered(rest[i], np.float32(0), size, known, np.float32(0))
        coarse_images(tables[place[i]], in_reach(expected[i, 0]), in_reach(expected[i, 1]), size, work, images)
        w = wy = wyy = np.float32(0)
        for c in range(count):
            # Half-way from the background to the data: their own noise counts half.
            data[c] = max(data[c], -rim - known[c])
            weight[c] = pixel[c] / (known[c] + rim + np.float32(0.5) * max(data[c], np.float32(0)))
            part = weight[c] * data[c]
            w += weight[c]
            wy += part
            wyy += part * data[c]
        curve[0] = curve[-1] = np.inf
        for n in range(depths):
            image = images[n]
            ws = wss = wsy = np.float32(0)
            for c in range(count):
                part = weight[c] * image[c]
                ws += part
                wss += part * image[c]
                wsy += part * data[c]
            spread, joint = wss - ws * ws / w, wsy - ws * wy / w
            curve[n + 1] = wyy - wy * wy / w - (joint * joint / spread if joint > 0 and spread > 0 else np.float32(0))
        highest = curve.min() + slack
        for n in range(depths):
            here = curve[n + 1]
            minimum[n] = here if here <= highest and here <= curve[n] and here < curve[n + 2] else np.inf
        for m in range(out.shape[1]):
            n = int(minimum.argmin())
            out[i, m] = 1 + n * COARSE if minimum[n] < np.inf else np.nan
            minimum[n] = np.inf


@kernel(fastmath=FAST)
def algebra_buffers():  # type: ignore[no-untyped-def]
    """Buffers of `climb`: Fisher matrix, damped, factored and of a trial; gradient, of a trial, step, trial."""
    return (np.empty((5, 5)), np.empty((5, 5)), np.zeros((5, 5)), np.empty((5, 5)), np.empty(5), np.empty(5),
            np.empty(5), np.empty(5))  # fmt: skip


@kernel(fastmath=FAST)
def climb(  # type: ignore[no-untyped-def]
    data, pixel, table, theta, rest, expected, knowledge, best, size, work, images, cells, algebra
):
    """Levenberg-Marquardt from `theta`, which becomes the optimum, to the deviance there; `best`: another start's."""
    matrix, damped, factor, fresh, slope, fresh_slope, step, trial = algebra
    top = table.shape[0] - 2.002
    deviance = _normal(data, pixel, images, theta, rest, size, cells, matrix, slope)
    deviance += _known(theta, expected, knowledge, matrix, slope)
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
            trial[p] = in_reach(theta[p] + min(max(step[p], -0.5), 0.5))
        trial[2] = min(max(theta[2] + min(max(step[2], -1.5), 1.5), 1.0), top)
        trial[3] = max(theta[3] + step[3], 0.3 * theta[3])
        trial[4] = max(theta[4] + step[4], 0.1 * theta[4])
        promised = 0.0
        for p in range(5):
            promised += slope[p] * step[p]
        if promised < CONVERGED and damping < 0.1:
            theta[:] = trial
            deviance -= promised
            break
        point_image(table, trial[0], trial[1], trial[2], size, work, images)
        now = _normal(data, pixel, images, trial, rest, size, cells, fresh, fresh_slope)
        now += _known(trial, expected, knowledge, fresh, fresh_slope)
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
            if now - deviance < ROUNDING:
                break
            damping *= 10
            if damping > 1e4:
                break
    return deviance


@kernel(fastmath=FAST)
def write_row(theta, deviance, algebra, expected, knowledge, top, size, row):  # type: ignore[no-untyped-def]
    """Fill a row of `fit`, and move `theta` to where the data alone put the emitter.

    Where a spot was seen is known from the same pixels as where it is fitted: that keeps a fit at its spot, but is no
    second observation. It is taken out again, of all parameters and their covariance, by a Newton step.
    """
    matrix, factor, slope, step = algebra[0], algebra[2], algebra[4], algebra[6]
    row[5] = deviance
    row[6] = 1e3
    row[7] = 0.0
    row[8] = row[9] = len(size)
    row[10], row[11] = theta[3], theta[4]
    for p in range(5):
        matrix[p, p] += 1e-9 * matrix[p, p] + 1e-12
    if _cholesky(matrix, factor):
        volume = 0.0
        for p in range(5):
            volume -= np.log(factor[p, p])
        # Brightness counts by its logarithm: no brightness is more likely than another of its scale.
        row[7] = volume - np.log(max(theta[3], 1.0))
    second = (1 - KEPT_OF_PLACE) * knowledge[0]
    slope[:] = 0.0
    for p in range(2):
        matrix[p, p] -= second
        slope[p] = second * (theta[p] - expected[p])
    if _cholesky(matrix, factor):
        _solve(factor, slope, step)
        for p in range(2):
            theta[p] = in_reach(theta[p] + min(max(step[p], -0.5), 0.5))
        theta[2] = min(max(theta[2] + min(max(step[2], -1.5), 1.5), 1.0), top)
        theta[3] = max(theta[3] + step[3], 0.3 * theta[3])
        theta[4] = max(theta[4] + step[4], 0.1 * theta[4])
        for p, column in ((2, 6), (0, 8), (1, 9), (3, 10), (4, 11)):
            slope[:] = 0.0
            slope[p] = 1.0
            _solve(factor, slope, step)
            row[column] = np.sqrt(max(step[p], 1e-12))
    for p in range(5):
        row[p] = theta[p]


@kernel(fastmath=FAST)
def fit(crops, rest, tables, place, starts, expected, knowledge, size, out):  # type: ignore[no-untyped-def]
    """Fit every crop from every start (in knots; NaN: none).

    `crops` are free of the light of neighbours; `rest` is that light and the read noise's variance, in each pixel: what
    is expected there beside the emitter and its background. `size` is that of the crops (`crop_size.sized`).

    A row of `out` is x, y, z, photons, background, deviance, standard deviation of z, logarithm of the root of the
    covariance's determinant, standard deviations of x, of y, of photons and of background.
    """
    count = cell_count(size)
    work, images = workspace(size), np.zeros(4 * count, np.float32)
    cells, data, pixel = np.zeros((4, count), np.float32), np.zeros(count, np.float32), pixel_mask(size)
    known = np.zeros(count, np.float32)
    theta, algebra, border = np.empty(5), algebra_buffers(), np.empty(4 * (len(size) - 1))
    top = tables.shape[1] - 2.002
    for i in range(len(crops)):
        crop, table = crops[i], tables[place[i]]
        total = crop.sum()
        rim = _rim(crop, border)
        ordered(rest[i], np.float32(0), size, known, np.float32(0))
        ordered(crop, np.float32(0), size, data, LOWEST)
        for c in range(count):
            data[c] = max(data[c] + known[c], np.float32(0))
        best = FAILED
        for s in range(starts.shape[1]):
            if np.isnan(starts[i, s]):
                out[i, s, :] = 0.0
                out[i, s, 5] = FAILED
                continue
            for p in range(2):
                theta[p] = in_reach(expected[i, p])
            theta[2] = min(max(starts[i, s], 1.0), top)
            point_image(table, theta[0], theta[1], theta[2], size, work, images)
            light = np.float32(0)
            for c in range(count):
                light += pixel[c] * images[c]
            theta[3] = max((total - rim * len(size) ** 2) / max(light, 0.05), 30.0)
            theta[4] = rim
            deviance = climb(
                data, pixel, table, theta, known, expected[i], knowledge, best, size, work, images, cells, algebra
            )
            best = min(best, deviance)
            write_row(theta, deviance, algebra, expected[i], knowledge, top, size, out[i, s])
