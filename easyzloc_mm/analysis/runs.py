"""The analyses on a ``RUN.zarr``, as the commands call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.drift import apply_drift, estimate_drift
from easyzloc_mm.analysis.render import depth_colours, draw_depth, in_nm, picture_pixel_nm, usual_depths
from easyzloc_mm.errors import InputError
from easyzloc_mm.quiet import picasso
from easyzloc_mm.store.drift import read_drift, write_drift
from easyzloc_mm.store.exports import export_table
from easyzloc_mm.store.localizations import LocalizationWriter, read_localizations
from easyzloc_mm.store.output import check_output, whole_or_nothing
from easyzloc_mm.store.pictures import picture

SLICE_WIDTH_NM, SLICE_DEPTH_NM = 4000.0, 400.0
FRC_WINDOW_PX = 64


def undrift_run(run: Path, out: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write a copy of a run's table with drift taken out, and the drift beside it.

    Returns
    -------
    dict
        ``localizations``, ``method_xy``, ``method_z``, ``range_x_nm``, ``range_y_nm``, ``range_z_nm``.

    Raises
    ------
    InputError
        There is no such run, or it was corrected already.
    """
    run, out = Path(run), Path(out)
    table, facts = read_localizations(run)
    if facts.get("drift_corrected"):
        raise InputError(f"{run} is drift-corrected already: give the original run")
    check_output(out, overwrite=overwrite)
    if out.exists() and out.resolve() == run.resolve():
        raise InputError(f"{out} is the run itself: choose another --out")
    pixel = float(facts["pixel_size_nm"])
    drift = estimate_drift(table, _frames(table, facts), (int(facts["height_px"]), int(facts["width_px"])), pixel)
    corrected = apply_drift(table, drift.table)
    with whole_or_nothing(out, overwrite=overwrite) as draft:
        attributes = {**facts, "drift_corrected": True, "corrected_from": run.name}
        with LocalizationWriter(draft, attributes, columns=list(table.columns)) as writer:
            writer.append(corrected)
        write_drift(draft, drift.table, {"method_xy": drift.method_xy, "method_z": drift.method_z})
    spans = {axis: float(np.ptp(drift.table[axis])) for axis in "xyz"}
    return {
        "localizations": len(corrected),
        "method_xy": drift.method_xy,
        "method_z": drift.method_z,
        "range_x_nm": spans["x"] * pixel,
        "range_y_nm": spans["y"] * pixel,
        "range_z_nm": spans["z"],
    }


def _frames(table: pd.DataFrame, facts: dict[str, Any]) -> int:
    """Frames of a run, also where its writer was killed before it could say."""
    seen = int(table["frame"].max()) + 1 if len(table) else 1
    return max(seen, int(facts.get("frames", 0)) + int(facts.get("frames_lost", 0)))


