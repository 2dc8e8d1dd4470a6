"""What is stored with a localisation table: one frozen model, written and read here only."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from easyzloc_mm._models import FrozenModel, Positive
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.focal_surface import FocalSurface
from easyzloc_mm.io.sample_aberrations import SampleAberrations, Widening
from easyzloc_mm.io.stored import StoredModel
from easyzloc_mm.optics.depth import DepthScale
from easyzloc_mm.profile.detection import LocalizeSettings, SurfaceRemoval
from easyzloc_mm.typing import F64, AnyFloat

UNITS = {"x": "px", "y": "px", "sx": "px", "sy": "px", "lpx": "px", "lpy": "px", "z": "nm", "lpz": "nm"}


class ModelReference(FrozenModel):
    """The model bundle that a run was localised with."""

    path: str = ""
    digest: str
    recipe: str = ""


class Refreshment(FrozenModel):
    """From the beads' model to one of the sample."""

    beads: ModelReference
    """The model that beads made."""
    sample: ModelReference
    """The model that was made for this sample from it."""
    run: str
    """Name of the run whose molecules showed what differs."""
    from_frame: int = 0
    """The first frame that was localised with the sample's model."""


class CameraMapReference(FrozenModel):
    """The camera map that a run was localised with."""

    path: str
    digest: str


class Linking(FrozenModel):
    """How rows of one emitter in successive frames were merged."""

    nm: float
    """Largest distance of successive rows."""
    dark_frames: int


class FocusMoveKind(StrEnum):
    """What was done with an estimate of the focus, or not done."""

    CORRECTION = "correction"
    PROBE = "probe"
    """The test of the stage's sign begins: until its end z is displaced."""
    PROBE_END = "probe_end"
    DOUBTED = "doubted"
    """Nothing was moved: the estimate was not believed."""
    WATCHED = "watched"
    """Nothing was moved: nothing may be."""
    AT_END = "at_end"
    """Nothing was moved: the end of the range was reached."""


class NoiseCheck(FrozenModel):
    """What the images' noise around molecules is, beside what the camera's units say."""

    ratio: Positive
    """Measured variance over that of the units; 1 where they are right."""
    applied: Positive
    """The factor that uncertainties (as variances) and flags were made for: 1 where nothing was noticed."""
    molecules: int
    """Around so many it was measured."""


class FocusMove(FrozenModel):
    """One estimate of the focus during a live run, and what was done with it."""

    frame: int
    drift_nm: float
    z_um: float | None = None
    """Where the stage stood afterwards; None where it was not moved."""
    kind: FocusMoveKind = FocusMoveKind.CORRECTION
    uncertainty_nm: float | None = None
    check_nm: float | None = None
    """The second estimate of the drift."""
    molecules: int | None = None
    doubt: str = ""
    """Why the estimate was not believed."""


class Pause(FrozenModel):
    """A pause of a live run: camera off, shutter closed."""

    frame: int
    """The first frame after it."""
    reason: str
    seconds: float


