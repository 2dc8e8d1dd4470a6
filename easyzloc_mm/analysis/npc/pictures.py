"""Pictures of nuclear pores: the average of all, and a single one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde

from easyzloc_mm.analysis.npc.find import Pores
from easyzloc_mm.rendering.figures import depth_colormap
from easyzloc_mm.report.figures import picture

HALF_NM = 100.0
RENDER_PIXEL_NM = 2.5
PRECISE_SHARE = 0.5
"""Of the localisations, those whose z is known best, go into the pictures."""
KDE_NM = 8.0
SLICE_NM = 40.0


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
        grid = np.arange(-HALF_NM, HALF_NM + 1)
        inside = depth[np.abs(depth) <= HALF_NM].to_numpy()
        density = gaussian_kde(inside, bw_method=KDE_NM / max(float(inside.std()), 1e-9))(grid)
        along.plot(grid, density, color="#0072b2")
        along.fill_between(grid, density, alpha=0.15, color="#0072b2", linewidth=0)
        along.set(
            xlabel="z (nm)", ylabel="density", title=f"along z (kernel {KDE_NM:.0f} nm)", ylim=(0, None), yticks=[]
        )


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


def _histogram(axes: object, x: pd.Series, y: pd.Series, x_label: str, y_label: str, title: str) -> None:
    from scipy.ndimage import gaussian_filter

    edges = np.arange(-HALF_NM, HALF_NM + RENDER_PIXEL_NM, RENDER_PIXEL_NM)
    counts = gaussian_filter(np.histogram2d(y, x, bins=(edges, edges))[0], 1.0)
    axes.imshow(counts, origin="lower", extent=(-HALF_NM, HALF_NM, -HALF_NM, HALF_NM), cmap="magma")  # type: ignore[attr-defined]
    axes.set(xlabel=x_label, ylabel=y_label, title=title)  # type: ignore[attr-defined]
