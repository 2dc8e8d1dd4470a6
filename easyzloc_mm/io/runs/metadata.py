"""What is stored with a localisation table: one frozen model, written and read here only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from easyzloc_mm._models import FrozenModel, Positive
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.profile.schema import LocalizeSettings

SCHEMA_VERSION = 2
"""1 is every store without a version, written before 2 was introduced."""
RENAMED = {"camera_units": "camera_response"}
"""Names of earlier schema versions, and what they are called now; applied on reading."""
UNITS = {"x": "px", "y": "px", "sx": "px", "sy": "px", "lpx": "px", "lpy": "px", "z": "nm", "lpz": "nm"}


class ModelReference(FrozenModel):
    """The model bundle that a run was localised with."""

    path: str
    digest: str
    recipe: str = ""


class CameraMapReference(FrozenModel):
    """The camera map that a run was localised with."""

    path: str
    digest: str


class Linking(FrozenModel):
    """How rows of one emitter in successive frames were merged."""

    nm: float
    """Largest distance of successive rows."""
    dark_frames: int


class FocusMove(FrozenModel):
    """One correction of the focus during a live run."""

    frame: int
    drift_nm: float
    z_um: float
    """Where the stage stood afterwards."""


class RunMetadata(FrozenModel):
    """Provenance of a localisation table, whatever format it is kept in."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run"] = "run"
    pixel_size_nm: Positive
    """Camera pixel in the sample plane."""
    pixel_size_assumed: bool = False
    """True for a CSV, which does not say: lengths in nm do not depend on it."""
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
    min_net_gradient: float | None = None
    """Threshold of detection that was used, ADU."""
    fits_rejected: int = 0
    """Spots without a credible 2D fit, which are not in the table."""
    workers_replaced: int = 0
    z_range_nm: tuple[float, float] | None = None
    """Depths that the model was calibrated for, times `focal_shift_factor`."""
    focal_shift_factor: float = 1.0
    camera_response: CameraResponse | None = None
    camera_map: CameraMapReference | None = None
    model: ModelReference | None = None
    localize: LocalizeSettings | None = None
    """How spots were found and fitted; None where another program did so."""
    profile: dict[str, Any] | None = None
    """The hardware profile as it was at the time of the run."""
    microscope: dict[str, Any] | None = None
    """Versions, device labels and limits that the microscope reported."""
    focus_moves: tuple[FocusMove, ...] = ()
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
    thunderstorm_columns: tuple[str, ...] = ()
    """Columns, in order, of the ThunderSTORM file that the table came from."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Packages that wrote the run."""
    units: dict[str, str] = Field(default_factory=lambda: dict(UNITS))
    extra: dict[str, Any] = Field(default_factory=dict)
    """What other versions or scripts stored, kept as it is."""

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any], source: Path | str = "the table") -> Self:
        """Return the metadata of any schema version; unknown names go to `extra`.

        Raises
        ------
        InputError
            It was written by a newer version, or a value is missing or impossible.
        """
        version = stored.get("schema_version", 1)
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise InputError(
                f"{source} has schema version {version}, this version of easyzloc_mm reads up to {SCHEMA_VERSION}: "
                "update easyzloc_mm"
            )
        known: dict[str, Any] = {}
        extra: dict[str, Any] = dict(stored.get("extra", {}))
        for stored_name, value in stored.items():
            name = RENAMED.get(stored_name, stored_name)
            if name in cls.model_fields:
                known[name] = value
            else:
                extra[name] = value
        try:
            return cls.model_validate({**known, "schema_version": SCHEMA_VERSION, "kind": "run", "extra": extra})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(f"the metadata of {source} cannot be read: {field}: {first['msg']}") from None

    def stored(self) -> dict[str, Any]:
        """Plain JSON values; what is not known or empty is left out."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value not in (None, [], {})}

    def changed(self, **changes: object) -> Self:
        """Return a validated copy with other values; names that are no fields go to `extra`."""
        fields = {name: value for name, value in changes.items() if name in type(self).model_fields}
        others = {name: value for name, value in changes.items() if name not in fields}
        return type(self).model_validate({**dict(self), **fields, "extra": {**self.extra, **others}})
