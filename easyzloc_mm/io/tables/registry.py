"""Localisation tables of any program: one reader and one writer per format, chosen by the ending of the name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import whole_or_nothing
from easyzloc_mm.io.runs.drift import Drift, write_drift
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.parquet import read_parquet, write_parquet
from easyzloc_mm.io.tables.picasso import read_picasso, write_picasso
from easyzloc_mm.io.tables.raw import LARGEST_FRAME, RawTable
from easyzloc_mm.io.tables.thunderstorm import read_thunderstorm, write_thunderstorm
from easyzloc_mm.typing import Bool, IfExists

NAMED_ROWS = 5


class Writer(Protocol):
    """Writes a table and returns the rows written."""

    def __call__(self, path: Path, table: pd.DataFrame, metadata: RunMetadata, *, if_exists: IfExists = ...) -> int:
        """Write `table` to `path`."""
        ...


@dataclass(frozen=True)
class TableFormat:
    """One format.

    Attributes
    ----------
    name : str
        As `export` takes it.
    suffixes : tuple of str
        Endings of file names.
    read : callable
        ``read(path, pixel_size_nm)`` gives a `RawTable`; the pixel size is for files in nm that do not state it.
    write : callable
        ``write(path, table, metadata, if_exists=...)`` gives the rows written.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, float | None], RawTable]
    write: Writer


def _read_run(path: Path, pixel_size_nm: float | None) -> RawTable:
    table, metadata = read_localizations(path)
    return RawTable(table, metadata.stored())


def _write_run(
    path: Path,
    table: pd.DataFrame,
    metadata: RunMetadata,
    *,
    if_exists: IfExists = "error",
    drift: Drift | None = None,
) -> int:
    """Write a ``RUN.zarr``, where the columns of the contract are float32, with the drift taken out of it if known."""
    with whole_or_nothing(Path(path), Kind.RUN, if_exists=if_exists) as draft:
        with LocalizationWriter.create(draft, metadata) as writer:
            writer.append(table)
        if drift is not None:
            write_drift(draft, drift)
    return len(table)


FORMATS = {
    one.name: one
    for one in (
        TableFormat("picasso", (".hdf5", ".h5"), read_picasso, write_picasso),
        TableFormat("thunderstorm", (".csv",), read_thunderstorm, write_thunderstorm),
        TableFormat("parquet", (".parquet",), read_parquet, write_parquet),
        TableFormat("zarr", (".zarr",), _read_run, _write_run),
    )
}
SUFFIXES = {suffix: one.name for one in FORMATS.values() for suffix in one.suffixes}


def format_of(path: Path) -> str:
    """Return the name of the format that the ending of `path` means.

    Raises
    ------
    InputError
        The ending names none of `FORMATS`.
    """
    found = SUFFIXES.get(Path(path).suffix.lower())
    if found is None:
        raise InputError(f"{path}: the ending names no format; use {', '.join(SUFFIXES)}")
    return found


def read_raw_table(path: Path, pixel_size_nm: float | None = None) -> RawTable:
    """Read a table of any format, its values unchecked.

    Raises
    ------
    InputError
        There is no such file, or it is no table.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a RUN.zarr, or a table .hdf5 (Picasso), .csv or .parquet")
    if path.is_dir():
        return FORMATS["zarr"].read(path, pixel_size_nm)
    name = SUFFIXES.get(path.suffix.lower())
    if name is None or name == "zarr":
        raise InputError(f"{path} is no table that can be read: give a RUN.zarr, .hdf5 (Picasso), .csv or .parquet")
    return FORMATS[name].read(path, pixel_size_nm)


def read_table(path: Path, *, pixel_size_nm: float | None = None) -> tuple[pd.DataFrame, RunMetadata]:
    """Read a localisation table of any format; rows whose values cannot be are left out with a warning.

    Parameters
    ----------
    path : Path
        The table.
    pixel_size_nm : float, optional
        Camera pixel, for files that do not state it; one that the file does state must agree.

    Returns
    -------
    table : DataFrame
        Picasso's columns and units: ``frame`` (0-based), ``x``, ``y`` (px, 0 in the middle of the first pixel), ``z``
        (nm), ...; columns that only the other program knows are kept.
    metadata : RunMetadata
        Provenance.

    Raises
    ------
    InputError
        There is no such file, it is no table, or it does not state its pixel size and none is given.
    """
    path = Path(path)
    raw = read_raw_table(path, pixel_size_nm)
    if raw.incomplete is not None:
        raise InputError(raw.incomplete)
    stated = dict(raw.stated)
    if stated.setdefault("pixel_size_nm", pixel_size_nm) is None:
        raise InputError(f"{path} does not state how large a pixel is: give `pixel_size_nm`")
    metadata = RunMetadata.from_stored(stated, path)
    if pixel_size_nm is not None and not np.isclose(metadata.pixel_size_nm, pixel_size_nm, rtol=1e-6):
        raise InputError(
            f"{path} states that its pixels are {metadata.pixel_size_nm:g} nm: leave out `pixel_size_nm` "
            f"{pixel_size_nm:g}"
        )
    return _usable(path, raw.table), metadata


def impossible(table: pd.DataFrame, name: str) -> Bool:
    """Return a mask of the rows whose `name` is no number that a table may hold."""
    values = table[name].to_numpy(float)
    bad = ~np.isfinite(values)
    if name == "frame":
        with np.errstate(invalid="ignore"):
            bad |= (values < 0) | (values > LARGEST_FRAME) | (values % 1 != 0)
    return np.asarray(bad)


def _usable(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    if not len(table):
        return table.astype({"frame": np.uint32})
    bad = np.zeros(len(table), bool)
    for name in [str(column) for column in table.columns]:
        wrong = impossible(table, name)
        if wrong.all() and name not in (*COLUMNS_2D, *COLUMNS_Z):
            warnings.warn(f"{path}: column {name} holds no finite number and is left out", EasyZlocWarning, 3)
            table = table.drop(columns=name)
            continue
        bad |= wrong
    if bad.any():
        rows = np.flatnonzero(bad) + 1
        named = ", ".join(map(str, rows[:NAMED_ROWS])) + (", ..." if len(rows) > NAMED_ROWS else "")
        warnings.warn(
            f"{path}: {len(rows)} row(s) hold values that are not finite, or no frame number, and are left out "
            f"(row {named})",
            EasyZlocWarning,
            3,
        )
        table = table[~bad].reset_index(drop=True)
    kept = table["frame"].dtype
    return table if kept.kind in "ui" else table.astype({"frame": np.uint32})


def write_table(
    path: Path,
    table: pd.DataFrame,
    metadata: RunMetadata,
    *,
    file_format: str | None = None,
    drift: Drift | None = None,
    if_exists: IfExists = "error",
) -> int:
    """Write a table and return the rows written.

    Parameters
    ----------
    file_format : str, optional
        One of `FORMATS`; what the ending of `path` means without it.
    drift : Drift, optional
        Drift that was taken out of the table; only a ``RUN.zarr`` keeps it.

    Raises
    ------
    InputError
        The format is unknown, or the output exists.
    """
    name = format_of(path) if file_format is None else file_format
    if name not in FORMATS:
        raise InputError(f"export format '{name}' is unknown: use {', '.join(FORMATS)}")
    if not np.isfinite(table.select_dtypes("number").to_numpy(float)).all():
        raise ValueError("localisations must be finite: Picasso drops rows that are not")
    if name == "zarr":
        return _write_run(Path(path), table, metadata, drift=drift, if_exists=if_exists)
    return FORMATS[name].write(Path(path), table, metadata, if_exists=if_exists)
