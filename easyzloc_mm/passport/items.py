"""The figures of an instrument, each graded, with what to do where it is not green."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from easyzloc_mm.beads.build import count_reasons
from easyzloc_mm.beads.camera_response import noise_ratio
from easyzloc_mm.beads.quality.coverage import field_coverage
from easyzloc_mm.beads.quality.judge import Reason
from easyzloc_mm.beads.report.summary import fit_foci, lateral_shift_xy
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.passport import Grade, Item, Passport
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.passport.light import bead_light
from easyzloc_mm.passport.widths import bead_widths
from easyzloc_mm.profile.schema import Optics, Profile
from easyzloc_mm.psf.kind import PsfKind, kind_of_beads
from easyzloc_mm.typing import F64

COUNTS = {
    Reason.NEIGHBOUR: "considered_self_proximity_count",
    Reason.EDGE: "considered_lateral_edge_count",
    Reason.FOCUS: "considered_axial_edge_count",
    Reason.SATURATED: "considered_intensity_outlier_count",
    Reason.AXIAL: "considered_bad_fit_z_count",
}
"""Reasons of ours that microscope-metrics has a name for."""
LOBED = (PsfKind.DOUBLE_HELIX, PsfKind.TETRAPOD, PsfKind.OTHER)
CENTRE = "a Gaussian through the bead's middle, mean and standard deviation over the beads"


def passport_of(
    beads: BeadDataset, *, card: ModelCard | None = None, profile: Profile | None = None, quick: bool = False
) -> Passport:
    """Return the passport of the instrument that recorded some beads.

    Parameters
    ----------
    beads : BeadDataset
    card : ModelCard, optional
        Of the model that was trained on them, with its accuracy.
    profile : Profile, optional
        Of the instrument: widths are graded against its optics.
    quick : bool
        A quick look has few beads on purpose: how many, and where, is not graded.
    """
    items = (
        *_counts(beads, quick),
        *_widths(beads, None if profile is None else profile.optics),
        *_field(beads, quick),
        _noise(beads),
        *(() if card is None else _accuracy(card)),
    )
    return Passport(
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        instrument="" if profile is None else profile.name,
        training_data=beads.digest(),
        items=items,
        rejected=count_reasons(beads),
        light=bead_light(beads),
        lateral_shift_nm_per_um=lateral_shift_xy(beads),
    )


def graded(value: float | None, green: float, yellow: float) -> Grade | None:
    """Return the grade of a figure that is best at `green` or beyond; larger is better where `green` is above `yellow`.

    Parameters
    ----------
    value : float or None
    green, yellow : float
        Limits of the two grades, that themselves are still of that grade.
    """
    if value is None:
        return None
    sign = 1 if green > yellow else -1
    if sign * value >= sign * green:
        return Grade.GREEN
    return Grade.YELLOW if sign * value >= sign * yellow else Grade.RED


def _item(
    name: str, meaning: str, value: float | None, unit: str, limits: tuple[float, float] | None, mend: str,
    sd: float | None = None,
) -> Item:  # fmt: skip
    known = value if value is not None and np.isfinite(value) else None
    grade = None if limits is None else graded(known, *limits)
    said = mend if known is None or grade in (Grade.YELLOW, Grade.RED) else ""
    return Item(
        name=name, meaning=meaning, value=known, sd=sd if known is not None else None, unit=unit, grade=grade, mend=said
    )


def _counts(beads: BeadDataset, quick: bool) -> list[Item]:
    why = np.array(beads.reason, dtype=object)
    named = [
        _item(name, f"beads rejected: {reason}", float((why == reason).sum()), "", None, "")
        for reason, name in COUNTS.items()
    ]
    return [
        _item("total_bead_count", "candidates that were found", float(len(beads)), "", None, ""),
        _item(
            "considered_valid_count", "different beads that count", float(beads.distinct), "",
            None if quick else (100, 30), "photograph more fields, or a slide with more beads",
        ),
        *named,
    ]  # fmt: skip


def _widths(beads: BeadDataset, optics: Optics | None) -> list[Item]:
    kind = kind_of_beads(beads)
    if kind in LOBED:
        why = f"not a single spot in focus: {kind}"
        return [_item(f"fwhm_micron_{axis}_mean", CENTRE, None, "um", None, why) for axis in "xyz"]
    widths = bead_widths(beads)
    limits: list[tuple[float, float] | None] = [None, None, None]
    if optics is not None:
        lateral, axial = _expected_um(optics)
        wide = (1.3 * lateral, 1.6 * lateral)
        limits = [wide, wide, (1.5 * axial, 2.2 * axial)]
    mends = ["lateral: check focus, coverslip, oil, and the size of the beads"] * 2
    mends += ["axial: spherical aberration: check oil, cover slip and correction collar"]
    found = [
        _spread(f"fwhm_micron_{axis}_mean", f"width along {axis}: {CENTRE}", widths.fwhm_nm[:, number] / 1000, "um",
                limits[number], mends[number])
        for number, axis in enumerate("xyz")
    ]  # fmt: skip
    found.append(
        _spread(
            "fwhm_lateral_asymmetry_ratio_mean", "smaller lateral width over the larger one", widths.asymmetry, "",
            None if kind is PsfKind.ASTIGMATIC else (0.85, 0.7),
            "astigmatism: is a cylindrical lens in, is the cover slip level, is the objective screwed in",
        )
    )  # fmt: skip
    return found


def _spread(name: str, meaning: str, values: F64, unit: str, limits: tuple[float, float] | None, mend: str) -> Item:
    known = values[np.isfinite(values)]
    if not len(known):
        return _item(name, meaning, None, unit, limits, "no bead's profile is a Gaussian")
    return _item(name, meaning, float(known.mean()), unit, limits, mend, sd=float(known.std()))


def _expected_um(optics: Optics) -> tuple[float, float]:
    """Return the widths of a perfect objective, pixels included."""
    lateral_nm = float(np.hypot(0.51 * optics.emission_nm / optics.na, 0.68 * optics.pixel_size_nm))
    index = optics.immersion_index
    axial_nm = 0.88 * optics.emission_nm / (index - float(np.sqrt(index**2 - optics.na**2)))
    return lateral_nm / 1000, axial_nm / 1000


def _field(beads: BeadDataset, quick: bool) -> list[Item]:
    shape, kept = fit_foci(beads).shape, beads.accepted
    coverage = (
        field_coverage(beads.x[kept], beads.y[kept], beads.field_size_px, beads.bead_id[kept])
        if beads.field_known
        else None
    )
    few = "not told: beads are too few, or not all over the field"
    return [
        _item(
            "field_coverage", "share of the field's 5 x 5 cells with three beads or more", coverage, "",
            None if quick else (0.9, 0.5), "photograph more fields",
        ),
        _item(
            "focal_surface_tilt", "slope of the focal surface, slide and lens together",
            None if shape is None else shape.tilt_mrad, "mrad", (2.0, 5.0), few if shape is None else "level the slide",
        ),
        _item(
            "focal_surface_curvature", "height of the focal surface from the middle of the field to its corners; it is "
            "taken out of z", None if shape is None else shape.curvature_nm, "nm", None, few,
        ),
        _item(
            "lateral_shift", "sideways motion of the stage per travel along z",
            float(np.hypot(*lateral_shift_xy(beads))), "nm per um", (20.0, 60.0),
            "the z stage does not rise straight, or the lens has coma: fasten the stage, screw the objective in, level "
            "the slide",
        ),
    ]  # fmt: skip


def _noise(beads: BeadDataset) -> Item:
    ratio = noise_ratio(beads)
    off = None if ratio is None else float(np.exp(abs(np.log(ratio))))
    mend = "measure the camera's units by camera-calibrate, and enter them in the profile"
    return _item(
        "noise_ratio", "noise around the beads over what the camera's units say, as a factor of 1 or more", off, "",
        (1.15, 1.5), "not told: the background is too dim" if ratio is None else mend,
    )  # fmt: skip


def _accuracy(card: ModelCard) -> list[Item]:
    accuracy = card.accuracy
    if accuracy is None:
        return []
    limit = accuracy.limit_z_nm
    ratio = None if limit is None or not limit or accuracy.rmse_z_nm is None else accuracy.rmse_z_nm / limit
    return [
        _item("rmse_z", "error of z of single molecules", accuracy.rmse_z_nm, "nm", None, "no molecule was judged"),
        _item(
            "rmse_z_over_limit", "the same over the information limit", ratio, "", (2.0, 4.0),
            "more beads, or a longer training",
        ),
        _item(
            "coverage_68", "share of errors within one stated standard deviation, away from 0.68",
            None if accuracy.coverage_68 is None else abs(accuracy.coverage_68 - 0.68), "", (0.05, 0.12),
            "more beads: uncertainties are calibrated on those that training never saw",
        ),
    ]  # fmt: skip
