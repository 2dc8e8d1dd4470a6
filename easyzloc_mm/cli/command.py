"""How commands show their options: by what a person types after them, not by a type of Python's."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, get_args

from typer.core import TyperCommand, TyperGroup, TyperOption

WORDS = {bool: "", int: "N", float: "N", Path: "PATH", str: "TEXT"}
"""What is typed after an option; nothing after a switch."""


class Command(TyperCommand):
    """A command whose ``--help`` has room for words in 80 columns."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return arguments and options, each as it is typed."""
        return _in_words(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands that shows its options as they do."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return arguments and options, each as it is typed."""
        return _in_words(super().get_params(ctx))


def _in_words(parameters: list[Any]) -> list[Any]:
    for option in parameters:
        if isinstance(option, TyperOption) and option.metavar is None:
            annotation = option.type_descriptor.annotation
            option.metavar = " ".join(_word(one) for one in get_args(annotation) or (annotation,))
    return parameters


def _word(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(choice.value) for choice in annotation)
    return WORDS[annotation]
