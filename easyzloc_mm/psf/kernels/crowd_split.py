"""Compiled test of whether two emitters explain better what one does not."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.psf.kernels.crowd import add_emitter, begin, cut_out, fit_there, move_to, tools
from easyzloc_mm.psf.kernels.crowd_search import best_depth, depth_scratch, deviance_in, mark_near, window
from easyzloc_mm.psf.kernels.levenberg_marquardt import FAILED

UNLIKELY = 3.0
"""Standard deviations of chi squared, by which a crop is explained worse than noise would have it."""
DIRECTIONS = 2
"""In which an emitter is taken apart."""
APART_PX = 2.5
"""At first."""
BEYOND_PX = 6
"""A crop's edge, to either side, up to which two emitters have to be better than one."""


@kernel(fastmath=FAST)
def tell_apart(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, coarse, place, theta, count, asked, knowledge, level, near_px, size,
    touched,
):  # fmt: skip
    """Take emitters apart, where that explains a crop better by `asked` of deviance; returns how many there are then.

    Both halves go to the depth that suits them best, and the neighbours are fitted once more. Where the background is
    not known, two emitters might explain it.

    Parameters
    ----------
    place, theta, level : ndarray
        Of emitters, `count` of them, with room for as many again.
    touched : ndarray of bool
        Becomes true for both halves and those around them.

    The others are as of `crowd.refit`.
    """
    bench, scratch = tools(size, tables.shape[2]), depth_scratch()
    first, half, shape = count, len(size) // 2, photons.shape
    reach = len(bench[4]) // 2 + int(near_px) + 4
    around, before, best = np.empty(len(theta), np.int64), np.empty_like(theta), np.empty_like(theta)
    for i in range(first):
        x, y = theta[i, 0], theta[i, 1]
        background = level[i, 0]
        if level[i, 1] == 0:
            continue
        own = window(x, y, half, shape)
        pixels = (own[1] - own[0]) * (own[3] - own[2])
        if deviance_in(photons, variance, model, background, own) < pixels + UNLIKELY * np.sqrt(2.0 * pixels):
            continue
        judged, far = window(x, y, half + BEYOND_PX, shape), window(x, y, reach, shape)
        highest = deviance_in(photons, variance, model, background, judged) - asked
        place[count], level[count] = place[i], level[i]
        theta[count] = theta[i]
        members = _members(theta, i, count, near_px, around)
        for k in range(members):
            before[k] = theta[around[k]]
        part = model[far[0] : far[1], far[2] : far[3]]
        saved, better = part.copy(), part.copy()
        apart = False
        for direction in range(DIRECTIONS):
            angle = np.pi * direction / DIRECTIONS
            _take_apart(
                photons, variance, model, tables, padded, coarse, place, theta, around[:members], angle, knowledge,
                level, size, bench, scratch,
            )  # fmt: skip
            deviance = deviance_in(photons, variance, model, background, judged)
            if deviance < highest:
                highest, apart = deviance, True
                better[:] = part
                for k in range(members):
                    best[k] = theta[around[k]]
            part[:] = saved
            for k in range(members):
                theta[around[k]] = before[k]
        if apart:
            part[:] = better
            for k in range(members):
                theta[around[k]] = best[k]
            touched[i] = touched[count] = True
            count += 1
            mark_near(theta[:count], i, near_px, touched)
    return count


@kernel(fastmath=FAST)
def _take_apart(  # type: ignore[no-untyped-def]
    photons, variance, model, tables, padded, coarse, place, theta, members, angle, knowledge, level, size, bench,
    scratch,
):  # fmt: skip
    """Put the first two `members` to either side of where the first one is, with half its light each; fit them all."""
    row_of_fit, local, expected = np.empty(12), np.empty(5), np.empty(4)
    pen, image = bench[3], bench[4]
    table, x, y = tables[place[members[0]]], theta[members[0], 0], theta[members[0], 1]
    across, down = 0.5 * APART_PX * np.cos(angle), 0.5 * APART_PX * np.sin(angle)
    add_emitter(table, x, y, theta[members[0], 2], -theta[members[0], 3], pen, image, model)
    for k in range(2):
        here, side = theta[members[k]], 1.0 - 2.0 * k
        here[0], here[1], here[3] = x + side * across, y + side * down, 0.5 * here[3]
        add_emitter(table, here[0], here[1], here[2], here[3], pen, image, model)
    for k in range(len(members)):
        j = members[k]
        if k < 2:
            row, column, _ = best_depth(
                photons, variance, model, tables, padded, coarse, place[j], theta[j], knowledge, level[j], size,
                bench, scratch, row_of_fit,
            )  # fmt: skip
            local[:] = scratch[0]
        else:
            row, column = cut_out(photons, variance, model, tables[place[j]], theta[j], size, bench)
            begin(theta[j], row, column, level[j], local, expected)
            fit_there(padded[place[j]], local, expected, knowledge, FAILED, size, bench, row_of_fit)
        move_to(tables[place[j]], theta[j], local, row, column, model, bench)


@kernel(fastmath=FAST)
def _members(theta, i, other, near_px, around):  # type: ignore[no-untyped-def]
    """Fill in an emitter, its other half, and whoever of those before that one is near; returns how many."""
    around[0], around[1], members = i, other, 2
    for j in range(other):
        if j != i and (theta[j, 0] - theta[i, 0]) ** 2 + (theta[j, 1] - theta[i, 1]) ** 2 < near_px**2:
            around[members] = j
            members += 1
    return members
