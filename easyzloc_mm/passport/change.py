"""What has changed since a calibration, measured on today's beads, each figure with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from easyzloc_mm.beads.report.summary import lateral_shift_xy
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.focal_surface import FocalSurface
from easyzloc_mm.io.passport import LightLevel, Passport
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.passport.images import BeadImages, bead_images
from easyzloc_mm.passport.light import bead_light, light_ratio
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.focal_surface import surface_change_nm
from easyzloc_mm.psf.mle import fit_psf
from easyzloc_mm.psf.pupil.change import CHANGING
from easyzloc_mm.psf.pupil.estimate import Estimate, estimate
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from easyzloc_mm.typing import F64, Progress

UNEXPLAINED_NM = 12.0
"""Scatter of depths after which aberrations are looked for elsewhere, too: a climb from none may miss large ones."""
SPHERICAL, FAR_RAD = 11, (-0.6, 0.6)
"""Noll's number of the spherical aberration of a collar, and where else the search starts."""
PSF_ERROR_RAD, MODEL_ERROR = 0.01, 0.05
"""Of each aberration: what errors of the calibration's PSF feign, and what the computed pupil errs by, as a part of all
aberrations together. More than on the second optics (0.003 rad where little changes): real PSFs are known less well."""


@dataclass(frozen=True)
class Calibrated:
    """What a calibration says of the instrument.

    Attributes
    ----------
    psf : FieldPsf
    surface : FocalSurface or None
    emitters : EmitterPrior
    field_size_px : (int, int)
    roi_px : int
    light : dict of str to LightLevel
        By illumination preset; empty where it is not known.
    lateral_shift_nm_per_um : (float, float) or None
        Of the stage; None where it is not known.
    """

    psf: FieldPsf
    surface: FocalSurface | None
    emitters: EmitterPrior
    field_size_px: tuple[int, int]
    roi_px: int
    light: Mapping[str, LightLevel] = field(default_factory=dict)
    lateral_shift_nm_per_um: tuple[float, float] | None = None

    @classmethod
    def of(cls, card: ModelCard) -> Calibrated:
        """Return what a model of recipe ``matched`` and its passport hold; models of before 0.2 have none."""
        assert isinstance(card.uncertainty, MixtureCalibration), "checked by the caller: the model has a PSF"
        passport = Passport.read(card.path)
        return cls(
            psf=Predictor(card).psf[0],
            surface=card.focal_surface,
            emitters=card.uncertainty.emitters,
            field_size_px=card.field_size_px,
            roi_px=card.roi_px,
            light={} if passport is None else passport.light,
            lateral_shift_nm_per_um=None if passport is None else passport.lateral_shift_nm_per_um,
        )


@dataclass(frozen=True)
class DepthErrors:
    """How depths by a PSF follow the stage, over the planes of beads.

    Attributes
    ----------
    scale, scale_sd : float
        Depth by the PSF per travel of the stage, and its standard error over the beads.
    rms_nm : float
        What is left of the differences beyond the images' own noise, an offset and a scale of their own taken off each
        bead; robust.
    """

    scale: float
    scale_sd: float
    rms_nm: float


@dataclass(frozen=True)
class Change:
    """Today's instrument against that of a calibration.

    Attributes
    ----------
    beads : int
        Different beads that were measured.
    aberrations : Estimate
        That were added.
    before, after : DepthErrors
        By the calibration's PSF, and with the aberrations added to it.
    surface_nm : (float, float) or None
        Change of the focal surface, rms over the field, without tilt; and its standard error. None where it cannot be
        told.
    light : (float, float) or None
        Brightness of the beads over what it was, and its standard error; None where it cannot be told.
    lateral_shift_nm_per_um : (float, float) or None
        How the stage's sideways motion has changed, along x and y; None where it was not known.
    """

    beads: int
    aberrations: Estimate
    before: DepthErrors
    after: DepthErrors
    surface_nm: tuple[float, float] | None
    light: tuple[float, float] | None
    lateral_shift_nm_per_um: tuple[float, float] | None

    @property
    def sd_rad(self) -> F64:
        """Return standard errors of the aberrations: by the scatter between beads, and what a PSF's own errors add."""
        found = self.aberrations
        systematic = PSF_ERROR_RAD**2 + MODEL_ERROR**2 * float(found.theta_rad @ found.theta_rad)
        return np.asarray(np.sqrt(found.scatter_rad**2 + systematic))


