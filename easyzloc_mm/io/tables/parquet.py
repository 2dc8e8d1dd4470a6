"""Parquet tables: every column as it is, metadata in the file's own."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import words
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.foreign.interpret import interpret
from easyzloc_mm.io.tables.raw import RawTable, columns_of_numbers, seen_size
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.typing import IfExists

METADATA_KEY = b"easyzloc"
INDEX = "__index_level_"
"""How pandas calls the column of its row names."""
LARGEST_PART = 1 << 26
"""Bytes of one part of a file's description: a damaged length would take all memory."""


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
        found = pyarrow.parquet.read_table(
            path, thrift_string_size_limit=LARGEST_PART, thrift_container_size_limit=LARGEST_PART
        )
        # What pandas noted of its own types is left aside: those have values that are no numbers.
        table = found.to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {words(error)}") from None
    table = table.drop(columns=[name for name in table.columns if str(name).startswith(INDEX)])
    if not {"frame", "x", "y"} <= set(table.columns):
        return interpret(path, table, pixel_size_nm)
    table = columns_of_numbers(path, table)
    try:
        stated = json.loads((found.schema.metadata or {}).get(METADATA_KEY, b"{}"))
        return RawTable(table, {**seen_size(table), **stated})
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"the metadata of {path} cannot be read: {words(error)}") from None


def write_parquet(path: Path, table: pd.DataFrame, metadata: RunMetadata, *, if_exists: IfExists = "error") -> int:
    """Write the table as it is, with its metadata; return the rows written."""
    import pyarrow
    import pyarrow.parquet

    converted = pyarrow.Table.from_pandas(table, preserve_index=False)
    key_values = {**(converted.schema.metadata or {}), METADATA_KEY: json.dumps(metadata.stored()).encode()}
    with whole_or_nothing(Path(path), Kind.TABLE, if_exists=if_exists) as draft:
        pyarrow.parquet.write_table(converted.replace_schema_metadata(key_values), draft)
    return len(table)
