"""Levels of pixels beside sharp edges, from the pixels around each, compiled; all in the noise of a binned pixel.

A running median [1]_ steps where the light does, as long as an edge is straight. Beside an edge it is pulled to the
other side: there it is that of the pixels around whose level is alike. Where it steps itself, a smaller one says on
which side a pixel is. What is darker than both is followed too: nothing dark is a molecule.

References
----------
.. [1] Huang, Yang and Tang, A fast two-dimensional median filtering algorithm, IEEE Transactions on Acoustics, Speech,
   and Signal Processing 27, 13 (1979), https://doi.org/10.1109/TASSP.1979.1163188
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel

REACH, NEAR = 4, 2
"""Pixels to either side, of a median and of a smaller one: hardly any molecule's image fills half of the first."""
STEEP = 2.0
"""Within `REACH` of a pixel: an edge is near."""
SHARP, EVEN = 8.0, 1.0
"""Within a pixel to either side: steeper than the larger median follows, and so little that it is pulled."""
SAME_SIDE, FEWEST = 1.25, 9
"""Between levels that are alike; of fewer pixels no median is taken."""
DARKER = 2.0
"""Over their reach: smaller medians that are lower by more are followed."""
FINENESS, WIDEST = 8, 16
"""Steps of a median in the noise, and range of those of alike pixels."""


@kernel()
def follow(scaled, inside, level):  # type: ignore[no-untyped-def]
    """Fill `level` where it is asked for (`inside`).

    Parameters
    ----------
    scaled : ndarray, shape (Y, X), float32
        Pixels, of unit noise.
    inside : ndarray of bool, shape (Y, X)
    level : ndarray, shape (Y, X), float32
        Of the others it is what it was.
    """
    _running_median(scaled, inside, level)
    low, high = extremes(level, REACH)
    rows, columns = scaled.shape
    out = level.copy()
    values, counted = np.empty((2 * NEAR + 1) ** 2, np.float32), np.empty(WIDEST * FINENESS, np.int32)
    for y in range(rows):
        for x in range(columns):
            if not inside[y, x]:
                continue
            start, alike = level[y, x], False
            if high[y, x] - low[y, x] > STEEP:
                around = level[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                step = around.max() - around.min()
                alike = step < EVEN
                if step > SHARP:
                    start = min(max(_small_median(scaled, y, x, NEAR, values), low[y, x]), high[y, x])
            for near in range(1, NEAR + 1):
                if _darker(scaled, y, x, near, start - DARKER / near):
                    start, alike = _small_median(scaled, y, x, near, values), True
            if alike:
                start = _median_of_alike(scaled, level, y, x, start, counted)
            out[y, x] = start
    level[:] = out


@kernel()
def extremes(level, reach):  # type: ignore[no-untyped-def]
    """Return the lowest and the highest level within so many pixels along each axis."""
    rows, columns = level.shape
    low, high = level.copy(), level.copy()
    for y in range(rows):
        for apart in range(1, reach + 1):
            line, least, most = level[y, apart:], low[y, : columns - apart], high[y, : columns - apart]
            for x in range(columns - apart):
                least[x], most[x] = min(least[x], line[x]), max(most[x], line[x])
            line, least, most = level[y, : columns - apart], low[y, apart:], high[y, apart:]
            for x in range(columns - apart):
                least[x], most[x] = min(least[x], line[x]), max(most[x], line[x])
    lowest, highest = low.copy(), high.copy()
    for y in range(rows):
        for a in range(max(y - reach, 0), min(y + reach + 1, rows)):
            for x in range(columns):
                lowest[y, x], highest[y, x] = min(lowest[y, x], low[a, x]), max(highest[y, x], high[a, x])
    return lowest, highest


@kernel()
def _running_median(scaled, inside, level):  # type: ignore[no-untyped-def]
    """Fill in the median around each pixel; beyond the frame its outermost pixels count again."""
    rows, columns = scaled.shape
    wide = 2 * REACH + 1
    half = wide * wide // 2
    bins = (scaled * FINENESS).astype(np.int32)
    histogram = np.zeros(bins.max() + 2, np.int32)
    lines = np.empty(wide, np.int64)
    for y in range(rows):
        for a in range(wide):
            lines[a] = min(max(y + a - REACH, 0), rows - 1)
        x = 0
        while x < columns:
            if not inside[y, x]:
                x += 1
                continue
            start = x
            histogram[:] = 0
            for row in lines:
                for b in range(start - REACH, start + REACH + 1):
                    histogram[bins[row, min(max(b, 0), columns - 1)]] += 1
            middle, below = np.int64(0), np.int64(0)
            while x < columns and inside[y, x]:
                if x > start:
                    gone, new = max(x - REACH - 1, 0), min(x + REACH, columns - 1)
                    for row in lines:
                        one, other = bins[row, gone], bins[row, new]
                        histogram[one] -= 1
                        histogram[other] += 1
                        below += (other < middle) - (one < middle)
                while below > half:
                    middle -= 1
                    below -= histogram[middle]
                while below + histogram[middle] <= half:
                    below += histogram[middle]
                    middle += 1
                level[y, x] = np.float32((middle + (half - below + 0.5) / histogram[middle]) / FINENESS)
                x += 1


@kernel()
def _darker(scaled, y, x, near, limit):  # type: ignore[no-untyped-def]
    """Whether more than half of the pixels around one are below a limit."""
    around = scaled[max(y - near, 0) : y + near + 1, max(x - near, 0) : x + near + 1]
    count = 0
    for line in around:
        for value in line:
            count += value < limit
    return 2 * count > around.size


@kernel()
def _small_median(scaled, y, x, near, values):  # type: ignore[no-untyped-def]
    rows, columns = scaled.shape
    n = 0
    for a in range(y - near, y + near + 1):
        for b in range(x - near, x + near + 1):
            value = scaled[min(max(a, 0), rows - 1), min(max(b, 0), columns - 1)]
            i = n
            while i and values[i - 1] > value:
                values[i] = values[i - 1]
                i -= 1
            values[i] = value
            n += 1
    return values[n // 2]


@kernel()
def _median_of_alike(scaled, level, y, x, start, counted):  # type: ignore[no-untyped-def]
    """Return the median of the pixels around whose level is like `start`."""
    rows, columns = scaled.shape
    counted[:] = 0
    total, last = 0, len(counted) - 1
    lowest = start - np.float32(0.5 * WIDEST)
    for a in range(max(y - REACH, 0), min(y + REACH + 1, rows)):
        for b in range(max(x - REACH, 0), min(x + REACH + 1, columns)):
            if abs(level[a, b] - start) <= SAME_SIDE:
                counted[min(max(int((scaled[a, b] - lowest) * FINENESS), 0), last)] += 1
                total += 1
    if total < FEWEST:
        return start
    below, i, half = 0, 0, 0.5 * total
    while below + counted[i] < half:
        below += counted[i]
        i += 1
    return lowest + np.float32((i + (half - below) / counted[i]) / FINENESS)
