"""The cubic B-spline: its weights and their derivatives, for arrays and, compiled, for single numbers.

Every spline of the package (the measured PSF, its likelihood fit, registration, the simulator's optics) takes its
weights from here.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F64

T = TypeVar("T", float, F64)


def cubic_weights(t: T) -> tuple[T, T, T, T]:
    """Return the weights of the four knots around a place: two below it, two above.

    Parameters
    ----------
    t : float or ndarray
        Distance from the nearest knot below, in knots, 0 to 1.
    """
    s = 1 - t
    return s * s * s / 6, (3 * t * t * t - 6 * t * t + 4) / 6, (3 * s * s * s - 6 * s * s + 4) / 6, t * t * t / 6


def cubic_slopes(t: T) -> tuple[T, T, T, T]:
    """Return the derivatives of `cubic_weights` by `t`, per knot."""
    s = 1 - t
    return -s * s / 2, (3 * t * t - 4 * t) / 2, -(3 * s * s - 4 * s) / 2, t * t / 2


def cubic_b_spline(distance: F64) -> F64:
    """Return the cubic B-spline at distances (in knots) from its middle knot; 0 beyond two knots."""
    away = np.abs(distance)
    _, inner, _, _ = cubic_weights(away)
    outer, _, _, _ = cubic_weights(away - 1)
    return np.where(away < 1, inner, np.where(away < 2, outer, 0.0))


_compiled: Any = kernel(fastmath=True)
compiled_weights = _compiled(cubic_weights)
"""`cubic_weights` for kernels: of one float."""
compiled_slopes = _compiled(cubic_slopes)
"""`cubic_slopes` for kernels: of one float."""
