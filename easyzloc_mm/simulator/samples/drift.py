"""Drift of the sample: a smooth random walk over minutes."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.typing import F64

KNOT_S = 20.0
SPAN_S = 4 * 3600.0
STEP_NM = (35.0, 35.0, 30.0)
"""Standard deviation of the step between knots, x, y, z: some 100 to 150 nm in five minutes."""


class Drift:
    """Displacement of the sample since the instrument was switched on.

    Parameters
    ----------
    seed : int
        Decides the path.
    """

    def __init__(self, seed: int) -> None:
        from scipy.interpolate import CubicSpline

        knots = np.arange(0, SPAN_S + KNOT_S, KNOT_S)
        steps = np.random.default_rng((seed, 3)).normal(0, STEP_NM, (len(knots) - 1, 3))
        path = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
        self._path = CubicSpline(knots, path)

    def at(self, time_s: float) -> F64:
        """Return the displacement along x, y, z, nm, shape (3,)."""
        return np.asarray(self._path(np.clip(time_s, 0, SPAN_S)), dtype=np.float64)
