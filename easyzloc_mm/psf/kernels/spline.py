"""Compiled evaluation of a `SplinePsf`: the image of a point, and how it changes."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.numerics.spline import compiled_weights as weights


@kernel(fastmath=True)
def lateral(offset, pitch, knots, base, weight):  # type: ignore[no-untyped-def]
    """Fill the first knot and the four weights of every pixel of a crop along one axis.

    Parameters
    ----------
    offset : float
        Place of the emitter from the middle pixel, px.
    pitch : float
        Distance of the knots, px.
    knots : int
        Of the axis; the emitter lies at the middle one.
    base : ndarray, shape (size,), int64
    weight : ndarray, shape (size, 4)
    """
    size = len(base)
    for a in range(size):
        t = (a - size // 2 - offset) / pitch + knots // 2
        t = min(max(t, 1.0), knots - 2.001)
        base[a] = int(t) - 1
        weight[a, 0], weight[a, 1], weight[a, 2], weight[a, 3] = weights(t - int(t))


@kernel(fastmath=True)
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


@kernel(fastmath=True)
def value_at(table, z, plane):  # type: ignore[no-untyped-def]
    """Lateral coefficients at depth `z` (in knots)."""
    t = min(max(z, 1.0), table.shape[0] - 2.001)
    first = int(t) - 1
    w = weights(t - int(t))
    w0, w1, w2, w3 = np.float32(w[0]), np.float32(w[1]), np.float32(w[2]), np.float32(w[3])
    for a in range(table.shape[1]):
        for b in range(table.shape[2]):
            plane[a, b] = (
                w0 * table[first, a, b] + w1 * table[first + 1, a, b] + w2 * table[first + 2, a, b]
                + w3 * table[first + 3, a, b]
            )  # fmt: skip


@kernel(fastmath=True)
def drawing(size, knots):  # type: ignore[no-untyped-def]
    """Buffers of `draw`."""
    return (
        np.empty((knots, knots), np.float32), np.empty((knots, size), np.float32),
        np.empty(size, np.int64), np.empty((size, 4)),
    )  # fmt: skip


@kernel(fastmath=True)
def draw(table, x, y, z, pitch, work, image):  # type: ignore[no-untyped-def]
    """Draw one photon's image into `image`, of any odd size.

    Parameters
    ----------
    table : ndarray, shape (Z, KNOTS, KNOTS), float32
        One place of `SplinePsf.coefficients`.
    x, y : float
        From the middle of the image, px.
    z, pitch : float
        Depth in knots, and the distance of lateral knots, px.
    work : tuple
        From `drawing`.
    image : ndarray, shape (size, size), float32
    """
    plane, columns, base, weight = work
    value_at(table, z, plane)
    lateral(y, pitch, table.shape[1], base, weight)
    along(plane, base, weight, columns)
    lateral(x, pitch, table.shape[1], base, weight)
    along(columns, base, weight, image)
