"""`undrift`: a new version of a table with drift taken out, the way back, and the picture of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.analysis.drift.estimate import Drift, apply_drift, estimate_drift, undo_drift
from easyzloc_mm.analysis.drift.fiducials import parse_fiducials
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import check_output, whole_or_nothing
from easyzloc_mm.io.runs.drift import read_drift, write_drift
from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.tables.imports import read_table
from easyzloc_mm.locs.table import frames_of, load
from easyzloc_mm.report.figures import picture
from easyzloc_mm.typing import IfExists

PLOTTED_POINTS = 400
COLORS = {"x": "#0072b2", "y": "#d55e00", "z": "#009e73"}


def undrift_run(
    run: Path,
    out: Path,
    *,
    method_xy: str = "auto",
    method_z: str = "auto",
    fiducials: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
) -> dict[str, Any]:
    """Write a copy of a table with drift taken out, and the drift beside it.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``, or a table of another program.
    out : Path
        A new ``RUN.zarr``.
    method_xy, method_z : str
        `drift.METHODS_XY`, `drift.METHODS_Z`.
    fiducials : str, optional
        Markers: a picks file of Picasso, or ``x,y;x,y`` (px).

    Returns
    -------
    dict
        ``localizations``, ``method_xy``, ``method_z``, ``reason_xy``, ``reason_z``, ``markers``, ``sharpness``,
        ``range_x_nm``, ``range_y_nm``, ``range_z_nm``.

    Raises
    ------
    InputError
        There is no such run, it was corrected already, or a method that was asked for cannot work on it.
    """
    run, out = Path(run), Path(out)
    table, facts = load(run, pixel_size_nm=pixel_size_nm)
    if facts.get("drift_corrected"):
        raise InputError(f"{run} is drift-corrected already: give the original run, or `undo`")
    _check_zarr(out, run, if_exists)
    pixel = float(facts["pixel_size_nm"])
    drift = estimate_drift(
        table,
        frames_of(table, facts),
        (int(facts["height_px"]), int(facts["width_px"])),
        pixel,
        method_xy=method_xy,
        method_z=method_z,
        fiducials=parse_fiducials(fiducials),
    )
    corrected = apply_drift(table, drift.table)
    told = {name: getattr(drift, name) for name in ("method_xy", "method_z", "reason_xy", "reason_z", "markers")}
    with whole_or_nothing(out, Kind.RUN, if_exists=if_exists, inputs=[run]) as draft:
        with LocalizationWriter(draft, {**facts, "drift_corrected": True, "corrected_from": run.name}) as writer:
            writer.append(corrected)
        write_drift(draft, drift.table, {**told, "sharpness": drift.sharpness, "others": _thinned(drift)})
    spans = {axis: float(np.ptp(drift.table[axis])) for axis in "xyz"}
    return {
        "localizations": len(corrected),
        **told,
        "sharpness": drift.sharpness,
        "range_x_nm": spans["x"] * pixel,
        "range_y_nm": spans["y"] * pixel,
        "range_z_nm": spans["z"],
    }


def undo_run(run: Path, out: Path, *, if_exists: IfExists = "error") -> dict[str, Any]:
    """Write a copy of a corrected run with its drift put back: the localisations as they were.

    Raises
    ------
    InputError
        The run holds no drift.
    """
    run, out = Path(run), Path(out)
    table, facts = read_table(run)
    drift, told = read_drift(run)
    _check_zarr(out, run, if_exists)
    kept = {name: value for name, value in facts.items() if name not in ("drift_corrected", "corrected_from")}
    with (
        whole_or_nothing(out, Kind.RUN, if_exists=if_exists, inputs=[run]) as draft,
        LocalizationWriter(draft, kept) as writer,
    ):
        writer.append(undo_drift(table, drift))
    return {"localizations": len(table), "undone_xy": told.get("method_xy"), "undone_z": told.get("method_z")}


def _check_zarr(out: Path, run: Path, if_exists: IfExists) -> None:
    if out.suffix.lower() != ".zarr":
        raise InputError(f"{out}: name the result .zarr, which keeps the drift with it; `export` writes other formats")
    check_output(out, Kind.RUN, if_exists=if_exists, inputs=[run])


def _thinned(drift: Drift) -> dict[str, Any]:
    """Paths that were not taken, as the picture needs them."""
    out = {}
    for name, path in drift.others.items():
        step = max(1, len(path) // PLOTTED_POINTS)
        out[name] = {"step": step, "nm": np.round(path[::step], 2).tolist()}
    return out


def draw_drift(run: Path, out: Path) -> None:
    """Draw the drift that `undrift_run` took out of `run`, beside what the other ways would have said."""
    _, facts = read_table(Path(run))
    drift, told = read_drift(Path(run))
    pixel = float(facts["pixel_size_nm"])
    with picture(out, 11, 3.4) as figure:
        for number, (axes, axis) in enumerate(zip(figure.subplots(1, 3), "xyz", strict=True)):
            for name, other in dict(told.get("others", {})).items():
                kind, way = name.split(" ", 1)
                if (axis == "z") == (kind == "z"):
                    values = np.array(other["nm"])[:, 0 if axis == "z" else number]
                    axes.plot(np.arange(len(values)) * other["step"], values, lw=0.9, alpha=0.7, label=way)
            taken = drift[axis].to_numpy() * (1.0 if axis == "z" else pixel)
            axes.plot(drift["frame"], taken, color=COLORS[axis], lw=2.2, label="taken out")
            axes.set(xlabel="frame", ylabel=f"drift in {axis} (nm)")
            axes.grid(alpha=0.25)
            if len(axes.lines) > 1:
                axes.legend(fontsize=7.5, frameon=False)
        along, deep = (str(told.get(name, "")) for name in ("method_xy", "method_z"))
        said = f"x, y, z: {along}" if along == deep else f"x, y: {along}\nz: {deep}"
        figure.suptitle(said, fontsize=8.5)