def measure_change(
    beads: BeadDataset,
    then: Calibrated,
    optics: Optics,
    *,
    wavefront: Wavefront | None = None,
    progress: Progress | None = None,
) -> Change:
    """Hold beads against a calibration.

    Parameters
    ----------
    beads : BeadDataset
        Of today.
    then : Calibrated
    optics : Optics
    wavefront : Wavefront, optional
        Of the calibration's PSF, where it is known; found without it.
    progress : callable, optional
        Given (message, fraction).
    """
    images = bead_images(beads, then.roi_px, then.emitters, (then.psf.low_nm, then.psf.high_nm))
    if wavefront is None:
        wavefront = retrieve(then.psf, optics)

    def tried(spherical_rad: float) -> tuple[Estimate, DepthErrors]:
        found = estimate(
            images.molecules,
            then.psf,
            optics,
            then.field_size_px,
            wavefront=wavefront,
            emitter=images.bead,
            start_rad=spherical_rad * np.array([noll == SPHERICAL for noll in CHANGING], float),
            progress=progress,
        )
        return found, depth_errors(images, found.psf, then.field_size_px)

    found, after = tried(0.0)
    if after.rms_nm > UNEXPLAINED_NM:
        found, after = min((found, after), *map(tried, FAR_RAD), key=lambda pair: pair[1].rms_nm)
    return Change(
        beads=beads.distinct,
        aberrations=found,
        before=depth_errors(images, then.psf, then.field_size_px),
        after=after,
        surface_nm=None if then.surface is None else surface_change_nm(beads, then.surface),
        light=light_ratio(bead_light(beads), then.light),
        lateral_shift_nm_per_um=_moved(lateral_shift_xy(beads), then.lateral_shift_nm_per_um),
    )


def depth_errors(images: BeadImages, psf: FieldPsf, field_size_px: tuple[int, int]) -> DepthErrors:
    """Fit beads under a PSF, and hold their depths against the stage.

    Parameters
    ----------
    images : BeadImages
    psf : FieldPsf
    field_size_px : (int, int)
    """
    molecules = images.molecules
    place = psf.place(molecules.x, molecules.y, field_size_px)
    table = psf.table(field_size_px)
    starts = molecules.z_nm[:, None]
    fits = fit_psf(molecules.crops, table, place, starts, molecules.read_noise_e, molecules.prior)
    slopes, left = [], np.zeros(len(molecules))
    for bead in np.unique(images.bead):
        rows = images.bead == bead
        stage, depth = molecules.z_nm[rows], fits.z_nm[rows, 0]
        slope, offset = _line(stage, depth)
        slopes.append(slope)
        left[rows] = depth - slope * stage - offset
    scale = np.array(slopes)
    return DepthErrors(
        float(np.median(scale)),
        robust_sd(scale) / float(np.sqrt(len(scale))),
        _beyond_noise(left, fits.sigma_nm[:, 0]),
    )


def _beyond_noise(error: F64, sd: F64) -> float:
    """Return the standard deviation that has to be added to known ones to explain errors; 0 where they do it alone."""

    def missing(added: float) -> float:
        return robust_sd(error / np.hypot(sd, added), about=0.0) - 1

    most = 10 * robust_sd(error, about=0.0) + 1.0
    return 0.0 if missing(0.0) <= 0 else float(brentq(missing, 0.0, most, xtol=0.01))


def _moved(now: tuple[float, float], then: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if then is None else (now[0] - then[0], now[1] - then[1])


def _line(x: F64, y: F64) -> tuple[float, float]:
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset)
