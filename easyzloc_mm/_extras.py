"""Optional packages: which extra installs each, and the one line that says so when it is missing."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Literal

from easyzloc_mm.errors import InputError

Extra = Literal["demo", "tune", "video", "view", "cluster", "bench", "plans", "plus"]
"""Names under ``[project.optional-dependencies]`` of pyproject.toml that a user may need."""


BACKENDS = ("tensorflow", "torch", "jax")
"""What Keras may train with."""


def need_backend() -> None:
    """Check that what Keras is told to train with is installed; call it before work that ends in a training.

    Raises
    ------
    InputError
        It is missing, or none that Keras knows.
    """
    name = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        raise InputError(f"KERAS_BACKEND is {name}: set it to one of {', '.join(BACKENDS)}, or remove it")
    if find_spec(name) is None:
        raise InputError(
            f"{name} is not installed, and training needs it: pip install {name}, or set KERAS_BACKEND to another of "
            f"{', '.join(BACKENDS)}"
        )


def need(package: str, *, extra: Extra, module: str | None = None) -> None:
    """Check that an optional package is installed; call it right before the import.

    Parameters
    ----------
    package : str
        As it is named on installation.
    extra : str
        What installs it.
    module : str, optional
        As it is imported, where that is not `package`.

    Raises
    ------
    InputError
        It is missing. The message is the one line that installs it.
    """
    if find_spec(module or package) is None:
        raise InputError(f'{package} is not installed, and this needs it: pip install "easyzloc-mm[{extra}]"')
