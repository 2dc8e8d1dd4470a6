"""Compiled evaluation of a `SplinePsf`: the image of a point, and how it changes."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, fastmath=True)
def weights(t, value, slope):  # type: ignore[no-untyped-def]
    """Cubic B-spline weights of the four taps around a fraction `t`, and their derivatives."""
    s = 1 - t
    value[0] = s * s * s / 6
    value[1] = (3 * t * t * t - 6 * t * t + 4) / 6
    value[2] = (3 * s * s * s - 6 * s * s + 4) / 6
    value[3] = t * t * t / 6
    slope[0] = -s * s / 2
    slope[1] = (3 * t * t - 4 * t) / 2
    slope[2] = -(3 * s * s - 4 * s) / 2
    slope[3] = t * t / 2


@numba.njit(nogil=True, cache=True, fastmath=True)
def lateral(offset, pitch, knots, base, value, slope):  # type: ignore[no-untyped-def]
    """Taps of every pixel of a crop along one axis, for an emitter `offset` px from the middle pixel."""
    size = len(base)
    for a in range(size):
        t = (a - size // 2 - offset) / pitch + knots // 2
        t = min(max(t, 1.0), knots - 2.001)
        base[a] = int(t) - 1
        weights(t - int(t), value[a], slope[a])


@numba.njit(nogil=True, cache=True, fastmath=True)
def along(values, base, weight, out):  # type: ignore[no-untyped-def]
    """Go from knots to pixels along the first axis, and make it the second: (KNOTS, m) to (m, size).

    Twice, and knots (y, x) have become pixels (y, x): (KNOTS y, KNOTS x) to (KNOTS x, size y) to (size y, size x).
    """
    width = values.shape[1]
    line = np.empty(width, np.float32)
    for a in range(len(base)):
        w0, w1, w2, w3 = (
            np.float32(weight[a, 0]),
            np.float32(weight[a, 1]),
            np.float32(weight[a, 2]),
            np.float32(weight[a, 3]),
        )
        v0, v1, v2, v3 = values[base[a]], values[base[a] + 1], values[base[a] + 2], values[base[a] + 3]
        # Rows are contiguous: this loop runs eight at a time.
        for b in range(width):
            line[b] = w0 * v0[b] + w1 * v1[b] + w2 * v2[b] + w3 * v3[b]
        for b in range(width):
            out[b, a] = line[b]


@numba.njit(nogil=True, cache=True, fastmath=True)
def value_at(table, z, plane):  # type: ignore[no-untyped-def]
    """Lateral coefficients at depth `z` (in knots)."""
    t = min(max(z, 1.0), table.shape[0] - 2.001)
    first = int(t) - 1
    w = np.empty(4)
    unused = np.empty(4)
    weights(t - int(t), w, unused)
    w0, w1, w2, w3 = np.float32(w[0]), np.float32(w[1]), np.float32(w[2]), np.float32(w[3])
    for a in range(table.shape[1]):
        for b in range(table.shape[2]):
            plane[a, b] = (
                w0 * table[first, a, b] + w1 * table[first + 1, a, b] + w2 * table[first + 2, a, b]
                + w3 * table[first + 3, a, b]
            )  # fmt: skip
