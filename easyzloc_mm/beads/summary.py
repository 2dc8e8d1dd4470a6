"""What a bead data set says about the microscope: field, focus, labels, and which depths can be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from easyzloc_mm.beads.align import align
from easyzloc_mm.beads.field import robust_surface
from easyzloc_mm.beads.limit import MeasuredPsf
from easyzloc_mm.beads.measure import measure_bead
from easyzloc_mm.store.bead_set import BeadSet

Real = NDArray[np.float64]

COVERAGE_CELLS, PER_CELL = 5, 3
MIN_FOR_SHAPE = 12
CONSISTENCY_BEADS = 200
NARROW_REACH_NM = 500.0


@dataclass(frozen=True)
class FieldShape:
    """How the focus lies over the field.

    Attributes
    ----------
    tilt_mrad : float
        Slope of the focal surface, slide and lens together.
    curvature_nm : float
        Sag from the middle of the field to its corners.
    scatter_nm : float
        What remains: heights of the beads, and errors of their labels.
    surface_nm : ndarray, shape (n,)
        The fitted surface at every bead.
    """

    tilt_mrad: float
    curvature_nm: float
    scatter_nm: float
    surface_nm: Real


def relative_focus_nm(beads: BeadSet) -> Real:
    """Focus of every bead against the median of its stack: fields are taken at different stage positions of focus."""
    focus = 1000 * beads.measures["focus_um"].to_numpy(float)
    relative = np.full(len(focus), np.nan)
    for stack in np.unique(beads.stack[beads.accepted]):
        mine = beads.stack == stack
        relative[mine] = focus[mine] - np.median(focus[mine & beads.accepted])
    return relative


def field_shape(beads: BeadSet) -> FieldShape | None:
    """Fit tilt and curvature robustly; None where places are unknown or beads are too few."""
    if not beads.field_known or beads.accepted.sum() < MIN_FOR_SHAPE:
        return None
    width, height = beads.field_size_px
    place = np.stack([2 * beads.x / width - 1, 2 * beads.y / height - 1], axis=1)
    surface, fit, scatter = robust_surface(relative_focus_nm(beads), place, beads.accepted, 2, floor=1.0)
    half_nm = np.array([width, height]) / 2 * beads.pixel_size_nm
    return FieldShape(
        tilt_mrad=float(1000 * np.hypot(fit[1] / half_nm[0], fit[2] / half_nm[1])),
        curvature_nm=float(fit[3] + fit[5]),
        scatter_nm=scatter,
        surface_nm=surface,
    )


def coverage(beads: BeadSet) -> float | None:
    """Part of the field's 5x5 cells that hold three accepted beads or more; None where places are unknown."""
    if not beads.field_known:
        return None
    width, height = beads.field_size_px
    counts, _, _ = np.histogram2d(
        beads.y[beads.accepted],
        beads.x[beads.accepted],
        bins=COVERAGE_CELLS,
        range=((-0.5, height - 0.5), (-0.5, width - 0.5)),
    )
    return float((counts >= PER_CELL).mean())


def label_consistency(beads: BeadSet) -> tuple[float, float] | None:
    """Say how well labels repeat: focus from every second plane against that from the others, one bead, SD in nm.

    Returns
    -------
    before, after : float
        By sharpness alone, and aligned. None with fewer than 8 beads or 12 planes.
    """
    chosen = np.flatnonzero(beads.accepted)[:CONSISTENCY_BEADS]
    if len(chosen) < 8 or beads.rois.shape[1] < 12:
        return None
    width, height = beads.field_size_px
    found = []
    for first in (0, 1):
        measured = []
        for index in chosen:
            known = np.flatnonzero(np.isfinite(beads.z_nm[index]))[first::2]
            measured.append(
                measure_bead(
                    beads.rois[index, known],
                    beads.z_nm[index, known].astype(float),
                    (float(beads.x[index] - beads.roi_x0[index]), float(beads.y[index] - beads.roi_y0[index])),
                    (2 * beads.x[index] / width - 1, 2 * beads.y[index] / height - 1),
                    beads.units,
                    np.iinfo(np.uint16).max,
                )
            )
        sharp = np.array([bead.sharpness_nm for bead in measured])
        aligned = align([bead.stack for bead in measured], sharp, field_known=beads.field_known)
        found.append((sharp, aligned.focus_nm))
    before, after = (_half_spread(found[0][which] - found[1][which]) for which in (0, 1))
    return before, after


def _half_spread(difference: Real) -> float:
    """Robust standard deviation of one of two equally noisy values, from their differences."""
    known = difference[np.isfinite(difference)]
    if not len(known):
        return float("nan")
    return float(1.4826 * np.median(np.abs(known - np.median(known))) / np.sqrt(2))


def widths_nm(psf: MeasuredPsf) -> Real:
    """Full widths at half maximum of the mean PSF in the middle of the field along x and y, shape (Z, 2), nm."""
    middle = psf.halves.mean(axis=0)[len(psf.places) // 2]
    return np.array([[_fwhm(image.sum(axis=0)), _fwhm(image.sum(axis=1))] for image in middle]) * psf.pixel_size_nm


def _fwhm(profile: Real) -> float:
    # From the rim inwards: the middle of a defocused image is a ring.
    half = (profile.max() + profile.min()) / 2
    above = np.flatnonzero(profile >= half)
    first, last = int(above[0]), int(above[-1])
    if first == 0 or last == len(profile) - 1:
        return float("nan")
    left = first - (profile[first] - half) / (profile[first] - profile[first - 1])
    right = last + (profile[last] - half) / (profile[last] - profile[last + 1])
    return float(right - left)


def narrowest_nm(psf: MeasuredPsf) -> float:
    """Depth at which the mean PSF is narrowest: where z = 0 would lie if width decided instead of sharpness."""
    area = np.prod(widths_nm(psf), axis=1)
    near = np.flatnonzero((np.abs(psf.z_nm) <= NARROW_REACH_NM) & np.isfinite(area))
    if len(near) < 5:
        return float("nan")
    best = near[int(np.argmin(area[near]))]
    around = near[np.abs(near - best) <= 4]
    a, b, _ = np.polyfit(psf.z_nm[around] - psf.z_nm[best], area[around], 2)
    if a <= 0:
        return float(psf.z_nm[best])
    return float(psf.z_nm[best] + np.clip(-b / (2 * a), -100, 100))


def confusion(psf: MeasuredPsf, photons: float, background: float, read_noise_e: float) -> tuple[Real, Real]:
    """Chance to take a molecule at +z for one at -z, by the best possible test, in the middle of the field.

    Returns
    -------
    z_nm, chance : ndarray, shape (k,)
        Positive depths; 0.5 where both look the same.
    """
    middle = psf.halves[:, len(psf.places) // 2]
    zero = int(np.argmin(np.abs(psf.z_nm)))
    reach = min(zero, len(psf.z_nm) - 1 - zero)
    steps = np.arange(1, reach + 1)
    above, below = middle[:, zero + steps], middle[:, zero - steps]
    # The product of two independent halves: noise of the measured PSF does not pass for a difference.
    difference = photons**2 * (above[0] - below[0]) * (above[1] - below[1])
    variance = np.maximum(photons * (above + below).mean(axis=0) / 2, 0) + background + read_noise_e**2
    distance = np.sqrt(np.maximum(np.sum(difference / variance, axis=(1, 2)), 0.0))
    return psf.z_nm[zero + steps], ndtr(-distance / 2)
