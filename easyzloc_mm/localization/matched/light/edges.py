"""Sharp edges in the light of a frame: a field stop, the rim of a laser spot, the gap of a split view.

Between medians of tiles a background cannot step. Where even tiles show that it does, the light is followed pixel by
pixel (`edge_levels`), as far as there are edges; how steep it is there says how little it can be trusted. All levels
are in the noise of a binned pixel: the roots of counts (Anscombe 1948).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from easyzloc_mm.localization.matched.correlation import THREE_EIGHTHS, background_row, between
from easyzloc_mm.localization.matched.light.background import finer
from easyzloc_mm.localization.matched.light.edge_levels import NEAR, extremes, follow
from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.numerics.level import REACH_TILES
from easyzloc_mm.typing import F32, Bool

FLAT = 1.3
"""Times its noise: a tile whose darker pixels spread by no more has no edge in it, and no slope or crowd either."""
STEPS = 4.0, 4.0, 12.0
"""Between flat tiles that are one, two or three apart: more is an edge, unless..."""
SLOPING = 0.25
"""...the tiles beyond differ from them by more than this part of it: light that bends."""
DIP = 3.0
"""By which a part of a tile is darker than even parts to either side: a gap."""
UNLIKE = 2.5
"""Where there are edges: tiles that differ from the next one by more are beside one,"""
MUCH_DARKER, SHARE = 3.0, 0.03
"""...and those of which a larger share is so much darker than the rest."""
ALIKE = 1.0
"""Between tiles of the same side."""
DOUBT, SURE = 0.3, 0.5
"""Part of how much the light changes within `NEAR` that it may be off by; less so many times the noise."""
EIGHTH_NORMAL = 1.15
"""Standard deviations below the median, of the lowest eighth."""


class Edges(NamedTuple):
    """The light of a frame that has sharp edges.

    Attributes
    ----------
    light : ndarray, float32
        Photons of each pixel, more than in the darkest: of binned ones, shape (Y / 2, X / 2), or of whole ones.
    doubt : ndarray, float32
        Standard deviation of that, near edges.
    beside : ndarray of bool
        Tiles beside edges: there the light is that of a few pixels around each, which a molecule raises.
    """

    light: F32
    doubt: F32
    beside: Bool

    def whole(self, shape_yx: tuple[int, ...]) -> Edges:
        """Return the same of whole pixels."""
        light, doubt = np.empty(shape_yx, np.float32), np.empty(shape_yx, np.float32)
        for source, target in ((self.light, light), (self.doubt, doubt)):
            _halved(source, target)
        return Edges(light, doubt, self.beside)


def light_taken_off(light: F32, doubt: F32, photons: F32, read_noise_e: float | F32) -> tuple[F32, F32]:
    """Return photons without known light, whose noise is added to the read noise."""
    return photons - light, np.sqrt(np.square(np.asarray(read_noise_e, np.float32)) + light + np.square(doubt))


def edges_of(counts: F32, tiles: tuple[F32, F32], read_variance: float) -> Edges | None:
    """Return the light of a frame, if it has sharp edges.

    Parameters
    ----------
    counts : ndarray, shape (Y, X), float32
        Photons of binned pixels.
    tiles : tuple of ndarray
        Medians and lower eighths, from `correlation.tile_medians`.
    read_variance : float
        Of the read noise of a binned pixel.
    """
    offset = np.float32(read_variance) + THREE_EIGHTHS
    level, low = (_rooted(of_tiles, offset) for of_tiles in tiles)
    differ, dip = level.max() - level.min() >= min(STEPS), level.max() - low.min() - EIGHTH_NORMAL > DIP
    if not (differ or dip) or not _has_edges(level, low):
        return None
    scaled = _rooted(counts, offset)
    beside = _beside_edges(scaled, level)
    light = np.empty(counts.shape, np.float32)
    _fill_between(finer(_mean_of_alike(tiles[0], level)), light)
    followed, inside = _rooted(light, offset), _inside(beside, light)
    follow(scaled, inside, followed)
    lowest, highest = extremes(followed, NEAR)
    light = np.where(inside, np.maximum(np.square(followed / 2) - offset, 0), light)
    # By one step of a root a count changes by its root.
    doubt = np.where(inside, DOUBT * np.maximum(highest - lowest - SURE, 0) * followed / 2, 0)
    return Edges((light - light.min()).astype(np.float32), doubt.astype(np.float32), beside)


def _rooted(photons: F32, offset: np.float32) -> F32:
    return np.asarray(2 * np.sqrt(np.maximum(photons + offset, 0)), np.float32)


@kernel()
def _has_edges(level, low):  # type: ignore[no-untyped-def]
    """Whether flat tiles differ as no slope does, or a part between them is dark."""
    down, across = level.shape
    flat = level - low < FLAT * EIGHTH_NORMAL
    for i in range(down):
        for j in range(across):
            for y, x in ((1, 0), (0, 1)):
                if _dips(level, low, flat, i, j, y, x):
                    return True
                for apart in range(1, 4) if flat[i, j] else range(0):
                    if _steps_down(level, flat, i, j, y, x, apart) or _steps_down(level, flat, i, j, -y, -x, apart):
                        return True
    return False


@kernel()
def _dips(level, low, flat, i, j, y, x):  # type: ignore[no-untyped-def]
    """Whether a part of a tile is darker than flat ones to either side, along y, x."""
    down, across = level.shape
    for before in range(1, 3):
        for after in range(1, 3):
            a, b, c, d = i - y * before, j - x * before, i + y * after, j + x * after
            if a < 0 or b < 0 or c >= down or d >= across or not (flat[a, b] and flat[c, d]):
                continue
            depth = min(level[a, b], level[c, d]) - low[i, j] - EIGHTH_NORMAL
            most = SLOPING * depth
            even = _goes_on(level, a, b, -y, -x, most) and _goes_on(level, c, d, y, x, most)
            if depth > DIP and even and abs(level[a, b] - level[c, d]) < most:
                return True
    return False


@kernel()
def _steps_down(level, flat, i, j, y, x, apart):  # type: ignore[no-untyped-def]
    """Whether a tile is the last of an even part that ends at a darker one, so many tiles in direction y, x."""
    down, across = level.shape
    a, b = i + y * apart, j + x * apart
    if not (0 <= a < down and 0 <= b < across and flat[a, b] and 0 <= i - y < down and 0 <= j - x < across):
        return False
    step = level[i, j] - level[a, b]
    if step < STEPS[apart - 1] or not _goes_on(level, i, j, -y, -x, SLOPING * step):
        return False
    return apart == 1 or _goes_on(level, a, b, y, x, SLOPING * step)


@kernel()
def _goes_on(level, i, j, y, x, most):  # type: ignore[no-untyped-def]
    """Whether the tile beyond another one, if there is any, differs from it by less."""
    down, across = level.shape
    a, b = i + y, j + x
    return not (0 <= a < down and 0 <= b < across) or abs(level[i, j] - level[a, b]) < most


@kernel()
def _beside_edges(scaled, level):  # type: ignore[no-untyped-def]
    """Which tiles, and those around them, are not as their neighbours, or partly dark."""
    down, across = level.shape
    rows, columns = scaled.shape
    unlike, chosen = np.zeros((down, across), np.bool_), np.zeros((down, across), np.bool_)
    for i in range(down):
        for j in range(across):
            dark, size = 0, 0
            for line in scaled[i * rows // down : (i + 1) * rows // down]:
                for value in line[j * columns // across : (j + 1) * columns // across]:
                    dark, size = dark + (value < level[i, j] - MUCH_DARKER), size + 1
            unlike[i, j] |= dark > SHARE * size
            if i + 1 < down and abs(level[i, j] - level[i + 1, j]) > UNLIKE:
                unlike[i, j] = unlike[i + 1, j] = True
            if j + 1 < across and abs(level[i, j] - level[i, j + 1]) > UNLIKE:
                unlike[i, j] = unlike[i, j + 1] = True
    for i in range(down):
        for j in range(across):
            chosen[i, j] = unlike[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].any()
    return chosen


@kernel()
def _inside(tiles, light):  # type: ignore[no-untyped-def]
    """Which pixels are in the chosen tiles."""
    (rows, columns), (down, across) = light.shape, tiles.shape
    out = np.zeros((rows, columns), np.bool_)
    for i in range(down):
        for j in range(across):
            if tiles[i, j]:
                wide = slice(j * columns // across, (j + 1) * columns // across)
                out[i * rows // down : (i + 1) * rows // down, wide] = True
    return out


@kernel()
def _mean_of_alike(medians, level):  # type: ignore[no-untyped-def]
    """Return the mean of each tile and those around it that are alike: one molecule moves it by little."""
    down, across = level.shape
    out = np.empty_like(medians)
    for i in range(down):
        for j in range(across):
            total, count = 0.0, 0
            for a in range(max(i - REACH_TILES, 0), min(i + REACH_TILES + 1, down)):
                for b in range(max(j - REACH_TILES, 0), min(j + REACH_TILES + 1, across)):
                    if abs(level[a, b] - level[i, j]) < ALIKE:
                        total, count = total + medians[a, b], count + 1
            out[i, j] = total / count
    return out


@kernel(fastmath=FAST)
def _fill_between(tiles, out):  # type: ignore[no-untyped-def]
    """Fill `out` with what lies between the middles of tiles."""
    rows, columns = out.shape
    left, share = np.empty(columns, np.int32), np.empty(columns, np.float32)
    between_rows = np.empty(tiles.shape[1] + 1, np.float32)
    for x in range(columns):
        left[x], share[x] = between(x, columns, tiles.shape[1])
    for y in range(rows):
        background_row(tiles, y, rows, left, share, between_rows, out[y])


@kernel(fastmath=FAST)
def _halved(binned, out):  # type: ignore[no-untyped-def]
    """Fill `out` with a quarter of what lies between the middles of binned pixels."""
    rows, columns = out.shape
    line = np.empty(binned.shape[1] + 2, np.float32)
    near, far = np.float32(0.75 * 0.25), np.float32(0.25 * 0.25)
    for y in range(rows):
        own = binned[min(y // 2, len(binned) - 1)]
        other = binned[min(max(y // 2 + 2 * (y % 2) - 1, 0), len(binned) - 1)]
        for x in range(len(own)):
            line[x + 1] = near * own[x] + far * other[x]
        line[0], line[-1] = line[1], line[-2]
        target = out[y]
        for x in range(columns):
            at = min(x // 2, len(own) - 1) + 1
            target[x] = np.float32(0.75) * line[at] + np.float32(0.25) * line[at + 2 * (x % 2) - 1]
