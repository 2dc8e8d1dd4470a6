"""Compiled image of a point in a crop, and its derivatives: the way that a fit goes thousands of times a second.

Knots are 2/3 px apart, so pixels two apart lie at the same fraction between knots: one axis needs the weights of its
even and of its odd pixels only, and eight pixels of a kind are computed at once. A row of an image holds its even
pixels, then its odd ones, and after each kind the cells of its lane that are no pixels (`ordered`, `crop_size`).

Images for training come from the plainer kernels of `psf.kernels.spline`, which take crops of any size and no
derivatives; the simulator has its own (`simulator.optics.kernels.emitter_image`). The tests hold all three against the
same sum of B-splines.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.numerics.spline import compiled_slopes as slopes
from easyzloc_mm.numerics.spline import compiled_weights as weights
from easyzloc_mm.psf.bead_psf import PITCH_PX
from easyzloc_mm.psf.kernels.crop_size import PAIR_KNOTS, cells, knots_across, lane, line, plane, rows, width
from easyzloc_mm.psf.kernels.crop_size import lines as lines_length

MAX_AWAY_PX = 3.0
"""From the middle of the crop, as far as `SplinePsf.padded` reaches: Gaussian fits miss defocused spots by 2 px."""
KNOTS_PER_PX = 1 / PITCH_PX


@kernel(fastmath=True)
def workspace(size):  # type: ignore[no-untyped-def]
    """Buffers of `point_image`, all finite: cells that are no pixels are computed too."""
    planes, lines = np.zeros(2 * plane(size), np.float32), np.zeros(3 * lines_length(size), np.float32)
    return planes, lines, np.zeros((2, 2), np.int64), np.zeros((4, 2, 4), np.float32)


@kernel(fastmath=True)
def ordered(crop, added, size, out, least):  # type: ignore[no-untyped-def]
    """Copy a crop into the order of `point_image`, with `added` to every value, and none below `least`."""
    for a in range(len(size)):
        for b in range(len(size)):
            out[a * line(size) + (b & 1) * lane(size) + (b >> 1)] = max(crop[a, b] + added, least)


@kernel(fastmath=True)
def _taps(offset, size, base, value, slope):  # type: ignore[no-untyped-def]
    """First taps and weights of the first two pixels of an axis, for an emitter `offset` px from the middle."""
    for parity in range(2):
        at = knots_across(size) // 2 + (parity - len(size) // 2 - offset) * KNOTS_PER_PX
        base[parity] = int(at) - 1
        w, d = weights(at - int(at)), slopes(at - int(at))
        for tap in range(4):
            value[parity, tap], slope[parity, tap] = w[tap], d[tap]


@kernel(fastmath=True)
def _axial(table, z, row, size, planes):  # type: ignore[no-untyped-def]
    """Lateral coefficients at depth `z` (in knots) from the table's row `row` on, and their derivative by `z`."""
    at = min(max(z, 1.0), table.shape[0] - 2.001)
    first = int(at) - 1
    w, d = weights(at - int(at)), slopes(at - int(at))
    w0, w1, w2, w3 = np.float32(w[0]), np.float32(w[1]), np.float32(w[2]), np.float32(w[3])
    d0, d1, d2, d3 = np.float32(d[0]), np.float32(d[1]), np.float32(d[2]), np.float32(d[3])
    edge, second = knots_across(size), plane(size)
    # Slices, here and below: of an index that might be negative the compiler makes one step at a time.
    part = slice(row * edge, (row + rows(size)) * edge)
    k0, k1, k2, k3 = table[first, part], table[first + 1, part], table[first + 2, part], table[first + 3, part]
    for i in range(rows(size) * edge):
        c0, c1, c2, c3 = k0[i], k1[i], k2[i], k3[i]
        planes[i] = w0 * c0 + w1 * c1 + w2 * c2 + w3 * c3
        planes[second + i] = d0 * c0 + d1 * c1 + d2 * c2 + d3 * c3


@kernel(fastmath=True)
def _rows(planes, base, column, w, d, size, lines):  # type: ignore[no-untyped-def]
    """Go from knots to pixels along y, from knot `column` on: values, derivatives by y, derivatives by z."""
    edge, wide, second, next_lines = knots_across(size), width(size), plane(size), lines_length(size)
    for a in range(len(size)):
        kind = a & 1
        w0, w1, w2, w3 = w[kind, 0], w[kind, 1], w[kind, 2], w[kind, 3]
        d0, d1, d2, d3 = d[kind, 0], d[kind, 1], d[kind, 2], d[kind, 3]
        first = (base[kind] - base[0] + PAIR_KNOTS * (a >> 1)) * edge + column
        v = planes[first : first + second + 3 * edge + wide]
        out = lines[a * wide : (a + 1) * wide + 2 * next_lines]
        for b in range(wide):
            v0, v1, v2, v3 = v[b], v[b + edge], v[b + 2 * edge], v[b + 3 * edge]
            out[b] = w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3
            out[next_lines + b] = d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
            v0, v1, v2, v3 = v[second + b], v[second + b + edge], v[second + b + 2 * edge], v[second + b + 3 * edge]
            out[2 * next_lines + b] = w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3


