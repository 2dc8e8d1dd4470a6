"""2D localisation tables that other programs made, with every column that a run needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, column_dtype
from easyzloc_mm.io.tables.checks import impossible, mended
from easyzloc_mm.io.tables.registry import read_raw_table

SPOT_SIGMA_PX = 1.3
"""Where a table does not state how wide its spots are."""


def read_2d_table(path: Path, pixel_size_nm: float) -> pd.DataFrame:
    """Read a 2D table in its own order, every row of it.

    Parameters
    ----------
    path : Path
        Of any format of `easyzloc_mm.io.tables.registry`.
    pixel_size_nm : float
        Camera pixel, to turn nanometres into pixels.

    Returns
    -------
    DataFrame
        `COLUMNS_2D`, then the table's further columns, all finite, in Picasso's conventions: frames from 0, pixels, 0
        at the centre of the first pixel. What a table does not state is 0 (widths: a focused spot's).

    Raises
    ------
    InputError
        It cannot be read, or a frame or position is missing or not finite.
    """
    table = read_raw_table(Path(path), pixel_size_nm).table
    for name in ("frame", "x", "y"):
        if (bad := impossible(table, name)).any():
            raise InputError(f"{path} has no usable {name} in row {int(np.argmax(bad)) + 1}: remove or mend that row")
    rows = len(table)
    if "z" in table and impossible(table, "z").any():  # the depth is not needed here
        table = table.drop(columns="z")
    table = mended(path, table)

    def column(name: str, otherwise: np.ndarray) -> np.ndarray:
        return table[name].to_numpy(float) if name in table else otherwise

    sx = column("sx", np.full(rows, SPOT_SIGMA_PX))
    sy = column("sy", sx)
    with np.errstate(divide="ignore", invalid="ignore"):
        ellipticity = np.nan_to_num((np.maximum(sx, sy) - np.minimum(sx, sy)) / np.maximum(sx, sy))
    defaults = {"sx": sx, "sy": sy, "ellipticity": ellipticity}
    complete = {
        name: column(name, defaults.get(name, np.zeros(rows))).astype(column_dtype(name)) for name in COLUMNS_2D
    }
    others = [str(name) for name in table.columns if name not in COLUMNS_2D]
    return pd.DataFrame({**complete, **{name: table[name].to_numpy() for name in others}})
