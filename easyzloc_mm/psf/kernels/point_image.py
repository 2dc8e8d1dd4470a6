"""Compiled image of a point in a crop, and its derivatives: the way that a fit goes thousands of times a second.

Knots are 2/3 px apart, so pixels two apart lie at the same fraction between knots: one axis needs the weights of its
even and of its odd pixels only, and eight pixels of a kind are computed at once. A row of an image holds its even
pixels, then its odd ones, then a cell that is no pixel (`ordered`). Lengths are constants, or nothing would run eight
at a time.

Images for training come from the plainer kernels of `psf.kernels.spline`, which take crops of any size and no
derivatives; the simulator has its own (`simulator.optics.kernels.emitter_image`). The tests hold all three against the
same sum of B-splines.
"""

from __future__ import annotations

import numba
import numpy as np

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.numerics.spline import compiled_slopes as slopes
from easyzloc_mm.numerics.spline import compiled_weights as weights
from easyzloc_mm.psf.bead_psf import PADDED_KNOTS as EDGE
from easyzloc_mm.psf.bead_psf import PITCH_PX

MAX_AWAY_PX = 3.0
"""From the middle of the crop, as far as `SplinePsf.padded` reaches: Gaussian fits miss defocused spots by 2 px."""
KNOTS_PER_PX = 1 / PITCH_PX
PAIR_KNOTS = round(2 * KNOTS_PER_PX)
"""Between pixels that are two apart."""
LANE = 8
LINE = 2 * LANE
CELLS = ROI_PX * LINE
ROWS = PAIR_KNOTS * (ROI_PX // 2) + 4
"""Rows of knots that a crop touches."""
WIDTH = 32
"""Knots of a row, from the first that the crop touches: some more than it needs."""
PLANE = ROWS * EDGE + WIDTH
LINES = ROI_PX * WIDTH
COARSE = 2
"""A depth is near enough to a fit's start when it is no more than a knot away."""
SIXTH, TWO_THIRDS = np.float32(1 / 6), np.float32(2 / 3)


@numba.njit(nogil=True, cache=True, fastmath=True)
def workspace():  # type: ignore[no-untyped-def]
    """Buffers of `point_image`, all finite: cells that are no pixels are computed too."""
    planes, lines = np.zeros(2 * PLANE, np.float32), np.zeros(3 * LINES, np.float32)
    return planes, lines, np.zeros((2, 2), np.int64), np.zeros((4, 2, 4), np.float32)


@numba.njit(nogil=True, cache=True, fastmath=True)
def ordered(crop, added, out, least):  # type: ignore[no-untyped-def]
    """Copy a crop into the order of `point_image`, with `added` to every value, and none below `least`."""
    for a in range(ROI_PX):
        for b in range(ROI_PX):
            out[a * LINE + (b & 1) * LANE + (b >> 1)] = max(crop[a, b] + added, least)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _taps(offset, base, value, slope):  # type: ignore[no-untyped-def]
    """First taps and weights of the first two pixels of an axis, for an emitter `offset` px from the middle."""
    for parity in range(2):
        at = EDGE // 2 + (parity - ROI_PX // 2 - offset) * KNOTS_PER_PX
        base[parity] = int(at) - 1
        w, d = weights(at - int(at)), slopes(at - int(at))
        for tap in range(4):
            value[parity, tap], slope[parity, tap] = w[tap], d[tap]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _axial(table, z, row, planes):  # type: ignore[no-untyped-def]
    """Lateral coefficients at depth `z` (in knots) from the table's row `row` on, and their derivative by `z`."""
    at = min(max(z, 1.0), table.shape[0] - 2.001)
    first = int(at) - 1
    w, d = weights(at - int(at)), slopes(at - int(at))
    w0, w1, w2, w3 = np.float32(w[0]), np.float32(w[1]), np.float32(w[2]), np.float32(w[3])
    d0, d1, d2, d3 = np.float32(d[0]), np.float32(d[1]), np.float32(d[2]), np.float32(d[3])
    # Slices, here and below: of an index that might be negative the compiler makes one step at a time.
    rows = slice(row * EDGE, (row + ROWS) * EDGE)
    k0, k1, k2, k3 = table[first, rows], table[first + 1, rows], table[first + 2, rows], table[first + 3, rows]
    for i in range(ROWS * EDGE):
        c0, c1, c2, c3 = k0[i], k1[i], k2[i], k3[i]
        planes[i] = w0 * c0 + w1 * c1 + w2 * c2 + w3 * c3
        planes[PLANE + i] = d0 * c0 + d1 * c1 + d2 * c2 + d3 * c3


@numba.njit(nogil=True, cache=True, fastmath=True)
def _rows(planes, base, column, w, d, lines):  # type: ignore[no-untyped-def]
    """Go from knots to pixels along y, from knot `column` on: values, derivatives by y, derivatives by z."""
    for a in range(ROI_PX):
        kind = a & 1
        w0, w1, w2, w3 = w[kind, 0], w[kind, 1], w[kind, 2], w[kind, 3]
        d0, d1, d2, d3 = d[kind, 0], d[kind, 1], d[kind, 2], d[kind, 3]
        first = (base[kind] - base[0] + PAIR_KNOTS * (a >> 1)) * EDGE + column
        v = planes[first : first + PLANE + 3 * EDGE + WIDTH]
        line = lines[a * WIDTH : (a + 1) * WIDTH + 2 * LINES]
        for b in range(WIDTH):
            v0, v1, v2, v3 = v[b], v[b + EDGE], v[b + 2 * EDGE], v[b + 3 * EDGE]
            line[b] = w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3
            line[LINES + b] = d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
            v0, v1, v2, v3 = v[PLANE + b], v[PLANE + b + EDGE], v[PLANE + b + 2 * EDGE], v[PLANE + b + 3 * EDGE]
            line[2 * LINES + b] = w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3


@numba.njit(nogil=True, cache=True, fastmath=True)
def _columns(lines, base, w, d, images):  # type: ignore[no-untyped-def]
    """Go from knots to pixels along x: values, derivatives by x, by y, by z."""
    for kind in range(2):
        w0, w1, w2, w3 = w[kind, 0], w[kind, 1], w[kind, 2], w[kind, 3]
        d0, d1, d2, d3 = d[kind, 0], d[kind, 1], d[kind, 2], d[kind, 3]
        for a in range(ROI_PX):
            first = a * WIDTH + base[kind] - base[0]
            v = lines[first : first + 2 * LINES + WIDTH]
            cell = a * LINE + kind * LANE
            out = images[cell : cell + 3 * CELLS + LANE]
            for j in range(LANE):
                k = PAIR_KNOTS * j
                v0, v1, v2, v3 = v[k], v[k + 1], v[k + 2], v[k + 3]
                out[j] = w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3
                out[CELLS + j] = d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
                k += LINES
                out[2 * CELLS + j] = w0 * v[k] + w1 * v[k + 1] + w2 * v[k + 2] + w3 * v[k + 3]
                k += LINES
                out[3 * CELLS + j] = w0 * v[k] + w1 * v[k + 1] + w2 * v[k + 2] + w3 * v[k + 3]


@numba.njit(nogil=True, cache=True, fastmath=True)
def point_image(table, x, y, z, work, images):  # type: ignore[no-untyped-def]
    """Image of one photon, and its derivatives by x, y and z.

    Parameters
    ----------
    table : ndarray, shape (Z, EDGE * EDGE), float32
        One place of `SplinePsf.padded`.
    x, y : float
        From the middle of the crop, px; at most `MAX_AWAY_PX`.
    z : float
        In knots.
    work : tuple
        From `workspace`.
    images : ndarray, shape (4 * CELLS,), float32
        Filled, each image in the order of `ordered`; derivatives by x and y are per knot towards smaller x and y:
        times -`KNOTS_PER_PX` they are per px.
    """
    planes, lines, base, weight = work
    wx, dx, wy, dy = weight[0], weight[1], weight[2], weight[3]
    _taps(x, base[0], wx, dx)
    _taps(y, base[1], wy, dy)
    _axial(table, z, base[1, 0], planes)
    _rows(planes, base[1], base[0, 0], wy, dy, lines)
    _columns(lines, base[0], wx, dx, images)


@numba.njit(nogil=True, cache=True, fastmath=True)
def coarse_images(table, x, y, work, images):  # type: ignore[no-untyped-def]
    """Image of one photon at every `COARSE`-th knot of depth: images[k] is that at knot 1 + k * COARSE.

    Parameters
    ----------
    table, x, y, work
        As for `point_image`.
    images : ndarray, shape (n, CELLS), float32
        Filled, in the order of `ordered`.
    """
    planes, lines, bases, weight = work
    wx, dx, wy, dy = weight[0], weight[1], weight[2], weight[3]
    base_x, base_y = bases[0], bases[1]
    _taps(x, base_x, wx, dx)
    _taps(y, base_y, wy, dy)
    rows = slice(base_y[0] * EDGE, (base_y[0] + ROWS) * EDGE)
    for n in range(len(images)):
        knot = 1 + n * COARSE
        below, here, above = table[knot - 1, rows], table[knot, rows], table[knot + 1, rows]
        for i in range(ROWS * EDGE):
            planes[i] = (below[i] + above[i]) * SIXTH + here[i] * TWO_THIRDS
        for a in range(ROI_PX):
            kind = a & 1
            w0, w1, w2, w3 = wy[kind, 0], wy[kind, 1], wy[kind, 2], wy[kind, 3]
            first = (base_y[kind] - base_y[0] + PAIR_KNOTS * (a >> 1)) * EDGE + base_x[0]
            v = planes[first : first + 3 * EDGE + WIDTH]
            line = lines[a * WIDTH : (a + 1) * WIDTH]
            for b in range(WIDTH):
                line[b] = w0 * v[b] + w1 * v[b + EDGE] + w2 * v[b + 2 * EDGE] + w3 * v[b + 3 * EDGE]
        image = images[n]
        for kind in range(2):
            w0, w1, w2, w3 = wx[kind, 0], wx[kind, 1], wx[kind, 2], wx[kind, 3]
            for a in range(ROI_PX):
                v = lines[a * WIDTH + base_x[kind] - base_x[0] : (a + 1) * WIDTH]
                out = image[a * LINE + kind * LANE : a * LINE + (kind + 1) * LANE]
                for j in range(LANE):
                    k = PAIR_KNOTS * j
                    out[j] = w0 * v[k] + w1 * v[k + 1] + w2 * v[k + 2] + w3 * v[k + 3]
