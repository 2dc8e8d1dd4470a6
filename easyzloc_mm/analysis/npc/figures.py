"""Figures of nuclear pores: the paper's, each with what the paper left out, and the average and a single pore.

4: density along z of single pores by the paper's rule. 5: successes against bandwidth, beside structureless pores.
6: a gallery of single pores from above and from the side, and their average.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.npc.find import Pores
from easyzloc_mm.analysis.npc.measure import PoreResult
from easyzloc_mm.analysis.npc.published import BANDWIDTH_NM, SPACING_NM, kernel_density, paper_peaks
from easyzloc_mm.analysis.npc.rings.data import PoreData
from easyzloc_mm.rendering.figures import depth_bar, depth_colormap, show
from easyzloc_mm.rendering.raster.canvas import VIEW_AXES, Canvas
from easyzloc_mm.rendering.views import Style
from easyzloc_mm.report.figures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

PROFILES, GALLERY = 12, 8
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#767676"
SIDE_HALF_NM, LATERAL_HALF_NM = 90.0, 100.0
LATERAL_SIGMA_NM = 5.0
RENDER_PIXEL_NM = 1.0
AVERAGE_RENDER_PIXEL_NM = 1.5
HALF_NM = 100.0
HISTOGRAM_BIN_NM = 2.5
PRECISE_SHARE = 0.5
"""Of the localisations, those whose z is known best, go into the pictures."""
KDE_NM = 8.0
SLICE_NM = 40.0


def fullest(data: PoreData, count: int) -> list[int]:
    """Pores with the most localisations: chosen by number alone, so that no figure is picked for its looks."""
    sizes = np.diff(data.begin)
    return [int(number) for number in np.argsort(sizes, kind="stable")[::-1][:count]]


def draw_profiles(data: PoreData, path: Path) -> dict[str, Any]:
    """Figure 4: the density along z of the fullest pores, peaks and threshold by the paper's rule.

    Returns
    -------
    dict
        ``shown``, ``successes_shown``.
    """
    chosen = fullest(data, PROFILES)
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    passed = 0
    with picture(path, 3.1 * columns, 2.35 * rows + 0.5) as figure:
        panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False, sharex=True)).ravel()
        for axes, number in zip(panels, chosen, strict=False):
            z = data.z[data.rows(number)]
            peaks = paper_peaks(z)
            passed += peaks.success
            middle = float(np.median(z))
            color = BLUE if peaks.success else GREY
            axes.fill_between(peaks.grid_nm - middle, 1000 * peaks.density, color=color, alpha=0.18, lw=0)
            axes.plot(peaks.grid_nm - middle, 1000 * peaks.density, color=color, lw=1.6)
            axes.plot(
                z - middle, np.full(len(z), -0.04 * 1000 * peaks.density.max()), "|", color="#333333", ms=4, alpha=0.4
            )
            axes.plot(peaks.peaks_nm - middle, 1000 * peaks.heights, "o", color=ORANGE, ms=5)
            if peaks.threshold is not None:
                axes.axhline(1000 * peaks.threshold, color=ORANGE, ls="--", lw=1)
            apart = "one peak" if peaks.spacing_nm is None else f"{peaks.spacing_nm:.0f} nm apart"
            axes.set_title(f"pore {data.names[number]}: {len(z)} locs, {apart}", fontsize=8.5, color=color)
            axes.set(xlim=(-130, 130))
            axes.tick_params(labelsize=8)
        for axes in panels[len(chosen) :]:
            axes.set_axis_off()
        figure.supxlabel("z against the pore's median (nm)", fontsize=10)
        figure.supylabel("density (per µm)", fontsize=10)
        figure.suptitle(
            f"The {len(chosen)} fullest pores by the paper's rule: kernel {BANDWIDTH_NM:g} nm, blue if the two most "
            f"prominent peaks lie {SPACING_NM[0]:g} to {SPACING_NM[1]:g} nm apart; dashed: threshold",
            fontsize=10,
        )
    return {"shown": len(chosen), "successes_shown": int(passed)}


def draw_bandwidths(scan: pd.DataFrame, path: Path) -> None:
    """Figure 5: successes against the bandwidth of the kernel, of the pores and of structureless ones."""
    pores = int(scan["pores"].iloc[0])
    with picture(path, 7.2, 4.4) as figure:
        axes = figure.subplots()
        share, null = 100 * scan["successes"] / pores, 100 * scan["null_successes"] / pores
        axes.fill_between(scan["bandwidth_nm"], null, share, where=share > null, color=BLUE, alpha=0.12, lw=0)
        axes.plot(scan["bandwidth_nm"], share, "o-", color=BLUE, label=f"these {pores} pores")
        axes.plot(scan["bandwidth_nm"], null, "s--", color=GREY, label="no structure, same spread and number")
        axes.axvline(BANDWIDTH_NM, color=ORANGE, lw=1, ls=":", label=f"the paper's bandwidth, {BANDWIDTH_NM:g} nm")
        axes.set(xlabel="kernel bandwidth (nm)", ylabel="pores that pass (%)", ylim=(0, None), xlim=(4, 31))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
        axes.set_title("Two peaks 40 to 60 nm apart, against bandwidth", fontsize=11)


def _cloud(table: pd.DataFrame, z: np.ndarray) -> pd.DataFrame:
    """One pore, or all on top of each other, as a canvas takes it."""
    narrow = np.full(len(table), LATERAL_SIGMA_NM)
    return pd.DataFrame(
        {"x_nm": table["dx"].to_numpy(), "y_nm": table["dy"].to_numpy(), "z": z, "lpx_nm": narrow, "lpy_nm": narrow,
         "lpz": np.minimum(table["lpz"].to_numpy(), 8.0)}
    )  # fmt: skip


def draw_gallery(result: PoreResult, path: Path) -> None:
    """Figure 6: the fullest pores from above and from the side, and the average of all."""
    data, fits = result.data, result.verdicts.fits
    chosen = fullest(data, GALLERY)
    table = result.found.table
    style = Style((-60.0, 60.0))
    above = (-LATERAL_HALF_NM, LATERAL_HALF_NM, -LATERAL_HALF_NM, LATERAL_HALF_NM)
    side = (-LATERAL_HALF_NM, LATERAL_HALF_NM, -SIDE_HALF_NM, SIDE_HALF_NM)
    middles = dict(zip((int(name) for name in data.names), (fit.middle_nm for fit in fits), strict=True))
    with picture(path, 14.4, 7.2, facecolor="black", dpi=150) as figure:
        grid = figure.add_gridspec(4, 6, width_ratios=(1, 1, 1, 1, 1.15, 1.15))
        panels: list[Axes] = []
        for cell, number in enumerate(chosen):
            name = int(data.names[number])
            part = table[table["pore"] == name]
            cloud = _cloud(part, part["z"].to_numpy() - middles[name])
            row, column = 2 * (cell // 4), cell % 4
            for down, (look, extent) in enumerate((("xy", above), ("xz", side))):
                axes = figure.add_subplot(grid[row + down, column])
                canvas = style.canvas(VIEW_AXES[look], extent, RENDER_PIXEL_NM)
                canvas.add(cloud[np.abs(cloud["z"]) <= SIDE_HALF_NM])
                show(axes, canvas)
                fit = fits[number]
                words = f"{len(part)} locs" if down == 0 else f"{fit.spacing_nm:.0f} ± {fit.errors['spacing']:.0f} nm"
                axes.text(0.03, 0.97, words, color="white", fontsize=8, va="top", transform=axes.transAxes)
                panels.append(axes)
        panels += _average(figure, grid, result, middles, style)
        depth_bar(figure, panels, style)


def _average(figure: Figure, grid: GridSpec, result: PoreResult, middles: dict[int, float], style: Style) -> list[Axes]:
    """All pores on top of each other, each set upright and centred by its own fit, from above and from the side."""
    table = result.found.table
    table = table[table["pore"].isin(list(middles))]
    lpz = table["lpz"].to_numpy()
    table = table[lpz <= np.median(lpz)] if len(table) else table
    leans = {int(name): fit.slope for name, fit in zip(result.data.names, result.verdicts.fits, strict=True)}
    pore = table["pore"].to_numpy()
    slope = np.array([leans[int(name)] for name in pore]).reshape(-1, 2)
    upright = table["z"].to_numpy() - np.array([middles[int(name)] for name in pore])
    upright = upright - slope[:, 0] * table["dx"].to_numpy() - slope[:, 1] * table["dy"].to_numpy()
    cloud = _cloud(table, upright)
    cloud = cloud[np.abs(cloud["z"]) <= SIDE_HALF_NM]
    out = []
    for rows, (look, extent) in (
        (slice(0, 2), ("xy", (-LATERAL_HALF_NM, LATERAL_HALF_NM, -LATERAL_HALF_NM, LATERAL_HALF_NM))),
        (slice(2, 4), ("xz", (-LATERAL_HALF_NM, LATERAL_HALF_NM, -SIDE_HALF_NM, SIDE_HALF_NM))),
    ):
        axes = figure.add_subplot(grid[rows, 4:6])
        canvas: Canvas = style.canvas(VIEW_AXES[look], extent, AVERAGE_RENDER_PIXEL_NM)
        canvas.add(cloud)
        show(axes, canvas)
        spacing, limits = result.rings.spacing_nm, result.rings.ci_nm
        words = f"average of {len(result.data)} pores" if look == "xy" else "from the side"
        if look == "xz" and spacing is not None and limits is not None:
            words += f": rings {spacing:.1f} nm apart ({limits[0]:.1f} to {limits[1]:.1f})"
        axes.text(0.02, 0.98, words, color="white", fontsize=9.5, va="top", transform=axes.transAxes)
        out.append(axes)
    return out


def draw_average(pores: Pores, path: Path) -> None:
    """Draw all pores on top of each other: from above, from the side, and their density along z.

    Each pore is centred by the trimmed mean of its own depths; no model of rings enters, so none can come out.
    """
    table = _precise(pores.table)
    depth = table["z"] - table.groupby("pore")["z"].transform(_trimmed_mean)
    with picture(path, 11, 3.9) as figure:
        above, side, along = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
        _histogram(above, table["dx"], table["dy"], "x (nm)", "y (nm)", f"{len(pores.centres)} pores from above")
        _histogram(side, table["dx"], depth, "x (nm)", "z (nm)", "from the side")
        inside = depth[np.abs(depth) <= HALF_NM].to_numpy(float)
        if len(inside):
            grid, density = kernel_density(inside, KDE_NM)
            along.plot(grid, density, color="#0072b2")
            along.fill_between(grid, density, alpha=0.15, color="#0072b2", linewidth=0)
        along.set(xlabel="z (nm)", ylabel="density", title=f"along z (kernel {KDE_NM:.0f} nm)", yticks=[])
        along.set(xlim=(-HALF_NM, HALF_NM), ylim=(0, None))


def draw_single(pores: Pores, path: Path) -> None:
    """Draw the pore with the most localisations whose z is well known."""
    table = _precise(pores.table)
    chosen = table[table["pore"] == table["pore"].value_counts().idxmax()]
    z = chosen["z"] - _trimmed_mean(chosen["z"])
    with picture(path, 8, 4) as figure:
        above, side = figure.subplots(1, 2)
        span = {"vmin": -60, "vmax": 60, "cmap": depth_colormap(), "s": 10}
        above.scatter(chosen["dx"], chosen["dy"], c=z, **span)
        above.set(title=f"one pore from above, {len(chosen)} localisations", xlabel="x (nm)", ylabel="y (nm)")
        dots = side.scatter(chosen["dx"], z, c=z, **span)
        side.set(title="the same in xz", xlabel="x (nm)", ylabel="z (nm)")
        figure.colorbar(dots, ax=side, label="z (nm)")
        for axes in (above, side):
            axes.set(xlim=(-HALF_NM, HALF_NM), ylim=(-HALF_NM, HALF_NM))
            axes.set_aspect("equal")
            axes.grid(alpha=0.3)


def _precise(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["lpz"] <= table["lpz"].quantile(PRECISE_SHARE)]


def _trimmed_mean(values: pd.Series) -> float:
    middle = float(values.median())
    return float(values[np.abs(values - middle) <= HALF_NM].mean())


def _histogram(axes: Axes, x: pd.Series, y: pd.Series, x_label: str, y_label: str, title: str) -> None:
    from scipy.ndimage import gaussian_filter

    edges = np.arange(-HALF_NM, HALF_NM + HISTOGRAM_BIN_NM, HISTOGRAM_BIN_NM)
    counts = gaussian_filter(np.histogram2d(y, x, bins=(edges, edges))[0], 1.0)
    axes.imshow(counts, origin="lower", extent=(-HALF_NM, HALF_NM, -HALF_NM, HALF_NM), cmap="magma")
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
