"""The drift that was taken out of a run: group ``drift/`` of a corrected ``RUN.zarr``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError

GROUP = "drift"
COLUMNS = ("frame", "x", "y", "z")


def write_drift(path: Path, drift: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write one row per frame: ``frame``; ``x``, ``y`` (px); ``z`` (nm); in full precision, to be undone."""
    import zarr

    group = zarr.open_group(path, mode="a").create_group(GROUP, attributes=dict(facts))
    for name in COLUMNS:
        values = drift[name].to_numpy("uint32" if name == "frame" else "float64")
        array = group.create_array(name, shape=values.shape, chunks=(max(1, len(values)),), dtype=values.dtype)
        array[...] = values


def read_drift(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the drift of a corrected run, and how it was found.

    Raises
    ------
    InputError
        The run was not corrected.
    """
    import zarr

    try:
        group: Any = zarr.open_group(path, mode="r")[GROUP]
        return pd.DataFrame({name: np.asarray(group[name][...]) for name in COLUMNS}), dict(group.attrs)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"{path} holds no drift: give a run that `undrift` wrote ({error})") from None
