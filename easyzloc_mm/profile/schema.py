"""The hardware profile: what a microscope is, in fields that carry their unit, checked before anything moves."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from easyzloc_mm._models import Finite, FrozenModel, NonNegative, Positive, error_sentence
from easyzloc_mm.camera.response import NO_EXCESS, CameraResponse, ExcessNoise
from easyzloc_mm.errors import InputError
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.profile.focus import FocusLockSettings, FocusSettings, Hold
from easyzloc_mm.profile.plans import BeadPlan, ImagingPlan
from easyzloc_mm.profile.watch import WatchSettings


class Backend(StrEnum):
    """How the microscope is reached."""

    EMBEDDED = "embedded"
    """The real MMCore with its demo devices, inside this process; images come from our optics."""
    PYTHON = "python"
    """MMCore inside this process, with the adapters of a Micro-Manager installation."""
    PLUS = "plus"
    """The same, by pymmcore-plus."""
    JAVA = "java"
    """A running Micro-Manager, over the pycromanager bridge."""


SAMPLED = (0.25, 5.0)
"""Pixels in one standard deviation of the PSF: fewer show no shape to read z from, more have no light each."""


class Connection(FrozenModel):
    """How to reach the devices."""

    backend: Backend
    mm_dir: Path | None = None
    config_file: Path | None = None
    java_port: Annotated[int, Field(gt=0, lt=65536)] = 4827
    java_stream_dir: Path | None = None
    """Where Micro-Manager may write frames that are too many for its bridge; they are removed after each run."""
    buffer_size_mb: Annotated[int, Field(ge=16)] = 1024

    @model_validator(mode="after")
    def _files_for_python(self) -> Self:
        in_process = self.backend in (Backend.PYTHON, Backend.PLUS)
        if in_process and (self.mm_dir is None or self.config_file is None):
            raise ValueError(f"backend '{self.backend}' needs mm_dir and config_file")
        return self


class Devices(FrozenModel):
    """Device labels as they stand in the Micro-Manager configuration."""

    camera: str
    z_stage: str
    xy_stage: str
    shutter: str | None = None
    illumination_group: str | None = None


class Optics(FrozenModel):
    """The detection path."""

    na: Annotated[float, Field(gt=0, lt=1.7)]
    immersion_index: Annotated[float, Field(ge=1, lt=2)]
    sample_index: Annotated[float, Field(ge=1, lt=2)]
    emission_nm: Annotated[float, Field(ge=300, le=1500)]
    pixel_size_nm: Annotated[float, Field(ge=10, le=1000)]

    @model_validator(mode="after")
    def _na_below_index(self) -> Self:
        if self.na >= self.immersion_index:
            raise ValueError(f"na ({self.na}) must be smaller than immersion_index ({self.immersion_index})")
        return self

    @model_validator(mode="after")
    def _pixel_samples_the_psf(self) -> Self:
        if not SAMPLED[0] <= self.pixels_per_sigma <= SAMPLED[1]:
            raise ValueError(f"pixel_size_nm ({self.pixel_size_nm:g}) cannot be: {self.sampling_in_words()}")
        return self

    @property
    def psf_sigma_nm(self) -> float:
        """Standard deviation of the image of a point in focus, in the sample (Gaussian approximation)."""
        return 0.21 * self.emission_nm / self.na

    @property
    def pixels_per_sigma(self) -> float:
        """Pixels in one standard deviation of the image of a point."""
        return self.psf_sigma_nm / self.pixel_size_nm

    def sampling_in_words(self) -> str:
        """Return what the pixel size is held against, and what it should be."""
        return (
            f"at na {self.na:g} and emission_nm {self.emission_nm:g} the image of a point is "
            f"{2.355 * self.psf_sigma_nm:.0f} nm wide, and {2.355 * self.pixels_per_sigma:.2g} pixels of this size; "
            "give the camera's pixel divided by the total magnification"
        )


MOST_PX = 32768
"""Edge of an image that a camera may have: larger than of any that is sold."""


class Camera(FrozenModel):
    """The camera chip and its units."""

    width_px: Annotated[int, Field(ge=32, le=MOST_PX)]
    height_px: Annotated[int, Field(ge=32, le=MOST_PX)]
    bit_depth: Annotated[int, Field(ge=8, le=16)] = 16
    baseline_adu: NonNegative
    electrons_per_adu: Positive
    read_noise_e: NonNegative
    excess_noise: ExcessNoise = NO_EXCESS
    """Variance of the shot noise over the photons: 2 for an EMCCD whose EM gain is on, 1 otherwise."""
    serial: str | None = None
    """Number of the camera, by which its measured units are looked up; a name that stands for it will do."""
    readout_mode: str | None = None
    """In which it is read out, in the words of `camera-calibrate` or `profile new`; units depend on it."""
    map: Path | None = None
    """``camera.zarr`` of `camera-calibrate`: baseline, gain and read noise of each pixel, for localisation."""

    @property
    def response(self) -> CameraResponse:
        """Baseline, gain and read noise as one value."""
        return CameraResponse(
            baseline_adu=self.baseline_adu,
            electrons_per_adu=self.electrons_per_adu,
            read_noise_e=self.read_noise_e,
            excess_noise=self.excess_noise,
        )


class Limits(FrozenModel):
    """Where the stages may go. Nothing is ever commanded outside."""

    x_min_um: Finite
    x_max_um: Finite
    y_min_um: Finite
    y_max_um: Finite
    z_min_um: Finite
    z_max_um: Finite

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for axis in "xyz":
            low, high = self.range_um(axis)
            if low >= high:
                raise ValueError(f"{axis}_min_um ({low}) must be smaller than {axis}_max_um ({high})")
        return self

    def range_um(self, axis: str) -> tuple[float, float]:
        """Return the lower and the upper limit of axis "x", "y" or "z"."""
        return getattr(self, f"{axis}_min_um"), getattr(self, f"{axis}_max_um")

    def contains(self, *, x_um: float | None = None, y_um: float | None = None, z_um: float | None = None) -> bool:
        """Return whether a position lies inside the limits; axes that are not given do not count."""
        position = (("x", x_um), ("y", y_um), ("z", z_um))
        ranges = [(value, *self.range_um(axis)) for axis, value in position if value is not None]
        return all(low <= value <= high for value, low, high in ranges)

    def check(self, *, x_um: float | None = None, y_um: float | None = None, z_um: float | None = None) -> None:
        """Raise `InputError` naming the limit that a position would leave."""
        for axis, value in (("x", x_um), ("y", y_um), ("z", z_um)):
            if value is not None and not self.contains(**{f"{axis}_um": value}):
                low, high = self.range_um(axis)
                raise InputError(
                    f"{axis} = {value:.3f} um is outside the profile's limits {low:g}..{high:g} um: "
                    f"move the stage, shorten the plan, or correct limits.{axis}_min_um / {axis}_max_um"
                )


class Profile(FrozenModel):
    """One microscope. Read it with `load_profile`.

    Examples
    --------
    >>> faster = ez.load_profile("demo").replace(imaging={"exposure_ms": 10.0})
    >>> faster.imaging.exposure_ms
    10.0
    """

    name: str
    description: str = ""
    connection: Connection
    devices: Devices
    optics: Optics
    camera: Camera
    limits: Limits
    focus_lock: FocusLockSettings | None = None
    focus: FocusSettings = FocusSettings()
    watch: WatchSettings = WatchSettings()
    beads: BeadPlan = BeadPlan()
    imaging: ImagingPlan = ImagingPlan()
    localize: LocalizeSettings = LocalizeSettings()

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, data: Any) -> Any:
        """Read what profiles of 0.1 called ``imaging.hold_focus_nm`` and ``imaging.hold_focus_range_um``."""
        if not (isinstance(data, dict) and isinstance(data.get("imaging"), dict)):
            return data
        imaging = dict(data["imaging"])
        limit_nm, range_um = imaging.pop("hold_focus_nm", None), imaging.pop("hold_focus_range_um", None)
        known = {"range_um": range_um, "tolerance_nm": limit_nm, "hold": Hold.MOLECULES if limit_nm else None}
        named = {name: value for name, value in known.items() if value is not None}
        return {**data, "imaging": imaging, **({"focus": {**named, **data.get("focus", {})}} if named else {})}

    @model_validator(mode="after")
    def _plan_inside_limits(self) -> Self:
        span_um = (self.beads.z_stop_nm - self.beads.z_start_nm) / 1000
        range_um = self.limits.z_max_um - self.limits.z_min_um
        if span_um > range_um:
            raise ValueError(
                f"beads.z_start_nm..z_stop_nm spans {span_um:g} um but limits.z_min_um..z_max_um only {range_um:g} um"
            )
        for section, plan in (("beads", self.beads), ("imaging", self.imaging)):
            low, high = (
                (self.beads.z_start_nm / 1000, self.beads.z_stop_nm / 1000) if section == "beads" else (0.0, 0.0)
            )
            if plan.focus_um is not None and not all(
                self.limits.contains(z_um=plan.focus_um + end) for end in (low, high)
            ):
                raise ValueError(
                    f"{section}.focus_um ({plan.focus_um:g}) would take z to {plan.focus_um + low:g}.."
                    f"{plan.focus_um + high:g} um, outside limits.z_min_um..z_max_um"
                )
            if plan.start_position_um is not None:
                x, y = plan.start_position_um
                if not self.limits.contains(x_um=x, y_um=y):
                    raise ValueError(f"{section}.start_position_um ({x:g}, {y:g}) is outside limits")
        if (self.beads.illuminations or self.imaging.illumination) and not self.devices.illumination_group:
            raise ValueError("an illumination preset is named but devices.illumination_group is not")
        return self

    def replace(self, **changes: dict[str, object]) -> Profile:
        """Return a re-validated copy with fields of sections changed: ``profile.replace(beads={"fovs": 3})``."""
        data = self.model_dump(exclude_unset=True)
        for section, fields in changes.items():
            data[section] = {**data.get(section, {}), **fields}
        try:
            return Profile.model_validate(data)
        except ValidationError as error:
            raise InputError(f"profile {self.name}: {error_sentence(error)}") from None
