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
def refit(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, place, theta, chosen, knowledge, rounds, size, rows
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
    rounds : int
    size : tuple
        Of the crops (`crop_size.sized`).
    rows : ndarray, shape (n, 12)
        Filled as by `fit` where chosen.
    """
    count, edge, half = cell_count(size), drawn_px(size), len(size) // 2
    work, images = workspace(size), np.zeros(4 * count, np.float32)
    cells, data, pixel = np.zeros((4, count), np.float32), np.zeros(count, np.float32), pixel_mask(size)
    rest, local, algebra = np.zeros(count, np.float32), np.empty(5), algebra_buffers()
    pen, image = drawing(edge, tables.shape[2]), np.empty((edge, edge), np.float32)
    near, crop = np.empty((len(size), len(size)), np.float32), np.empty((len(size), len(size)), np.float32)
    expected = np.zeros(4)
    height, width = photons.shape
    for _ in range(rounds):
        for i in chosen:
            table, here = tables[place[i]], theta[i]
            row, column = int(np.rint(here[1])), int(np.rint(here[0]))
            others(table, here[0], here[1], here[2], here[3], row, column, model, pen, image, near)
            for a in range(len(size)):
                in_row = min(max(row + a - half, 0), height - 1)
                for b in range(len(size)):
                    in_column = min(max(column + b - half, 0), width - 1)
                    outside = in_row != row + a - half or in_column != column + b - half
                    read = read_variance_at(variance, in_row, in_column, outside)
                    near[a, b] += read
                    crop[a, b] = max(photons[in_row, in_column] + read, np.float32(0))
            ordered(crop, np.float32(0), size, data, LOWEST)
            ordered(near, np.float32(0), size, rest, LOWEST)
            local[:] = here
            local[0], local[1] = in_reach(here[0] - column), in_reach(here[1] - row)
            expected[0], expected[1] = local[0], local[1]
            point_image(padded[place[i]], local[0], local[1], local[2], size, work, images)
            deviance = climb(
                data,
                pixel,
                padded[place[i]],
                local,
                rest,
                expected,
                knowledge,
                FAILED,
                size,
                work,
                images,
                cells,
                algebra,
            )
            top = padded.shape[1] - 2.002
            write_row(local, deviance, algebra, expected, knowledge, top, size, rows[i])
            add_emitter(table, here[0], here[1], here[2], -here[3], pen, image, model)
            here[:] = local
            here[0] += column
            here[1] += row
            add_emitter(table, here[0], here[1], here[2], here[3], pen, image, model)
