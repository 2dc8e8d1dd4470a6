"""Columns of a finished run, replaced: all of them at once, or none."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.io.runs.localizations import GROUP
from easyzloc_mm.io.writing.atomic import put_file
from easyzloc_mm.io.writing.output import remove, take_place
from easyzloc_mm.io.zarr.chunks import ChunkedArray, read_node, update_node


def rewrite_columns(run: Path, columns: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> None:
    """Replace columns of a run whose writer is closed, and add attributes to its table, in one step.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``.
    columns : mapping of str to ndarray, shape (rows,)
        New values of every row, by name of a column that is there.
    attributes : mapping
        Of the table's group: what was done.
    """
    group = run / GROUP
    draft = run / f".{GROUP}.{uuid.uuid4().hex[:8]}"
    try:
        shutil.copytree(group, draft)
        for name, values in columns.items():
            _fill(ChunkedArray.open(draft / name), values)
        update_node(draft, attributes, durable=True)
        take_place(draft, group)
    finally:
        remove(draft)


def table_attributes(run: Path) -> dict[str, Any]:
    """Return the attributes of a run's table."""
    return dict(read_node(run / GROUP).get("attributes", {}))


def _fill(column: ChunkedArray, values: NDArray[Any]) -> None:
    (rows,) = column.chunks
    for chunk, first in enumerate(range(0, len(values), rows)):
        part = values[first : first + rows]
        whole = np.zeros(rows, column.dtype)
        whole[: len(part)] = part
        file, content = column.encoded((chunk,), whole)
        put_file(file, content)
