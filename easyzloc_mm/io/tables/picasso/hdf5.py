"""Tables in HDF5: of Picasso, pandas and DECODE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import words
from easyzloc_mm.io.tables.foreign.hdf5 import (
    check_heaps,
    holds_decode,
    pandas_group,
    read_decode,
    read_pandas,
    text_of,
    whole,
)
from easyzloc_mm.io.tables.foreign.interpret import interpret
from easyzloc_mm.io.tables.picasso.table import SAVE_AGAIN, has_sidecar, with_info
from easyzloc_mm.io.tables.raw import RawTable, columns_of_numbers

if TYPE_CHECKING:
    import h5py


def read_hdf5(path: Path, pixel_size_nm: float | None = None) -> RawTable:
    """Read an HDF5 table of Picasso (with ``NAME.yaml``, if it is there), pandas or DECODE.

    Raises
    ------
    InputError
        The file is no such table, or damaged.
    """
    import h5py

    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            return _read(path, file, pixel_size_nm)
    except (
        OSError,
        KeyError,
        RuntimeError,
        ValueError,
        TypeError,
        OverflowError,
        UnicodeError,
        AttributeError,
    ) as error:
        raise InputError(
            f"{path} cannot be read as HDF5, it is damaged or something else ({words(error)}): {SAVE_AGAIN}"
        ) from None


def _read(path: Path, file: h5py.File, pixel_size_nm: float | None) -> RawTable:
    import h5py

    if holds_decode(file):
        found, units, pixel = read_decode(path, file)
        return interpret(path, found, pixel_size_nm, units=units, pixel_stated_nm=pixel)
    frame = pandas_group(file)
    if frame is not None:
        return _as_picasso_or_other(path, read_pandas(path, frame), None, pixel_size_nm)
    locs = file.get("locs")
    if not isinstance(locs, h5py.Dataset) or not locs.dtype.names or locs.ndim != 1:
        there = ", ".join(list(file)[:10]) or "nothing"
        raise InputError(f"{path} holds no Picasso localisations (no table 'locs'; it has {there}): {SAVE_AGAIN}")
    rows = whole(path, locs)
    embedded = text_of(path, file["metadata"]) if "metadata" in file and not has_sidecar(path) else None
    columns = {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names if rows[name].ndim == 1}
    return _as_picasso_or_other(path, pd.DataFrame(columns), embedded, pixel_size_nm)


def _as_picasso_or_other(path: Path, found: pd.DataFrame, embedded: object, pixel_size_nm: float | None) -> RawTable:
    """Columns by Picasso's names are Picasso's; others say what they are."""
    if {"frame", "x", "y"} <= set(found.columns):
        return with_info(path, columns_of_numbers(path, found), embedded)
    return interpret(path, found, pixel_size_nm)
