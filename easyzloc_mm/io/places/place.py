"""One place of a list."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A place of the stage, um.

    Attributes
    ----------
    name : str
        As the list has it; empty where it has none.
    x_um, y_um : float
    z_um : float or None
        Where the list has it.
    """

    name: str
    x_um: float
    y_um: float
    z_um: float | None = None
