"""Compiled steps of `detector`: from counts to noise of variance 1, correlation with the bank, and peaks.

Binned images have a margin of zeros around them, half a template wide, so that no step has to look for the edge.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.numerics.level import SAMPLES
from easyzloc_mm.psf.detection_bank import AROUND_PX, BINNED_PX

MARGIN = AROUND_PX // 2
TILE_PX = 16
"""Edge, in binned pixels, of the tiles whose median is the background."""
MODEL_ERROR = np.float32(0.07)
"""Of the light of emitters that are already explained: what the measured PSF may miss in a pixel."""
UNEQUAL = np.float32(0.3)
"""Of what one emitter makes another template show: how far that can be off, where the first is bright."""
EIGHTH, THREE_EIGHTHS = np.float32(0.125), np.float32(0.375)


@kernel(fastmath=FAST)
def binned_counts(frame, baseline, gain, counts):  # type: ignore[no-untyped-def]
    """Photons of 2x2 pixels: counts[y, x] of a frame in ADU; `baseline` and `gain` of all pixels (1, 1) or of each."""
    rows, columns = counts.shape
    if baseline.size == 1:
        scale, dark = gain[0, 0], np.float32(4) * baseline[0, 0]
        for y in range(rows):
            upper, lower = frame[2 * y], frame[2 * y + 1]
            for x in range(columns):
                total = np.int32(upper[2 * x]) + np.int32(upper[2 * x + 1])
                total += np.int32(lower[2 * x]) + np.int32(lower[2 * x + 1])
                counts[y, x] = (np.float32(total) - dark) * scale
        return
    for y in range(rows):
        for x in range(columns):
            counts[y, x] = 0
            for a in range(2 * y, 2 * y + 2):
                for b in range(2 * x, 2 * x + 2):
                    counts[y, x] += (np.float32(frame[a, b]) - baseline[a, b]) * gain[a, b]


@kernel(fastmath=FAST)
def binned(image, out):  # type: ignore[no-untyped-def]
    """Sum of 2x2 pixels."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = image[2 * y, 2 * x] + image[2 * y, 2 * x + 1] + image[2 * y + 1, 2 * x] + image[
                2 * y + 1, 2 * x + 1]  # fmt: skip


