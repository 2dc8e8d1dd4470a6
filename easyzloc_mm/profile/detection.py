"""How spots are found and fitted: the part of a profile that movies without a microscope need too."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from easyzloc_mm._models import FrozenModel, Positive


class Fit(StrEnum):
    """Picasso's Gaussian fits."""

    LQ = "lq"
    MLE = "mle"


class SurfaceRemoval(StrEnum):
    """What of the focal surface that the beads measured is taken out of z."""

    CURVATURE = "curvature"
    """What the lens bends."""
    TILT = "tilt"
    """The tilt too: right where the sample lies as the bead slide lay."""
    NONE = "none"
    """z counts from the focus at each place of the field."""


class Sync(StrEnum):
    """When a run that is being written is brought to the device, so that a power cut cannot take it."""

    NEVER = "never"
    """When the operating system finds it convenient, half a minute later or more."""
    SECOND = "second"
    """Everything within a second."""
    ALWAYS = "always"
    """Every frame before the next one is stored; rows within a second."""


class Detection(StrEnum):
    """How spots are found, and where x, y, photons and background come from."""

    PSF = "psf"
    """By the PSF that the beads measured, at every depth; everything comes from one fit of it."""
    PICASSO = "picasso"
    """By Picasso's net gradient, made for spots in focus; 2D values come from Picasso's Gaussian fit."""


class LocalizeSettings(FrozenModel):
    """How spots are found and fitted, and how the run is stored."""

    detection: Detection | None = None
    """Without it: by the PSF, where the model has one and `min_net_gradient` is not given."""
    false_alarms_per_frame: Annotated[float, Field(gt=0, le=1000)] = 0.05
    """Of detection by the PSF: what noise alone may look like molecules in a frame, on average."""
    min_snr: Annotated[float, Field(ge=3, le=100)] | None = None
    """Of detection by the PSF: the threshold itself, a ratio of signal to noise, in place of the false alarms."""
    passes: Annotated[int, Field(ge=1, le=10)] | None = None
    """Of detection by the PSF: how often molecules are looked for in what the fits before leave; without it, as often
    as dense frames need, and once in a live run, which has to keep up."""
    box_px: Annotated[int, Field(ge=5, le=21)] = 7
    """Of Picasso's detection and Gaussian fit, and of the column `net_gradient`."""
    min_net_gradient: Positive | None = None
    """Picasso's threshold; found from the first frames when absent."""
    fit: Fit = Fit.LQ
    """Picasso's: least squares, or maximum likelihood (three to five times slower; no less biased out of focus)."""
    background_frames: Annotated[int, Field(ge=10)] | None = None
    """Detection subtracts each pixel's median over so many earlier frames; fit and z see the camera's own counts."""
    refine: bool = True
    """From the network's z to the maximum of the likelihood, and x, y with it; without it, twice as fast."""
    focal_shift_factor: Annotated[float, Field(ge=0.3, le=1.5)] = 1.0
    """Depth of the focus in the sample per travel of the stage: below 1 where an oil lens looks into water (0.7 to 0.85
    is usual). z and lpz are multiplied by it; 1 leaves z in travel of the stage, as beads on glass are measured."""
    focal_surface: SurfaceRemoval = SurfaceRemoval.CURVATURE
    """What of the beads' focal surface is taken out of z, so that a flat sample looks flat: the lens's ``curvature``;
    ``tilt`` too, if the sample lies as the bead slide lay; or ``none``."""
    sync: Sync = Sync.SECOND
    """What a power cut may cost: `never` is for disks that cannot follow otherwise."""

    @model_validator(mode="after")
    def _odd_box(self) -> Self:
        if self.box_px % 2 == 0:
            raise ValueError(f"box_px ({self.box_px}) must be odd")
        return self

    @model_validator(mode="after")
    def _threshold_of_this_detection(self) -> Self:
        if self.detection is Detection.PSF and self.min_net_gradient is not None:
            raise ValueError("min_net_gradient is Picasso's threshold: give min_snr, or detection = picasso")
        if self.detection is Detection.PICASSO and self.min_snr is not None:
            raise ValueError("min_snr is the threshold of detection = psf: give min_net_gradient")
        if self.min_snr is not None and self.min_net_gradient is not None:
            raise ValueError("min_snr and min_net_gradient are thresholds of different detections: leave out one")
        return self
