"""What is stored with bead stacks and with a bead data set: frozen models, and the names of earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from easyzloc_mm._models import Positive
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.stored import StoredModel


class BeadStackMetadata(StoredModel):
    """Root attributes of bead stacks, ``NAME.ome.zarr``."""

    KIND: ClassVar[str] = "bead stacks"
    SCHEMA_VERSION: ClassVar[int] = 2
    RENAMED: ClassVar[Mapping[str, str]] = {}

    pixel_size_nm: Positive
    z_step_nm: Positive
    """Planned distance of planes."""
    profile: dict[str, Any] = Field(default_factory=dict)
    """The hardware profile that the stacks were acquired with."""
    planned_planes: int | None = None
    """Planes of a complete stack; None for stores that cannot be resumed."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Versions, device labels and limits that the microscope reported; or how the stacks were simulated."""
    progress: dict[str, Any] = Field(default_factory=dict)
    """What an interrupted acquisition needs to continue."""


class StackMetadata(StoredModel):
    """Attributes of one stack of a store."""

    KIND: ClassVar[str] = "bead stack"
    SCHEMA_VERSION: ClassVar[int] = 2
    RENAMED: ClassVar[Mapping[str, str]] = {"fading_per_um": "bleaching_per_um"}

    bleaching_per_um: float | None = None
    """Relative change of the beads' light per um of rising z."""


class BeadSetMetadata(StoredModel):
    """Root attributes of a bead data set, ``beads.zarr``."""

    KIND: ClassVar[str] = "bead data set"
    SCHEMA_VERSION: ClassVar[int] = 2
    RENAMED: ClassVar[Mapping[str, str]] = {"camera_units": "camera_response"}
    RENAMED_ARRAYS: ClassVar[Mapping[str, str]] = {"slide_px_per_um": "lateral_shift_px_per_um"}
    RENAMED_COLUMNS: ClassVar[Mapping[str, str]] = {
        "fading_per_um": "bleaching_per_um",
        "wander_px": "lateral_scatter_px",
        "misfit": "residual",
        "slide_x_nm_per_um": "lateral_shift_x_nm_per_um",
        "slide_y_nm_per_um": "lateral_shift_y_nm_per_um",
        "slide_uncertainty_nm_per_um": "lateral_shift_uncertainty_nm_per_um",
    }
    """Of the measures of beads and of the table of stacks."""
    RENAMED_REASONS: ClassVar[Mapping[str, str]] = {"wander": "lateral_scatter"}

    pixel_size_nm: Positive
    field_size_px: tuple[int, int]
    """Width and height of the camera image."""
    field_known: bool
    """Whether ``x``, ``y`` are positions in the field."""
    camera_response: CameraResponse
    reason: tuple[str, ...] = ()
    """For each bead why it was rejected; empty for accepted ones."""
    sources: tuple[str, ...] = ()
    """Names of the files or stores that the beads come from."""
    measures: tuple[str, ...] = ()
    """Columns of group ``measures``, in order."""
    stacks: tuple[dict[str, Any], ...] = ()
    """One record per stack: source, planes, z range, focus, threshold, bleaching, lateral shift."""
