"""Which candidates are beads that can be trusted, and why the others are not."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd

from easyzloc_mm.beads.detection.form import PsfForm
from easyzloc_mm.numerics.field_polynomial import largest_degree, robust_surface
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64, I64, Bool


class Rules(StrEnum):
    """By which rules beads are judged and labelled."""

    DEFAULT = "default"
    PAPER = "paper"
    """As published (`easyzloc_mm.beads.published`)."""


class Reason(StrEnum):
    """Why a candidate was rejected; the first that applies counts."""

    EDGE = "edge"
    """The ROI leaves the image."""
    COPY = "copy"
    """The same pixels, noise and all, as another candidate's: of a recording that was given twice, or in parts."""
    SATURATED = "saturated"
    """Pixels are at the camera's upper end."""
    NEIGHBOUR = "neighbour"
    """Something else, at whatever depth, is inside the crop that the network sees, or reaches into it."""
    FAINT = "faint"
    """The peak in focus does not stand out of its noise."""
    FOCUS = "focus outside the stack"
    """The sharpest plane is the first or the last, or too little of the stack lies around it."""
    AXIAL = "axial profile"
    """Brightness along z is no skewed Gaussian, or not as wide as the others'."""
    LATERAL = "lateral profile"
    """The image in focus is no skewed Gaussian, or not as wide as the others' around it."""
    BLEACHING = "bleaching"
    """Loses or gains light along the scan unlike the others."""
    LATERAL_SCATTER = "lateral_scatter"
    """Moves sideways through the stack unlike the others."""
    SHAPE = "shape"
    """Unlike the PSF that the other beads give for this place, by more than noise explains."""


MIN_SNR = 8.0
SATURATED_PIXELS = 3
OUTLIER_MADS = 6.0
"""Profiles and shapes are held against the accepted beads around: so many robust deviations off are too many ..."""
FLOORS = {
    "axial_misfit": 0.04,
    "axial_width_nm": 0.25,
    "lateral_misfit": 0.03,
    "lateral_width_px": 0.12,
    "lateral_length_px": 0.15,
    "bleaching_per_um": 0.06,
    "lateral_scatter_px": 0.15,
    "residual": 0.003,
}
"""... but never less than this. `residual` is judged by its square, the energy that is not explained: what noise leaves
of it for a dim bead scatters around zero there."""
ALONE = ("axial_misfit", "lateral_misfit")
"""What a bead shows without others to compare it with."""
DOUBLET_MADS = 30.0
"""What is normal is told without candidates that are so many robust deviations off: two beads that pass for one are 100
and more, and single beads of one real slide up to 15."""
RELATIVE = ("axial_width_nm", "lateral_width_px", "lateral_length_px")
"""Differences of these are relative ones."""
BOTH_WAYS = (*RELATIVE, "bleaching_per_um")
FIELD_DEGREE = 2
MIN_FOR_FIELD = 40
"""Distinct beads, from which on what is normal may change over the field."""
ROUNDS = 3


PROFILES = ("axial_misfit", "axial_width_nm", "lateral_misfit", "lateral_width_px", "lateral_length_px")
"""What only a bead that is one spot can be judged by."""


def judge(
    measures: pd.DataFrame,
    place: F64,
    identity: I64,
    *,
    field_known: bool,
    final: bool = True,
    form: PsfForm | None = None,
) -> tuple[str, ...]:
    """Give every candidate its reason, or the empty string.

    Parameters
    ----------
    measures : DataFrame
        Columns ``edge``, ``copy``, ``saturated``, ``neighbour_px``, ``snr``, ``focus_um``; where `final`, also those of
        `FLOORS`.
    place : ndarray, shape (n, 2)
        Places in the field, -1..1: what is normal may change over it.
    identity : ndarray, shape (n,)
        Which bead each candidate is: one that was recorded several times is one place.
    field_known : bool
        Whether places mean anything.
    final : bool
        False before alignment, when only the candidates themselves are known.
    form : PsfForm, optional
        What the beads look like; spots without it.
    """
    form = form or PsfForm()
    verdict = np.full(len(measures), "", dtype=object)

    def reject(where: Bool, reason: Reason) -> None:
        verdict[where & (verdict == "")] = str(reason)

    def value(name: str) -> F64:
        return measures[name].to_numpy(float)

    reject(value("edge") > 0, Reason.EDGE)
    reject(value("copy") > 0, Reason.COPY)
    reject(value("saturated") >= SATURATED_PIXELS, Reason.SATURATED)
    # A ready-cut ROI is meant to hold one bead: a second one anywhere in it is one too many.
    reject(value("neighbour_px") < (form.neighbour_px if field_known else np.inf), Reason.NEIGHBOUR)
    reject(value("snr") < MIN_SNR, Reason.FAINT)
    reject(~np.isfinite(value("focus_um")), Reason.FOCUS)
    if final:
        # Too few to be compared with each other, they are judged by their own profiles.
        compared = bool(np.isfinite(value("residual")).any())
        reject(compared & ~np.isfinite(value("residual")), Reason.FOCUS)
        names = [name for name in (FLOORS if compared else ALONE) if form.lobes_px is None or name not in PROFILES]
        good = verdict == ""
        outlying = {name: np.zeros(len(measures), bool) for name in FLOORS}
        for _ in range(ROUNDS):
            degree = _degree(place, identity, good) if field_known else 0
            for name in names:
                outlying[name] = _outlying(value(name), name, place, good, degree)
            good = (verdict == "") & ~np.any(list(outlying.values()), axis=0)
        reject(outlying["axial_misfit"] | outlying["axial_width_nm"], Reason.AXIAL)
        lateral = outlying["lateral_misfit"] | outlying["lateral_width_px"] | outlying["lateral_length_px"]
        reject(lateral, Reason.LATERAL)
        reject(outlying["bleaching_per_um"], Reason.BLEACHING)
        reject(outlying["lateral_scatter_px"], Reason.LATERAL_SCATTER)
        reject(outlying["residual"], Reason.SHAPE)
    return tuple(str(item) for item in verdict)


def _degree(place: F64, identity: I64, good: Bool) -> int:
    """Return the degree of what may be normal over the field, from distinct beads."""
    first = np.flatnonzero(good)[np.unique(identity[good], return_index=True)[1]]
    return largest_degree(place[first], most=FIELD_DEGREE) if len(first) >= MIN_FOR_FIELD else 0


def _outlying(values: F64, name: str, place: F64, good: Bool, degree: int) -> Bool:
    scale = np.log(np.maximum(values, 1e-3)) if name in RELATIVE else values**2 if name == "residual" else values
    known = good & np.isfinite(scale)
    if known.any():
        # A third of a crowded slide are doublets: a least-squares fit that begins with them never leaves them.
        middle = float(np.median(scale[known]))
        apart = max(FLOORS[name], DOUBLET_MADS * robust_sd(scale[known], about=middle))
        good = known & (np.abs(np.where(known, scale, middle) - middle) <= apart)
    surface, _, scatter = robust_surface(scale, place, good, degree)
    limit = max(FLOORS[name], OUTLIER_MADS * scatter)
    difference = np.abs(scale - surface) if name in BOTH_WAYS else scale - surface
    with np.errstate(invalid="ignore"):
        return np.asarray(~(difference <= limit))