@kernel(fastmath=True)
def _columns(lines, base, w, d, size, images):  # type: ignore[no-untyped-def]
    """Go from knots to pixels along x: values, derivatives by x, by y, by z."""
    wide, next_lines, next_image = width(size), lines_length(size), cells(size)
    for kind in range(2):
        w0, w1, w2, w3 = w[kind, 0], w[kind, 1], w[kind, 2], w[kind, 3]
        d0, d1, d2, d3 = d[kind, 0], d[kind, 1], d[kind, 2], d[kind, 3]
        for a in range(len(size)):
            first = a * wide + base[kind] - base[0]
            v = lines[first : first + 2 * next_lines + wide]
            cell = a * line(size) + kind * lane(size)
            out = images[cell : cell + 3 * next_image + lane(size)]
            for j in range(lane(size)):
                k = PAIR_KNOTS * j
                v0, v1, v2, v3 = v[k], v[k + 1], v[k + 2], v[k + 3]
                out[j] = w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3
                out[next_image + j] = d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
                k += next_lines
                out[2 * next_image + j] = w0 * v[k] + w1 * v[k + 1] + w2 * v[k + 2] + w3 * v[k + 3]
                k += next_lines
                out[3 * next_image + j] = w0 * v[k] + w1 * v[k + 1] + w2 * v[k + 2] + w3 * v[k + 3]


@kernel(fastmath=True)
def point_image(table, x, y, z, size, work, images):  # type: ignore[no-untyped-def]
    """Image of one photon, and its derivatives by x, y and z.

    Parameters
    ----------
    table : ndarray, shape (Z, knots * knots), float32
        One place of `SplinePsf.padded`.
    x, y : float
        From the middle of the crop, px; at most `MAX_AWAY_PX`.
    z : float
        In knots.
    size : tuple
        Of the crop, from `crop_size.sized`.
    work : tuple
        From `workspace`.
    images : ndarray, shape (4 * cells,), float32
        Filled, each image in the order of `ordered`; derivatives by x and y are per knot towards smaller x and y:
        times -`KNOTS_PER_PX` they are per px.
    """
    planes, lines, base, weight = work
    wx, dx, wy, dy = weight[0], weight[1], weight[2], weight[3]
    _taps(x, size, base[0], wx, dx)
    _taps(y, size, base[1], wy, dy)
    _axial(table, z, base[1, 0], size, planes)
    _rows(planes, base[1], base[0, 0], wy, dy, size, lines)
    _columns(lines, base[0], wx, dx, size, images)


@kernel(fastmath=True)
def coarse_images(table, x, y, size, work, images):  # type: ignore[no-untyped-def]
    """Image of one photon at every depth of a table of planes.

    Parameters
    ----------
    table : ndarray, shape (n, knots * knots), float32
        One place of `SplinePsf.coarse`.
    x, y, size, work
        As for `point_image`.
    images : ndarray, shape (n, cells), float32
        Filled, in the order of `ordered`.
    """
    _, lines, bases, weight = work
    wx, dx, wy, dy = weight[0], weight[1], weight[2], weight[3]
    base_x, base_y = bases[0], bases[1]
    _taps(x, size, base_x, wx, dx)
    _taps(y, size, base_y, wy, dy)
    edge, wide = knots_across(size), width(size)
    part = slice(base_y[0] * edge, (base_y[0] + rows(size)) * edge)
    for n in range(len(images)):
        plane = table[n, part]
        for a in range(len(size)):
            kind = a & 1
            w0, w1, w2, w3 = wy[kind, 0], wy[kind, 1], wy[kind, 2], wy[kind, 3]
            first = (base_y[kind] - base_y[0] + PAIR_KNOTS * (a >> 1)) * edge + base_x[0]
            v = plane[first : first + 3 * edge + wide]
            out = lines[a * wide : (a + 1) * wide]
            for b in range(wide):
                out[b] = w0 * v[b] + w1 * v[b + edge] + w2 * v[b + 2 * edge] + w3 * v[b + 3 * edge]
        image = images[n]
        for kind in range(2):
            w0, w1, w2, w3 = wx[kind, 0], wx[kind, 1], wx[kind, 2], wx[kind, 3]
            for a in range(len(size)):
                v = lines[a * wide + base_x[kind] - base_x[0] : (a + 1) * wide]
                out = image[a * line(size) + kind * lane(size) : a * line(size) + (kind + 1) * lane(size)]
                for j in range(lane(size)):
                    k = PAIR_KNOTS * j
                    out[j] = w0 * v[k] + w1 * v[k + 1] + w2 * v[k + 2] + w3 * v[k + 3]
