"""Compiled inner loops: images of points from the spline table, Poisson counts, camera noise.

Everything here releases the GIL and takes its randomness from an explicit state (xoshiro256++), so a frame
depends on its seed alone, whichever thread renders it.

References
----------
.. [1] D. Blackman and S. Vigna, "Scrambled linear pseudorandom number generators", ACM Trans. Math. Softw. 47, 36
   (2021), doi:10.1145/3460772.
.. [2] W. Hoermann, "The transformed rejection method for generating Poisson random variables", Insur. Math. Econ. 12,
   39-45 (1993), doi:10.1016/0167-6687(93)90997-4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.numerics.spline import compiled_weights
from easyzloc_mm.typing import F32, F64, I64, U16

LARGE_MEAN = 10.0
"""Poisson counts come from sequential search below, from transformed rejection [2]_ above."""


def random_state(*seed: int) -> NDArray[np.uint64]:
    """Return a state of the generator from any number of integers."""
    return np.asarray(np.random.SeedSequence(seed).generate_state(4, np.uint64), dtype=np.uint64)


@kernel(fastmath=FAST)
def next_bits(state: NDArray[np.uint64]) -> Any:
    """Return 64 random bits (xoshiro256++ [1]_)."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    t = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return result


@kernel(fastmath=FAST)
def uniform(state: NDArray[np.uint64]) -> float:
    """Return a number uniform in (0, 1)."""
    return (np.float64(next_bits(state) >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@kernel(fastmath=FAST)
def poisson(mean: float, state: NDArray[np.uint64]) -> int:
    """Return one Poisson count."""
    if mean <= 0.0:
        return 0
    if mean < LARGE_MEAN:
        u = uniform(state)
        if u <= 1.0 - mean:  # exp(-mean) is never smaller: most pixels far from an emitter end here
            return 0
        part = np.exp(-mean)
        total = part
        count = 0
        while u > total and count < 200:
            count += 1
            part *= mean / count
            total += part
        return count
    slope = 0.931 + 2.53 * np.sqrt(mean)
    a = -0.059 + 0.02483 * slope
    inverse = 1.1239 + 1.1328 / (slope - 3.4)
    accept = 0.9277 - 3.6224 / (slope - 2.0)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        k = np.floor((2 * a / us + slope) * u + mean + 0.43)
        if us >= 0.07 and v <= accept:
            return int(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = np.log(v) + np.log(inverse) - np.log(a / (us * us) + slope)
        if left <= -mean + k * np.log(mean) - _log_factorial(k):
            return int(k)


@kernel(fastmath=FAST)
def _log_factorial(k: float) -> float:
    if k < 10:
        product = 1.0
        for i in range(2, int(k) + 1):
            product *= i
        return float(np.log(product))
    n = k + 1.0
    return float((n - 0.5) * np.log(n) - n + 0.9189385332046727 + 1 / (12 * n) - 1 / (360 * n**3))


@kernel(fastmath=FAST)
def _three_nodes(place: float, nodes: int, out: F64) -> int:
    """Quadratic weights of the three nodes around `place`; returns the first of them."""
    middle = min(max(int(np.round(place)), 1), nodes - 2)
    f = place - middle
    out[0] = f * (f - 1) / 2
    out[1] = 1 - f * f
    out[2] = f * (f + 1) / 2
    return middle - 1


@kernel(fastmath=FAST)
def emitter_image(
    table: NDArray[np.int16],
    scale: F32,
    z_start: float,
    z_step: float,
    oversampling: int,
    u: float,
    v: float,
    margin: float,
    dx: float,
    dy: float,
    z: float,
    radius: int,
    work: F32,
    line: F32,
    out: F32,
) -> None:
    """Fill ``out[:2r+1, :2r+1]`` with the image of one photon from an emitter (dx, dy) px from the middle pixel.

    Not the kernel of the likelihood fit (`psf.kernels.point_image`): this one interpolates 16-bit samples of the exact
    optics between places of the field, at any radius and without derivatives; that one is made for single-precision
    knots 2/3 px apart and a 15 px crop. Both take their weights from `easyzloc_mm.numerics.spline`.

    ``work`` is scratch of the table's plane size, ``line`` of its side.
    """
    nodes, planes, side = table.shape[0], table.shape[2], table.shape[3]
    wz, wx, wy = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    wu = np.empty(3, np.float64)
    wv = np.empty(3, np.float64)
    iu = _three_nodes((u + margin) / (2 * margin) * (nodes - 1), nodes, wu)
    iv = _three_nodes((v + margin) / (2 * margin) * (nodes - 1), nodes, wv)
    fz = min(max((z - z_start) / z_step, 1.0), planes - 2.001)
    iz = int(fz)
    wz[0], wz[1], wz[2], wz[3] = compiled_weights(fz - iz)
    # -oversampling * d is the place, in samples, of the middle pixel's centre as seen from the point.
    px, py = -oversampling * dx, -oversampling * dy
    bx, by = int(np.floor(px)), int(np.floor(py))
    wx[0], wx[1], wx[2], wx[3] = compiled_weights(px - bx)
    wy[0], wy[1], wy[2], wy[3] = compiled_weights(py - by)
    middle = side // 2
    first_x, last_x = middle - oversampling * radius + bx - 1, middle + oversampling * radius + bx + 2
    first_y, last_y = middle - oversampling * radius + by - 1, middle + oversampling * radius + by + 2
    across = last_x - first_x + 1
    for row in range(first_y, last_y + 1):
        # Slices that start at 0 let the compiler leave out index checks, and so vectorise.
        mixed = work[row, :across]
        for column in range(across):
            mixed[column] = 0.0
        for node in range(9):
            weight = wv[node // 3] * wu[node % 3]
            near = table[iv + node // 3, iu + node % 3]
            size = scale[iv + node // 3, iu + node % 3]
            a, b = np.float32(weight * wz[0] * size[iz - 1]), np.float32(weight * wz[1] * size[iz])
            c, d = np.float32(weight * wz[2] * size[iz + 1]), np.float32(weight * wz[3] * size[iz + 2])
            t0, t1 = near[iz - 1, row, first_x : last_x + 1], near[iz, row, first_x : last_x + 1]
            t2, t3 = near[iz + 1, row, first_x : last_x + 1], near[iz + 2, row, first_x : last_x + 1]
            for column in range(across):
                mixed[column] += (
                    a * np.float32(t0[column])
                    + b * np.float32(t1[column])
                    + c * np.float32(t2[column])
                    + d * np.float32(t3[column])
                )
    for j in range(2 * radius + 1):
        row = first_y + oversampling * j
        r0, r1, r2, r3 = work[row], work[row + 1], work[row + 2], work[row + 3]
        for column in range(across):
            line[column] = wy[0] * r0[column] + wy[1] * r1[column] + wy[2] * r2[column] + wy[3] * r3[column]
        target = out[j]
        for i in range(2 * radius + 1):
            column = oversampling * i
            target[i] = (
                wx[0] * line[column] + wx[1] * line[column + 1] + wx[2] * line[column + 2] + wx[3] * line[column + 3]
            )


SEGMENT_PX = 32
"""The background changes its level from segment to segment of a row."""


@kernel(fastmath=FAST)
def add_points(
    signal: F32,
    table: NDArray[np.int16],
    scale: F32,
    z_start: float,
    z_step: float,
    oversampling: int,
    margin: float,
    u: F64,
    v: F64,
    x: F64,
    y: F64,
    z: F64,
    photons: F64,
    radii: I64,
    work: F32,
    line: F32,
    patch: F32,
    state: NDArray[np.uint64],
) -> None:
    """Add the Poisson counts of every point to `signal`."""
    height, width = signal.shape
    for index in range(len(x)):
        radius = radii[index]
        column, row = int(np.round(x[index])), int(np.round(y[index]))
        if column < -radius or column >= width + radius or row < -radius or row >= height + radius:
            continue
        emitter_image(
            table, scale, z_start, z_step, oversampling, u[index], v[index], margin,
            x[index] - column, y[index] - row, z[index], radius, work, line, patch,
        )  # fmt: skip
        for j in range(max(0, radius - row), min(2 * radius + 1, height + radius - row)):
            for i in range(max(0, radius - column), min(2 * radius + 1, width + radius - column)):
                signal[row - radius + j, column - radius + i] += poisson(photons[index] * patch[j, i], state)


@kernel(fastmath=FAST)
def add_counts(signal: F32, where: I64, means: F64, state: NDArray[np.uint64]) -> None:
    """Add Poisson counts to single pixels, given by their flat index."""
    width = signal.shape[1]
    for index in range(len(where)):
        signal[where[index] // width, where[index] % width] += poisson(means[index], state)


@kernel(fastmath=FAST)
def read_out(
    signal: F32,
    pool: F32,
    level: F32,
    frame: U16,
    adu_per_electron: float,
    baseline: float,
    largest: float,
    state: NDArray[np.uint64],
) -> None:
    """Turn signal plus background into ADU, and set `signal` back to zero."""
    height, width = signal.shape
    gain = np.float32(adu_per_electron)
    offset = np.float32(baseline + 0.5)
    top = np.float32(largest)
    offsets = np.uint64(pool.shape[1] - SEGMENT_PX)
    for row in range(height):
        for segment in range(level.shape[1]):
            bits = next_bits(state)
            start = int((bits & np.uint64(0xFFFFFFFF)) % offsets)
            # Between two levels one is drawn, so that the mean follows the wanted background exactly.
            chance = np.float32(bits >> np.uint64(40)) * np.float32(1.0 / 16777216.0)
            chosen = min(int(level[row, segment] + chance), pool.shape[0] - 1)
            first = segment * SEGMENT_PX
            for i in range(min(SEGMENT_PX, width - first)):
                value = (pool[chosen, start + i] + signal[row, first + i]) * gain + offset
                frame[row, first + i] = np.uint16(min(max(value, np.float32(0.0)), top))
                signal[row, first + i] = 0
