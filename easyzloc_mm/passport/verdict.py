"""From measured changes to what to do: valid, refresh, calibrate again, or see to the optics first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.io.calibration_check import CalibrationCheck, MeasuredChange, Verdict
from easyzloc_mm.passport.change import Change
from easyzloc_mm.psf.pupil.change import CHANGING, NAMES
from easyzloc_mm.typing import F64

VALID_RAD = 0.1
"""Aberrations together: what raises the error of z by some tenth."""
REFRESH_RAD = 0.45
"""What `refresh` was shown to mend."""
SPHERICAL = (11, 22)
"""Terms that a correction collar, the cover slip's thickness and the oil change."""
VALID_SCALE = 0.03
"""Depth by the PSF over travel of the stage, once the aberrations are taken in."""
VALID_SURFACE_NM = 40.0
VALID_LEFT_NM = 20.0
"""Scatter of depths that the aberrations leave."""
LEAST_LIGHT = 0.6
NO_PASSPORT = "not told: the calibration has no passport.json, as those of before 0.2"
NO_LIGHT = "not told: the stacks do not state exposure and preset, or the calibration's have none in common with them"
NO_SURFACE = "not told: beads are too few, or not all over the field, or the calibration has no focal surface"
ORDER = (Verdict.OPTICS, Verdict.CALIBRATE, Verdict.REFRESH)
"""The first that any figure asks for is the answer."""


@dataclass(frozen=True)
class Figures:
    """What a verdict rests on, measured or true; None where it is not known.

    Attributes
    ----------
    total_rad, spherical_rad : float
        Aberrations that were added: all together, and those of `SPHERICAL`; rms.
    scale : float
        Depth by the changed PSF over travel of the stage.
    left_nm : float
        Scatter of depths that the changed PSF leaves.
    surface_nm : float or None
        Change of the focal surface, rms.
    light : float or None
        Brightness of the beads over what it was.
    """

    total_rad: float
    spherical_rad: float
    scale: float
    left_nm: float
    surface_nm: float | None
    light: float | None

    def verdicts(self) -> dict[str, Verdict]:
        """Return what each figure asks for."""
        mostly_spherical = 2 * self.spherical_rad**2 > self.total_rad**2
        if self.total_rad <= VALID_RAD:
            aberrations = Verdict.VALID
        elif self.total_rad <= REFRESH_RAD:
            aberrations = Verdict.REFRESH
        else:
            aberrations = Verdict.OPTICS if mostly_spherical else Verdict.CALIBRATE
        return {
            "aberrations": aberrations,
            "stage_scale": _unless(abs(self.scale - 1) <= VALID_SCALE, Verdict.CALIBRATE),
            "unexplained": _unless(self.left_nm <= VALID_LEFT_NM, Verdict.CALIBRATE),
            "focal_surface": _unless(self.surface_nm is None or self.surface_nm <= VALID_SURFACE_NM, Verdict.CALIBRATE),
            "light": _unless(self.light is None or self.light >= LEAST_LIGHT, Verdict.OPTICS),
        }

    def verdict(self) -> Verdict:
        """Return what to do."""
        asked = set(self.verdicts().values())
        return next((one for one in ORDER if one in asked), Verdict.VALID)


def _unless(fine: bool, verdict: Verdict) -> Verdict:
    return Verdict.VALID if fine else verdict


def figures_of(change: Change) -> Figures:
    """Return the figures that were measured; what noise adds to sums of squares is taken off."""
    theta, scatter = change.aberrations.theta_rad, change.aberrations.scatter_rad
    spherical = np.isin(CHANGING, SPHERICAL)
    return Figures(
        total_rad=_size(theta, scatter),
        spherical_rad=_size(theta[spherical], scatter[spherical]),
        scale=change.after.scale,
        left_nm=change.after.rms_nm,
        surface_nm=None if change.surface_nm is None else change.surface_nm[0],
        light=None if change.light is None else change.light[0],
    )


def _size(theta_rad: F64, scatter_rad: F64) -> float:
    return float(np.sqrt(max(float(np.sum(theta_rad**2 - scatter_rad**2)), 0.0)))