@kernel()
def tile_medians(counts, known, medians, lower):  # type: ignore[no-untyped-def]
    """Background of every tile: the median of what is not `known`, at 8 x 8 places of it; at least 0.

    `lower` becomes what an eighth of them is below.
    """
    rows, columns = counts.shape
    down, across = medians.shape
    values = np.zeros((SAMPLES * SAMPLES, across), np.float32)
    for i in range(down):
        top, high = i * rows // down, (i + 1) * rows // down - i * rows // down
        for j in range(across if high else 0):
            left, wide = j * columns // across, (j + 1) * columns // across - j * columns // across
            for a in range(SAMPLES if wide else 0):
                y = top + a * high // SAMPLES
                for b in range(SAMPLES):
                    # Of a tile's usual 16 x 16 pixels every second one of every second row, as on a chessboard.
                    x = left + min((2 * b + (a & 1)) * wide // (2 * SAMPLES), wide - 1)
                    values[SAMPLES * a + b, j] = counts[y, x] - known[y, x] if known.size else counts[y, x]
        _sort_columns(values)
        for j in range(across):
            middle = np.float32(0.5) * (values[len(values) // 2 - 1, j] + values[len(values) // 2, j])
            medians[i, j] = max(middle, np.float32(0))
            lower[i, j] = np.float32(0.5) * (values[len(values) // 8 - 1, j] + values[len(values) // 8, j])


@kernel(fastmath=FAST)
def _sort_columns(values):  # type: ignore[no-untyped-def]
    """Sort every column of 2^n values, all at once: Batcher's odd-even merge sort (1968) compares without branches."""
    count = len(values)
    part = 1
    while part < count:
        apart = part
        while apart:
            for first in range(apart % part, count - apart, 2 * apart):
                for i in range(first, min(first + apart, count - apart)):
                    if i // (2 * part) == (i + apart) // (2 * part):
                        one, other = values[i], values[i + apart]
                        for j in range(one.size):
                            small, large = min(one[j], other[j]), max(one[j], other[j])
                            one[j], other[j] = small, large
            apart //= 2
        part *= 2


@kernel(fastmath=FAST)
def between(at, size, count):  # type: ignore[no-untyped-def]
    """Tile below a pixel's place along an axis, and the weight of the next one."""
    place = min(max((at + 0.5) * count / size - 0.5, 0.0), count - 1.0)
    first = min(int(place), max(count - 2, 0))
    return first, np.float32(place - first)


@kernel(fastmath=FAST)
def background_row(medians, y, rows, left, share, between_rows, line):  # type: ignore[no-untyped-def]
    """Fill a row with the background between the middles of the tiles, whose columns `between` gave beforehand."""
    first, part = between(y, rows, medians.shape[0])
    above, below = medians[first], medians[min(first + 1, medians.shape[0] - 1)]
    last = len(between_rows) - 1
    for j in range(last):
        between_rows[j] = above[j] + part * (below[j] - above[j])
    between_rows[last] = between_rows[last - 1]
    for x in range(line.size):
        near = between_rows[left[x]]
        line[x] = near + share[x] * (between_rows[left[x] + 1] - near)


@kernel(fastmath=FAST)
def deviations(counts, medians, variance, known, error, out):  # type: ignore[no-untyped-def]
    """Fill `out` (with its margin) with what counts differ from the expected ones, in units of the noise.

    The root of Poisson counts has nearly the same noise at any brightness, and nearly a normal one (Anscombe 1948);
    read noise adds its variance to both sides.

    Parameters
    ----------
    counts : ndarray, shape (Y, X), float32
        Photons of binned pixels.
    medians : ndarray
        Background, from `tile_medians`.
    variance : ndarray, shape (1, 1) or (Y, X)
        Of the read noise, of a binned pixel.
    known, error : ndarray, shape (Y, X) or (0, 0)
        Expected photons of what is explained, and the part of them that may be off by `MODEL_ERROR`.
    """
    rows, columns = counts.shape
    line, read, share = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    read[:] = variance[0, 0]
    left, between_rows = np.empty(columns, np.int32), np.empty(medians.shape[1] + 1, np.float32)
    for x in range(columns):
        left[x], share[x] = between(x, columns, medians.shape[1])
    for y in range(rows):
        background_row(medians, y, rows, left, share, between_rows, line)
        if variance.size > 1:
            read[:] = variance[y]
        target = out[y + MARGIN, MARGIN : MARGIN + columns]
        source = counts[y]
        if known.size:
            for x in range(columns):
                line[x] += max(known[y, x], np.float32(0))
        for x in range(columns):
            more = line[x] + read[x] + EIGHTH
            target[x] = 2 * (np.sqrt(max(source[x] + read[x] + THREE_EIGHTHS, np.float32(0))) - np.sqrt(more))
        if error.size:
            for x in range(columns):
                off = MODEL_ERROR * error[y, x]
                target[x] /= np.sqrt(1 + off * off / (line[x] + read[x] + EIGHTH))


@kernel(fastmath=FAST)
def _along_row(source, taps, out):  # type: ignore[no-untyped-def]
    t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10 = (
        taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7], taps[8], taps[9], taps[10],
    )  # fmt: skip
    # Slices: of one array at several places the compiler makes one step at a time.
    s0, s1, s2, s3, s4, s5 = source[0:], source[1:], source[2:], source[3:], source[4:], source[5:]
    s6, s7, s8, s9, s10 = source[6:], source[7:], source[8:], source[9:], source[10:]
    for x in range(out.size):
        out[x] = (
            t0 * s0[x] + t1 * s1[x] + t2 * s2[x] + t3 * s3[x] + t4 * s4[x] + t5 * s5[x] + t6 * s6[x] + t7 * s7[x]
            + t8 * s8[x] + t9 * s9[x] + t10 * s10[x]
        )  # fmt: skip


@kernel(fastmath=FAST)
def _add_column(ring, first, taps, out):  # type: ignore[no-untyped-def]
    t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10 = (
        taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7], taps[8], taps[9], taps[10],
    )  # fmt: skip
    r0, r1, r2, r3 = ring[first % 11], ring[(first + 1) % 11], ring[(first + 2) % 11], ring[(first + 3) % 11]
    r4, r5, r6, r7 = ring[(first + 4) % 11], ring[(first + 5) % 11], ring[(first + 6) % 11], ring[(first + 7) % 11]
    r8, r9, r10 = ring[(first + 8) % 11], ring[(first + 9) % 11], ring[(first + 10) % 11]
    for x in range(out.size):
        out[x] += (
            t0 * r0[x] + t1 * r1[x] + t2 * r2[x] + t3 * r3[x] + t4 * r4[x] + t5 * r5[x] + t6 * r6[x] + t7 * r7[x]
            + t8 * r8[x] + t9 * r9[x] + t10 * r10[x]
        )  # fmt: skip


@kernel(fastmath=FAST)
def _means(image, around):  # type: ignore[no-untyped-def]
    """Mean of the square of `AROUND_PX` around each pixel; what is beyond the frame counts as 0."""
    rows, columns = around.shape
    sums = np.zeros(image.shape[1], np.float32)
    scale = np.float32(1 / AROUND_PX**2)
    for y in range(AROUND_PX - 1):
        sums += image[y]
    for y in range(rows):
        sums += image[y + AROUND_PX - 1]
        total = np.float32(0)
        for x in range(AROUND_PX - 1):
            total += sums[x]
        line = around[y]
        for x in range(columns):
            total += sums[x + AROUND_PX - 1]
            line[x] = total * scale
            total -= sums[x]
        sums -= image[y]


@kernel(fastmath=FAST)
def correlate(  # type: ignore[no-untyped-def]
    image, filters_x, filters_y, weights, tile_rows, tile_edges, best, depth, around
):
    """Fill `best` with the largest correlation over depths, `depth` with its index, `around` with the mean around.

    Parameters
    ----------
    image : ndarray, shape (Y + 2 * MARGIN, X + 2 * MARGIN), float32
        From `deviations`.
    filters_x, filters_y, weights : ndarray
        Of the bank.
    tile_rows : ndarray, shape (Y,)
        Row of tiles of each row.
    tile_edges : ndarray, shape (tiles + 1,)
        Columns at which tiles begin, and the end of the last.
    """
    rows, columns = best.shape
    components, filters = filters_y.shape[0], filters_y.shape[1]
    tiles = len(tile_edges) - 1
    ring = np.zeros((filters, BINNED_PX, columns), np.float32)
    parts = np.zeros((8, columns), np.float32)
    # In pairs: an odd last one is compared with itself.
    depths = weights.shape[1]
    pairs = np.zeros((weights.shape[0], depths + depths % 2, 8), np.float32)
    pairs[:, :depths, : components + 1] = weights
    pairs[:, -1, : components + 1] = weights[:, -1]
    _means(image, around)
    inner = MARGIN - BINNED_PX // 2
    for y in range(BINNED_PX - 1):
        for q in range(filters):
            _along_row(image[y + inner, inner:], filters_x[q], ring[q, y])
    for y in range(rows):
        newest = y + BINNED_PX - 1
        for q in range(filters):
            _along_row(image[newest + inner, inner:], filters_x[q], ring[q, newest % BINNED_PX])
        for c in range(components):
            parts[c, :] = np.float32(0)
            for q in range(filters):
                _add_column(ring[q], y, filters_y[c, q], parts[c])
        parts[components, :] = around[y]
        highest, index = best[y], depth[y]
        highest[:] = np.float32(-1e9)
        for j in range(tiles):
            first, last = tile_edges[j], tile_edges[j + 1]
            if last <= first:
                continue
            here = pairs[tile_rows[y] * tiles + j]
            if components < 4:
                _largest_of_four(parts, first, last, here, highest[first:last], index[first:last])
            elif components < 6:
                _largest_of_six(parts, first, last, here, highest[first:last], index[first:last])
            else:
                _largest_of_eight(parts, first, last, here, highest[first:last], index[first:last])


@kernel(fastmath=FAST)
def _largest_of_four(parts, first, last, weights, highest, index):  # type: ignore[no-untyped-def]
    """Fill in the largest of all templates of four components, and which it is; two at a time."""
    at = slice(first, last)
    p0, p1, p2, p3 = parts[0, at], parts[1, at], parts[2, at], parts[3, at]
    for k in range(0, len(weights), 2):
        one, other = weights[k], weights[k + 1]
        number = np.int32(k)
        u0, u1, u2, u3 = one[0], one[1], one[2], one[3]
        v0, v1, v2, v3 = other[0], other[1], other[2], other[3]
        for x in range(highest.size):
            a0, a1, a2, a3 = p0[x], p1[x], p2[x], p3[x]
            here, which = highest[x], index[x]
            value = u0 * a0 + u1 * a1 + u2 * a2 + u3 * a3
            which, here = number if value > here else which, max(value, here)
            value = v0 * a0 + v1 * a1 + v2 * a2 + v3 * a3
            index[x] = number + np.int32(1) if value > here else which
            highest[x] = max(value, here)


@kernel(fastmath=FAST)
def _largest_of_six(parts, first, last, weights, highest, index):  # type: ignore[no-untyped-def]
    """Fill in the largest of all templates of six components, and which it is; two at a time."""
    at = slice(first, last)
    p0, p1, p2, p3, p4, p5 = parts[0, at], parts[1, at], parts[2, at], parts[3, at], parts[4, at], parts[5, at]
    for k in range(0, len(weights), 2):
        one, other = weights[k], weights[k + 1]
        number = np.int32(k)
        u0, u1, u2, u3, u4, u5 = one[0], one[1], one[2], one[3], one[4], one[5]
        v0, v1, v2, v3, v4, v5 = other[0], other[1], other[2], other[3], other[4], other[5]
        for x in range(highest.size):
            a0, a1, a2, a3, a4, a5 = p0[x], p1[x], p2[x], p3[x], p4[x], p5[x]
            here, which = highest[x], index[x]
            value = u0 * a0 + u1 * a1 + u2 * a2 + u3 * a3 + u4 * a4 + u5 * a5
            which, here = number if value > here else which, max(value, here)
            value = v0 * a0 + v1 * a1 + v2 * a2 + v3 * a3 + v4 * a4 + v5 * a5
            index[x] = number + np.int32(1) if value > here else which
            highest[x] = max(value, here)


@kernel(fastmath=FAST)
def _largest_of_eight(parts, first, last, weights, highest, index):  # type: ignore[no-untyped-def]
    """Fill in the largest of all templates of eight components, and which it is; two at a time."""
    at = slice(first, last)
    p0, p1, p2, p3 = parts[0, at], parts[1, at], parts[2, at], parts[3, at]
    p4, p5, p6, p7 = parts[4, at], parts[5, at], parts[6, at], parts[7, at]
    for k in range(0, len(weights), 2):
        one, other = weights[k], weights[k + 1]
        number = np.int32(k)
        u0, u1, u2, u3, u4, u5, u6, u7 = one[0], one[1], one[2], one[3], one[4], one[5], one[6], one[7]
        v0, v1, v2, v3, v4, v5, v6, v7 = other[0], other[1], other[2], other[3], other[4], other[5], other[6], other[7]
        for x in range(highest.size):
            a0, a1, a2, a3, a4, a5, a6, a7 = p0[x], p1[x], p2[x], p3[x], p4[x], p5[x], p6[x], p7[x]
            here, which = highest[x], index[x]
            value = u0 * a0 + u1 * a1 + u2 * a2 + u3 * a3 + u4 * a4 + u5 * a5 + u6 * a6 + u7 * a7
            which, here = number if value > here else which, max(value, here)
            value = v0 * a0 + v1 * a1 + v2 * a2 + v3 * a3 + v4 * a4 + v5 * a5 + v6 * a6 + v7 * a7
            index[x] = number + np.int32(1) if value > here else which
            highest[x] = max(value, here)


@kernel()
def peaks(best, threshold):  # type: ignore[no-untyped-def]
    """Rows and columns of the pixels above the threshold that none of the eight around exceeds, highest first."""
    rows, columns = best.shape
    ys, xs, values = np.empty(64, np.int64), np.empty(64, np.int64), np.empty(64, np.float32)
    n = 0
    limit = np.float32(threshold)
    for y in range(rows):
        line = best[y]
        for x in range(columns):
            value = line[x]
            # Nearly all pixels end here: what is below the threshold, and the slopes of what is above it.
            if value <= limit or (x and line[x - 1] >= value) or (x + 1 < columns and line[x + 1] > value):
                continue
            highest = True
            for a in range(max(y - 1, 0), min(y + 2, rows)):
                for b in range(max(x - 1, 0), min(x + 2, columns)):
                    # Of equal ones the first in scan order.
                    if best[a, b] > value or (best[a, b] == value and (a < y or (a == y and b < x))):
                        highest = False
            if not highest:
                continue
            if n == ys.size:
                ys, xs = np.append(ys, np.empty_like(ys)), np.append(xs, np.empty_like(xs))
                values = np.append(values, np.empty_like(values))
            ys[n], xs[n], values[n] = y, x, value
            n += 1
    order = np.argsort(-values[:n], kind="mergesort")
    return ys[:n][order], xs[:n][order], values[:n][order]


@kernel()
def independent(ys, xs, values, depths, overlap, threshold):  # type: ignore[no-untyped-def]
    """Which peaks are more than what brighter ones make the bank show there, and how much they are without it."""
    count = len(ys)
    kept = np.zeros(count, np.bool_)
    own = np.empty(count, np.float32)
    # Brighter peaks by rows of cells, so that no peak is compared with all others.
    reach = overlap.shape[2] // 2
    cell = 2 * reach
    across = max(xs.max() // cell + 1, 1) if count else 1
    down = max(ys.max() // cell + 1, 1) if count else 1
    last = np.full(across * down, -1, np.int64)
    before = np.full(count, -1, np.int64)
    for i in range(count):
        row, column = max(ys[i] // cell, 0), max(xs[i] // cell, 0)
        made = np.float32(0)
        for a in range(max(row - 1, 0), min(row + 2, down)):
            for b in range(max(column - 1, 0), min(column + 2, across)):
                j = last[a * across + b]
                while j >= 0:
                    dy, dx = ys[i] - ys[j], xs[i] - xs[j]
                    if abs(dy) <= reach and abs(dx) <= reach:
                        share = overlap[depths[i], depths[j], dy + reach, dx + reach]
                        made += own[j] * (share + UNEQUAL * abs(share))
                    j = before[j]
        own[i] = values[i] - max(made, np.float32(0))
        if own[i] > threshold:
            kept[i] = True
            where = row * across + column
            before[i], last[where] = last[where], i
    return kept, own
