"""The lens's focal surface, from the foci of all beads: what makes a flat sample look flat.

Every bead's labels count from its own focus, so that the PSF is the same function of depth at each place. The stage
position of that focus changes over the field by some hundred nanometres: field curvature of the lens, and tilt of lens
and slide. The beads measured it; z of a molecule is its height above a flat slide once it is added back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.focal_surface import FocalSurface
from easyzloc_mm.numerics.field_polynomial import (
    OUTLIER_MADS,
    field_coordinates,
    largest_degree,
    number_of_terms,
    polynomial,
    robust_fit,
)
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64, I64, Bool

FOLDS = 5
BEADS_PER_TERM = 6
BEADS_PER_CHANGED_TERM = 2
"""A change is looked for in fewer beads than a surface: its degree is given."""
FLOOR_NM = 1.0
FIELD = np.stack([axis.ravel() for axis in np.meshgrid(*[np.linspace(-1, 1, 17)] * 2)], axis=1)
"""Places all over the field."""
DEGREES = (1, 2, 4)
"""Field curvature is even in the distance from the axis. A plane alone, where curvature predicts nothing: rough or few
beads must not bend a sample that the lens does not."""


@dataclass(frozen=True)
class FociFit:
    """Foci of beads as a polynomial over the field, and an offset for each stack.

    Attributes
    ----------
    middle_nm : float
        What was subtracted from the foci.
    stacks : ndarray of int, shape (s,)
        Those with accepted beads.
    basis : ndarray, shape (n, s + terms - 1)
        One column per stack, then the terms of the polynomial but the constant.
    coefficients_nm : ndarray, shape (s + terms - 1,)
    scatter_nm : float
        Robust standard deviation around the fit.
    used : ndarray of bool, shape (n,)
        Accepted beads that are no outliers.
    weight : ndarray, shape (n,)
        By which a bead counts once, however often it was recorded.
    """

    middle_nm: float
    stacks: I64
    basis: F64
    coefficients_nm: F64
    scatter_nm: float
    used: Bool
    weight: F64


def fit_foci(beads: BeadDataset, degree: int, *, kept: Bool | None = None) -> FociFit:
    """Fit the foci of the accepted beads, or of those of them that are `kept`, robustly."""
    focus = bead_foci_nm(beads)
    filled = np.unique(beads.stack[beads.accepted])
    middle = float(np.median(focus[beads.accepted])) if beads.accepted.any() else 0.0
    bend = polynomial(field_coordinates(beads.x, beads.y, beads.field_size_px), degree)[:, 1:]
    basis = np.hstack([beads.stack[:, None] == filled, bend]).astype(float)
    chosen = beads.accepted if kept is None else beads.accepted & kept
    weight = _one_each(beads)
    fit, _, used = robust_fit(basis, focus - middle, chosen, floor=FLOOR_NM, weights=weight)
    inside = chosen & np.isfinite(focus)
    scatter = robust_sd((focus - middle - basis @ fit)[inside], about=0.0) if inside.any() else 0.0
    return FociFit(middle, filled, basis, fit, scatter, used, weight)


def _one_each(beads: BeadDataset) -> F64:
    """Return weights by which a bead counts once, however often it was recorded: its height on the slide is one."""
    _, which, times = np.unique(
        np.where(beads.accepted, beads.bead_id, -1 - np.arange(len(beads))), return_inverse=True, return_counts=True
    )
    return np.asarray(1.0 / times[which])


def bead_foci_nm(beads: BeadDataset) -> F64:
    """Return the stage position of each bead's focus in its stack; NaN where it is not known."""
    if "focus_um" not in beads.measures:
        return np.full(len(beads), np.nan)
    return 1000 * beads.measures["focus_um"].to_numpy(float)


