"""Spot detection: Picasso's identification, the same spots at a fraction of the cost.

A spot is a pixel that is the maximum of the box around it (the first one in scan order, where several are equal)
and whose net gradient (Schnitzbauer et al. 2017, doi 10.1038/nprot.2017.024) exceeds a threshold. Picasso takes
an argmax over the box at every pixel. Here

1. the box maximum is separable: running maxima along rows, then along columns, on the camera's own uint16, in
   loops that compile to vector instructions; a pixel that equals it is a candidate, and the row maxima also show
   whether an equal pixel comes earlier;
2. the net gradient is linear in the pixels, so a candidate's is first estimated by one weighted sum in any
   order; only where it comes within the rounding error of the threshold, or above, it is summed in Picasso's
   order, which gives the same float32.
"""

from __future__ import annotations

import functools

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F32, I64, U16

LANES = 16
"""Pixels of a row that the estimate reads at once; longer rows take several."""
Spots = tuple[I64, I64, F32]


@kernel()
def _unit_vectors(box: int) -> tuple[F32, F32]:
    """Return unit vectors (uy, ux) towards the box centre, in Picasso's arithmetic; nan at the centre."""
    ux = np.zeros((box, box), np.float32)
    uy = np.zeros((box, box), np.float32)
    for i in range(box):
        value = box // 2 - i
        ux[:, i] = value
        uy[i, :] = value
    norm = np.sqrt(ux**2 + uy**2)
    return uy / norm, ux / norm


