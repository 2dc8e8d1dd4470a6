"""Compiled information that overlapping images share: what each emitter's own uncertainty owes to its neighbours'."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.psf.kernels.crop_size import cells, lane, line
from easyzloc_mm.psf.kernels.crowd import read_variance_at
from easyzloc_mm.psf.kernels.levenberg_marquardt import DARK, in_reach
from easyzloc_mm.psf.kernels.point_image import KNOTS_PER_PX, point_image, workspace

PARAMETERS = 5
"""x, y, z, photons, background: of every emitter."""


@kernel(fastmath=FAST)
def sensitivities(padded, place, theta, size, model, variance, out):  # type: ignore[no-untyped-def]
    """Fill in how the pixels of each emitter's crop follow its parameters, in units of their noise.

    Parameters
    ----------
    padded : ndarray
        `SplinePsf.padded`.
    place : ndarray, shape (n,)
    theta : ndarray, shape (n, 5)
        x, y (pixels of the frame), z (knots), photons, background.
    model : ndarray, shape (Y, X), float32
        Light of all emitters.
    variance : ndarray, shape (1, 1) or (Y, X), float32
        Of the read noise.
    size : tuple
        Of the crops (`crop_size.sized`).
    out : ndarray, shape (n, 5, size, size), float32
    """
    many, half = cells(size), len(size) // 2
    work, images = workspace(size), np.zeros(4 * many, np.float32)
    height, width = model.shape
    for i in range(len(theta)):
        column, row = int(np.rint(theta[i, 0])), int(np.rint(theta[i, 1]))
        x, y = in_reach(theta[i, 0] - column), in_reach(theta[i, 1] - row)
        point_image(padded[place[i]], x, y, theta[i, 2], size, work, images)
        light, background = np.float32(theta[i, 3]), np.float32(theta[i, 4])
        for a in range(len(size)):
            in_row = min(max(row + a - half, 0), height - 1)
            for b in range(len(size)):
                in_column = min(max(column + b - half, 0), width - 1)
                outside = in_row != row + a - half or in_column != column + b - half
                read = read_variance_at(variance, in_row, in_column, outside)
                scale = np.float32(1) / np.sqrt(max(model[in_row, in_column] + background + read, DARK))
                cell = a * line(size) + (b & 1) * lane(size) + (b >> 1)
                _follow(images, many, cell, light, scale, out[i, :, a, b])


@kernel(fastmath=FAST)
def own_sensitivities(padded, place, theta, size, crops, rest, out):  # type: ignore[no-untyped-def]
    """Fill in how the pixels of crops follow the parameters of their emitter, and what the fit leaves in them.

    Parameters
    ----------
    padded : ndarray
        `SplinePsf.padded`.
    place : ndarray, shape (n,)
    theta : ndarray, shape (n, 5)
        x, y (pixels from the crop's middle), z (knots), photons, background.
    size : tuple
        Of the crops (`crop_size.sized`).
    crops, rest : ndarray, shape (n, size, size), float32
        As for `levenberg_marquardt.fit`.
    out : ndarray, shape (n, 6, size, size), float32
        By x, y, z, photons, background; and the rest. In units of the noise.
    """
    many = cells(size)
    work, images = workspace(size), np.zeros(4 * many, np.float32)
    for i in range(len(theta)):
        x, y = in_reach(theta[i, 0]), in_reach(theta[i, 1])
        point_image(padded[place[i]], x, y, theta[i, 2], size, work, images)
        light, background = np.float32(theta[i, 3]), np.float32(theta[i, 4])
        for a in range(len(size)):
            for b in range(len(size)):
                cell = a * line(size) + (b & 1) * lane(size) + (b >> 1)
                expected = light * images[cell] + background
                scale = np.float32(1) / np.sqrt(max(expected + rest[i, a, b], DARK))
                _follow(images, many, cell, light, scale, out[i, :, a, b])
                out[i, 5, a, b] = scale * (crops[i, a, b] - expected)


@kernel(fastmath=FAST)
def _follow(images, many, cell, light, scale, out):  # type: ignore[no-untyped-def]
    """Fill in how a pixel follows x, y, z, photons and background, times `scale`."""
    lateral = np.float32(-KNOTS_PER_PX) * light
    out[0] = scale * lateral * images[many + cell]
    out[1] = scale * lateral * images[2 * many + cell]
    out[2] = scale * light * images[3 * many + cell]
    out[3] = scale * images[cell]
    out[4] = scale


@kernel(fastmath=FAST)
def shared_information(sensitivity, columns, rows, members, out):  # type: ignore[no-untyped-def]
    """Fill in the Fisher information of groups of emitters, from the pixels that two crops share.

    Parameters
    ----------
    sensitivity : ndarray, shape (n, 5, size, size), float32
        From `sensitivities`.
    columns, rows : ndarray of int, shape (n,)
        Middle pixels of the crops.
    members : ndarray of int, shape (g, m)
        Emitters of each group; -1: none.
    out : ndarray, shape (g, 5 * m, 5 * m)
        0 where there is no emitter.
    """
    for g in range(len(members)):
        for i in range(members.shape[1]):
            first = members[g, i]
            for j in range(i + 1):
                second = members[g, j]
                block = out[g, PARAMETERS * i : PARAMETERS * (i + 1), PARAMETERS * j : PARAMETERS * (j + 1)]
                block[:] = 0.0
                if first >= 0 and second >= 0:
                    down, right = rows[second] - rows[first], columns[second] - columns[first]
                    _product(sensitivity[first], sensitivity[second], down, right, block)
                out[g, PARAMETERS * j : PARAMETERS * (j + 1), PARAMETERS * i : PARAMETERS * (i + 1)] = block.T


@kernel(fastmath=FAST)
def _product(first, second, down, right, block):  # type: ignore[no-untyped-def]
    """Sum of products over the pixels of `first` that `second`, so much lower and to the right, has too."""
    edge = first.shape[1]
    left, end = max(right, 0), min(edge, edge + right)
    if end <= left:
        return
    for p in range(PARAMETERS):
        for q in range(PARAMETERS):
            total = np.float32(0)
            for a in range(max(down, 0), min(edge, edge + down)):
                one, other = first[p, a, left:end], second[q, a - down, left - right : end - right]
                for b in range(one.size):
                    total += one[b] * other[b]
            block[p, q] = total