def _believed(run: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    table, facts = read_localizations(Path(run))
    if "z" not in table:
        raise InputError(f"{run} has no z: localise it with a model")
    believed = in_nm(table, float(facts["pixel_size_nm"]))
    if believed.empty:
        raise InputError(f"{run} has no localisation whose z can be believed: nothing to show")
    return believed, facts


def render_run(
    run: Path, out: Path, *, z_range_nm: tuple[float, float] | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Draw the depth-coloured image: .png for people, .tif for the values.

    A .tif holds the number of localisations and their mean z (nm) per pixel, two pages of 32-bit floats.
    """
    out = check_output(Path(out), overwrite=overwrite)
    if out.suffix.lower() not in (".png", ".tif", ".tiff"):
        raise InputError(f"{out}: name the picture .png or .tif")
    if z_range_nm is not None and z_range_nm[0] >= z_range_nm[1]:
        raise InputError(f"--z-range-nm {z_range_nm[0]:g} {z_range_nm[1]:g}: give the lower depth first")
    table, facts = _believed(run)
    pixel = float(facts["pixel_size_nm"])
    extent = (-0.5 * pixel, (facts["width_px"] - 0.5) * pixel, -0.5 * pixel, (facts["height_px"] - 0.5) * pixel)
    depths = z_range_nm or usual_depths(table)
    fine = picture_pixel_nm(extent[1] - extent[0], extent[3] - extent[2])
    with whole_or_nothing(out, overwrite=overwrite) as draft:
        if out.suffix.lower() == ".png":
            draw_depth(_with_suffix(draft, out), table, extent, depths)
        else:
            _write_values(_with_suffix(draft, out), table, extent, fine)
        _with_suffix(draft, out).rename(draft)
    return {
        "out": out, "localizations": len(table), "pixel_nm": fine, "z_from_nm": depths[0], "z_to_nm": depths[1],
    }  # fmt: skip


def _with_suffix(draft: Path, out: Path) -> Path:
    """Writers tell the format by the ending, which a draft's name lacks."""
    return draft.with_name(draft.name + out.suffix)


def _write_values(path: Path, table: pd.DataFrame, extent: tuple[float, float, float, float], pixel: float) -> None:
    import tifffile

    left, right, top, bottom = extent
    shape = int(np.ceil((bottom - top) / pixel)), int(np.ceil((right - left) / pixel))
    span = ((top, bottom), (left, right))
    counts = np.histogram2d(table["y_nm"], table["x_nm"], bins=shape, range=span)[0]
    depth = np.histogram2d(table["y_nm"], table["x_nm"], bins=shape, range=span, weights=table["z"])[0]
    pages = np.stack([counts, depth / np.maximum(counts, 1)]).astype(np.float32)
    tifffile.imwrite(
        path, pages, photometric="minisblack", resolution=(1e4 / (pixel / 1000),) * 2, resolutionunit="CENTIMETER"
    )


def slice_run(run: Path, out: Path) -> None:
    """Draw an xz slice through the middle of the densest part of the field, depth in true proportion."""
    table, _ = _believed(run)
    low, high = usual_depths(table)
    rows = np.histogram(
        table["y_nm"], bins=np.arange(table["y_nm"].min(), table["y_nm"].max() + SLICE_DEPTH_NM, SLICE_DEPTH_NM)
    )
    y = float(rows[1][np.argmax(rows[0])])
    band = table[table["y_nm"].between(y, y + SLICE_DEPTH_NM)]
    columns = np.histogram(band["x_nm"], bins=np.arange(table["x_nm"].min(), table["x_nm"].max() + 500, 500))
    width = min(SLICE_WIDTH_NM, float(np.ptp(table["x_nm"])))
    middle = float(columns[1][np.argmax(np.convolve(columns[0], np.ones(16), "same"))])
    band = band[np.abs(band["x_nm"] - middle) <= width / 2]
    with picture(out, 10.5, 3.0, facecolor="black") as figure:
        axes = figure.subplots()
        axes.set_facecolor("black")
        x_um = (band["x_nm"] - middle) / 1000
        axes.scatter(x_um, band["z"], c=band["z"], cmap=depth_colours(), vmin=low, vmax=high, s=4, linewidths=0)
        axes.set(ylim=(low, high), xlim=(-width / 2000, width / 2000))
        axes.set_aspect(1 / 1000)
        axes.set_xlabel(f"x (µm), {SLICE_DEPTH_NM:.0f} nm thick slice", color="white")
        axes.set_ylabel("z (nm)", color="white")
        axes.tick_params(colors="white")


def draw_drift(run: Path, out: Path) -> None:
    """Draw the drift that `undrift_run` took out of `run`."""
    _, facts = read_localizations(Path(run))
    drift, _ = read_drift(Path(run))
    pixel = float(facts["pixel_size_nm"])
    with picture(out, 8, 3.2) as figure:
        axes = figure.subplots()
        for axis, scale in (("x", pixel), ("y", pixel), ("z", 1.0)):
            axes.plot(drift["frame"], drift[axis] * scale, label=axis)
        axes.set(xlabel="frame", ylabel="drift (nm)")
        axes.grid(alpha=0.3)
        axes.legend()


def npc_run(run: Path, folder: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Find nuclear pores, measure their rings, draw them.

    Writes ``pores.csv`` (x, y, localisations, depth of every pore), ``average_pore.png`` and ``single_pore.png``.

    Returns
    -------
    dict
        As `pores.measure_rings`, with ``candidates_rejected``.
    """
    from easyzloc_mm.analysis.pore_pictures import draw_average, draw_single
    from easyzloc_mm.analysis.pores import find_pores, measure_rings

    table, _ = _believed(run)
    found = find_pores(table)
    result = {**measure_rings(found), "candidates_rejected": found.rejected}
    with whole_or_nothing(Path(folder), overwrite=overwrite) as draft:
        draft.mkdir()
        groups = found.table.groupby("pore")["z"]
        pd.DataFrame(
            {
                "x_nm": found.centres[:, 0],
                "y_nm": found.centres[:, 1],
                "localizations": groups.size().to_numpy(),
                "median_z_nm": groups.median().to_numpy(),
            }
        ).to_csv(draft / "pores.csv", index=False, float_format="%.2f")
        if len(found.centres):
            draw_average(found, draft / "average_pore.png")
            draw_single(found, draft / "single_pore.png")
    return result


def resolution_run(run: Path) -> dict[str, Any]:
    """Localisation precision by nearest neighbours in adjacent frames (NeNA), and Fourier ring correlation (Picasso).

    The latter over the densest 64x64 pixels.

    Returns
    -------
    dict
        ``nena_xy_nm``, ``median_lpx_nm``, ``median_lpz_nm``, ``frc_nm``; None where it cannot be told.
    """
    postprocess = picasso("postprocess")
    table, facts = read_localizations(Path(run))
    pixel = float(facts["pixel_size_nm"])
    if len(table) < 1000:
        raise InputError(f"{run} has {len(table)} localisations: 1000 or more are needed to tell its resolution")
    height, width = int(facts["height_px"]), int(facts["width_px"])
    info = [{"Width": width, "Height": height, "Frames": _frames(table, facts), "Pixelsize": pixel}]
    locs = table.drop(columns=[name for name in ("z", "lpz", "z_flag") if name in table])
    try:
        nena = float(postprocess.nena(locs, info)[1]) * pixel
    except (RuntimeError, ValueError):
        nena = None
    try:
        frc = float(postprocess.frc(locs, info, _densest_window(locs, height, width))["resolution"])
    except (RuntimeError, ValueError, KeyError, IndexError):
        frc = None
    return {
        "localizations": len(table),
        "nena_xy_nm": nena,
        "median_lpx_nm": float(table["lpx"].median()) * pixel,
        "median_lpz_nm": float(table["lpz"].median()) if "lpz" in table else None,
        "frc_nm": frc,
    }


def _densest_window(locs: pd.DataFrame, height: int, width: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Viewport with the most localisations: Picasso renders it so finely that a whole field would fill the memory."""
    edge = min(FRC_WINDOW_PX, height, width)
    counts, rows, columns = np.histogram2d(
        locs["y"], locs["x"], bins=(height // edge, width // edge), range=((0, height), (0, width))
    )
    row, column = np.unravel_index(int(np.argmax(counts)), counts.shape)
    top, left = float(rows[row]), float(columns[column])
    return (top, left), (top + edge, left + edge)


def export_run(run: Path, out: Path, file_format: str, *, overwrite: bool = False) -> dict[str, Any]:
    """Write a run's table for another program (`store.exports`); ``rows`` says how many were written."""
    table, facts = read_localizations(Path(run))
    rows = export_table(Path(out), file_format, table, facts, overwrite=overwrite)
    return {"rows": rows, "rows_in_run": len(table)}
