"""Resolution of a file, and its figure: correlation curves, and the distributions of precision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from easyzloc_mm._progress import part_of, silent
from easyzloc_mm.analysis.resolution import CONE, FRC, FSC, SIGMA_COLUMNS, ResolutionResult, measure_resolution
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, whole_or_nothing
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.report.figures import check_figure, picture
from easyzloc_mm.typing import IfExists, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {FRC: "#000000", FSC: "#767676", f"{CONE} x": "#0072b2", f"{CONE} y": "#d55e00", f"{CONE} z": "#009e73"}


def resolution_run(
    run: Path,
    out: Path | None = None,
    *,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Determine the resolution of a table; `out` (.png) shows the curves and distributions.

    Returns
    -------
    dict
        `ResolutionResult.as_dict`, and ``out`` where a figure was drawn.

    Raises
    ------
    InputError
        There is no such table, or it has too few localisations.
    """
    if out is not None:
        out = check_output(Path(out), Kind.PICTURE, if_exists=if_exists, inputs=[run])
        check_figure(out)
    report = progress or silent
    report(f"reading {run}", 0.0)
    locs = Locs.load(run, where=where, pixel_size_nm=pixel_size_nm)
    result = measure_resolution(locs, progress=part_of(report, 0.1, 0.9))
    if out is None:
        return result.as_dict()
    with whole_or_nothing(out, Kind.PICTURE, if_exists=if_exists) as draft:
        draw_resolution(draft, locs.nm, result)
    return {**result.as_dict(), "out": out}


def draw_resolution(path: Path, table: pd.DataFrame, result: ResolutionResult) -> None:
    """Draw the correlation curves with their 95 % limits, and the distributions of precision.

    Parameters
    ----------
    path : Path
        A .png.
    table : DataFrame
        `Locs.nm` of the localisations.
    result : ResolutionResult
        Of the same.
    """
    with picture(path, 11.5, 4.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_curves(left, result)
        _draw_precision(right, table, result)


def _draw_curves(axes: Axes, result: ResolutionResult) -> None:
    crossings = {FRC: result.frc, FSC: result.fsc, **{f"{CONE} {a}": c for a, c in result.fsc_axes.items()}}
    for name, curve in result.curves.items():
        smooth, sigma = curve.smooth()
        value = crossings[name].nm
        label = f"{name}: {value:.0f} nm" if value else f"{name}: not reached"
        per_um, band = 1000 * curve.frequency, 1.96 * sigma
        axes.plot(per_um, smooth, color=COLORS[name], label=label, lw=1.4)
        axes.fill_between(per_um, smooth - band, smooth + band, color=COLORS[name], alpha=0.12, lw=0)
    axes.axhline(1 / 7, color="#999999", ls="--", lw=0.9)
    axes.set(xlabel="spatial frequency (per µm)", ylabel="correlation of the halves", ylim=(-0.15, 1.05))
    axes.set_xlim(0, None)
    axes.legend(frameon=False, fontsize=8.5)
    axes.set_title("dashed: 1/7; bands: 95 %", fontsize=9.5)


def _draw_precision(axes: Axes, table: pd.DataFrame, result: ResolutionResult) -> None:
    columns = {axis: SIGMA_COLUMNS[axis] for axis in result.axes}
    top = float(np.percentile(table[list(columns.values())], 98))
    for axis, column in columns.items():
        nena = result.axes[axis].nena_nm
        axes.hist(
            table[column],
            bins=list(np.linspace(0, top, 70)),
            histtype="step",
            lw=1.5,
            density=True,
            label=f"{axis}: median {table[column].median():.1f} nm" + (f", NeNA {nena:.1f}" if nena else ""),
            color=COLORS[f"{CONE} {axis}"],
        )
    axes.set(xlabel="uncertainty of a localisation (nm)", yticks=[], ylabel="density")
    axes.legend(frameon=False, fontsize=8.5)
    axes.set_title(f"{result.local_density_per_um2:,.0f} localisations per µm² where there are any", fontsize=9.5)
