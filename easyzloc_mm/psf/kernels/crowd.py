"""Compiled fits of emitters whose images overlap: each in turn against the frame less what the others explain.

Turn by turn (coordinate descent) this climbs the likelihood of all emitters together.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.camera.crops import UNSEEN_NOISE_E
from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.psf.bead_psf import PITCH_PX
from easyzloc_mm.psf.kernels.crop_size import cells as cell_count
from easyzloc_mm.psf.kernels.levenberg_marquardt import (
    FAILED,
    LOWEST,
    algebra_buffers,
    climb,
    in_reach,
    pixel_mask,
    write_row,
)
from easyzloc_mm.psf.kernels.point_image import ordered, point_image, workspace
from easyzloc_mm.psf.kernels.spline import draw, drawing

DRAWN_FARTHER_PX = 2
"""An emitter's image in a frame reaches so much farther than in a crop, on either side, as beads are measured."""


@kernel(fastmath=FAST)
def drawn_px(size):  # type: ignore[no-untyped-def]
    """Edge of an emitter's image in a frame, for crops of a size (`crop_size.sized`)."""
    return len(size) + 2 * DRAWN_FARTHER_PX


@kernel(fastmath=FAST)
def add_emitter(table, x, y, z, photons, work, image, model):  # type: ignore[no-untyped-def]
    """Add an emitter's photons to a frame's model; `image` is workspace of `drawn_px` squared."""
    rows, columns = model.shape
    row, column = int(np.rint(y)), int(np.rint(x))
    draw(table, x - column, y - row, z, PITCH_PX, work, image)
    reach, light = len(image) // 2, np.float32(photons)
    for a in range(max(-reach, -row), min(reach + 1, rows - row)):
        for b in range(max(-reach, -column), min(reach + 1, columns - column)):
            model[row + a, column + b] += light * image[reach + a, reach + b]


@kernel(fastmath=FAST)
def add_emitters(tables, place, theta, size, model):  # type: ignore[no-untyped-def]
    """Add emitters, rows x, y (pixels), z (knots), photons of `theta`, to a frame's model."""
    edge = drawn_px(size)
    work, image = drawing(edge, tables.shape[2]), np.empty((edge, edge), np.float32)
    for i in range(len(theta)):
        add_emitter(tables[place[i]], theta[i, 0], theta[i, 1], theta[i, 2], theta[i, 3], work, image, model)


@kernel(fastmath=FAST)
def read_variance_at(variance, row, column, outside):  # type: ignore[no-untyped-def]
    """Return the variance of the read noise at a pixel of a map (1, 1 where all are alike); `outside` is not seen."""
    if outside:
        return np.float32(UNSEEN_NOISE_E**2)
    return variance[min(row, variance.shape[0] - 1), min(column, variance.shape[1] - 1)]


@kernel(fastmath=FAST)
def others(table, x, y, z, photons, row, column, model, work, image, out):  # type: ignore[no-untyped-def]
    """Fill a crop around (row, column) with what the model holds there without this emitter."""
    rows, columns = model.shape
    at_row, at_column = int(np.rint(y)), int(np.rint(x))
    draw(table, x - at_column, y - at_row, z, PITCH_PX, work, image)
    edge, half = len(image), len(out) // 2
    reach, light = edge // 2, np.float32(photons)
    for a in range(len(out)):
        in_row = min(max(row + a - half, 0), rows - 1)
        for b in range(len(out)):
            in_column = min(max(column + b - half, 0), columns - 1)
            value = model[in_row, in_column]
            i, j = in_row - at_row + reach, in_column - at_column + reach
            if 0 <= i < edge and 0 <= j < edge:
                value -= light * image[i, j]
            out[a, b] = max(value, np.float32(0))


@kernel(fastmath=FAST)
def neighbours(tables, place, theta, x, y, size, model, out):  # type: ignore[no-untyped-def]
    """Fill crops around x, y (pixels) with the light of all emitters but the one of the same row of `theta`."""
    edge = drawn_px(size)
    work, image = drawing(edge, tables.shape[2]), np.empty((edge, edge), np.float32)
    for i in range(len(theta)):
        row, column = int(np.rint(y[i])), int(np.rint(x[i]))
        u, v, z, photons = theta[i, 0], theta[i, 1], theta[i, 2], theta[i, 3]
        others(tables[place[i]], u, v, z, photons, row, column, model, work, image, out[i])


@kernel(fastmath=FAST)
def tools(size, depths):  # type: ignore[no-untyped-def]
    """Workspace of the kernels that fit emitters in a frame, for crops of a size and tables of so many `depths`.

    What is around an emitter: its own light, that of others, and counts; both latter in the order of `point_image`, and
    which cells are pixels; an emitter's image in a crop, and in a frame.
    """
    count, edge = cell_count(size), drawn_px(size)
    square = (1, len(size), len(size))
    around = np.empty(square, np.float32), np.empty(square, np.float32), np.empty(square, np.float32)
    seen = np.zeros(count, np.float32), np.zeros(count, np.float32), pixel_mask(size)
    fitted = workspace(size), np.zeros(4 * count, np.float32), np.zeros((4, count), np.float32), algebra_buffers()
    return around, seen, fitted, drawing(edge, depths), np.empty((edge, edge), np.float32)


