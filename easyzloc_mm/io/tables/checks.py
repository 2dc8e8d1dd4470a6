"""Which rows of a table can be used: frame, x, y and z decide, nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z
from easyzloc_mm.io.tables.raw import LARGEST_DEPTH_NM, LARGEST_FRAME, LARGEST_POSITION_PX
from easyzloc_mm.typing import Bool

DECIDING = ("frame", "x", "y", "z")
OURS = (*COLUMNS_2D, *COLUMNS_Z)
LARGEST_NUMBER = float(np.finfo(np.float32).max)
"""Columns of ours are kept as float32."""
NEVER_NEGATIVE = ("lpx", "lpy", "lpz", "sx", "sy")
NOT_A_FLAG = 4
"""What stands for a `z_flag` that is none: the depth is not to be believed."""
NAMED_ROWS = 5


def impossible(table: pd.DataFrame, name: str) -> Bool:
    """Return a mask of the rows whose `name` is no number that a table may hold."""
    values = table[name].to_numpy(float)
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(values)
        if name == "frame":
            bad |= (values < 0) | (values > LARGEST_FRAME) | (values % 1 != 0)
        elif name == "z_flag":
            bad |= (values < 0) | (values > np.iinfo(np.uint8).max) | (values % 1 != 0)
        elif name in OURS:
            largest = {"x": LARGEST_POSITION_PX, "y": LARGEST_POSITION_PX, "z": LARGEST_DEPTH_NM}
            bad |= np.abs(values) > largest.get(name, LARGEST_NUMBER)
            if name in NEVER_NEGATIVE:
                bad |= values < 0
    return np.asarray(bad)


def usable_rows(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the rows without a possible frame, x, y or z, and say which; other columns cost no row (`mended`)."""
    if not len(table):
        return table.astype({"frame": np.uint32})
    if "z" in table and impossible(table, "z").all():
        _warn(f"{path}: no row has a depth, and the table is read as 2D")
        table = table.drop(columns=[name for name in COLUMNS_Z if name in table])
    bad = np.zeros(len(table), bool)
    for name in [name for name in DECIDING if name in table]:
        bad |= impossible(table, name)
    if bad.any():
        rows = np.flatnonzero(bad) + 1
        named = ", ".join(map(str, rows[:NAMED_ROWS])) + (", ..." if len(rows) > NAMED_ROWS else "")
        _warn(f"{path}: {len(rows)} row(s) have no possible frame number, x, y or z, and are left out (row {named})")
        table = table[~bad].reset_index(drop=True)
    table = mended(path, table)
    kept = table["frame"].dtype
    return table if kept.kind in "ui" else table.astype({"frame": np.uint32})


def mended(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Give rows that lack a value of ours the column's median, and leave out other columns that lack one; say so.

    A column without any possible value is left out, too. A `z_flag` that is none becomes `NOT_A_FLAG`.
    """
    filled: dict[str, NDArray[Any]] = {}
    medians: list[str] = []
    dropped: list[str] = []
    for name in [str(column) for column in table.columns if column not in DECIDING]:
        bad = impossible(table, name)
        values = table[name].to_numpy()
        if name == "z_flag":
            filled[name] = np.where(bad, NOT_A_FLAG, np.where(bad, 0, values)).astype(np.uint8)
        if not bad.any():
            continue
        if name in OURS and not bad.all():
            usual = NOT_A_FLAG if name == "z_flag" else float(np.median(values[~bad]))
            medians.append(f"{name} (row {int(np.argmax(bad)) + 1}{', ...' if bad.sum() > 1 else ''}: {usual:.4g})")
            filled.setdefault(name, np.where(bad, usual, values).astype(values.dtype))
        else:
            dropped.append(name)
            filled.pop(name, None)
    if medians:
        _warn(f"{path}: values that are missing or impossible became the column's median: {', '.join(medians)}")
    if dropped:
        _warn(f"{path}: column(s) {', '.join(dropped)} lack finite values and are left out")
    return table.assign(**filled).drop(columns=dropped)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, EasyZlocWarning, stacklevel=5)
