"""What every reader of a table format returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError

LARGEST_FRAME = 2**31 - 1
"""A number above it is no frame, but a mistake of the file."""


@dataclass(frozen=True)
class RawTable:
    """A table in Picasso's columns and units, before its values are checked.

    Attributes
    ----------
    table : DataFrame
        ``frame`` from 0, whole numbers or not; ``x``, ``y`` in pixels, 0 at the centre of the first one; columns that
        are not ours as they are.
    stated : dict
        Fields of `RunMetadata` that the file states.
    incomplete : str or None
        Why the file does not state all that it should, for those who need it.
    """

    table: pd.DataFrame
    stated: dict[str, Any] = field(default_factory=dict)
    incomplete: str | None = None


def require_columns(path: Path, found: pd.DataFrame, wanted: tuple[str, ...], cure: str) -> None:
    """Raise `InputError` that names the columns that are missing, those that are there, and the cure."""
    missing = [name for name in wanted if name not in found]
    if missing:
        there = ", ".join(map(str, found.columns)) or "none"
        raise InputError(f"{path} has no column {', '.join(missing)}; it has: {there}. {cure}")


def seen_size(table: pd.DataFrame) -> dict[str, int]:
    """Return frames and image size as far as the rows reach, for files that do not state them."""

    def last(name: str) -> float:
        values = table[name].to_numpy(float)
        values = values[np.isfinite(values) & (values <= LARGEST_FRAME)]
        return float(values.max()) if len(values) else 0.0

    return {
        "height_px": int(np.ceil(last("y") + 1)),
        "width_px": int(np.ceil(last("x") + 1)),
        "frames": int(last("frame")) + 1,
    }
