"""ThunderSTORM's CSV tables as we write them: frames from 1, lengths in nm, 0 at the corner of the first pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.typing import F64, IfExists

LATERAL = "uncertainty_xy [nm]"
LATERAL_NAMES = (LATERAL, "uncertainty [nm]")
"""ThunderSTORM writes the second where the table is 2D."""
ROUND_NM = 9
"""Decimals of a length: far below every digit that a localisation has, and enough to come back unchanged."""
SAME_UNIT = {
    "intensity [photon]": "photons", "offset [photon]": "bg", "z [nm]": "z", "uncertainty_z [nm]": "lpz",
}  # fmt: skip


def to_thunderstorm(table: pd.DataFrame, pixel_nm: float, *, like: Sequence[str] = ()) -> pd.DataFrame:
    """Rename and convert to ThunderSTORM's columns; columns that it does not know keep their names.

    Parameters
    ----------
    table : DataFrame
        Localisations.
    pixel_nm : float
        Camera pixel, nm.
    like : sequence of str
        Columns, in order, of the CSV that the table came from; the usual ones if empty.
    """

    def length(name: str) -> F64:
        return np.round(table[name].to_numpy(float) * pixel_nm, ROUND_NM)

    out: dict[str, Any] = {"frame": table["frame"].to_numpy(np.int64) + 1}
    if not like and "id" not in table:
        out = {"id": np.arange(1, len(table) + 1), **out}
    for axis in "xy":
        out[f"{axis} [nm]"] = np.round((table[axis].to_numpy(float) + 0.5) * pixel_nm, ROUND_NM)
    if {"sx", "sy"} <= set(table.columns):
        if "sigma [nm]" in like:
            out["sigma [nm]"] = length("sx")
        else:
            out |= {"sigma1 [nm]": length("sx"), "sigma2 [nm]": length("sy")}
    if {"lpx", "lpy"} <= set(table.columns):
        lateral = next((name for name in LATERAL_NAMES if name in like), LATERAL)
        mean = (table["lpx"].to_numpy(float) + table["lpy"].to_numpy(float)) / 2 * pixel_nm
        out[lateral] = np.round(mean, ROUND_NM)
        # One number cannot hold both: what ThunderSTORM has no column for stands in two of our own.
        if not np.array_equal(table["lpx"], table["lpy"]):
            out |= {f"uncertainty_{axis} [nm]": length(f"lp{axis}") for axis in "xy"}
    out |= {source: table[ours].to_numpy() for source, ours in SAME_UNIT.items() if ours in table}
    known = {"frame", "x", "y", "sx", "sy", "lpx", "lpy", *SAME_UNIT.values()}
    out |= {str(name): table[name].to_numpy() for name in table.columns if name not in known}
    if like:
        out = {name: out[name] for name in [*(n for n in like if n in out), *(n for n in out if n not in like)]}
    return pd.DataFrame(out)


def write_thunderstorm(path: Path, table: pd.DataFrame, metadata: RunMetadata, *, if_exists: IfExists = "error") -> int:
    """Write a CSV, every number with the shortest digits that bring it back; return the rows written."""
    import pyarrow
    import pyarrow.csv

    converted = to_thunderstorm(table, metadata.pixel_size_nm, like=metadata.thunderstorm_columns)
    with whole_or_nothing(Path(path), Kind.TABLE, if_exists=if_exists) as draft:
        pyarrow.csv.write_csv(pyarrow.Table.from_pandas(converted), draft)
    return len(table)