class RunMetadata(StoredModel):
    """Provenance of a localisation table, whatever format it is kept in."""

    KIND: ClassVar[str] = "run"
    SCHEMA_VERSION: ClassVar[int] = 2
    RENAMED: ClassVar[Mapping[str, str]] = {"camera_units": "camera_response"}

    pixel_size_nm: Positive
    """Camera pixel in the sample plane."""
    pixel_size_assumed: bool = False
    """True for a CSV, which does not state it: lengths in nm do not depend on it."""
    height_px: int
    width_px: int
    """The image as far as coordinates reach: last row and column of the sensor that was read, plus 1."""
    origin_px: tuple[int, int] = (0, 0)
    """Sensor column and row of the frames' first pixel."""
    frames: int = 0
    """Frames that were received, or that the movie has."""
    frames_lost: int = 0
    frames_stored: int = 0
    """Raw frames kept in the same store by a live run."""
    frames_localized: int = 0
    complete: bool | None = None
    """False until every frame is localised; None for tables of other programs."""
    min_snr: float | None = None
    """Threshold of detection by the PSF that was used, a ratio of signal to noise."""
    min_net_gradient: float | None = None
    """Threshold of Picasso's detection that was used, ADU."""
    fits_rejected: int = 0
    """Spots without a credible fit, which are not in the table."""
    workers_replaced: int = 0
    z_range_nm: tuple[float, float] | None = None
    """Depths that the model was calibrated for, times `focal_shift_factor`."""
    focal_shift_factor: float = 1.0
    depth_scale: DepthScale | None = None
    """By which z was turned from travel of the stage into depth in the sample; None where it was not."""
    focal_surface: FocalSurface | None = None
    """The surface that was taken out of z; None where z counts from the focus at each place of the field."""
    surface_removal: SurfaceRemoval | None = None
    """What of it was asked to be taken out."""
    camera_response: CameraResponse | None = None
    camera_map: CameraMapReference | None = None
    noise: NoiseCheck | None = None
    """Whether the camera's units explain the images' noise; None where too few molecules, or no PSF, could tell."""
    model: ModelReference | None = None
    sample_aberrations: SampleAberrations | None = None
    """What the molecules say of the beads' PSF; None where nobody looked."""
    sample_widening: Widening | None = None
    """What was added to lpz, since the sample's PSF is not the beads'; None where nothing was."""
    refreshed: Refreshment | None = None
    """The model of the sample that molecules gave, and the frames that it was used for; None for the beads' model."""
    localize: LocalizeSettings | None = None
    """How spots were found and fitted; None where another program did so."""
    profile: dict[str, Any] | None = None
    """The hardware profile as it was at the time of the run."""
    microscope: dict[str, Any] | None = None
    """Versions, device labels and limits that the microscope reported."""
    focus_moves: tuple[FocusMove, ...] = ()
    pauses: tuple[Pause, ...] = ()
    light_ms: float | None = None
    """Time for which the run lit the sample."""
    ended_by: str | None = None
    """Why the run came to a clean end before its last frame."""
    movie: str | None = None
    """Name of the movie that was localised."""
    table: str | None = None
    """Name of the 2D table whose rows were given a z."""
    where: str | None = None
    """Condition by which rows were chosen."""
    linked: Linking | None = None
    drift_corrected: bool = False
    corrected_from: str | None = None
    """Name of the run before drift correction."""
    picasso_info: tuple[dict[str, Any], ...] = ()
    """Metadata documents of the Picasso file that the table came from."""
    counting: str | None = None
    """How the table of another program that the rows came from counts frames and pixels."""
    thunderstorm_columns: tuple[str, ...] = ()
    """Columns, in order, of the ThunderSTORM file that the table came from."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Packages that wrote the run."""
    units: dict[str, str] = Field(default_factory=lambda: dict(UNITS))

    @property
    def area_um2(self) -> float:
        """What the frames cover of the sample, square micrometres."""
        left, top = self.origin_px
        return (self.width_px - left) * (self.height_px - top) * (self.pixel_size_nm / 1000) ** 2

    @property
    def corrected_by(self) -> str | None:
        """Return what was done to rows after they were localised, as an adjective; None where nothing was."""
        if self.drift_corrected:
            return "drift-corrected"
        if self.depth_scale is not None:
            return "corrected for depth"
        return None if self.linked is None else "linked"

    def surface_nm(self, x: AnyFloat, y: AnyFloat) -> F64:
        """Return what was added to z at sensor positions (px) to take the focal surface out, nm."""
        if self.focal_surface is None:
            return np.zeros(np.shape(x))
        tilt = self.surface_removal is SurfaceRemoval.TILT
        return self.focal_shift_factor * self.focal_surface.height_nm(x, y, tilt=tilt)

    def surface_in_words(self) -> str:
        """Return, for people, what of the focal surface was taken out of z."""
        if self.surface_removal is SurfaceRemoval.NONE:
            return "left in z, as asked"
        if self.focal_surface is None:
            return "left in z: the model holds none; train it again to have the field curvature taken out"
        tilt = " and tilt" if self.surface_removal is SurfaceRemoval.TILT else ""
        return f"curvature of {self.focal_surface.curvature_nm:.0f} nm over the field{tilt} taken out of z"