@functools.cache
def _estimate_weights(box: int) -> tuple[F32, float]:
    """Return what each pixel of the (box+2)-square adds to the net gradient, rows padded to whole lanes.

    The second value bounds the rounding error of any summation order, per unit of the largest pixel.
    """
    uy, ux = (np.nan_to_num(u.astype(np.float64)) for u in _unit_vectors(box))
    size = box + 2
    weights = np.zeros((size, size))
    weights[2:, 1:-1] += uy
    weights[:-2, 1:-1] -= uy
    weights[1:-1, 2:] += ux
    weights[1:-1, :-2] -= ux
    padded = np.zeros((size, -(-size // LANES) * LANES), np.float32)
    padded[:, :size] = weights
    # Both sums have fewer than 4 box^2 + size^2 roundings, each relative to a partial sum that is at most the
    # sum of absolute terms (4 box^2 unit-vector terms at most).
    roundings = 4 * box * box + size * size
    return padded, float(2.0 * roundings * np.finfo(np.float32).eps * 4 * box * box)


@kernel(fastmath={"reassoc", "nsz", "contract"})
def _estimate(frame, y, x, weights):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    span = weights.shape[1]
    for k in range(weights.shape[0]):
        total += _dot(frame[y + k, x : x + span], weights[k])
    return total


@kernel(fastmath={"reassoc", "nsz", "contract"})
def _dot(pixels, weights):  # type: ignore[no-untyped-def]
    # A length that the compiler does not know: a short loop of known length is unrolled into scalars instead.
    total = np.float32(0)
    for lane in range(pixels.size):
        total += weights[lane] * np.float32(pixels[lane])
    return total


@kernel()
def _net_gradient(frame, y, x, box, uy, ux):  # type: ignore[no-untyped-def]
    """Sum in Picasso's order, including its wrap to the opposite edge above row 0 and left of column 0."""
    half = box // 2
    height, width = frame.shape
    total = np.float32(0)
    for k in range(box):
        row = y - half + k
        above = row - 1 if row > 0 else height - 1
        for m in range(box):
            if k == half and m == half:
                continue
            column = x - half + m
            left = column - 1 if column > 0 else width - 1
            gy = np.float32(frame[row + 1, column]) - np.float32(frame[above, column])
            gx = np.float32(frame[row, column + 1]) - np.float32(frame[row, left])
            total += gy * uy[k, m] + gx * ux[k, m]
    return total


@kernel()
def _row_maxima(row, box, scratch, out):  # type: ignore[no-untyped-def]
    """out[j] = max(row[j : j + box]); maxima of 2, 4, ... pixels first, whose windows then overlap to `box`."""
    count = row.size
    level, span = 0, 1
    scratch[0, :count] = row
    while 2 * span <= box:
        count -= span
        _larger(scratch[level, :count], scratch[level, span : span + count], scratch[level + 1, :count])
        level, span = level + 1, 2 * span
    rest = box - span
    count -= rest
    _larger(scratch[level, :count], scratch[level, rest : rest + count], out[:count])


@kernel()
def _larger(one, other, out):  # type: ignore[no-untyped-def]
    for j in range(out.size):
        out[j] = max(one[j], other[j])


@kernel()
def _detect(frame, threshold, box, uy, ux, weights, margin):  # type: ignore[no-untyped-def]
    height, width = frame.shape
    half = box // 2
    # Picasso's loops end one pixel early at the bottom and right.
    rows = height - 2 * half - 1
    columns = width - 2 * half - 1
    found = 0
    ys = np.empty(256, np.int64)
    xs = np.empty(256, np.int64)
    gradients = np.empty(256, np.float32)
    if rows < 1 or columns < 1:
        return ys[:0], xs[:0], gradients[:0]
    words = (columns + 8) // 8  # room for the last window, which Picasso leaves out
    ring = np.zeros((box, words * 8), np.uint16)  # row maxima of the box's rows; row r lives at r % box
    highest = np.zeros(words * 8, np.uint16)
    equal = np.zeros(words * 8, np.uint8)
    equal_words = equal.view(np.uint64)
    scratch = np.empty((6, width), np.uint16)
    span = weights.shape[1]
    for row in range(box - 1):
        _row_maxima(frame[row], box, scratch, ring[row])
    for y in range(half, half + rows):
        _row_maxima(frame[y + half], box, scratch, ring[(y + half) % box])
        highest[:] = ring[0]
        for k in range(1, box):
            line = ring[k]
            for j in range(highest.size):
                highest[j] = max(highest[j], line[j])
        centre = frame[y, half : half + columns]
        for j in range(columns):
            equal[j] = centre[j] == highest[j]
        for word in range(words):
            if equal_words[word] == 0:
                continue
            for j in range(8 * word, min(8 * word + 8, columns)):
                if not equal[j]:
                    continue
                value = centre[j]
                x = half + j
                first = True
                for k in range(1, half + 1):
                    if frame[y, x - k] == value or ring[(y - k) % box, j] == value:
                        first = False
                        break
                if not first:
                    continue
                top, left = y - half - 1, x - half - 1
                if top >= 0 and left >= 0 and left + span <= width:
                    estimate = _estimate(frame, top, left, weights)
                    if estimate <= threshold - margin:
                        continue
                gradient = _net_gradient(frame, y, x, box, uy, ux)
                if not np.float64(gradient) > threshold:
                    continue
                if found == ys.size:
                    ys = np.append(ys, np.empty_like(ys))
                    xs = np.append(xs, np.empty_like(xs))
                    gradients = np.append(gradients, np.empty_like(gradients))
                ys[found] = y
                xs[found] = x
                gradients[found] = gradient
                found += 1
    return ys[:found].copy(), xs[:found].copy(), gradients[:found].copy()


def detect(frame: U16, min_net_gradient: float, box: int) -> Spots:
    """Find the spots of one frame; the same as ``picasso.localize.identify_in_frame`` on the whole frame.

    The work is done without the GIL, so threads run side by side.

    Parameters
    ----------
    frame : ndarray, shape (height, width), uint16
        ADU.
    min_net_gradient : float
        Net gradient, ADU, that a spot must exceed.
    box : int
        Side of the box, odd, 3 or more.

    Returns
    -------
    y, x : ndarray of int64
        Pixel of each spot, in scan order.
    net_gradient : ndarray of float32
    """
    if frame.dtype != np.uint16 or frame.ndim != 2:
        raise ValueError(f"a frame is uint16 with two axes, not {frame.dtype} {frame.shape}")
    weights, error = _estimate_weights(box)
    uy, ux = _vectors(box)
    frame = np.ascontiguousarray(frame)
    margin = error * float(frame.max(initial=0))
    spots: Spots = _detect(frame, float(min_net_gradient), box, uy, ux, weights, margin)
    return spots


@functools.cache
def _vectors(box: int) -> tuple[F32, F32]:
    vectors: tuple[F32, F32] = _unit_vectors(box)
    return vectors
