"""What every analysis begins with: a table, filtered, in nm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import kind_of_table
from easyzloc_mm.io.output import check_output
from easyzloc_mm.io.tables.exports import export_table
from easyzloc_mm.io.tables.imports import read_table
from easyzloc_mm.locs.query import select
from easyzloc_mm.typing import IfExists

UNKNOWN_LATERAL_NM = 15.0
UNKNOWN_LPZ_TIMES = 2.5
"""Uncertainty of z against that of x and y, where a table does not say."""


def load(
    path: Path, *, where: str | None = None, pixel_size_nm: float | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table of any format and leave out the rows for which `where` does not hold.

    Raises
    ------
    InputError
        There is no such table, or the condition is not understood.
    """
    table, facts = read_table(Path(path), pixel_size_nm=pixel_size_nm)
    chosen = select(table, where)
    if where is not None:
        facts = {**facts, "where": where}
        if chosen.empty and len(table):
            raise InputError(f'`where` "{where}" leaves none of the {len(table)} localisations of {path}')
    return chosen, facts


def frames_of(table: pd.DataFrame, facts: dict[str, Any]) -> int:
    """Frames of a run, also where its writer was killed before it could say."""
    seen = int(table["frame"].max()) + 1 if len(table) else 1
    return max(seen, int(facts.get("frames", 0)) + int(facts.get("frames_lost", 0)))


def in_nm(table: pd.DataFrame, pixel_size_nm: float) -> pd.DataFrame:
    """Columns ``frame``; ``x_nm``, ``y_nm``, ``z``, ``lpx_nm``, ``lpy_nm``, ``lpz`` of the localisations to believe.

    ``lpx_nm``, ``lpy_nm`` are the uncertainties of x and y. Where a table does not know the uncertainty of z, it is
    guessed from those.
    """
    trusted = table[table["z_flag"] == 0] if "z_flag" in table else table
    out = {"frame": trusted["frame"].to_numpy(np.int64)}
    for axis in "xy":
        out[f"{axis}_nm"] = trusted[axis].to_numpy(float) * pixel_size_nm
        known = f"lp{axis}" in trusted
        out[f"lp{axis}_nm"] = (
            trusted[f"lp{axis}"].to_numpy(float) * pixel_size_nm if known else np.full(len(trusted), UNKNOWN_LATERAL_NM)
        )
    if "z" in trusted:
        out["z"] = trusted["z"].to_numpy(float)
        guess = UNKNOWN_LPZ_TIMES * (out["lpx_nm"] + out["lpy_nm"]) / 2
        out["lpz"] = trusted["lpz"].to_numpy(float) if "lpz" in trusted else guess
    return pd.DataFrame(out)


def believed(
    path: Path, *, where: str | None = None, pixel_size_nm: float | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a 3D table and keep what can be believed, in nm (`in_nm`).

    Raises
    ------
    InputError
        The table is 2D, or nothing is left of it.
    """
    table, facts = load(path, where=where, pixel_size_nm=pixel_size_nm)
    if "z" not in table:
        raise InputError(f"{path} has no z: localise it with a model")
    kept = in_nm(table, float(facts["pixel_size_nm"]))
    if kept.empty:
        raise InputError(f"{path} has no localisation whose z can be believed: nothing to show")
    return kept, {**facts, "lpz_known": "lpz" in table}


def export_run(
    run: Path,
    out: Path,
    file_format: str,
    *,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
) -> dict[str, Any]:
    """Write a table for another program (`store.exports`): ``rows`` written of ``rows_in_run`` (chosen by `where`)."""
    out = check_output(Path(out), kind_of_table(Path(out)), if_exists=if_exists, inputs=[run])
    table, facts = load(run, where=where, pixel_size_nm=pixel_size_nm)
    rows = export_table(out, file_format, table, facts, if_exists=if_exists)
    return {"rows": rows, "rows_in_run": len(table)}
