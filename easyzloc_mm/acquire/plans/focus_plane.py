"""The plane of focus over a plate, from three points or more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import F64

THIN = 1e-3
"""Points whose triangle is so thin, relative to its length, lie on a line."""


class FocusPlane:
    """z = a + b x + c y through points, by least squares.

    Parameters
    ----------
    points_um : sequence of (x, y, z)
        Three or more, not on a line, um.

    Raises
    ------
    InputError
        They are too few, or lie on a line.
    """

    def __init__(self, points_um: Sequence[tuple[float, float, float]]) -> None:
        points = np.asarray(points_um, float).reshape(-1, 3)
        self._middle: F64 = points.mean(axis=0)
        away = points - self._middle
        if len(points) < 3 or _lie_on_a_line(away[:, :2]):
            raise InputError(
                "focus_points_um: a plane needs three points that lie on no line; give [x, y, z] of corners far apart"
            )
        self._slope: F64 = np.linalg.lstsq(away[:, :2], away[:, 2], rcond=None)[0]
        self.worst_um = float(np.abs(away[:, :2] @ self._slope - away[:, 2]).max())
        """Largest distance of a point from the plane, um; 0 for three."""

    def z_um(self, x_um: float, y_um: float) -> float:
        """Return z of the plane at a place, um."""
        return float(self._middle[2] + (np.array([x_um, y_um]) - self._middle[:2]) @ self._slope)


def _lie_on_a_line(away: F64) -> bool:
    return int(np.linalg.matrix_rank(away, tol=THIN * np.abs(away).max(initial=1e-9))) < 2
