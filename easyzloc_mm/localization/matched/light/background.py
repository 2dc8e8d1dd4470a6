"""What the surroundings of a spot say of its background, compiled.

Far from focus an image is so wide that a crop alone hardly tells its faint light from the background: photons, and the
side of focus, are uncertain for it. The frame around knows the background better, where it is even.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.numerics.level import ALIKE, REACH_TILES, crowded, level_of, noise_of_median

FEWEST_TILES = 4
"""Of which the background is known."""
FINER = 4
"""Places per tile and axis between which the background is taken for straight."""
FARTHEST_OUT, BENT = 0.5 - 0.5 / FINER, 1 / 6
"""Of a tile, beyond the middle of the last one; and of a second difference, between the middles: about the most that a
cubic differs from straight lines by."""
NOTICEABLE = 0.5
"""Of a binned pixel's noise: where nothing differs by more, straight lines do. The noise of medians is half of it."""
LEAST_VARIANCE = 16.0
"""Of a binned pixel, in units of the square of what a count is worth: below, medians of counts are too coarse."""
SMOOTH = 0.0357
"""Variance of means of nine tiles about the mean of nine such means, over that of tiles about theirs, of independent
tiles."""
SURE, TOGETHER = 2.0, 8.0
"""Standard errors by which it may be exceeded, and so many of those means count as one: they share tiles."""
FEWEST_MEANS = 9
"""Of nine tiles, that lie within a frame."""
FARTHEST = 4.0
"""Standard deviations of its noise by which any of them may be off."""


@kernel()
def _slope(medians):  # type: ignore[no-untyped-def]
    """Plane through the medians of a frame's tiles, less their mean."""
    down, across = medians.shape
    slope = np.empty_like(medians)
    by_row = by_column = rows = columns = 0.0
    for i in range(down):
        for j in range(across):
            y, x = i - 0.5 * (down - 1), j - 0.5 * (across - 1)
            by_row, by_column = by_row + y * medians[i, j], by_column + x * medians[i, j]
            rows, columns = rows + y * y, columns + x * x
    for i in range(down):
        for j in range(across):
            y, x = i - 0.5 * (down - 1), j - 0.5 * (across - 1)
            slope[i, j] = y * by_row / max(rows, 1.0) + x * by_column / max(columns, 1.0)
    return slope


@kernel()
def finer(tiles):  # type: ignore[no-untyped-def]
    """Return the background between the middles of tiles, `FINER` times as fine: cubic, and straight beyond the last.

    Between tiles, light such as a laser beam's bends by more than its noise, and falls off up to the edge of the frame.
    Catmull and Rom (1974): a cubic through the middles, with the slope of the two around each.
    """
    return _along(_along(tiles).T.copy()).T.copy()


@kernel()
def _along(tiles):  # type: ignore[no-untyped-def]
    """Do the same along the first axis."""
    down, across = tiles.shape
    out = np.empty((FINER * down, across), np.float32)
    line, middle = np.empty(down + 4), np.empty(down + 4)
    for j in range(across):
        line[2 : down + 2] = tiles[:, j]
        before, after = _outward(tiles[:, j]), _outward(tiles[::-1, j])
        for far in range(1, 3):
            line[2 - far] = line[2] + far * before
            line[down + 1 + far] = line[down + 1] + far * after
        middle[:] = line
        for i in range(1, down + 3):
            # A tile says the mean over its width, which is not the value in its middle where light bends.
            middle[i] -= (line[i - 1] - 2 * line[i] + line[i + 1]) / 24
        for i in range(len(out)):
            place = (i + 0.5) / FINER + 1.5
            first = int(place)
            t = place - first
            a, b, c, d = middle[first - 1], middle[first], middle[first + 1], middle[first + 2]
            bend = t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))
            out[i, j] = max(b + 0.5 * t * (c - a + bend), 0.0)
    return out


@kernel()
def bends(tiles, read_variance):  # type: ignore[no-untyped-def]
    """Return by how much `finer` differs from straight lines between tiles at most, in a binned pixel's noise."""
    down, across = tiles.shape
    most = 0.0
    for i in range(down):
        for j in range(across):
            here = tiles[i, j]
            bent = 0.0
            if 0 < i < down - 1:
                bent = max(bent, abs(tiles[i - 1, j] - 2 * here + tiles[i + 1, j]) * BENT)
            elif down > 1:
                bent = max(bent, abs(here - tiles[1 if i == 0 else i - 1, j]) * FARTHEST_OUT)
            if 0 < j < across - 1:
                bent = max(bent, abs(tiles[i, j - 1] - 2 * here + tiles[i, j + 1]) * BENT)
            elif across > 1:
                bent = max(bent, abs(here - tiles[i, 1 if j == 0 else j - 1]) * FARTHEST_OUT)
            most = max(most, bent / np.sqrt(max(here + 4 * read_variance, 1.0)))
    return most


