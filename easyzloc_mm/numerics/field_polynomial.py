"""Polynomials of the place in the field of view, fitted robustly: what changes smoothly over the field."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64, AnyFloat, Bool

MAX_DEGREE = 4
BEADS_PER_TERM = 4
"""A polynomial gets no more terms than a quarter of the beads."""
OUTLIER_MADS = 3.0


def number_of_terms(degree: int) -> int:
    """Return the number of terms of a polynomial of that degree in two variables."""
    return (degree + 1) * (degree + 2) // 2


def largest_degree(beads: int) -> int:
    """Return the highest degree that so many beads can determine."""
    degrees = range(1, MAX_DEGREE + 1)
    return max((degree for degree in degrees if BEADS_PER_TERM * number_of_terms(degree) <= beads), default=0)


def field_coordinates(x: AnyFloat, y: AnyFloat, field_size_px: tuple[int, int]) -> AnyFloat:
    """Return places in the field: -1 at the centre of the first pixel of an axis, 1 at that of the last.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Sensor pixels.
    field_size_px : (int, int)
        Width and height of the field.

    Returns
    -------
    ndarray, shape (n, 2)
        u and v.
    """
    return np.stack([2 * at / max(size - 1, 1) - 1 for at, size in zip((x, y), field_size_px, strict=True)], axis=-1)


def powers(degree: int) -> list[tuple[int, int]]:
    """Return the powers (of u, of v) of the terms of a polynomial: constant, v, v^2, ..., u, uv, ...

    In this order coefficients are stored with a model.
    """
    return [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]


def polynomial(place: AnyFloat, degree: int) -> F64:
    """Return the terms of a polynomial of the field coordinates.

    Parameters
    ----------
    place : ndarray, shape (n, 2)
        u and v, from `field_coordinates`.
    degree : int

    Returns
    -------
    ndarray, shape (n, terms)
        In the order of `powers`: the constant first.
    """
    return np.stack([place[:, 0] ** i * place[:, 1] ** j for i, j in powers(degree)], axis=1).astype(np.float64)


def robust_surface(values: F64, place: F64, kept: Bool, degree: int, *, floor: float = 1e-9) -> tuple[F64, F64, float]:
    """Fit a polynomial surface without the outliers: what lies `OUTLIER_MADS` robust standard deviations off.

    Parameters
    ----------
    values : ndarray, shape (n,)
    place : ndarray, shape (n, 2)
    kept : ndarray of bool, shape (n,)
        Which values may take part; those that are not finite never do.
    degree : int
    floor : float
        Smallest robust standard deviation by which outliers are found.

    Returns
    -------
    surface : ndarray, shape (n,)
    coefficients : ndarray, shape (terms,)
    scatter : float
        Robust standard deviation around the surface.
    """
    basis = polynomial(place, degree)
    fit, scatter, _ = robust_fit(basis, values, kept, floor=floor)
    return basis @ fit, fit, scatter


def robust_fit(basis: F64, values: F64, kept: Bool, *, floor: float = 1e-9) -> tuple[F64, float, Bool]:
    """Fit `values` by a sum of the columns of `basis`, as `robust_surface` does by a polynomial.

    Returns
    -------
    coefficients : ndarray, shape (k,)
    scatter : float
        Robust standard deviation around the fit.
    used : ndarray of bool, shape (n,)
        Values that were no outliers.
    """
    inside = kept & np.isfinite(values)
    used = inside.copy()
    if not inside.any():
        return np.zeros(basis.shape[1]), 0.0, used
    fit: F64 = np.zeros(basis.shape[1])
    scatter = 0.0
    for _ in range(4):
        fit = np.asarray(np.linalg.lstsq(basis[used], values[used], rcond=None)[0], np.float64)
        residual = np.abs(values - basis @ fit)
        scatter = robust_sd(residual[inside], about=0.0)
        with np.errstate(invalid="ignore"):
            used = inside & (residual <= OUTLIER_MADS * max(scatter, floor))
    return fit, scatter, used


def weighted_slope(x: F64, values: F64, weight: F64) -> F64:
    """Return the slopes of weighted straight lines, one per row of `values`; shape (n,).

    Parameters
    ----------
    x : ndarray, shape (k,) or (n, k)
    values, weight : ndarray, shape (n, k)
    """
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    mean_x = (weight * x).sum(axis=1, keepdims=True) / total
    mean_v = (weight * values).sum(axis=1, keepdims=True) / total
    return np.asarray(
        (weight * (x - mean_x) * (values - mean_v)).sum(axis=1)
        / np.maximum((weight * (x - mean_x) ** 2).sum(axis=1), 1e-12)
    )
