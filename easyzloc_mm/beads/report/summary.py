"""Figures of a bead data set as a whole: stacks, field, focus and labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from easyzloc_mm.beads.alignment.align import align
from easyzloc_mm.beads.camera_response import of_averaged
from easyzloc_mm.beads.quality.coverage import field_coverage
from easyzloc_mm.beads.quality.measure import measure_bead
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.numerics.field_polynomial import field_coordinates, largest_degree, powers
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf import focal_surface
from easyzloc_mm.psf.crop_choice import crop_px
from easyzloc_mm.psf.kind import PsfKind, kind_of_beads
from easyzloc_mm.typing import F64, I64

MIN_FOR_SHAPE = 12
MIN_IN_COMMON = 3
"""Beads that two stacks show, from which on their labels are compared."""
CONSISTENCY_BEADS = 200


@dataclass(frozen=True)
class Summary:
    """Figures of a bead data set as a whole; see the functions that measure them.

    Attributes
    ----------
    foci : Foci
    coverage : float or None
    repeat : LabelRepeat or None
        Between stacks; None where no bead was recorded in two.
    consistency : (float, float) or None
        Between the planes of one stack.
    kind : PsfKind or None
    roi_px : int
        Edge of the crops that hold the PSF.
    """

    foci: Foci
    coverage: float | None
    repeat: LabelRepeat | None
    consistency: tuple[float, float] | None
    kind: PsfKind | None
    roi_px: int


def summarize_beads(beads: BeadDataset) -> Summary:
    """Return the figures of a bead data set as a whole."""
    kept = beads.accepted
    coverage = None
    if beads.field_known:
        coverage = field_coverage(beads.x[kept], beads.y[kept], beads.field_size_px, beads.bead_id[kept])
    foci = fit_foci(beads)
    repeat, consistency = label_repeat(beads, foci), label_consistency(beads)
    return Summary(foci, coverage, repeat, consistency, kind_of_beads(beads), crop_px(beads))


def summary_figures(beads: BeadDataset, summary: Summary) -> dict[str, Any]:
    """Plain figures, for printing; None where something could not be measured.

    Returns
    -------
    dict
        ``coverage``, ``tilt_mrad``, ``curvature_nm``, ``label_repeat_nm`` (between stacks), ``label_repeat_beads``,
        ``label_repeat_planes_sharpness_nm`` and ``label_repeat_planes_nm`` (between the planes of a stack),
        ``lateral_shift_nm_per_um``, ``slide_direction_deg``, ``psf`` (its kind), ``roi_px``, and ``stacks``: one dict
        for each stack.
    """
    foci, shape = summary.foci, summary.foci.shape
    before, after = summary.consistency or (None, None)
    speed, direction = lateral_shift_nm_per_um(beads)
    stacks = []
    for index, facts in enumerate(beads.stacks.to_dict("records")):
        x, y = facts["lateral_shift_x_nm_per_um"], facts["lateral_shift_y_nm_per_um"]
        stacks.append(
            {
                **{name: facts[name] for name in ("source", "fov", "planes", "frames_per_plane", "found", "accepted")},
                "planes_lost": int(facts.get("planes_lost", 0)),
                "focus_um": facts["focus_um"],
                "offset_nm": foci.offset_nm[index],
                "offset_uncertainty_nm": foci.uncertainty_nm[index],
                "lateral_shift_nm_per_um": float(np.hypot(x, y)),
                "slide_direction_deg": float(np.degrees(np.arctan2(y, x))),
                "lateral_shift_uncertainty_nm_per_um": facts["lateral_shift_uncertainty_nm_per_um"],
            }
        )
    return {
        "coverage": summary.coverage,
        "tilt_mrad": shape.tilt_mrad if shape else None,
        "curvature_nm": shape.curvature_nm if shape else None,
        "label_repeat_nm": summary.repeat.sd_nm if summary.repeat else None,
        "label_repeat_beads": summary.repeat.beads if summary.repeat else 0,
        "label_repeat_planes_sharpness_nm": before,
        "label_repeat_planes_nm": after,
        "lateral_shift_nm_per_um": speed,
        "slide_direction_deg": direction,
        "psf": None if summary.kind is None else str(summary.kind),
        "roi_px": summary.roi_px,
        "stacks": stacks,
    }


def which_rejected(beads: BeadDataset) -> dict[str, list[int]]:
    """Return reason to the numbers (from 0) of the beads rejected for it."""
    reasons = np.array(beads.reason)
    return {str(reason): np.flatnonzero(reasons == reason).tolist() for reason in np.unique(reasons[~beads.accepted])}


def offsets_in_words(stacks: list[dict[str, Any]]) -> str:
    """Return the offsets of `summary_figures`' stacks in one line, for a terminal."""
    parts = [
        "{fov}: {offset_nm:+.0f} ± {offset_uncertainty_nm:.0f} nm, {accepted} beads".format(**stack)
        for stack in stacks
        if np.isfinite(stack["offset_nm"])
    ]
    return "; ".join(parts) or "no stacks"


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
    surface_nm: F64


