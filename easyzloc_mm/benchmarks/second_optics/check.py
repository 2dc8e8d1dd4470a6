"""`bench check`: verdicts on simulated days, against the verdict that the truth would have."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._progress import silent
from easyzloc_mm.beads.build import build_bead_set
from easyzloc_mm.beads.report.summary import lateral_shift_xy
from easyzloc_mm.benchmarks.second_optics.datasets import profile_of
from easyzloc_mm.benchmarks.second_optics.day import Day, bead_stacks
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.benchmarks.second_optics.study import make_beads
from easyzloc_mm.benchmarks.spread import spread
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.passport.change import Calibrated, measure_change
from easyzloc_mm.passport.light import bead_light
from easyzloc_mm.passport.verdict import Figures, figures_of
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.crop_choice import crop_px
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.focal_surface import measure_focal_surface
from easyzloc_mm.psf.pupil.change import NAMES
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from easyzloc_mm.typing import Progress

KINDS = ("unchanged", "aberrations", "collar", "focal surface", "light", "stage")
"""Of days: what has changed, beside the little that always does. As many of each."""
ALWAYS_RAD, ALWAYS_LIGHT, ALWAYS_NM, TILT_NM = 0.02, 0.1, 5.0, 60.0
"""Standard deviations of what changes from every day to the next: each aberration, the lamp (relative), the height of
the focal surface at the corners; and of the slide's tilt, which says nothing."""
ADDED_RAD = {"spherical": 0.35, "astigmatism 0": 0.15, "astigmatism 45": 0.15, "coma x": 0.15, "coma y": 0.15}
"""Largest changes of a day of kind ``aberrations``."""
COLLAR_RAD, CURVATURE_NM, LIGHT, STAGE = (0.3, 0.9), (0.0, 400.0), (0.2, 1.2), 0.1
"""Ranges of the other kinds: spherical aberration, height at the corners, lamp, error of the stage's scale."""


@dataclass(frozen=True)
class _Before:
    """The instrument as it was calibrated."""

    then: Calibrated
    wavefront: Wavefront
    optics: Optics
    microscope: SecondMicroscope