@kernel()
def _outward(tiles):  # type: ignore[no-untyped-def]
    """Return the slope beyond the first of some tiles: that of the first two, or less where it is getting less."""
    if tiles.size < 2:
        return 0.0
    slope = float(tiles[0] - tiles[1])
    if tiles.size < 3:
        return slope
    next_one = 2 * slope - float(tiles[1] - tiles[2])
    return 0.0 if slope * next_one <= 0 else slope if abs(slope) < abs(next_one) else next_one


@kernel()
def agreed(medians, read_variance, step):  # type: ignore[no-untyped-def]
    """Return the mean of each tile and those around it, and whether tiles differ from it by noise alone.

    A slope over the whole frame is taken out before, and added again. Emitters make tiles differ one by one, light
    makes their means differ, too; of a few tiles that is not seen.

    Parameters
    ----------
    medians : ndarray
        From `correlation.tile_medians`: of 2x2 pixels.
    read_variance : float
        Of the read noise of a pixel.
    step : float
        Photons of a count, at least 1.
    """
    down, across = medians.shape
    slope, out = _slope(medians), np.empty_like(medians)
    flat = medians - slope
    unlike, noise, lowest = 0.0, 0.0, np.inf
    smooth, inner, means, farthest = 0.0, 0.0, 0, 0.0
    for i in range(down):
        for j in range(across):
            near = flat[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            level = near.mean()
            out[i, j] = level
            unlike += (flat[i, j] - level) ** 2
            noise += noise_of_median(level + slope[i, j], read_variance) ** 2 * (1 - 1 / near.size)
            lowest = min(lowest, level + slope[i, j])
    for i in range(2, down - 2):
        for j in range(2, across - 2):
            off = (out[i, j] - out[i - 1 : i + 2, j - 1 : j + 2].mean()) ** 2
            smooth += off
            farthest = max(farthest, off / noise_of_median(out[i, j] + slope[i, j], read_variance) ** 2)
            inner += (flat[i, j] - out[i, j]) ** 2
            means += 1
    out += slope
    if means < FEWEST_MEANS:
        return out, False
    alike = unlike <= ALIKE**2 * noise and farthest <= FARTHEST**2 * SMOOTH * 8 / 9
    alike = alike and smooth <= SMOOTH * inner * (1 + SURE * np.sqrt(2 * TOGETHER / means))
    return out, alike and lowest + 4 * read_variance >= LEAST_VARIANCE * step**2


@kernel()
def background_around(medians, variance, shape_yx, x, y):  # type: ignore[no-untyped-def]
    """Photons per pixel around places in a frame, and their standard deviation, shape (n, 2); infinity if unknown.

    They are what the tile and those around it say (`numerics.level`).

    Parameters
    ----------
    medians : ndarray
        From `correlation.tile_medians`: of 2x2 pixels.
    variance : ndarray, shape (1, 1) or (Y, X)
        Of the read noise of a pixel.
    shape_yx : (int, int)
        Of the frame.
    x, y : ndarray, shape (n,)
        Pixels.
    """
    down, across = medians.shape
    found = np.empty((len(x), 2))
    tile = np.empty((len(x), 2), np.int64)
    emitters = np.zeros((down, across))
    for i in range(len(x)):
        tile[i, 0] = min(max(int(y[i] * down / shape_yx[0]), 0), down - 1)
        tile[i, 1] = min(max(int(x[i] * across / shape_yx[1]), 0), across - 1)
        emitters[tile[i, 0], tile[i, 1]] += 1
    for i in range(len(x)):
        row, column = tile[i]
        for reach in (REACH_TILES, 1):  # in a crowd, what is near
            rows = slice(max(row - reach, 0), row + reach + 1)
            columns = slice(max(column - reach, 0), column + reach + 1)
            near = medians[rows, columns].copy().ravel()
            emitters_near = emitters[rows, columns].sum()
            if not crowded(emitters_near, near.size):
                break
        if near.size < FEWEST_TILES:
            found[i] = 0.0, np.inf
            continue
        at_row = min(max(int(y[i]), 0), variance.shape[0] - 1)
        at_column = min(max(int(x[i]), 0), variance.shape[1] - 1)
        found[i] = level_of(near, variance[at_row, at_column], emitters_near)
    return found