@dataclass(frozen=True)
class Foci:
    """Where the beads of all stacks are in focus: one surface over the field, and an offset for each stack.

    Attributes
    ----------
    offset_nm, uncertainty_nm : ndarray, shape (stacks,)
        Stage position of each stack's focal surface in the middle of the field, against the median stack, and its
        standard error, which the heights of the beads on the slide make for the most part; NaN without accepted beads.
    beads : ndarray, shape (stacks,)
        Accepted ones.
    relative_nm : ndarray, shape (n,)
        Focus of every bead against its stack's.
    shape : FieldShape or None
        None where places are unknown or beads are too few.
    """

    offset_nm: F64
    uncertainty_nm: F64
    beads: I64
    relative_nm: F64
    shape: FieldShape | None


def fit_foci(beads: BeadDataset) -> Foci:
    """Fit the stacks' offsets together with tilt and curvature of the field, robustly."""
    stacks = max(int(beads.stack.max(initial=-1)) + 1, len(beads.stacks))
    counts = np.bincount(beads.stack[beads.accepted], minlength=stacks)
    enough = beads.distinct >= MIN_FOR_SHAPE + np.count_nonzero(counts)
    _, first = np.unique(beads.bead_id[beads.accepted], return_index=True)
    place = field_coordinates(beads.x, beads.y, beads.field_size_px)[beads.accepted][first]
    known = beads.field_known and enough and largest_degree(place, beads_per_term=1, most=2) == 2
    found = focal_surface.fit_foci(beads, 2 if known else 0)
    basis, fit, filled = found.basis, found.coefficients_nm, found.stacks
    used = basis[found.used] * np.sqrt(found.weight[found.used])[:, None]
    spread = np.sqrt(np.diag(np.linalg.pinv(used.T @ used))) * found.scatter_nm
    offset, uncertainty = np.full((2, stacks), np.nan)
    if len(filled):
        offset[filled] = fit[: len(filled)] - np.median(fit[: len(filled)])
        # A single bead shows no scatter.
        uncertainty[filled] = np.where(len(used) > basis.shape[1], spread[: len(filled)], np.nan)
    relative = focal_surface.bead_foci_nm(beads) - found.middle_nm - basis[:, : len(filled)] @ fit[: len(filled)]
    relative[~np.isin(beads.stack, filled)] = np.nan
    bend = basis[:, len(filled) :]
    return Foci(offset, uncertainty, counts, relative, _field_shape(beads, bend, fit[len(filled) :], found.scatter_nm))


def _field_shape(beads: BeadDataset, bend: F64, fit: F64, scatter: float) -> FieldShape | None:
    if not len(fit):
        return None
    half_nm = (np.array(beads.field_size_px) - 1) / 2 * beads.pixel_size_nm
    term = dict(zip(powers(2)[1:], fit, strict=True))
    tilt = np.array([term[1, 0], term[0, 1]]) / half_nm
    return FieldShape(
        tilt_mrad=float(1000 * np.hypot(*tilt)),
        curvature_nm=float(term[2, 0] + term[0, 2]),
        scatter_nm=scatter,
        surface_nm=bend @ fit,
    )


