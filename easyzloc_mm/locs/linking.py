"""One row for each time a molecule was on, instead of one for each frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._picasso import picasso
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import kind_of_table
from easyzloc_mm.io.output import check_output
from easyzloc_mm.io.tables.exports import export_table, format_of
from easyzloc_mm.locs.table import load
from easyzloc_mm.typing import F64, IfExists

SUMMED = ("photons", "bg")
WEIGHTED = {"x": "lpx", "y": "lpy", "z": "lpz"}
KEPT = ("frame", "group")
"""Of the first row of an event."""


def link(table: pd.DataFrame, max_distance_px: float, max_dark_frames: int) -> pd.DataFrame:
    """Merge localisations of one molecule in frames that follow each other (Picasso decides which those are).

    Positions are means weighted by their uncertainty, which shrinks accordingly; photons and background are sums, other
    columns means. A depth that carries a `z_flag` counts only where all of an event do; then their flags are joined.

    Parameters
    ----------
    table : DataFrame
        Localisations, with ``lpx``, ``lpy``.
    max_distance_px : float
        From one row of an event to the next.
    max_dark_frames : int
        Frames that a molecule may be missing in between.

    Returns
    -------
    DataFrame
        The columns of `table`, and ``len`` (frames from first to last) and ``n`` (rows merged).
    """
    table = table.sort_values("frame", kind="stable", ignore_index=True)
    if table.empty:
        return table.assign(len=np.empty(0, np.int32), n=np.empty(0, np.int32))
    group = table["group"].to_numpy(np.int32) if "group" in table else np.zeros(len(table), np.int32)
    # Its public `link` would average flagged depths in and lose the flags.
    event = picasso("postprocess")._get_link_groups(
        table["frame"].to_numpy(), table["x"].to_numpy(), table["y"].to_numpy(), max_distance_px, max_dark_frames, group
    )
    events = int(event.max()) + 1
    count = np.bincount(event, minlength=events)
    first = np.full(events, len(table))
    np.minimum.at(first, event, np.arange(len(table)))
    flags = table["z_flag"].to_numpy(np.int64) if "z_flag" in table else np.zeros(len(table), np.int64)
    believed_in_event = np.bincount(event, flags == 0, events) > 0
    depth_counts = (flags == 0) | ~believed_in_event[event]
    out: dict[str, Any] = {}
    for name in [str(column) for column in table.columns]:
        value = table[name].to_numpy(float)
        merged: F64
        if name in KEPT:
            out[name] = table[name].to_numpy()[first]
            continue
        if name == "z_flag":
            joined = np.zeros(events, np.int64)
            np.bitwise_or.at(joined, event, np.where(depth_counts, flags, 0))
            out[name] = joined.astype(np.uint8)
            continue
        if name in SUMMED:
            merged = np.asarray(np.bincount(event, value, events), float)
        elif name in WEIGHTED or name in WEIGHTED.values():
            sigma = WEIGHTED.get(name, name)
            weight = 1 / np.maximum(table[sigma].to_numpy(float), 1e-9) ** 2 if sigma in table else np.ones(len(table))
            if sigma == "lpz":
                weight = weight * depth_counts
            total = np.bincount(event, weight, events)
            mean = np.asarray(np.bincount(event, weight * value, events) / total, float)
            merged = mean if name in WEIGHTED else 1 / np.sqrt(total)
        else:
            merged = np.asarray(np.bincount(event, value, events) / count, float)
        kind = table[name].to_numpy().dtype
        out[name] = merged.astype(kind if kind.kind == "f" else np.float32)
    last = np.zeros(events, np.int64)
    np.maximum.at(last, event, table["frame"].to_numpy(np.int64))
    out["len"] = (last - table["frame"].to_numpy(np.int64)[first] + 1).astype(np.int32)
    out["n"] = count.astype(np.int32)
    return pd.DataFrame(out).sort_values("frame", kind="stable", ignore_index=True)


def link_run(
    run: Path,
    out: Path,
    *,
    max_distance_nm: float | None = None,
    max_dark_frames: int = 1,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
) -> dict[str, Any]:
    """Write a table in which every row is one on-time of a molecule; the ending of `out` names the format.

    Parameters
    ----------
    max_distance_nm : float, optional
        From one row of an event to the next; three times the median uncertainty of a distance if not given.

    Returns
    -------
    dict
        ``rows_in``, ``rows``, ``max_distance_nm``, ``mean_frames``.
    """
    out = check_output(Path(out), kind_of_table(Path(out)), if_exists=if_exists, inputs=[run])
    file_format = format_of(out)
    table, facts = load(run, where=where, pixel_size_nm=pixel_size_nm)
    missing = [name for name in ("lpx", "lpy") if name not in table]
    if missing:
        raise InputError(f"{run} lacks {', '.join(missing)}: without uncertainties rows cannot be merged")
    pixel = float(facts["pixel_size_nm"])
    usual = 3 * np.sqrt(2) * float(table[["lpx", "lpy"]].median().mean()) * pixel if len(table) else 1.0
    distance = usual if max_distance_nm is None else max_distance_nm
    if not distance > 0 or max_dark_frames < 0:
        raise InputError("`max_distance_nm` must be above 0, and `max_dark_frames` not below")
    linked = link(table, distance / pixel, max_dark_frames)
    export_table(out, file_format, linked, {**facts, "linked": {"nm": distance, "dark_frames": max_dark_frames}},
                 if_exists=if_exists)  # fmt: skip
    return {
        "rows_in": len(table),
        "rows": len(linked),
        "max_distance_nm": distance,
        "mean_frames": float(linked["n"].mean()) if len(linked) else None,
    }
