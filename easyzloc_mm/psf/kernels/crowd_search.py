"""Compiled search for a better explanation of a crowd than the one that fits from where emitters are can reach.

Fits climb to the nearest optimum of the likelihood, and of a crowd it has many. Here an emitter may go to another depth
altogether, and one that the others can make up for is left out.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.psf.kernels.crowd import (
    add_emitter,
    begin,
    cut_out,
    fit_there,
    move_to,
    read_variance_at,
    tools,
)
from easyzloc_mm.psf.kernels.levenberg_marquardt import FAILED, scan

SLACK = 40.0
"""Of chi squared: what a depth may be behind the best before a fit from there."""
DEPTHS = 3
"""From the best so many depths there are fits."""
SAME_KNOTS = 1.5
"""From a depth so near the emitter's, a fit ends where the emitter's own does."""
BETTER = 0.5
"""Of deviance, by which another depth has to be better."""
MOVED = 0.35
"""In standard deviations of each parameter: an emitter that moves less leaves its neighbours where they are."""
PLAINLY = 6.0
"""Times what is asked for: where the light itself gains so much, no neighbour makes up for it."""


@kernel(fastmath=FAST)
def settle(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, place, theta, stale, knowledge, level, near_px, rounds, size, rows
):
    """Fit the `stale` emitters in turn, and those whose neighbours have moved since; as `refit` otherwise."""
    bench, local, expected = tools(size, tables.shape[2]), np.empty(5), np.empty(4)
    for _ in range(rounds):
        for i in range(len(theta)):
            if not stale[i]:
                continue
            stale[i] = False
            row, column = cut_out(photons, variance, model, tables[place[i]], theta[i], size, bench)
            begin(theta[i], row, column, level[i], local, expected)
            fit_there(padded[place[i]], local, expected, knowledge, FAILED, size, bench, rows[i])
            far = _moved(theta[i], local, row, column, rows[i])
            move_to(tables[place[i]], theta[i], local, row, column, model, bench)
            if far:
                mark_near(theta, i, near_px, stale)


@kernel(fastmath=FAST)
def look_deeper(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, coarse, place, theta, wanted, stale, knowledge, level, near_px, size, rows
):
    """Fit the `wanted` emitters in turn, from where they are and from other depths, and keep the best.

    Whose neighbours have moved is marked as `stale`, and as `wanted` if one went to another depth. `coarse` is
    `SplinePsf.coarse`. As `refit` otherwise.
    """
    bench, scratch = tools(size, tables.shape[2]), depth_scratch()
    for i in range(len(theta)):
        if not wanted[i]:
            continue
        wanted[i] = stale[i] = False
        row, column, jumped = best_depth(
            photons, variance, model, tables, padded, coarse, place[i], theta[i], knowledge, level[i], size, bench,
            scratch, rows[i],
        )  # fmt: skip
        far = jumped or _moved(theta[i], scratch[0], row, column, rows[i])
        move_to(tables[place[i]], theta[i], scratch[0], row, column, model, bench)
        if far:
            mark_near(theta, i, near_px, stale)
            if jumped:
                mark_near(theta, i, near_px, wanted)


@kernel(fastmath=FAST)
def depth_scratch():  # type: ignore[no-untyped-def]
    """Workspace of `best_depth`; the first array is where a fit ends."""
    return np.empty(5), np.empty(5), np.empty((1, 4)), np.empty((1, DEPTHS)), np.empty(12), np.empty(1, np.int64)


@kernel(fastmath=FAST)
def best_depth(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, coarse, place, here, knowledge, level, size, bench, scratch, row_of_fit
):
    """Fit an emitter (a row of `theta`) from where it is and from other depths; the best is left in `scratch`.

    Returns the row and column of its crop, and whether the best is at another depth.
    """
    local, other, expected, starts, row_of_other, at = scratch
    at[0], table = place, padded[place]
    row, column = cut_out(photons, variance, model, tables[place], here, size, bench)
    begin(here, row, column, level, local, expected[0])
    best = fit_there(table, local, expected[0], knowledge, FAILED, size, bench, row_of_fit)
    clean, near, _ = bench[0]
    scan(clean, near, coarse, at, expected, SLACK, size, starts)
    jumped = False
    for s in range(DEPTHS):
        if not abs(starts[0, s] - here[2]) > SAME_KNOTS:
            continue
        begin(here, row, column, level, other, expected[0])
        other[2] = starts[0, s]
        deviance = fit_there(table, other, expected[0], knowledge, best, size, bench, row_of_other)
        if deviance < best - BETTER:
            best, jumped = deviance, True
            local[:] = other
            row_of_fit[:] = row_of_other
    return row, column, jumped


@kernel(fastmath=FAST)
def leave_out(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, place, theta, order, asked, knowledge, level, near_px, size, stale, kept
):
    """Leave out, in an order, emitters without which the deviance around them rises by less than `asked`.

    Neighbours are fitted once more without the emitter before it is judged. The window that is looked at reaches as far
    as their images. Those around one that is left out become `stale`; `kept` becomes false where one is.
    """
    bench, row_of_fit = tools(size, tables.shape[2]), np.empty(12)
    image, pen = bench[4], bench[3]
    own, shape = len(image) // 2 + 1, photons.shape
    around, before = np.empty(len(theta), np.int64), np.empty((len(theta), 5))
    local, expected = np.empty(5), np.empty(4)
    for i in order:
        x, y = theta[i, 0], theta[i, 1]
        background = level[i, 0] if level[i, 1] > 0 else theta[i, 4]
        near = window(x, y, own, shape)
        loss = -deviance_in(photons, variance, model, background, near)
        add_emitter(tables[place[i]], x, y, theta[i, 2], -theta[i, 3], pen, image, model)
        loss += deviance_in(photons, variance, model, background, near)
        count = 0
        if asked < loss < PLAINLY * asked:
            for j in range(len(theta)):
                if j != i and kept[j] and (theta[j, 0] - x) ** 2 + (theta[j, 1] - y) ** 2 < near_px**2:
                    around[count] = j
                    before[count] = theta[j]
                    count += 1
            far = window(x, y, own + int(near_px) + 1, shape)
            saved = model[far[0] : far[1], far[2] : far[3]].copy()
            loss -= deviance_in(photons, variance, model, background, far)
            for k in range(count):
                j = around[k]
                row, column = cut_out(photons, variance, model, tables[place[j]], theta[j], size, bench)
                begin(theta[j], row, column, level[j], local, expected)
                fit_there(padded[place[j]], local, expected, knowledge, FAILED, size, bench, row_of_fit)
                move_to(tables[place[j]], theta[j], local, row, column, model, bench)
            loss += deviance_in(photons, variance, model, background, far)
            if loss >= asked:
                model[far[0] : far[1], far[2] : far[3]] = saved
                for k in range(count):
                    theta[around[k]] = before[k]
        if loss < asked:
            kept[i] = False
            mark_near(theta, i, near_px, stale)
        else:
            add_emitter(tables[place[i]], x, y, theta[i, 2], theta[i, 3], pen, image, model)


@kernel(fastmath=FAST)
def window(x, y, reach, shape):  # type: ignore[no-untyped-def]
    """First and last rows and columns of the frame around a place."""
    row, column = int(np.rint(y)), int(np.rint(x))
    return (
        max(row - reach, 0), min(row + reach + 1, shape[0]), max(column - reach, 0), min(column + reach + 1, shape[1]),
    )  # fmt: skip


@kernel(fastmath=FAST)
def deviance_in(photons, variance, model, background, window):  # type: ignore[no-untyped-def]
    """Twice the negative log likelihood of a window of the frame against that of a perfect fit."""
    total = 0.0
    for row in range(window[0], window[1]):
        for column in range(window[2], window[3]):
            read = read_variance_at(variance, row, column, False)
            seen = max(photons[row, column] + read, np.float32(0))
            expected = max(model[row, column], np.float32(0)) + np.float32(background) + read
            total += expected - seen
            if seen > 0:
                total += seen * np.log(seen / expected)
    return 2 * total


@kernel(fastmath=FAST)
def _moved(here, local, row, column, fitted):  # type: ignore[no-untyped-def]
    """Whether a fit ended elsewhere than it began, by what it knows of x, y, z and photons."""
    return (
        abs(local[0] + column - here[0]) > MOVED * fitted[8]
        or abs(local[1] + row - here[1]) > MOVED * fitted[9]
        or abs(local[2] - here[2]) > MOVED * fitted[6]
        or abs(local[3] - here[3]) > MOVED * fitted[10]
    )


@kernel(fastmath=FAST)
def mark_near(theta, i, near_px, marked):  # type: ignore[no-untyped-def]
    """Mark all others within reach of an emitter."""
    x, y = theta[i, 0], theta[i, 1]
    for j in range(len(theta)):
        if j != i and (theta[j, 0] - x) ** 2 + (theta[j, 1] - y) ** 2 < near_px**2:
            marked[j] = True
