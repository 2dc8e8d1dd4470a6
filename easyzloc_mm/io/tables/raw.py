"""What every reader of a table format returns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import EasyZlocWarning, InputError

LARGEST_FRAME = 2**24 - 1
"""A number above it is no frame, but a mistake of the file: no run is as long, and float32 counts no further."""
LARGEST_POSITION_PX = 1e6
"""A position beyond it lies on no camera."""
LARGEST_DEPTH_NM = 1e7
"""A depth beyond it lies in no sample."""
LISTED_COLUMNS = 20


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


def listed(names: Sequence[str]) -> str:
    """Return names of columns, for messages; of very many the first."""
    return (", ".join(names[:LISTED_COLUMNS]) or "none") + (", ..." if len(names) > LISTED_COLUMNS else "")


def columns_of_numbers(path: Path, found: pd.DataFrame) -> pd.DataFrame:
    """Leave out columns that hold no numbers, with a warning.

    Raises
    ------
    InputError
        Two columns have the same name, or frame, x, y or z hold something else.
    """
    names = [str(name) for name in found.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path} has more than one column {', '.join(twice)}: rename or remove one")
    other = [name for name, dtype in zip(names, found.dtypes, strict=True) if getattr(dtype, "kind", "O") not in "fiub"]
    if not len(found):
        return found.astype(dict.fromkeys(other, float))
    needed = [name for name in other if name in ("frame", "x", "y", "z")]
    if needed:
        raise InputError(f"{path}: the column(s) {', '.join(needed)} hold text where numbers should stand: mend them")
    if other:
        warnings.warn(
            f"{path}: the column(s) {', '.join(other)} hold no numbers and are left out", EasyZlocWarning, stacklevel=5
        )
    return found.drop(columns=other)


def seen_size(table: pd.DataFrame) -> dict[str, int]:
    """Return frames and image size as far as the rows reach, for files that do not state them."""

    def last(name: str, largest: float) -> float:
        values = table[name].to_numpy(float)
        values = values[np.isfinite(values) & (values >= 0) & (values <= largest)]
        return float(values.max()) if len(values) else 0.0

    return {
        "height_px": int(np.ceil(last("y", LARGEST_POSITION_PX) + 1)),
        "width_px": int(np.ceil(last("x", LARGEST_POSITION_PX) + 1)),
        "frames": int(last("frame", LARGEST_FRAME)) + 1,
    }
