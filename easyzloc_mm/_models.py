"""The frozen base of everything that is stored or configured, and the numbers that may stand in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class FrozenModel(BaseModel):
    """Values that cannot change once they are valid; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def error_sentence(error: ValidationError) -> str:
    """Return what is wrong with a model's input, in one line that names each field."""
    parts = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key; correct or remove it"
        elif item["type"] == "missing":
            message = "is missing; add it"
        parts.append(f"{field}: {message}" if field else message)
    return "; ".join(parts)
