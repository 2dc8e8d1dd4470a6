"""Compiled inner loops: images of points from the spline table, Poisson counts, camera noise.

Everything here releases the GIL and takes its randomness from an explicit state (xoshiro256++), so a frame depends on
its seed alone, whichever thread renders it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])

LARGE_MEAN = 10.0
"""Below, Poisson counts come from sequential search; above, from transformed rejection (Hoermann 1993, PTRS)."""


def compiled(function: Function) -> Function:
    """Compile without the GIL, kept on disk between processes."""
    return numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})(function)


def random_state(*seed: int) -> NDArray[np.uint64]:
    """State of the generator from any number of integers."""
    return np.random.SeedSequence(seed).generate_state(4, np.uint64)


@compiled
def next_bits(state: NDArray[np.uint64]) -> Any:
    """64 random bits (xoshiro256++, Blackman and Vigna)."""
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


@compiled
def uniform(state: NDArray[np.uint64]) -> float:
    """Uniform in (0, 1)."""
    return (np.float64(next_bits(state) >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@compiled
def poisson(mean: float, state: NDArray[np.uint64]) -> int:
    """One Poisson count."""
    if mean <= 0.0:
        return 0
    if mean < LARGE_MEAN:
        u = uniform(state)
        if u <= 1.0 - mean:  # exp(-mean) is never smaller: most pixels far from a molecule end here
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
        if np.log(v) + np.log(inverse) - np.log(a / (us * us) + slope) <= -mean + k * np.log(mean) - _log_factorial(k):
            return int(k)


@compiled
def _log_factorial(k: float) -> float:
    if k < 10:
        product = 1.0
        for i in range(2, int(k) + 1):
            product *= i
        return np.log(product)
    n = k + 1.0
    return (n - 0.5) * np.log(n) - n + 0.9189385332046727 + 1 / (12 * n) - 1 / (360 * n**3)


@compiled
def _weights(t: float, out: NDArray[np.float32]) -> None:
    """Cubic B-spline weights of the four samples around a fraction `t` in 0..1."""
    s = 1.0 - t
    out[0] = s * s * s / 6.0
    out[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    out[2] = (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0
    out[3] = t * t * t / 6.0


@compiled
def point_image(
    table: NDArray[np.float32],
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
    work: NDArray[np.float32],
    line: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Image of one photon into ``out[:2r+1, :2r+1]``; the point lies at (dx, dy) px from the middle pixel.

    ``work`` is scratch of the table's plane size, ``line`` of its side.
    """
    nodes, planes, side = table.shape[0], table.shape[2], table.shape[3]
    wz = np.empty(4, np.float32)
    wx = np.empty(4, np.float32)
    wy = np.empty(4, np.float32)
    fu = min(max((u + margin) / (2 * margin) * (nodes - 1), 0.0), nodes - 1.0)
    fv = min(max((v + margin) / (2 * margin) * (nodes - 1), 0.0), nodes - 1.0)
    iu, iv = min(int(fu), nodes - 2), min(int(fv), nodes - 2)
    fu -= iu
    fv -= iv
    fz = min(max((z - z_start) / z_step, 1.0), planes - 2.001)
    iz = int(fz)
    _weights(fz - iz, wz)
    # -oversampling * d is the place, in samples, of the middle pixel's centre as seen from the point.
    px, py = -oversampling * dx, -oversampling * dy
    bx, by = int(np.floor(px)), int(np.floor(py))
    _weights(px - bx, wx)
    _weights(py - by, wy)
    middle = side // 2
    first_x, last_x = middle - oversampling * radius + bx - 1, middle + oversampling * radius + bx + 2
    first_y, last_y = middle - oversampling * radius + by - 1, middle + oversampling * radius + by + 2
    w00, w01 = (1 - fv) * (1 - fu), (1 - fv) * fu
    w10, w11 = fv * (1 - fu), fv * fu
    for row in range(first_y, last_y + 1):
        for column in range(first_x, last_x + 1):
            work[row, column] = 0.0
        for k in range(4):
            plane = iz - 1 + k
            a, b = np.float32(w00 * wz[k]), np.float32(w01 * wz[k])
            c, d = np.float32(w10 * wz[k]), np.float32(w11 * wz[k])
            t00, t01 = table[iv, iu, plane, row], table[iv, iu + 1, plane, row]
            t10, t11 = table[iv + 1, iu, plane, row], table[iv + 1, iu + 1, plane, row]
            for column in range(first_x, last_x + 1):
                work[row, column] += a * t00[column] + b * t01[column] + c * t10[column] + d * t11[column]
    for j in range(2 * radius + 1):
        row = first_y + oversampling * j
        for column in range(first_x, last_x + 1):
            line[column] = (
                wy[0] * work[row, column]
                + wy[1] * work[row + 1, column]
                + wy[2] * work[row + 2, column]
                + wy[3] * work[row + 3, column]
            )
        for i in range(2 * radius + 1):
            column = first_x + oversampling * i
            out[j, i] = (
                wx[0] * line[column]
                + wx[1] * line[column + 1]
                + wx[2] * line[column + 2]
                + wx[3] * line[column + 3]
            )
