"""2D localisation tables that other programs made: Picasso HDF5, ThunderSTORM CSV."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, column_dtype

FORMATS = "a Picasso .hdf5 or a ThunderSTORM .csv"
SPOT_SIGMA_PX = 1.3
"""Where a table does not say how wide its spots are."""


def read_2d_table(path: Path, pixel_size_nm: float) -> pd.DataFrame:
    """Read a 2D table in its own order.

    Parameters
    ----------
    path : Path
        ``.hdf5`` or ``.h5`` of Picasso, ``.csv`` of ThunderSTORM.
    pixel_size_nm : float
        Camera pixel, to turn ThunderSTORM's nanometres into pixels.

    Returns
    -------
    DataFrame
        `COLUMNS_2D`, all finite, in Picasso's conventions: frames from 0, pixels, 0 at the centre of the first pixel.
        What a table does not tell is 0 (widths: a focused spot's).

    Raises
    ------
    InputError
        It cannot be read, or a frame or position is missing or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"table {path} does not exist: give {FORMATS}")
    if path.suffix.lower() in (".hdf5", ".h5"):
        columns = _picasso(path)
    elif path.suffix.lower() == ".csv":
        columns = _thunderstorm(path, pixel_size_nm)
    else:
        raise InputError(f"{path} is no table that can be read: give {FORMATS}")
    return _complete(path, columns)


def _picasso(path: Path) -> dict[str, Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            locs = file["locs"][()]
        names = locs.dtype.names or ()
    except (OSError, KeyError, AttributeError) as error:
        raise InputError(f"{path} holds no Picasso localisations ({error}): save it with Picasso again") from None
    _need(path, names, ("frame", "x", "y"))
    return {name: locs[name] for name in COLUMNS_2D if name in names}


def _thunderstorm(path: Path, pixel_size_nm: float) -> dict[str, Any]:
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as ThunderSTORM CSV: {error}") from None
    table.columns = [re.sub(r"\s+", " ", str(name)).strip().strip('"') for name in table.columns]
    _need(path, table.columns, ("frame", "x [nm]", "y [nm]"))
    values = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in table.columns}
    # ThunderSTORM counts frames from 1 and lengths from the corner of the first pixel.
    found = {
        "frame": values["frame"] - 1,
        "x": values["x [nm]"] / pixel_size_nm - 0.5,
        "y": values["y [nm]"] / pixel_size_nm - 0.5,
    }
    for name, sources, scale in (
        ("sx", ("sigma1 [nm]", "sigma [nm]"), 1 / pixel_size_nm),
        ("sy", ("sigma2 [nm]", "sigma [nm]"), 1 / pixel_size_nm),
        ("photons", ("intensity [photon]",), 1.0),
        ("bg", ("offset [photon]",), 1.0),
        ("lpx", ("uncertainty_xy [nm]", "uncertainty [nm]"), 1 / pixel_size_nm),
        ("lpy", ("uncertainty_xy [nm]", "uncertainty [nm]"), 1 / pixel_size_nm),
    ):
        source = next((known for known in sources if known in values), None)
        if source is not None:
            found[name] = values[source] * scale
    return found


def _need(path: Path, names: Any, wanted: tuple[str, ...]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; it has: {', '.join(map(str, names)) or 'none'}")


def _complete(path: Path, columns: dict[str, Any]) -> pd.DataFrame:
    rows = len(columns["frame"])
    for name in ("frame", "x", "y"):
        values = np.asarray(columns[name], float)
        bad = ~np.isfinite(values) | ((values < 0) if name == "frame" else False)
        if bad.any():
            raise InputError(f"{path} has no usable {name} in row {int(np.argmax(bad)) + 1}: remove or mend that row")
    sx = np.asarray(columns.get("sx", np.full(rows, SPOT_SIGMA_PX)), float)
    sy = np.asarray(columns.get("sy", sx), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ellipticity = (np.maximum(sx, sy) - np.minimum(sx, sy)) / np.maximum(sx, sy)
    defaults = {"sx": sx, "sy": sy, "ellipticity": ellipticity}
    table, mended = {}, []
    for name in COLUMNS_2D:
        values = np.asarray(columns.get(name, defaults.get(name, np.zeros(rows))), float)
        if not np.isfinite(values).all():
            mended.append(name)
            values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        table[name] = np.rint(values).astype(np.uint32) if name == "frame" else values.astype(column_dtype(name))
    if mended:
        warnings.warn(
            f"{path}: values of {', '.join(mended)} that are not finite became 0", EasyZlocWarning, stacklevel=3
        )
    return pd.DataFrame(table)