def measure_focal_surface(beads: BeadDataset) -> FocalSurface | None:
    """Return the focal surface of the beads; None where places or foci are unknown, or beads too few.

    Its degree is the one that predicts left-out beads best.
    """
    known = beads.accepted & np.isfinite(bead_foci_nm(beads))
    stacks = len(np.unique(beads.stack[known]))
    _, first = np.unique(beads.bead_id[known], return_index=True)
    place = field_coordinates(beads.x, beads.y, beads.field_size_px)[known][first]
    carried = largest_degree(place, beads_per_term=BEADS_PER_TERM, most=max(DEGREES))
    possible = [
        degree
        for degree in DEGREES
        if degree <= carried and len(first) >= BEADS_PER_TERM * number_of_terms(degree) + stacks
    ]
    if not beads.field_known or not possible:
        return None
    degree = min(possible, key=lambda one: _error_of_left_out(beads, known, one))
    fit = fit_foci(beads, degree)
    bend = np.concatenate([[0.0], fit.coefficients_nm[len(fit.stacks) :]])
    return FocalSurface.from_polynomial(
        bend, degree, beads.field_size_px, scatter_nm=fit.scatter_nm, beads=int(fit.used.sum())
    )


def _error_of_left_out(beads: BeadDataset, known: Bool, degree: int) -> float:
    """Return the mean square error with which the others predict each bead's focus, outliers cut short."""
    # In the order of the beads, however often each was recorded.
    beads_known, which = np.unique(np.where(known, beads.bead_id, -1), return_inverse=True)
    order = (which + (beads_known[0] >= 0)) % FOLDS
    errors = []
    for fold in range(FOLDS):
        out = known & (order == fold)
        fit = fit_foci(beads, degree, kept=order != fold)
        errors.append(bead_foci_nm(beads)[out] - fit.middle_nm - fit.basis[out] @ fit.coefficients_nm)
    error = np.abs(np.concatenate(errors))
    # A robust standard deviation would not see what bends only the corners.
    return float(np.mean(np.minimum(error, OUTLIER_MADS * robust_sd(error, about=0.0)) ** 2))


def surface_change_nm(beads: BeadDataset, before: FocalSurface) -> tuple[float, float] | None:
    """Return by how much the curvature of the focal surface has changed, and the standard error of that.

    Parameters
    ----------
    beads : BeadDataset
        Of today.
    before : FocalSurface
        Of the calibration.

    Returns
    -------
    (float, float) or None
        Root mean square over the field, nm, of a change of second degree without tilt, what noise adds to it taken
        off. None where foci or places are unknown, or beads too few.
    """
    focus = bead_foci_nm(beads)
    known = beads.accepted & np.isfinite(focus)
    _, first = np.unique(beads.bead_id[known], return_index=True)
    place = field_coordinates(beads.x, beads.y, beads.field_size_px)[known][first]
    fewest = BEADS_PER_CHANGED_TERM * number_of_terms(2) + len(np.unique(beads.stack[known]))
    if (
        not beads.field_known
        or len(first) < fewest
        or largest_degree(place, beads_per_term=BEADS_PER_CHANGED_TERM, most=2) < 2
    ):
        return None
    level_um = (focus - before.height_nm(beads.x, beads.y, tilt=True)) / 1000
    fit = fit_foci(replace(beads, measures=beads.measures.assign(focus_um=level_um)), 2)
    used = fit.basis[fit.used] * np.sqrt(fit.weight[fit.used])[:, None]
    bend = slice(len(fit.stacks), None)
    # What the fit took up of the scatter is given back: few beads have few more foci than the fit has terms.
    free = max(int(fit.used.sum()) - fit.basis.shape[1], 1)
    covariance = fit.scatter_nm**2 * fit.used.sum() / free * np.linalg.pinv(used.T @ used)[bend, bend]
    terms = polynomial(FIELD, 2)[:, 1:]
    plane = polynomial(FIELD, 1)
    bent = terms - plane @ np.linalg.lstsq(plane, terms, rcond=None)[0]
    by_noise = float(np.mean(np.einsum("ni,ij,nj->n", bent, covariance, bent)))
    square = float(np.mean((bent @ fit.coefficients_nm[bend]) ** 2))
    return float(np.sqrt(max(square - by_noise, 0.0))), float(np.sqrt(by_noise))
