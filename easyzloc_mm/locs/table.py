"""The believable rows of a table, in nm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.typing import F64

UNKNOWN_LATERAL_NM = 15.0
UNKNOWN_LPZ_TIMES = 2.5
"""Uncertainty of z against that of x and y, where a table does not state it."""


def believable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without a flag; all of a table that has no flags."""
    return table[table["z_flag"] == 0] if "z_flag" in table else table


def in_nm(table: pd.DataFrame, pixel_size_nm: float) -> pd.DataFrame:
    """Columns ``frame``; ``x_nm``, ``y_nm``, ``z``, ``lpx_nm``, ``lpy_nm``, ``lpz`` of the rows with ``z_flag`` 0.

    ``lpx_nm``, ``lpy_nm`` are the localisation precisions of x and y. Where a table does not state that of z, it is
    guessed from those.
    """
    trusted = believable(table)
    out = {"frame": trusted["frame"].to_numpy(np.int64)}
    for axis in "xy":
        out[f"{axis}_nm"] = trusted[axis].to_numpy(float) * pixel_size_nm
        known = f"lp{axis}" in trusted
        out[f"lp{axis}_nm"] = (
            trusted[f"lp{axis}"].to_numpy(float) * pixel_size_nm if known else np.full(len(trusted), UNKNOWN_LATERAL_NM)
        )
    if "z" in trusted:
        out["z"] = trusted["z"].to_numpy(float)
        guess = UNKNOWN_LPZ_TIMES * (out["lpx_nm"] + out["lpy_nm"]) / 2
        out["lpz"] = trusted["lpz"].to_numpy(float) if "lpz" in trusted else guess
    return pd.DataFrame(out)


def local_z_nm(table: pd.DataFrame, metadata: RunMetadata) -> F64:
    """Return z counted from the focus at each place of the field: the focal surface that was taken out is put back."""
    z = table["z"].to_numpy(float)
    return np.asarray(z - metadata.surface_nm(table["x"].to_numpy(float), table["y"].to_numpy(float)))