@kernel(fastmath=FAST)
def cut_out(photons, variance, model, table, here, size, bench):  # type: ignore[no-untyped-def]
    """Fill `bench` (`tools`) with what is around an emitter (a row of `theta`), and return the crop's row and column.

    The light of others has the variance of the read noise added, and so have the counts in the order of `point_image`.
    """
    (clean, near, counts), (data, rest, _), _, pen, image = bench
    half, (height, width) = len(size) // 2, photons.shape
    row, column = int(np.rint(here[1])), int(np.rint(here[0]))
    others(table, here[0], here[1], here[2], here[3], row, column, model, pen, image, near[0])
    for a in range(len(size)):
        in_row = min(max(row + a - half, 0), height - 1)
        for b in range(len(size)):
            in_column = min(max(column + b - half, 0), width - 1)
            outside = in_row != row + a - half or in_column != column + b - half
            read = read_variance_at(variance, in_row, in_column, outside)
            clean[0, a, b] = photons[in_row, in_column] - near[0, a, b]
            near[0, a, b] += read
            counts[0, a, b] = max(photons[in_row, in_column] + read, np.float32(0))
    ordered(counts[0], np.float32(0), size, data, LOWEST)
    ordered(near[0], np.float32(0), size, rest, LOWEST)
    return row, column


@kernel(fastmath=FAST)
def fit_there(table, local, expected, knowledge, best, size, bench, row):  # type: ignore[no-untyped-def]
    """Fit what `bench` holds from `local`, which becomes the optimum; returns its deviance and fills `row` as `fit`."""
    _, (data, rest, pixel), (work, images, cells, algebra), _, _ = bench
    point_image(table, local[0], local[1], local[2], size, work, images)
    deviance = climb(
        data, pixel, table, local, rest, expected, knowledge, best, size, work, images, cells, algebra
    )  # fmt: skip
    write_row(local, deviance, algebra, expected, knowledge, table.shape[0] - 2.002, size, row)
    return deviance


@kernel(fastmath=FAST)
def move_to(table, here, local, row, column, model, bench):  # type: ignore[no-untyped-def]
    """Put an emitter where a fit of its crop found it, in the model too."""
    _, _, _, pen, image = bench
    add_emitter(table, here[0], here[1], here[2], -here[3], pen, image, model)
    here[:] = local
    here[0] += column
    here[1] += row
    add_emitter(table, here[0], here[1], here[2], here[3], pen, image, model)


@kernel(fastmath=FAST)
def refit(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, place, theta, chosen, knowledge, level, rounds, size, rows
):
    """Fit the `chosen` emitters in turn, `rounds` times, and keep the model up to date.

    Parameters
    ----------
    photons, model : ndarray, shape (Y, X), float32
        The frame, and what is explained of it.
    variance : ndarray, shape (1, 1) or (Y, X), float32
        Of the read noise.
    tables, padded : ndarray
        `SplinePsf.coefficients` and `SplinePsf.padded`.
    place : ndarray, shape (n,)
    theta : ndarray, shape (n, 5)
        x, y (pixels), z (knots), photons, background; updated.
    chosen : ndarray of int
        Rows of `theta`.
    knowledge : ndarray, shape (3,)
        As of `fit`; each emitter's expected place is where it is.
    level : ndarray, shape (n, 2)
        Background that is expected around each emitter, and the inverse of its variance (0: unknown).
    rounds : int
    size : tuple
        Of the crops (`crop_size.sized`).
    rows : ndarray, shape (n, 12)
        Filled as by `fit` where chosen.
    """
    bench, local, expected = tools(size, tables.shape[2]), np.empty(5), np.empty(4)
    for _ in range(rounds):
        for i in chosen:
            row, column = cut_out(photons, variance, model, tables[place[i]], theta[i], size, bench)
            begin(theta[i], row, column, level[i], local, expected)
            fit_there(padded[place[i]], local, expected, knowledge, FAILED, size, bench, rows[i])
            move_to(tables[place[i]], theta[i], local, row, column, model, bench)


@kernel(fastmath=FAST)
def begin(here, row, column, level, local, expected):  # type: ignore[no-untyped-def]
    """Fill `local` and what is expected of a fit that starts where the emitter is."""
    local[:] = here
    local[0], local[1] = in_reach(here[0] - column), in_reach(here[1] - row)
    expected[0], expected[1], expected[2], expected[3] = local[0], local[1], level[0], level[1]
