"""What a microscope is to do: how beads are photographed through focus, and how molecules are imaged."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from easyzloc_mm._models import Finite, FrozenModel, NonNegative, Positive

LONGEST_MS = 600_000.0
Exposure = Annotated[float, Field(gt=0, le=LONGEST_MS, allow_inf_nan=False)]
Position = tuple[Finite, Finite]
"""x and y of the stage, um."""


MOST_PLANES = 5000


class Pattern(StrEnum):
    """How fields of view follow each other."""

    SPIRAL = "spiral"
    """Around the start."""
    GRID = "grid"
    """To the right of and below the start."""


class BeadPlan(FrozenModel):
    """How beads are photographed through focus (paper: -3..+3 um in 10 nm, 10 FOVs, three exposures and powers)."""

    z_start_nm: Finite = -3000.0
    z_stop_nm: Finite = 3000.0
    z_step_nm: Positive = 10.0
    fovs: Annotated[int, Field(ge=1)] = 10
    fov_spacing_um: Positive = 150.0
    exposures_ms: Annotated[tuple[Exposure, ...], Field(min_length=1)] = (300.0, 500.0, 1000.0)
    """Cycled over the FOVs, in step with `illuminations`."""
    illuminations: tuple[str, ...] = ()
    settle_ms: NonNegative = 20.0
    start_position_um: Position | None = None
    """Where the bead slide's first FOV is; without it, where the stage stands."""
    focus_um: Finite | None = None
    """Stage z of the bead layer; without it, where the stage stands."""
    pattern: Pattern = Pattern.SPIRAL
    autofocus: bool = True
    """Find the bead layer before each stack; without it, stacks are centred on `focus_um`."""
    autofocus_range_um: Positive = 8.0
    """How much of z is searched around `focus_um`, at the first field."""
    frames_per_plane: Annotated[int, Field(ge=1, le=1000)] = 1
    """Images averaged at every plane."""
    min_beads: Annotated[int, Field(ge=0)] = 5
    """Fields with fewer good beads are skipped."""
    max_beads: Annotated[int, Field(ge=1)] | None = None
    """Fields with more spots are skipped; without it, when spots lie closer than 30 pixels on average."""
    enough_beads: Annotated[int, Field(ge=1)] = 1000
    """Once so many good beads cover the field evenly, no further field is taken."""

    @model_validator(mode="after")
    def _sweep(self) -> Self:
        if self.z_start_nm >= self.z_stop_nm:
            raise ValueError(f"z_start_nm ({self.z_start_nm:g}) must be smaller than z_stop_nm ({self.z_stop_nm:g})")
        if self.z_step_nm > self.z_stop_nm - self.z_start_nm:
            raise ValueError("z_step_nm is larger than the whole sweep")
        if self.planes > MOST_PLANES:
            raise ValueError(
                f"z_start_nm..z_stop_nm in steps of z_step_nm ({self.z_step_nm:g}) are {self.planes} planes, and a "
                f"stack has {MOST_PLANES} at most: give a larger z_step_nm (10 to 50 is usual)"
            )
        return self

    @property
    def planes(self) -> int:
        """Number of z planes in one stack."""
        return math.floor((self.z_stop_nm - self.z_start_nm) / self.z_step_nm + 1e-6) + 1


class ImagingPlan(FrozenModel):
    """How molecules are imaged."""

    exposure_ms: Exposure = 30.0
    illumination: str | None = None
    frames: Annotated[int, Field(ge=1)] = 20000
    start_position_um: Position | None = None
    focus_um: Finite | None = None
    light_budget_ms: Positive | None = None
    """Longest time for which a run lights the sample; it ends there, cleanly. None: as long as its frames take."""
    bleach_ms: Positive | None = None
    """Light before the first frame, ms, of which nothing is stored: it counts in the light budget."""
    bleach_illumination: str | None = None
    """Preset for that; `illumination` when absent."""

    @model_validator(mode="after")
    def _light_is_left(self) -> Self:
        if self.bleaches_all:
            raise ValueError(
                f"bleach_ms ({self.bleach_ms:g}) leaves nothing of light_budget_ms ({self.light_budget_ms:g}): "
                "lower it, or raise the budget"
            )
        return self

    @property
    def bleaches_all(self) -> bool:
        """Whether bleaching alone uses up the light budget."""
        return bool(self.bleach_ms and self.light_budget_ms and self.bleach_ms >= self.light_budget_ms)
