"""`export`: a table written for another program."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.tables.picasso.table import picasso_drops
from easyzloc_mm.io.tables.registry import format_of, write_table
from easyzloc_mm.io.writing.kinds import kind_of_table
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.typing import IfExists

POOR_PX = 1.0
"""A lateral uncertainty of more pixels than this is no localisation of a molecule."""


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

    All rows are written that `where` chose, also those that carry a flag: they are counted, for another program shows
    them like all others. What the format cannot hold is left out, with a warning that says why.

    Returns
    -------
    dict
        ``rows_in_run``; of these ``left_out_by_where``, ``left_out_by_format`` and ``rows`` written; of the rows
        written ``flagged`` (`z_flag` is not 0) and ``poor_fits`` (a lateral uncertainty above `POOR_PX` pixels).
    """
    out = check_output(Path(out), kind_of_table(Path(out)), if_exists=if_exists, inputs=[run])
    file_format = file_format or format_of(out)
    whole = Locs.load(run, pixel_size_nm=pixel_size_nm)
    locs = whole if where is None else whole.where(where)
    rows = write_table(out, locs.table, locs.metadata, file_format=file_format, if_exists=if_exists)
    written = locs.table
    if file_format == "picasso" and rows < len(locs):
        drops = {why: mask for why, mask in picasso_drops(locs.table, locs.metadata).items() if mask.any()}
        written = locs.table[~np.any(list(drops.values()), axis=0)]
        named = ", ".join(f"{int(mask.sum())} {why}" for why, mask in drops.items())
        warnings.warn(
            f"{len(locs) - rows} of {len(locs)} rows are not in {out}, since Picasso opens none such ({named})",
            EasyZlocWarning,
            stacklevel=2,
        )
    return {
        "rows": rows,
        "rows_in_run": len(whole),
        "left_out_by_where": len(whole) - len(locs),
        "left_out_by_format": len(locs) - rows,
        **_doubtful(written),
    }


def _doubtful(table: pd.DataFrame) -> dict[str, int]:
    """Return how many rows are written that nobody should rely on."""
    poor = np.zeros(len(table), bool)
    for name in [name for name in ("lpx", "lpy") if name in table]:
        poor |= table[name].to_numpy(float) > POOR_PX
    counts = {"flagged": int((table["z_flag"] != 0).sum())} if "z_flag" in table else {}
    return {**counts, "poor_fits": int(poor.sum())}
