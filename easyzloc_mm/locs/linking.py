"""One row for each time a molecule was on, instead of one for each frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._picasso import picasso
from easyzloc_mm._progress import silent
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.metadata import Linking
from easyzloc_mm.io.tables.registry import format_of
from easyzloc_mm.io.writing.kinds import kind_of_table
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.typing import F64, IfExists, Progress

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


@dataclass(frozen=True)
class LinkResult:
    """Linked localisations.

    Attributes
    ----------
    locs : Locs
        One row per on-time of an emitter, with ``len`` (frames from first to last) and ``n`` (rows merged).
    rows_in : int
        Rows before.
    max_distance_nm : float
        From one row of an event to the next.
    """

    locs: Locs
    rows_in: int
    max_distance_nm: float

    def as_dict(self) -> dict[str, Any]:
        """Figures for printing: ``rows_in``, ``rows``, ``max_distance_nm``, ``mean_frames``."""
        return {
            "rows_in": self.rows_in,
            "rows": len(self.locs),
            "max_distance_nm": self.max_distance_nm,
            "mean_frames": float(self.locs.table["n"].mean()) if len(self.locs) else None,
        }


def link_locs(locs: Locs, *, max_distance_nm: float | None = None, max_dark_frames: int = 1) -> LinkResult:
    """Merge the localisations of every on-time of an emitter (`link`).

    Parameters
    ----------
    locs : Locs
        With ``lpx``, ``lpy``.
    max_distance_nm : float, optional
        From one row of an event to the next; three times the median uncertainty of a distance if not given.
    max_dark_frames : int
        Frames that an emitter may be missing in between.

    Raises
    ------
    InputError
        The table has no uncertainties, or a limit is impossible.
    """
    table, pixel = locs.table, locs.pixel_size_nm
    missing = [name for name in ("lpx", "lpy") if name not in table]
    if missing:
        raise InputError(f"{locs.name} lacks {', '.join(missing)}: without uncertainties rows cannot be merged")
    usual = 3 * np.sqrt(2) * float(table[["lpx", "lpy"]].median().mean()) * pixel if len(table) else 1.0
    if max_distance_nm is None and not usual > 0:
        raise InputError(f"{locs.name} states precisions of 0: give `max_distance_nm`")
    distance = usual if max_distance_nm is None else max_distance_nm
    if not distance > 0 or max_dark_frames < 0:
        raise InputError("`max_distance_nm` must be above 0, and `max_dark_frames` not below")
    linked = link(table, distance / pixel, max_dark_frames)
    merged = locs.with_table(linked, linked=Linking(nm=distance, dark_frames=max_dark_frames))
    return LinkResult(merged, len(table), distance)


def link_run(
    run: Path,
    out: Path,
    *,
    max_distance_nm: float | None = None,
    max_dark_frames: int = 1,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a linked table (`link_locs`); the ending of `out` names the format.

    Returns
    -------
    dict
        `LinkResult.as_dict`.

    Raises
    ------
    InputError
        There is no such table, it cannot be linked, or `out` exists.
    """
    out = check_output(Path(out), kind_of_table(Path(out)), inputs=[run], if_exists=if_exists)
    format_of(out)  # an unknown ending is refused before any work
    report = progress or silent
    report(f"reading {run}", 0.0)
    locs = Locs.load(run, where=where, pixel_size_nm=pixel_size_nm)
    report(f"linking {len(locs)} localisations", 0.2)
    result = link_locs(locs, max_distance_nm=max_distance_nm, max_dark_frames=max_dark_frames)
    report(f"writing {len(result.locs)} molecules' times", 0.8)
    result.locs.save(out, if_exists=if_exists)
    return result.as_dict()