def bench_check(
    folder: Path | None = None,
    *,
    draws: int = 12,
    first: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Photograph beads on days on which the second microscope has changed, and judge its calibration by them.

    Parameters
    ----------
    folder : Path, optional
        Keeps the beads of the calibration, and those that lie there are used; a temporary one if not given.
    draws : int
        Days.
    first : int
        Number of the first one: the same number is the same day.
    workers : int
        Processes side by side.
    progress : callable, optional

    Returns
    -------
    dict
        ``days``: of each its ``kind``, true and measured figures and verdicts, and seconds; ``wrong``: share of the
        verdicts that are not those of the truth, ``by_kind`` too; ``confusion``; ``errors``: root mean square of each
        figure's.
    """
    show = progress or silent
    microscope = SecondMicroscope()
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        beads = make_beads(Path(place), microscope=microscope, progress=progress)
        show("the wavefront of the calibration", 0.0)
        before = _before(read_bead_set(beads), microscope)
        days = spread(
            partial(_judged, before), range(first, first + draws), workers,
            lambda count: show(f"day {count} of {draws}", count / draws),
        )  # fmt: skip
    return {"days": days, **_summary(days)}


def _before(beads: BeadDataset, microscope: SecondMicroscope) -> _Before:
    roi_px = crop_px(beads)
    psf = FieldPsf.measure(BeadPsfs.from_beads(beads, np.flatnonzero(beads.accepted), roi_px))
    optics = profile_of(microscope).optics
    then = Calibrated(
        psf=psf,
        surface=measure_focal_surface(beads),
        emitters=EmitterPrior(),
        field_size_px=beads.field_size_px,
        roi_px=roi_px,
        light=bead_light(beads),
        lateral_shift_nm_per_um=lateral_shift_xy(beads),
    )
    return _Before(then, retrieve(psf, optics), optics, microscope)


def _judged(before: _Before, number: int) -> dict[str, Any]:
    day = drawn_day(number)
    stacks = bead_stacks(day, before.microscope, number)
    truth = _truth(day)
    drawn = {"number": number, "kind": day.kind, "truth": vars(truth), "true_verdict": str(truth.verdict())}
    try:
        beads = build_bead_set(stacks, before.microscope.response, before.microscope.lens.pixel_size_nm,
                               roi_px=before.then.roi_px)  # fmt: skip
        change = measure_change(beads, before.then, before.optics, wavefront=before.wavefront)
    except InputError as error:  # a day without a verdict is a wrong one, and no reason to lose the others
        return {**drawn, "found": dict.fromkeys(vars(truth)), "verdict": f"none: {error}"}
    found = figures_of(change)
    return {
        **drawn,
        "found": vars(found),
        "verdict": str(found.verdict()),
        "beads": change.beads,
        "true_rad": [day.aberrations_rad.get(name, 0.0) for name in NAMES],
        "theta_rad": change.aberrations.theta_rad.tolist(),
        "sd_rad": change.sd_rad.tolist(),
        "scale_before": change.before.scale,
        "left_before_nm": change.before.rms_nm,
        "correlation": change.aberrations.correlation,
    }


def drawn_day(number: int) -> Day:
    """Return a day; the same number is the same day."""
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    added = {name: float(rng.normal(0, ALWAYS_RAD)) for name in ADDED_RAD}
    light, curvature_nm, scale = float(np.exp(rng.normal(0, ALWAYS_LIGHT))), float(rng.normal(0, ALWAYS_NM)), 1.0
    sign = float(rng.choice([-1.0, 1.0]))
    if kind == "aberrations":
        added = {name: float(rng.uniform(-most, most)) for name, most in ADDED_RAD.items()}
    elif kind == "collar":
        added["spherical"] = sign * float(rng.uniform(*COLLAR_RAD))
    elif kind == "focal surface":
        curvature_nm = sign * float(rng.uniform(*CURVATURE_NM))
    elif kind == "light":
        light = float(rng.uniform(*LIGHT))
    elif kind == "stage":
        scale += float(rng.uniform(-STAGE, STAGE))
    tilt_nm = (float(rng.normal(0, TILT_NM)), float(rng.normal(0, TILT_NM)))
    return Day(
        kind=kind, aberrations_rad=added, curvature_nm=curvature_nm, tilt_nm=tilt_nm, light=light, stage_scale=scale
    )


def _truth(day: Day) -> Figures:
    """Return what a measurement without errors would give."""
    ticks = np.linspace(-1, 1, 33)
    u, v = np.meshgrid(ticks, ticks)
    total = float(np.sqrt(sum(value**2 for value in day.aberrations_rad.values())))
    return Figures(
        total_rad=total,
        spherical_rad=abs(day.aberrations_rad["spherical"]),
        scale=day.stage_scale,
        left_nm=0.0,
        surface_nm=abs(day.curvature_nm) * float(np.std((u * u + v * v) / 2)),
        light=day.light,
    )


def _summary(days: list[dict[str, Any]]) -> dict[str, Any]:
    wrong = np.array([day["verdict"] != day["true_verdict"] for day in days], float)
    kinds = np.array([day["kind"] for day in days])
    confusion = Counter((day["true_verdict"], day["verdict"]) for day in days)
    errors = {}
    for name in ("total_rad", "spherical_rad", "scale", "surface_nm", "light"):
        missed = [day["found"][name] - day["truth"][name] for day in days if day["found"][name] is not None]
        errors[name] = float(np.sqrt(np.mean(np.square(missed)))) if missed else None
    return {
        "wrong": float(wrong.mean()),
        "by_kind": {str(kind): float(wrong[kinds == kind].mean()) for kind in np.unique(kinds)},
        "confusion": {f"{true} -> {said}": count for (true, said), count in sorted(confusion.items())},
        "errors": errors,
    }
