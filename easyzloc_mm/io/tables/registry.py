"""Localisation tables of any program: one reader and one writer per format, chosen by the ending of the name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.drift import Drift, write_drift
from easyzloc_mm.io.runs.localizations import LocalizationWriter, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.checks import usable_rows
from easyzloc_mm.io.tables.foreign.read import read_text_table
from easyzloc_mm.io.tables.parquet import read_parquet, write_parquet
from easyzloc_mm.io.tables.picasso.hdf5 import read_hdf5
from easyzloc_mm.io.tables.picasso.table import write_picasso
from easyzloc_mm.io.tables.raw import RawTable
from easyzloc_mm.io.tables.thunderstorm import write_thunderstorm
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.typing import IfExists


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


def _as_file_names(table: pd.DataFrame) -> dict[str, str]:
    """Names of columns that no folder of a store can have, and others in their place."""
    names = [str(name) for name in table.columns]
    renamed: dict[str, str] = {}
    for name in [name for name in names if FORBIDDEN.search(name) or name.startswith(".")]:
        new = FORBIDDEN.sub("_", name).lstrip(".") or "_"
        while new in (*names, *renamed.values()):
            new += "_"
        renamed[name] = new
    return renamed


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
            writer.append(table.rename(columns=_as_file_names(table)))
        if drift is not None:
            write_drift(draft, drift)
    return len(table)


FORMATS = {
    one.name: one
    for one in (
        TableFormat("picasso", (".hdf5", ".h5"), read_hdf5, write_picasso),
        TableFormat("thunderstorm", (".csv",), read_text_table, write_thunderstorm),
        TableFormat("parquet", (".parquet",), read_parquet, write_parquet),
        TableFormat("zarr", (".zarr",), _read_run, _write_run),
    )
}
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^$|[. ]$')
"""What no name of a file holds, on one system or another."""
SUFFIXES = {suffix: one.name for one in FORMATS.values() for suffix in one.suffixes}
TEXT_SUFFIXES = (".txt", ".tsv", ".dat", ".xls")
"""Further endings of tables of text; ThunderSTORM and SMAP call those with tabs .xls."""
READERS = {
    **{suffix: FORMATS[name].read for suffix, name in SUFFIXES.items()},
    **dict.fromkeys(TEXT_SUFFIXES, read_text_table),
}
WHAT_TO_GIVE = "give a RUN.zarr, or a table .hdf5, .h5, .csv, .txt, .xls (with tabs) or .parquet"


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
        raise InputError(f"{path} does not exist: {WHAT_TO_GIVE}")
    if path.is_dir():
        return FORMATS["zarr"].read(path, pixel_size_nm)
    suffix = path.suffix.lower()
    if suffix == ".mat":
        raise InputError(f"{path} is a file of MATLAB, as SMAP saves: give the localisations saved as .csv from SMAP")
    if suffix not in READERS or suffix == ".zarr":
        raise InputError(f"{path} is no table that can be read: {WHAT_TO_GIVE}")
    return READERS[suffix](path, pixel_size_nm)


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
    return usable_rows(path, raw.table), metadata


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
