"""Compiled second look at what `correlation` noticed, on whole pixels."""

from __future__ import annotations

import numba
import numpy as np

from easyzloc_mm.localization.matched.correlation import EIGHTH, FAST, MODEL_ERROR, THREE_EIGHTHS, between
from easyzloc_mm.psf.detection_bank import WHOLE_PX

SEARCH_PX = 2
"""Whole pixels, to either side of a binned one, in which its emitter is looked for."""
PLACES = 2 * SEARCH_PX + 2


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _patch(frame, baseline, gain, variance, medians, known, error, top, left, patch):  # type: ignore[no-untyped-def]
    """`deviations` of whole pixels around a place; 0 outside the frame."""
    rows, columns = frame.shape
    patch[:] = 0
    for a in range(patch.shape[0]):
        y = top + a
        for b in range(WHOLE_PX + PLACES - 1):
            x = left + b
            if y < 0 or x < 0 or y >= rows or x >= columns:
                continue
            at_y, at_x = min(y, baseline.shape[0] - 1), min(x, baseline.shape[1] - 1)
            count = (np.float32(frame[y, x]) - baseline[at_y, at_x]) * gain[at_y, at_x]
            read = variance[min(y, variance.shape[0] - 1), min(x, variance.shape[1] - 1)]
            i, down = between(y, rows, medians.shape[0])
            j, across = between(x, columns, medians.shape[1])
            below, right = min(i + 1, medians.shape[0] - 1), min(j + 1, medians.shape[1] - 1)
            upper = medians[i, j] + across * (medians[i, right] - medians[i, j])
            lower = medians[below, j] + across * (medians[below, right] - medians[below, j])
            # Medians are of four pixels.
            expected = np.float32(0.25) * (upper + down * (lower - upper))
            if known.size:
                expected += max(known[y, x], np.float32(0))
            more = expected + read + EIGHTH
            value = 2 * (np.sqrt(max(count + read + THREE_EIGHTHS, np.float32(0))) - np.sqrt(more))
            if error.size:
                off = MODEL_ERROR * error[y, x]
                value /= np.sqrt(1 + off * off / more)
            patch[a, b] = value


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _product(patch, template, top, left):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for a in range(WHOLE_PX):
        taps = template[a]
        line = patch[top + a, left : left + taps.size]
        for b in range(taps.size):
            total += line[b] * taps[b]
    return total


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _vertex(before, here, after):  # type: ignore[no-untyped-def]
    """Place of the maximum of the parabola through three values, from the middle one."""
    bend = before - 2 * here + after
    if bend >= 0:
        return 0.0
    return min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def refine(  # type: ignore[no-untyped-def]
    frame, baseline, gain, variance, medians, known, error, around, ys, xs, depths, tiles, templates, sums, out
):
    """Look for each peak's emitter on whole pixels: `out` becomes x, y (pixels), index of the depth, correlation.

    Templates have columns of zeros at the right, so that a row is a whole number of lanes.
    """
    patch = np.empty((WHOLE_PX + PLACES - 1, templates.shape[3] + PLACES - 1), np.float32)
    best = np.empty((PLACES, PLACES), np.float32)
    for i in range(len(ys)):
        top, left = 2 * ys[i] - SEARCH_PX, 2 * xs[i] - SEARCH_PX
        half = WHOLE_PX // 2
        _patch(frame, baseline, gain, variance, medians, known, error, top - half, left - half, patch)
        chosen, row, column = depths[i], 0, 0
        template = templates[tiles[i], chosen]
        # Of binned pixels, whose noise is that of four.
        mean = np.float32(0.5) * around[ys[i], xs[i]]
        less = mean * sums[tiles[i], chosen]
        for a in range(PLACES):
            for b in range(PLACES):
                best[a, b] = _product(patch, template, a, b) - less
                if best[a, b] > best[row, column]:
                    row, column = a, b
        for k in (depths[i] - 1, depths[i] + 1):
            if not 0 <= k < templates.shape[1]:
                continue
            template, less = templates[tiles[i], k], mean * sums[tiles[i], k]
            if _product(patch, template, row, column) - less <= best[row, column]:
                continue
            chosen = k
            for a in range(max(row - 1, 0), min(row + 2, PLACES)):
                for b in range(max(column - 1, 0), min(column + 2, PLACES)):
                    best[a, b] = _product(patch, template, a, b) - less
        highest = best[row, column]
        x, y = float(left + column), float(top + row)
        if 0 < column < PLACES - 1:
            x += _vertex(best[row, column - 1], highest, best[row, column + 1])
        if 0 < row < PLACES - 1:
            y += _vertex(best[row - 1, column], highest, best[row + 1, column])
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = x, y, chosen, highest
