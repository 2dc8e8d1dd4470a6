"""Optional packages: which extra installs each, and the one line that says so when it is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from easyzloc_mm.errors import InputError

Extra = Literal["demo", "tune", "video", "view", "cluster", "bench"]
"""Names under ``[project.optional-dependencies]`` of pyproject.toml that a user may need."""


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
