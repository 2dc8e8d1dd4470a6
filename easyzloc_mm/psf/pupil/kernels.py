"""Compiled drawing of what the score of aberrations needs: images of many molecules, from several tables."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.psf.bead_psf import PITCH_PX
from easyzloc_mm.psf.kernels.spline import draw, drawing

STEP = 0.1
"""Of the numerical derivatives by place: px, and knots of depth."""


@kernel(fastmath=True)
def images_and_slopes(tables, place, theta, out):  # type: ignore[no-untyped-def]
    """Draw one photon's image, and its derivatives by x, y (per px) and z (per knot).

    Parameters
    ----------
    tables : ndarray, shape (T, Z, knots, knots), float32
    place : ndarray, shape (n,), int64
    theta : ndarray, shape (n, 3)
        x, y from the middle of the crop (px), depth in knots.
    out : ndarray, shape (n, 4, size, size), float32
    """
    size = out.shape[2]
    work = drawing(size, tables.shape[2])
    below = np.empty((size, size), np.float32)
    at = np.empty(3)
    for i in range(len(theta)):
        table = tables[place[i]]
        draw(table, theta[i, 0], theta[i, 1], theta[i, 2], PITCH_PX, work, out[i, 0])
        for axis in range(3):
            at[:] = theta[i]
            at[axis] += STEP
            draw(table, at[0], at[1], at[2], PITCH_PX, work, out[i, 1 + axis])
            at[axis] -= 2 * STEP
            draw(table, at[0], at[1], at[2], PITCH_PX, work, below)
            for a in range(size):
                for b in range(size):
                    out[i, 1 + axis, a, b] = (out[i, 1 + axis, a, b] - below[a, b]) / np.float32(2 * STEP)


@kernel(fastmath=True)
def each_image(tables, place, theta, out):  # type: ignore[no-untyped-def]
    """Draw one photon's image from each of the tables of a place.

    Parameters
    ----------
    tables : ndarray, shape (T, J, Z, knots, knots), float32
    place, theta
        As for `images_and_slopes`.
    out : ndarray, shape (n, J, size, size), float32
    """
    work = drawing(out.shape[2], tables.shape[3])
    for i in range(len(theta)):
        for j in range(tables.shape[1]):
            draw(tables[place[i], j], theta[i, 0], theta[i, 1], theta[i, 2], PITCH_PX, work, out[i, j])
