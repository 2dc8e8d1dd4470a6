"""Parquet tables: every column as it is, metadata in the file's own."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import whole_or_nothing
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.raw import RawTable, require_columns, seen_size
from easyzloc_mm.typing import IfExists

METADATA_KEY = b"easyzloc"


def read_parquet(path: Path, pixel_size_nm: float | None = None) -> RawTable:
    """Read a Parquet table; one of another program states no metadata.

    Raises
    ------
    InputError
        The file is no such table.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None
    table = found.to_pandas()
    require_columns(path, table, ("frame", "x", "y"), "It is no localisation table")
    try:
        stated = json.loads((found.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except ValueError as error:
        raise InputError(f"the metadata of {path} cannot be read: {error}") from None
    return RawTable(table, {**seen_size(table), **stated})


def write_parquet(path: Path, table: pd.DataFrame, metadata: RunMetadata, *, if_exists: IfExists = "error") -> int:
    """Write the table as it is, with its metadata; return the rows written."""
    import pyarrow
    import pyarrow.parquet

    converted = pyarrow.Table.from_pandas(table, preserve_index=False)
    key_values = {**(converted.schema.metadata or {}), METADATA_KEY: json.dumps(metadata.stored()).encode()}
    with whole_or_nothing(Path(path), Kind.TABLE, if_exists=if_exists) as draft:
        pyarrow.parquet.write_table(converted.replace_schema_metadata(key_values), draft)
    return len(table)
