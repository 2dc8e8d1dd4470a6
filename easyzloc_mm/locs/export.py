"""`export`: a table written for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from easyzloc_mm.io.tables.registry import format_of, write_table
from easyzloc_mm.io.writing.kinds import kind_of_table
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.typing import IfExists


def export_run(
    run: Path,
    out: Path,
    file_format: str | None = None,
    *,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
) -> dict[str, Any]:
    """Write a table for another program (`easyzloc_mm.io.tables.registry`).

    Returns
    -------
    dict
        ``rows`` written, of ``rows_in_run`` that `where` chose.
    """
    out = check_output(Path(out), kind_of_table(Path(out)), if_exists=if_exists, inputs=[run])
    file_format = file_format or format_of(out)
    locs = Locs.load(run, where=where, pixel_size_nm=pixel_size_nm)
    rows = write_table(out, locs.table, locs.metadata, file_format=file_format, if_exists=if_exists)
    return {"rows": rows, "rows_in_run": len(locs)}