def judge(change: Change) -> CalibrationCheck:
    """Return the verdict, with every figure that it rests on."""
    figures = figures_of(change)
    asked = figures.verdicts()
    rows = (
        *_aberrations(change, figures, asked["aberrations"]),
        MeasuredChange(
            name="stage_scale", unit="", value=change.after.scale, sd=change.after.scale_sd, limit=VALID_SCALE,
            verdict=asked["stage_scale"],
            remark="depth by the PSF per travel of the stage: check the stage's calibration and the objective",
        ),
        MeasuredChange(
            name="unexplained", unit="nm", value=change.after.rms_nm, limit=VALID_LEFT_NM, verdict=asked["unexplained"],
            remark="scatter of depths that no aberration of the list explains",
        ),
        _surface(change, asked["focal_surface"]),
        _light(change, asked["light"]),
        _lateral_shift(change),
    )  # fmt: skip
    verdict = figures.verdict()
    return CalibrationCheck(verdict=verdict, because=_because(verdict, rows), beads=change.beads, changes=rows)


def _aberrations(change: Change, figures: Figures, asked: Verdict) -> tuple[MeasuredChange, ...]:
    found = change.aberrations
    terms = zip(NAMES, found.theta_rad, change.sd_rad, strict=True)
    square = max(float(found.theta_rad @ found.theta_rad), 1e-12)
    total_sd = float(np.sqrt(found.theta_rad**2 @ change.sd_rad**2 / square))
    limit = VALID_RAD if asked in (Verdict.VALID, Verdict.REFRESH) else REFRESH_RAD
    remark = "oil, cover slip, temperature, collar" if asked is Verdict.OPTICS else ""
    return (
        MeasuredChange(
            name="aberrations", unit="rad rms", value=figures.total_rad, sd=total_sd, limit=limit, verdict=asked,
            remark=remark,
        ),
        *(MeasuredChange(name=name, unit="rad", value=float(value), sd=float(sd)) for name, value, sd in terms),
        MeasuredChange(
            name="z_scale", unit="", value=change.before.scale, sd=change.before.scale_sd,
            remark="of z by the calibration as it is",
        ),
        MeasuredChange(
            name="z_error", unit="nm", value=found.z_error_nm, remark="rms, by the aberrations, to first order"
        ),
    )  # fmt: skip


def _surface(change: Change, asked: Verdict) -> MeasuredChange:
    if change.surface_nm is None:
        return MeasuredChange(name="focal_surface", unit="nm", value=None, remark=NO_SURFACE)
    value, sd = change.surface_nm
    return MeasuredChange(
        name="focal_surface", unit="nm", value=value, sd=sd, limit=VALID_SURFACE_NM, verdict=asked,
        remark="rms over the field, without tilt",
    )  # fmt: skip


def _light(change: Change, asked: Verdict) -> MeasuredChange:
    if change.light is None:
        return MeasuredChange(name="light", unit="", value=None, remark=NO_LIGHT)
    value, sd = change.light
    return MeasuredChange(
        name="light", unit="", value=value, sd=sd, limit=LEAST_LIGHT, verdict=asked,
        remark="of a bead, over that of the calibration: check lamp and filters, clean the lens",
    )  # fmt: skip


def _lateral_shift(change: Change) -> MeasuredChange:
    unit = "nm per um"
    if change.lateral_shift_nm_per_um is None:
        return MeasuredChange(name="lateral_shift", unit=unit, value=None, remark=NO_PASSPORT)
    return MeasuredChange(
        name="lateral_shift", unit=unit, value=float(np.hypot(*change.lateral_shift_nm_per_um)),
        remark="sideways motion of the stage that is new: it enters no z, and decides nothing",
    )  # fmt: skip


def _because(verdict: Verdict, rows: tuple[MeasuredChange, ...]) -> str:
    reason = "; ".join(_in_words(row) for row in rows if row.verdict is verdict)
    if verdict is Verdict.VALID:
        reason = f"nothing has changed by more than its limit (aberrations {rows[0].value:.2f} rad rms)"
    unknown = [row.name.replace("_", " ") for row in rows if row.value is None]
    return reason + (f"; not told: {', '.join(unknown)}" if unknown else "")


def _in_words(row: MeasuredChange) -> str:
    remark = f" ({row.remark})" if row.remark else ""
    return f"{row.name.replace('_', ' ')} {row.in_words()}{remark}"
