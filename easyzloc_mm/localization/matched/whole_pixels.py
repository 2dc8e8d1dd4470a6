"""Compiled second look at what `correlation` noticed, on whole pixels."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.localization.matched.correlation import EIGHTH, MODEL_ERROR, THREE_EIGHTHS, between
from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.psf.detection_bank import WHOLE_PX

SEARCH_PX = 2
"""Whole pixels, to either side of a binned one, in which its emitter is looked for."""
PLACES = 2 * SEARCH_PX + 2
UNSEEN = np.float32(-1e30)
"""Of a place that was not looked at."""


@kernel(fastmath=FAST)
def _patch(  # type: ignore[no-untyped-def]
    frame, baseline, gain, variance, medians, known, error, top, left, tiles, across, expected, patch
):
    """`deviations` of whole pixels around a place; 0 outside the frame. Three lines of a patch are workspace."""
    rows, columns = frame.shape
    patch[:] = 0
    first, last = max(left, 0), min(left + WHOLE_PX + PLACES - 1, columns)
    for x in range(first, last):
        tiles[x - first], across[x - first] = between(x, columns, medians.shape[1])
    for y in range(max(top, 0), min(top + patch.shape[0], rows)):
        i, down = between(y, rows, medians.shape[0])
        above, below = medians[i], medians[min(i + 1, medians.shape[0] - 1)]
        for b in range(last - first):
            j = tiles[b]
            k = min(j + 1, medians.shape[1] - 1)
            near, far = above[j] + down * (below[j] - above[j]), above[k] + down * (below[k] - above[k])
            # Medians are of four pixels.
            expected[b] = np.float32(0.25) * (near + across[b] * (far - near))
        if known.size:
            for b in range(last - first):
                expected[b] += max(known[y, first + b], np.float32(0))
        counts, out = frame[y, first:last], patch[y - top, first - left : last - left]
        if baseline.size == 1 and variance.size == 1:
            dark, scale, read = baseline[0, 0], gain[0, 0], variance[0, 0]
            for b in range(counts.size):
                count = (np.float32(counts[b]) - dark) * scale + read + THREE_EIGHTHS
                out[b] = 2 * (np.sqrt(max(count, np.float32(0))) - np.sqrt(expected[b] + read + EIGHTH))
        else:
            for b in range(counts.size):
                x = first + b
                at_y, at_x = min(y, baseline.shape[0] - 1), min(x, baseline.shape[1] - 1)
                read = variance[min(y, variance.shape[0] - 1), min(x, variance.shape[1] - 1)]
                count = (np.float32(counts[b]) - baseline[at_y, at_x]) * gain[at_y, at_x] + read + THREE_EIGHTHS
                expected[b] += read - variance[0, 0]
                out[b] = 2 * (np.sqrt(max(count, np.float32(0))) - np.sqrt(expected[b] + variance[0, 0] + EIGHTH))
        if error.size:
            for b in range(counts.size):
                off = MODEL_ERROR * error[y, first + b]
                out[b] /= np.sqrt(1 + off * off / (expected[b] + variance[0, 0] + EIGHTH))


@kernel(fastmath=FAST)
def _highest(patch, template, less, best):  # type: ignore[no-untyped-def]
    """Go uphill from the middle, to the place that none of the eight around exceeds; `best`: what was seen."""
    best[:] = UNSEEN
    row = column = SEARCH_PX
    best[row, column] = _product(patch, template, row, column) - less
    while True:
        to_row, to_column = row, column
        for a in range(max(row - 1, 0), min(row + 2, PLACES)):
            for b in range(max(column - 1, 0), min(column + 2, PLACES)):
                if best[a, b] == UNSEEN:
                    best[a, b] = _product(patch, template, a, b) - less
                if best[a, b] > best[to_row, to_column]:
                    to_row, to_column = a, b
        if to_row == row and to_column == column:
            return row, column
        row, column = to_row, to_column


@kernel(fastmath=FAST)
def _product(patch, template, top, left):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for a in range(WHOLE_PX):
        taps = template[a]
        line = patch[top + a, left : left + taps.size]
        for b in range(taps.size):
            total += line[b] * taps[b]
    return total


@kernel(fastmath=FAST)
def _vertex(before, here, after):  # type: ignore[no-untyped-def]
    """Place of the maximum of the parabola through three values, from the middle one."""
    bend = before - 2 * here + after
    if bend >= 0:
        return 0.0
    return min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@kernel(fastmath=FAST)
def refine(  # type: ignore[no-untyped-def]
    frame, baseline, gain, variance, medians, known, error, around, ys, xs, depths, tiles, templates, sums, out
):
    """Look for each peak's emitter on whole pixels: `out` becomes x, y (pixels), index of the depth, correlation.

    Templates have columns of zeros at the right, so that a row is a whole number of lanes.
    """
    patch = np.empty((WHOLE_PX + PLACES - 1, templates.shape[3] + PLACES - 1), np.float32)
    best = np.empty((PLACES, PLACES), np.float32)
    edge = patch.shape[1]
    lines = np.empty(edge, np.int64), np.empty(edge, np.float32), np.empty(edge, np.float32)
    for i in range(len(ys)):
        top, left = 2 * ys[i] - SEARCH_PX, 2 * xs[i] - SEARCH_PX
        half = WHOLE_PX // 2
        _patch(frame, baseline, gain, variance, medians, known, error, top - half, left - half, *lines, patch)
        chosen = depths[i]
        template = templates[tiles[i], chosen]
        # Of binned pixels, whose noise is that of four.
        mean = np.float32(0.5) * around[ys[i], xs[i]]
        less = mean * sums[tiles[i], chosen]
        row, column = _highest(patch, template, less, best)
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
