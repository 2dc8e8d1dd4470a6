"""Localisation tables of any program: our ``RUN.zarr``, Picasso HDF5 + YAML, ThunderSTORM CSV, Parquet."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.tables.exports import PARQUET_KEY, format_of
from easyzloc_mm.io.tables.thunderstorm import read_thunderstorm


def read_table(path: Path, *, pixel_size_nm: float | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a localisation table of any format that `store.exports` writes; the ending of its name tells which.

    Parameters
    ----------
    path : Path
        The table.
    pixel_size_nm : float, optional
        Camera pixel, for files that do not say; one that the file does say must agree.

    Returns
    -------
    table : DataFrame
        Picasso's columns and units: ``frame`` (0-based), ``x``, ``y`` (px, 0 in the middle of the first pixel), ``z``
        (nm), ...; columns that only the other program knows are kept.
    facts : dict
        Provenance; always ``pixel_size_nm``, ``height_px``, ``width_px``, ``frames``.

    Raises
    ------
    InputError
        There is no such file, or it is no table.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a RUN.zarr, or a table .hdf5 (Picasso), .csv or .parquet")
    kind = "zarr" if path.is_dir() else format_of(path)
    if kind == "zarr":
        table, facts = read_localizations(path)
    elif kind == "picasso":
        table, facts = _read_picasso(path, pixel_size_nm)
    elif kind == "thunderstorm":
        table, facts = read_thunderstorm(path, pixel_size_nm)
    else:
        table, facts = _read_parquet(path, pixel_size_nm)
    stated = float(facts["pixel_size_nm"])
    if pixel_size_nm is not None and not np.isclose(stated, pixel_size_nm, rtol=1e-6):
        raise InputError(f"{path} says that its pixels are {stated:g} nm: leave out `pixel_size_nm` {pixel_size_nm:g}")
    return _finite(path, table), facts


def _finite(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    kept = np.isfinite(table.to_numpy(float)).all(axis=1) if len(table) else np.ones(0, bool)
    if kept.all():
        return table
    lost = int((~kept).sum())
    warnings.warn(f"{path}: {lost} row(s) hold values that are not finite and are left out", EasyZlocWarning, 2)
    return table[kept].reset_index(drop=True)


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    missing = [name for name in ("frame", "x", "y") if name not in table]
    if missing:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}: it is no localisation table")


def _read_picasso(path: Path, pixel_size_nm: float | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            rows = file["locs"][:]
            embedded = file["metadata"][()] if "metadata" in file else None
    except (OSError, KeyError) as error:
        raise InputError(f"{path} is no localisation table of Picasso (no dataset 'locs'): {error}") from None
    table = pd.DataFrame({name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names})
    _check_columns(path, table)
    info = _picasso_info(path, embedded)
    # The last step that names a value is the one that holds, as in Picasso.
    stated = {key: document[key] for document in info for key in ("Pixelsize", "Width", "Height", "Frames")
              if document.get(key) is not None}  # fmt: skip
    pixel = stated.get("Pixelsize", pixel_size_nm)
    if pixel is None:
        raise InputError(f"{path}: its metadata do not say how large a pixel is; add `pixel_size_nm`")
    try:
        return table, {
            "pixel_size_nm": float(pixel),
            "height_px": int(stated["Height"]),
            "width_px": int(stated["Width"]),
            "frames": int(stated["Frames"]),
            "picasso_info": info,
        }
    except KeyError as error:
        raise InputError(f"{path}: its metadata lack {error}; open and save it in Picasso once") from None


def _picasso_info(path: Path, embedded: object) -> list[dict[str, Any]]:
    import yaml

    sidecar = path.with_suffix(".yaml")
    try:
        if sidecar.is_file():
            documents = list(yaml.safe_load_all(sidecar.read_text(encoding="utf-8")))
        elif embedded is not None:
            documents = json.loads(embedded.decode() if isinstance(embedded, bytes) else str(embedded))
        else:
            raise InputError(f"{sidecar} is missing: Picasso keeps the image's size there; put it beside {path.name}")
    except (yaml.YAMLError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"the metadata of {path} cannot be read: {error}") from None
    # As JSON holds them: dates and the like become words.
    info: list[dict[str, Any]] = json.loads(json.dumps([d for d in documents if isinstance(d, dict)], default=str))
    return info


def _read_parquet(path: Path, pixel_size_nm: float | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None
    table = found.to_pandas()
    _check_columns(path, table)
    facts = json.loads((found.schema.metadata or {}).get(PARQUET_KEY, b"{}"))
    if "pixel_size_nm" not in facts:
        if pixel_size_nm is None:
            raise InputError(f"{path} does not say how large a pixel is: add `pixel_size_nm`")
        facts = {
            "pixel_size_nm": float(pixel_size_nm),
            "height_px": int(np.ceil(table["y"].max() + 1)) if len(table) else 1,
            "width_px": int(np.ceil(table["x"].max() + 1)) if len(table) else 1,
            "frames": int(table["frame"].max()) + 1 if len(table) else 1,
        }
    return table, facts
