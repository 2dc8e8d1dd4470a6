"""The frozen base of everything that is stored or configured, and the numbers that may stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class FrozenModel(BaseModel):
    """Values that cannot change once they are valid; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
"""Kinds of errors: where the limit stands, and how it is said."""
SHAPES = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list in square brackets"),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a section of its own, in square brackets"),
    **dict.fromkeys(("string_type", "path_type"), "a text in quotes"),
}


def error_sentence(error: ValidationError) -> str:
    """Return what is wrong with a model's input, in one line that names each field."""
    parts = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"])
        message = _words(item["type"], item.get("ctx", {}), item["input"], item["msg"])
        parts.append(f"{field}: {message}" if field else message)
    return "; ".join(parts)


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Return the name of the first value that is wrong, empty where it is several together, and what is wrong."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    return name, _words(first["type"], first.get("ctx", {}), first["input"], first["msg"])


def _words(kind: str, context: Mapping[str, Any], given: object, message: str) -> str:
    """Return what is wrong with one value, in words that name the remedy."""
    if kind == "extra_forbidden":
        return "unknown key; correct or remove it"
    if kind == "missing":
        return "is missing; add it"
    shown = f"it is {given!r:.60}"
    if kind in LIMITS:
        name, sentence = LIMITS[kind]
        return f"must be {sentence} {context[name]}, and {shown}"
    if kind in SHAPES:
        return f"must be {SHAPES[kind]}, and {shown}"
    if kind in ("enum", "literal_error"):
        return f"must be one of {context['expected']}, and {shown}"
    if kind in ("too_short", "too_long"):
        return f"has {context['actual_length']} values: give {'at least' if kind == 'too_short' else 'at most'} " + str(
            context["min_length" if kind == "too_short" else "max_length"]
        )
    return message.removeprefix("Value error, ")
