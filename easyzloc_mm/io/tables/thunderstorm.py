"""ThunderSTORM's CSV tables: frames from 1, lengths in nm, 0 at the corner of the first pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import F64

LATERAL = "uncertainty_xy [nm]"
LATERAL_NAMES = (LATERAL, "uncertainty [nm]")
"""ThunderSTORM writes the second where the table is 2D."""
ROUND_NM = 9
"""Decimals of a length: far below every digit that a localisation has, and enough to come back unchanged."""
ASSUMED_PIXEL_NM = 100.0
"""Of a CSV, which does not say. Lengths in nm do not depend on it."""
SAME_UNIT = {
    "intensity [photon]": "photons", "offset [photon]": "bg", "z [nm]": "z", "uncertainty_z [nm]": "lpz",
}  # fmt: skip
IN_PIXELS = {"sigma1 [nm]": "sx", "sigma2 [nm]": "sy", "uncertainty_x [nm]": "lpx", "uncertainty_y [nm]": "lpy"}


def to_thunderstorm(table: pd.DataFrame, pixel_nm: float, *, like: list[str] | None = None) -> pd.DataFrame:
    """Rename and convert to ThunderSTORM's columns; columns that it does not know keep their names.

    Parameters
    ----------
    table : DataFrame
        Localisations.
    pixel_nm : float
        Camera pixel, nm.
    like : list of str, optional
        Columns, in order, of the CSV that the table came from; the usual ones if not given.
    """

    def length(name: str) -> F64:
        return np.round(table[name].to_numpy(float) * pixel_nm, ROUND_NM)

    out: dict[str, Any] = {"frame": table["frame"].to_numpy(np.int64) + 1}
    if like is None and "id" not in table:
        out = {"id": np.arange(1, len(table) + 1), **out}
    for axis in "xy":
        out[f"{axis} [nm]"] = np.round((table[axis].to_numpy(float) + 0.5) * pixel_nm, ROUND_NM)
    if {"sx", "sy"} <= set(table.columns):
        if like is not None and "sigma [nm]" in like:
            out["sigma [nm]"] = length("sx")
        else:
            out |= {"sigma1 [nm]": length("sx"), "sigma2 [nm]": length("sy")}
    if {"lpx", "lpy"} <= set(table.columns):
        lateral = next((name for name in LATERAL_NAMES if like is not None and name in like), LATERAL)
        mean = (table["lpx"].to_numpy(float) + table["lpy"].to_numpy(float)) / 2 * pixel_nm
        out[lateral] = np.round(mean, ROUND_NM)
        # One number cannot hold both: what ThunderSTORM has no column for stands in two of our own.
        if not np.array_equal(table["lpx"], table["lpy"]):
            out |= {f"uncertainty_{axis} [nm]": length(f"lp{axis}") for axis in "xy"}
    out |= {theirs: table[ours].to_numpy() for theirs, ours in SAME_UNIT.items() if ours in table}
    known = {"frame", "x", "y", "sx", "sy", "lpx", "lpy", *SAME_UNIT.values()}
    out |= {str(name): table[name].to_numpy() for name in table.columns if name not in known}
    if like is not None:
        out = {name: out[name] for name in [*(n for n in like if n in out), *(n for n in out if n not in like)]}
    return pd.DataFrame(out)


def write_thunderstorm(path: Path, table: pd.DataFrame, pixel_nm: float, *, like: list[str] | None = None) -> None:
    """Write the CSV; every number has the shortest digits that bring it back."""
    import pyarrow
    import pyarrow.csv

    pyarrow.csv.write_csv(pyarrow.Table.from_pandas(to_thunderstorm(table, pixel_nm, like=like)), path)


def read_thunderstorm(path: Path, pixel_size_nm: float | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a CSV of ThunderSTORM, or of programs that write its columns.

    Parameters
    ----------
    path : Path
        The CSV.
    pixel_size_nm : float, optional
        Camera pixel, in which x and y are counted here; `ASSUMED_PIXEL_NM` if not given.

    Raises
    ------
    InputError
        The file is no such table; the message says what is missing.
    """
    import pyarrow
    import pyarrow.csv

    try:
        found = pyarrow.csv.read_csv(path).to_pandas()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read as a CSV table: {error}") from None
    missing = [name for name in ("frame", "x [nm]", "y [nm]") if name not in found]
    if missing:
        raise InputError(
            f"{path} lacks the column(s) {', '.join(missing)}: export it from ThunderSTORM with lengths in nm"
        )
    text = [str(name) for name in found.columns if not pd.api.types.is_numeric_dtype(found[name])]
    if text:
        raise InputError(f"{path}: the column(s) {', '.join(text)} hold text, or nothing, where numbers should stand")
    pixel = pixel_size_nm or ASSUMED_PIXEL_NM

    def real(name: str) -> F64:
        return np.asarray(found[name].to_numpy(float))

    values: dict[str, Any] = {"frame": np.maximum(found["frame"].to_numpy(np.int64) - 1, 0).astype(np.uint32)}
    values |= {axis: real(f"{axis} [nm]") / pixel - 0.5 for axis in "xy"}
    used = {"frame", "x [nm]", "y [nm]"}
    if "sigma [nm]" in found:
        values |= {name: real("sigma [nm]") / pixel for name in ("sx", "sy")}
        used.add("sigma [nm]")
    for name in LATERAL_NAMES:
        if name in found:
            values |= {ours: real(name) / pixel for ours in ("lpx", "lpy")}
            used.add(name)
    values |= {ours: real(theirs) / pixel for theirs, ours in IN_PIXELS.items() if theirs in found}
    values |= {ours: real(theirs) for theirs, ours in SAME_UNIT.items() if theirs in found}
    used |= IN_PIXELS.keys() | SAME_UNIT.keys()
    if "z_flag" in found:
        values["z_flag"] = found["z_flag"].to_numpy(np.uint8)
        used.add("z_flag")
    # A column without a meaning here stays as it is; an id that only counts is made anew.
    counted = "id" in found and np.array_equal(found["id"], np.arange(1, len(found) + 1))
    names = [str(name) for name in found.columns if not (name == "id" and counted)]
    values |= {name: found[name].to_numpy() for name in names if name not in used}
    table = pd.DataFrame(values)
    facts: dict[str, Any] = {
        "pixel_size_nm": pixel,
        "pixel_size_assumed": pixel_size_nm is None,
        "height_px": int(np.ceil(table["y"].max() + 1)) if len(table) else 1,
        "width_px": int(np.ceil(table["x"].max() + 1)) if len(table) else 1,
        "frames": int(table["frame"].max()) + 1 if len(table) else 1,
    }
    if not counted:
        facts["thunderstorm_columns"] = [str(name) for name in found.columns]
    return table, facts
