"""Emitters of a frame, and which of them are near each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from easyzloc_mm.typing import F64, I64, Bool

NEAR_PX = 12.0
"""Two emitters nearer than this change each other's fit."""


@dataclass(frozen=True)
class Emitters:
    """What explains one frame.

    Attributes
    ----------
    theta : ndarray, shape (n, 5)
        x, y (pixels of the frame), z (knots of the table), photons, background.
    place : ndarray, shape (n,)
        Index of each emitter's PSF in the table.
    snr : ndarray, shape (n,)
    row : ndarray of int, shape (n,)
        Which of the first look's emitters each is; -1 for those that came later.
    crowded : ndarray of bool, shape (n,)
        Which have neighbours that their fit must know.
    """

    theta: F64
    place: I64
    snr: F64
    row: I64
    crowded: Bool = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.theta)

    def only(self, kept: Bool) -> Emitters:
        """Return some of them."""
        return Emitters(self.theta[kept], self.place[kept], self.snr[kept], self.row[kept])

    def with_more(self, others: Emitters) -> Emitters:
        """Return these and others."""
        return Emitters(
            *(np.concatenate([getattr(self, name), getattr(others, name)]) for name in ("theta", "place", "snr", "row"))
        )


def near(theta: F64, others: F64, themselves: int) -> Bool:
    """Return which emitters have more than `themselves` of the others within `NEAR_PX`."""
    if not len(theta) or not len(others):
        return np.zeros(len(theta), bool)
    return neighbours_of(theta, others) > themselves


def neighbours_of(theta: F64, others: F64) -> I64:
    """Return how many of the others lie within `NEAR_PX` of each emitter."""
    return np.asarray(cKDTree(others[:, :2]).query_ball_point(theta[:, :2], NEAR_PX, return_length=True))


def tree_of_frames(frame: NDArray[np.integer], x: F64, y: F64, reach_px: float) -> cKDTree:
    """Return the places of several frames, in which those of two frames lie farther apart than `reach_px`."""
    return cKDTree(np.stack([x, y, 2 * reach_px * frame], axis=1))
