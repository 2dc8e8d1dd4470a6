"""What a call, or a command, says while it works."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning

T = TypeVar("T")


def command(arguments: Sequence[str | Path]) -> int:
    """Run a command that may warn, as a user's would, and return its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", EasyZlocWarning)
        return main([str(argument) for argument in arguments])


def listen(call: Callable[..., T], *arguments: Any, **options: Any) -> tuple[T, str]:
    """Return what a call returns and all that it warns of; only our own warnings may come."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = call(*arguments, **options)
    foreign = [str(one.message) for one in told if not issubclass(one.category, EasyZlocWarning)]
    assert not foreign
    return result, "; ".join(str(one.message) for one in told)
