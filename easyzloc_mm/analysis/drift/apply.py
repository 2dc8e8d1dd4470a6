"""Drift correction of a table, its reversal, and the figure of what was taken out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._progress import part_of, silent
from easyzloc_mm.analysis.drift.estimate import estimate
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.drift import Drift
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.report.figures import picture
from easyzloc_mm.typing import IfExists, Progress

COLORS = {"x": "#0072b2", "y": "#d55e00", "z": "#009e73"}


def apply_drift(table: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """Subtract the drift of each localisation's frame; positions keep their mean."""
    return _moved(table, drift, -1.0)


def undo_drift(table: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """Add the drift back that `apply_drift` took out."""
    return _moved(table, drift, 1.0)


def _moved(table: pd.DataFrame, drift: pd.DataFrame, sign: float) -> pd.DataFrame:
    moved = table.copy()
    number = table["frame"].to_numpy(np.int64)
    for axis in [name for name in "xyz" if name in table]:
        shift = drift[axis].to_numpy(np.float64)[number]
        moved[axis] = (table[axis].to_numpy(float) + sign * shift).astype(table[axis].dtype)
    return moved


def undrift(locs: Locs, drift: Drift) -> Locs:
    """Return a table with a drift taken out of it; `restore` is the way back.

    Parameters
    ----------
    locs : Locs
        Localisations as they were recorded.
    drift : Drift
        As `estimate` gives it for these localisations.
    """
    changed = locs.with_table(
        apply_drift(locs.table, drift.table),
        drift_corrected=True,
        corrected_from=None if locs.source is None else locs.source.name,
    )
    return replace(changed, drift=drift)


def restore(locs: Locs) -> Locs:
    """Return a corrected table with its drift put back: the localisations as they were recorded.

    Raises
    ------
    InputError
        The table keeps no drift.
    """
    if locs.drift is None:
        raise InputError(f"{locs.name} holds no drift: give a run that `undrift` wrote")
    table = undo_drift(locs.table, locs.drift.table)
    return replace(locs.with_table(table, drift_corrected=False, corrected_from=None), drift=None)


def undrift_run(
    run: Path,
    out: Path,
    *,
    method_xy: str = "auto",
    method_z: str = "auto",
    fiducials: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a copy of a table with drift taken out, and the drift with it.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``, or a table of another program.
    out : Path
        A new ``RUN.zarr``.
    method_xy, method_z, fiducials
        As for `estimate`.
    pixel_size_nm : float, optional
        Camera pixel, for tables that do not say.
    if_exists : {'error', 'overwrite'}
        What becomes of an `out` that is there already.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    dict
        `summarize_drift` of it, and ``localizations``.

    Raises
    ------
    InputError
        There is no such run, it was corrected already, or a method that was asked for cannot work on it.
    """
    run, out, report = Path(run), Path(out), progress or silent
    report(f"reading {run.name}", 0.0)
    locs = Locs.load(run, pixel_size_nm=pixel_size_nm)
    _check_zarr(out, run, if_exists)
    estimating = part_of(report, 0.05, 0.95)
    drift = estimate(locs, method_xy=method_xy, method_z=method_z, fiducials=fiducials, progress=estimating)
    report(f"writing {out.name}", 0.95)
    undrift(locs, drift).save(out, if_exists=if_exists)
    return {"localizations": len(locs), **summarize_drift(drift, locs.pixel_size_nm)}


def undo_run(run: Path, out: Path, *, if_exists: IfExists = "error") -> dict[str, Any]:
    """Write a copy of a corrected run with its drift put back.

    Returns
    -------
    dict
        ``localizations``, ``undone_xy``, ``undone_z`` (the methods).

    Raises
    ------
    InputError
        The run holds no drift.
    """
    run, out = Path(run), Path(out)
    locs = Locs.load(run)
    restored = restore(locs)
    _check_zarr(out, run, if_exists)
    restored.save(out, if_exists=if_exists)
    record = locs.drift.record if locs.drift is not None else None
    return {
        "localizations": len(locs),
        "undone_xy": record.method_xy if record else None,
        "undone_z": record.method_z if record else None,
    }


def summarize_drift(drift: Drift, pixel_size_nm: float) -> dict[str, Any]:
    """Figures of a drift, for printing.

    Returns
    -------
    dict
        ``method_xy``, ``method_z``, ``reason_xy``, ``reason_z``, ``markers``, ``sharpness``; ``range_x_nm``,
        ``range_y_nm``, ``range_z_nm`` (peak to peak).
    """
    record = drift.record.model_dump(include={"method_xy", "method_z", "reason_xy", "reason_z", "markers", "sharpness"})
    return {**record, **{f"range_{axis}_nm": value for axis, value in drift.range_nm(pixel_size_nm).items()}}


def _check_zarr(out: Path, run: Path, if_exists: IfExists) -> None:
    if out.suffix.lower() != ".zarr":
        raise InputError(f"{out}: name the result .zarr, which keeps the drift with it; `export` writes other formats")
    check_output(out, Kind.RUN, if_exists=if_exists, inputs=[run])


def draw_drift(drift: Drift, pixel_size_nm: float, out: Path) -> None:
    """Draw a drift beside the paths that the other methods estimated.

    Parameters
    ----------
    drift : Drift
    pixel_size_nm : float
        Camera pixel.
    out : Path
        A .png.
    """
    record = drift.record
    with picture(out, 11, 3.4) as figure:
        for number, (axes, axis) in enumerate(zip(figure.subplots(1, 3), "xyz", strict=True)):
            for name, other in record.others.items():
                kind, method = name.split(" ", 1)
                if (axis == "z") == (kind == "z"):
                    values = np.array(other.nm)[:, 0 if axis == "z" else number]
                    axes.plot(np.arange(len(values)) * other.step, values, lw=0.9, alpha=0.7, label=method)
            taken = drift.table[axis].to_numpy() * (1.0 if axis == "z" else pixel_size_nm)
            axes.plot(drift.table["frame"], taken, color=COLORS[axis], lw=2.2, label="taken out")
            axes.set(xlabel="frame", ylabel=f"drift in {axis} (nm)")
            axes.grid(alpha=0.25)
            if len(axes.lines) > 1:
                axes.legend(fontsize=7.5, frameon=False)
        same = record.method_xy == record.method_z
        figure.suptitle(
            f"x, y, z: {record.method_xy}" if same else f"x, y: {record.method_xy}\nz: {record.method_z}", fontsize=8.5
        )
