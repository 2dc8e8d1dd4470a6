"""The order in which fields are visited, and how far the stage travels."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.typing import F64, I64

MOST_IMPROVED = 400
"""Tours of more places are not improved beyond the nearest neighbour: it would take minutes."""
PASSES = 20


def travel_um(places: F64) -> float:
    """Return the length of the way through places in their order, um; `places` has the shape (n, 2)."""
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())


def short_order(places: F64) -> I64:
    """Return an order that begins with the first place and is short: the nearest next, then crossings undone (2-opt).

    Parameters
    ----------
    places : ndarray, shape (n, 2)
        x, y, um.
    """
    order = _nearest_next(places)
    if len(order) > MOST_IMPROVED:
        return order
    for _ in range(PASSES):
        if not _undo_crossings(places, order):
            break
    given = np.arange(len(places))
    return order if travel_um(places[order]) < travel_um(places) else given


def _nearest_next(places: F64) -> I64:
    left = np.ones(len(places), bool)
    order = np.zeros(len(places), np.int64)
    left[0] = False
    for step in range(1, len(places)):
        distance = np.linalg.norm(places - places[order[step - 1]], axis=1)
        order[step] = int(np.argmin(np.where(left, distance, np.inf)))
        left[order[step]] = False
    return order


def _undo_crossings(places: F64, order: I64) -> bool:
    """Turn round, in place, each stretch of the way that becomes shorter by it; return whether there was one."""
    improved = False
    for first in range(1, len(order) - 1):
        at = places[order]
        before, start = at[first - 1], at[first]
        ends, after = at[first + 1 :], at[first + 2 :]
        old = np.linalg.norm(start - before) + np.r_[np.linalg.norm(after - ends[:-1], axis=1), 0.0]
        new = np.linalg.norm(ends - before, axis=1) + np.r_[np.linalg.norm(after - start, axis=1), 0.0]
        gain = old - new
        best = int(np.argmax(gain))
        if gain[best] > 1e-6:
            order[first : first + best + 2] = order[first : first + best + 2][::-1].copy()
            improved = True
    return improved