def lateral_shift_nm_per_um(beads: BeadDataset) -> tuple[float, float]:
    """Return the lateral shift that all beads of a stack have in common, in the stack with the largest; 0 unless sure.

    Returns
    -------
    speed : float
        Nm sideways per um of rising z.
    direction : float
        Degrees; 0 towards larger x, 90 towards larger y (down the image).
    """
    if not len(beads):
        return 0.0, 0.0
    speed = np.hypot(*beads.lateral_shift_px_per_um.T)
    x, y = beads.lateral_shift_px_per_um[int(np.argmax(speed))]
    return float(speed.max()) * beads.pixel_size_nm, float(np.degrees(np.arctan2(y, x)))


def lateral_shift_xy(beads: BeadDataset) -> tuple[float, float]:
    """Return `lateral_shift_nm_per_um` along x and y, nm per um."""
    speed, direction = lateral_shift_nm_per_um(beads)
    turned = np.radians(direction)
    return speed * float(np.cos(turned)), speed * float(np.sin(turned))


@dataclass(frozen=True)
class LabelRepeat:
    """How well labels repeat from one recording of a bead to the next.

    Attributes
    ----------
    sd_nm : float
        Of one label, robust standard deviation.
    beads : int
        Different beads that were recorded in two stacks or more.
    """

    sd_nm: float
    beads: int


def label_repeat(beads: BeadDataset, foci: Foci) -> LabelRepeat | None:
    """Return how well the foci of beads that are in several stacks agree; None with fewer than three of them.

    Each pair of stacks is freed of its common offset: where the stage stood is no error of a label. What a bead that
    was moved in the field owes to the focal surface is taken out.
    """
    focus = foci.relative_nm - (0.0 if foci.shape is None else foci.shape.surface_nm)
    usable = beads.accepted & np.isfinite(focus)
    differences: list[F64] = []
    again: set[int] = set()
    for one, other in itertools.combinations(np.unique(beads.stack[usable]), 2):
        own, theirs = (np.flatnonzero(usable & (beads.stack == stack)) for stack in (one, other))
        common, first, second = np.intersect1d(beads.bead_id[own], beads.bead_id[theirs], return_indices=True)
        if len(common) >= MIN_IN_COMMON:
            moved = focus[theirs[second]] - focus[own[first]]
            differences.append(moved - np.median(moved))
            again |= set(common.tolist())
    if not differences:
        return None
    return LabelRepeat(_half_spread(np.concatenate(differences)), len(again))


def label_consistency(beads: BeadDataset) -> tuple[float, float] | None:
    """Return how well labels repeat: focus from every second plane against that from the others, one bead, SD in nm.

    Returns
    -------
    before, after : float
        By sharpness alone, and aligned. None with fewer than 8 beads or 12 planes.
    """
    chosen = np.flatnonzero(beads.accepted)[:CONSISTENCY_BEADS]
    if len(chosen) < 8 or beads.rois.shape[1] < 12:
        return None
    place = field_coordinates(beads.x, beads.y, beads.field_size_px)
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
                    (float(place[index, 0]), float(place[index, 1])),
                    of_averaged(beads.response, beads.frames_per_plane(int(index))),
                    np.iinfo(np.uint16).max,
                    (float(beads.lateral_shift_px_per_um[index, 0]), float(beads.lateral_shift_px_per_um[index, 1])),
                )
            )
        sharp = np.array([bead.sharpness_nm for bead in measured])
        stacks, which = [bead.stack for bead in measured], beads.bead_id[chosen]
        aligned = align(stacks, sharp, field_known=beads.field_known, identity=which)
        found.append((sharp, aligned.focus_nm))
    before, after = (_half_spread(found[0][which] - found[1][which]) for which in (0, 1))
    return before, after


def _half_spread(difference: F64) -> float:
    """Robust standard deviation of one of two equally noisy values, from their differences."""
    known = difference[np.isfinite(difference)]
    if not len(known):
        return float("nan")
    return robust_sd(known) / float(np.sqrt(2))
