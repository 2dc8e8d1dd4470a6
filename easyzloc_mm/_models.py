"""The frozen base of everything that is stored or configured, and the numbers that may stand in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class FrozenModel(BaseModel):
    """Values that cannot change once they are valid; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
