"""ThunderSTORM's CSV tables: frames from 1, lengths in nm, 0 at the corner of the first pixel."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import whole_or_nothing
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.raw import RawTable, require_columns, seen_size
from easyzloc_mm.typing import F64, IfExists

LATERAL = "uncertainty_xy [nm]"
LATERAL_NAMES = (LATERAL, "uncertainty [nm]")
"""ThunderSTORM writes the second where the table is 2D."""
ROUND_NM = 9
"""Decimals of a length: far below every digit that a localisation has, and enough to come back unchanged."""
ASSUMED_PIXEL_NM = 100.0
"""Of a CSV, which does not state it. Lengths in nm do not depend on it."""
SAME_UNIT = {
    "intensity [photon]": "photons", "offset [photon]": "bg", "z [nm]": "z", "uncertainty_z [nm]": "lpz",
}  # fmt: skip
IN_PIXELS = {"sigma1 [nm]": "sx", "sigma2 [nm]": "sy", "uncertainty_x [nm]": "lpx", "uncertainty_y [nm]": "lpy"}


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


def read_thunderstorm(path: Path, pixel_size_nm: float | None = None) -> RawTable:
    """Read a CSV of ThunderSTORM, or of programs that write its columns.

    Picasso's exporter counts frames and ids from 0 and lengths from the middle of the first pixel, where ThunderSTORM
    counts frames and ids from 1 and lengths from that pixel's corner. A file in which one of either is 0 is taken to be
    Picasso's, with a warning.

    Parameters
    ----------
    path : Path
        The CSV.
    pixel_size_nm : float, optional
        Camera pixel, in which x and y are counted here; `ASSUMED_PIXEL_NM` if not given.

    Raises
    ------
    InputError
        The file is no such table; the message names what is missing.
    """
    found = _read_csv(path)
    require_columns(path, found, ("frame", "x [nm]", "y [nm]"), "Export it from ThunderSTORM with lengths in nm")
    found = _numbers(path, found)
    pixel = pixel_size_nm or ASSUMED_PIXEL_NM

    def real(name: str) -> F64:
        return np.asarray(found[name].to_numpy(float))

    from_zero = _counts_from_zero(found)
    if from_zero:
        warnings.warn(
            f"{path} counts frames from 0, as Picasso's export does: x and y are taken to begin at the middle of the "
            "first pixel",
            EasyZlocWarning,
            stacklevel=4,
        )
    first_frame, corner = (0, 0.0) if from_zero else (1, 0.5)
    values: dict[str, Any] = {"frame": _frame_numbers(found["frame"].to_numpy() - first_frame)}
    values |= {axis: real(f"{axis} [nm]") / pixel - corner for axis in "xy"}
    used = {"frame", "x [nm]", "y [nm]"}
    if "sigma [nm]" in found:
        values |= {name: real("sigma [nm]") / pixel for name in ("sx", "sy")}
        used.add("sigma [nm]")
    for name in LATERAL_NAMES:
        if name in found:
            values |= {ours: real(name) / pixel for ours in ("lpx", "lpy")}
            used.add(name)
    values |= {ours: real(source) / pixel for source, ours in IN_PIXELS.items() if source in found}
    values |= {ours: real(source) for source, ours in SAME_UNIT.items() if source in found}
    used |= IN_PIXELS.keys() | SAME_UNIT.keys()
    if "z_flag" in found:
        values["z_flag"] = found["z_flag"].to_numpy(np.uint8)
        used.add("z_flag")
    # A column without a meaning here stays as it is; an id that only counts is made anew.
    counted = "id" in found and np.array_equal(found["id"], np.arange(len(found)) + (0 if from_zero else 1))
    names = [str(name) for name in found.columns if not (name == "id" and counted)]
    values |= {name: found[name].to_numpy() for name in names if name not in used}
    table = pd.DataFrame(values)
    stated: dict[str, Any] = {
        "pixel_size_nm": pixel,
        "pixel_size_assumed": pixel_size_nm is None,
        **seen_size(table),
    }
    if not counted and not from_zero:
        stated["thunderstorm_columns"] = [str(name) for name in found.columns]
    return RawTable(table, stated)


def _counts_from_zero(found: pd.DataFrame) -> bool:
    counters = [found[name].to_numpy(float) for name in ("frame", "id") if name in found]
    return any(bool((counter == 0).any()) for counter in counters)


def _frame_numbers(frame: NDArray[Any]) -> NDArray[Any]:
    """Frame numbers as uint32; as they are where one of them is none, for the checks that follow."""
    whole = np.isfinite(frame.astype(float)) & (frame >= 0) & (frame % 1 == 0) & (frame < 2**32)
    return frame.astype(np.uint32) if whole.all() else frame.astype(float)


def _read_csv(path: Path) -> pd.DataFrame:
    """Columns under their names, also where columns are separated by semicolons or tabs, and decimals by commas."""
    import pyarrow
    import pyarrow.csv

    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            heading, first = file.readline(), file.readline()
        delimiter = max(",;\t", key=heading.count)
        comma = delimiter != "," and "," in first
        found: pd.DataFrame = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(decimal_point="," if comma else "."),
        ).to_pandas()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read as a CSV table: {error}") from None
    found.columns = [" ".join(str(name).strip().strip('"').split()) for name in found.columns]
    return found.drop(columns=[name for name in found.columns if not name])


def _numbers(path: Path, found: pd.DataFrame) -> pd.DataFrame:
    """Raise if a column that is used holds text; leave out others that do, with a warning."""
    text = [str(name) for name in found.columns if not pd.api.types.is_numeric_dtype(found[name])]
    known = {"frame", "x [nm]", "y [nm]", "sigma [nm]", *LATERAL_NAMES, *SAME_UNIT, *IN_PIXELS}
    if len(found) and known & set(text):
        named = ", ".join(name for name in text if name in known)
        raise InputError(f"{path}: the column(s) {named} hold text, or nothing, where numbers should stand")
    others = [name for name in text if name not in known]
    if others and len(found):
        warnings.warn(
            f"{path}: the column(s) {', '.join(others)} hold no numbers and are left out", EasyZlocWarning, stacklevel=5
        )
    return found.drop(columns=others).astype({name: float for name in text if name in known})
