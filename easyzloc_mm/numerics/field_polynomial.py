"""Polynomials of the place in the field of view, fitted robustly: what changes smoothly over the field."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64, AnyFloat, Bool

MAX_DEGREE = 4
BEADS_PER_TERM = 4
"""A polynomial gets no more terms than a quarter of the beads."""
MIN_SPREAD = 0.02
"""Least information on any combination of the terms, relative to places all over the field: for a plane, beads over
an eighth of the field's width; for a curved surface, over two fifths."""
OUTLIER_MADS = 3.0


def number_of_terms(degree: int) -> int:
    """Return the number of terms of a polynomial of that degree in two variables."""
    return (degree + 1) * (degree + 2) // 2


def largest_degree(place: AnyFloat, *, beads_per_term: float = BEADS_PER_TERM, most: int = MAX_DEGREE) -> int:
    """Return the highest degree that distinct places can carry, by their number and by how they are spread.

    Parameters
    ----------
    place : ndarray, shape (n, 2)
        Distinct places, from `field_coordinates`: one row for each bead, however often it was recorded.
    beads_per_term : float
    most : int
        Highest degree that is asked for.
    """
    carried = 0
    for degree in range(1, most + 1):
        if beads_per_term * number_of_terms(degree) > len(place) or _spread(place, degree) < MIN_SPREAD:
            break
        carried = degree
    return carried


def _spread(place: AnyFloat, degree: int) -> float:
    """Return how well places tell the terms of a polynomial apart: 1 all over the field, 0 on a spot or a line."""
    terms = polynomial(place, degree)
    exponents = np.array(powers(degree))
    sums = exponents[:, None] + exponents[None]
    # Mean of u^i v^j over the whole field.
    whole = np.where((sums % 2 == 0).all(axis=2), 1 / np.prod(sums + 1, axis=2), 0.0)
    root = np.linalg.inv(np.linalg.cholesky(whole))
    return float(np.linalg.eigvalsh(root @ (terms.T @ terms / len(terms)) @ root.T)[0])


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


def robust_surface(
    values: F64, place: F64, kept: Bool, degree: int, *, floor: float = 1e-9, weights: F64 | None = None,
    ridge: float = 0.0,
) -> tuple[F64, F64, float]:  # fmt: skip
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
    weights, ridge
        As in `robust_fit`.

    Returns
    -------
    surface : ndarray, shape (n,)
    coefficients : ndarray, shape (terms,)
    scatter : float
        Robust standard deviation around the surface.
    """
    basis = polynomial(place, degree)
    fit, scatter, _ = robust_fit(basis, values, kept, floor=floor, weights=weights, ridge=ridge)
    return basis @ fit, fit, scatter


def robust_fit(
    basis: F64, values: F64, kept: Bool, *, floor: float = 1e-9, weights: F64 | None = None, ridge: float = 0.0
) -> tuple[F64, float, Bool]:
    """Fit `values` by a sum of the columns of `basis`, as `robust_surface` does by a polynomial.

    Parameters
    ----------
    basis : ndarray, shape (n, k)
    values : ndarray, shape (n,)
    kept : ndarray of bool, shape (n,)
    floor : float
    weights : ndarray, shape (n,), optional
        Inverse variances of the values, 1 for the surest.
    ridge : float
        What draws all coefficients but the first to zero: variance of a value over that which a coefficient may have.

    Returns
    -------
    coefficients : ndarray, shape (k,)
    scatter : float
        Robust standard deviation around the fit, of values of weight 1.
    used : ndarray of bool, shape (n,)
        Values that were no outliers.
    """
    inside = kept & np.isfinite(values)
    if weights is not None:
        inside &= weights > 0
    used = inside.copy()
    if not inside.any():
        return np.zeros(basis.shape[1]), 0.0, used
    root = np.ones(len(values)) if weights is None else np.sqrt(weights)
    drawn = np.sqrt(ridge) * np.eye(basis.shape[1])[1 if ridge else basis.shape[1] :]
    fit: F64 = np.zeros(basis.shape[1])
    scatter = 0.0
    for _ in range(4):
        rows = np.vstack([basis[used] * root[used, None], drawn])
        wanted = np.concatenate([values[used] * root[used], np.zeros(len(drawn))])
        fit = np.asarray(np.linalg.lstsq(rows, wanted, rcond=None)[0], np.float64)
        residual = np.abs(values - basis @ fit) * root
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
