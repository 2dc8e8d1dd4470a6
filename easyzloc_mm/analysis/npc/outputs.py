"""Files of a pore analysis: tables, and the paper's figures 4, 5 and 6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._progress import part_of, silent
from easyzloc_mm.analysis.npc.find import Pores
from easyzloc_mm.analysis.npc.measure import PoreResult, find_in_locs, measure_pores
from easyzloc_mm.analysis.npc.published import scan_bandwidths
from easyzloc_mm.analysis.npc.rings.data import pore_data
from easyzloc_mm.analysis.npc.z_scale import reference_spacing
from easyzloc_mm.analysis.npc.z_scale import z_scale as scale_of_z
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, whole_or_nothing
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.report.figures import check_figure
from easyzloc_mm.typing import IfExists, Progress

FIGURES = (4, 5, 6)


def npc_run(
    run: Path,
    folder: Path,
    *,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
    z_scale: str | None = None,
    z_scale_error: float = 0.0,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Find nuclear pores, measure their rings, draw them.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``, or a table of another program.
    folder : Path
        Receives what `write_pores` writes.
    where : str, optional
        Condition on the rows.
    pixel_size_nm : float, optional
        Camera pixel, for tables that do not say.
    if_exists : {'error', 'overwrite'}
        What becomes of a `folder` that is there already.
    z_scale : str, optional
        Protein that is labelled, or the distance of its rings (nm): gives the factor of z that would put them there
        (`easyzloc_mm.analysis.npc.z_scale.z_scale`). Nothing is multiplied by it.
    z_scale_error : float
        As for `measure_pores`.
    progress : callable, optional
        Given (message, fraction).
    options
        As for `find_in_locs`.

    Returns
    -------
    dict
        `PoreResult.as_dict`, ``alarms`` (what must not be overlooked), and the figures of `z_scale`.

    Raises
    ------
    InputError
        As `find_in_locs`, or `z_scale` is not understood.
    """
    if z_scale is not None:
        reference_spacing(z_scale)
    folder = check_output(Path(folder), Kind.PORES, if_exists=if_exists, inputs=[run])
    report = progress or silent
    locs, found = _found(run, report, where=where, pixel_size_nm=pixel_size_nm, **options)
    result = measure_pores(found, z_scale_error=z_scale_error, progress=part_of(report, 0.2, 0.8))
    report("drawing", 0.8)
    write_pores(result, folder, if_exists=if_exists)
    figures = result.as_dict()
    if z_scale is not None:
        factor = locs.metadata.focal_shift_factor
        figures |= scale_of_z(result.rings, z_scale, focal_shift_factor=factor)
        if locs.metadata.depth_scale is not None:  # z was scaled by depth: no one factor takes its place
            figures["suggested_focal_shift_factor"] = None
    return {**figures, "alarms": [] if result.why_not is None else [result.why_not]}


def _found(
    run: Path, report: Progress, *, where: str | None, pixel_size_nm: float | None, **options: Any
) -> tuple[Locs, Pores]:
    report(f"reading {run}", 0.0)
    locs = Locs.load(run, where=where, pixel_size_nm=pixel_size_nm)
    report(f"looking for pores among {len(locs)} localisations", 0.1)
    return locs, find_in_locs(locs, **options)


def write_pores(result: PoreResult, folder: Path, *, if_exists: IfExists = "error") -> None:
    """Write ``pores.csv`` (one row per pore), ``bandwidths.csv`` and the figures.

    The figures are ``average_pore.png``, ``single_pore.png`` and the paper's ``figure_4.png``, ``figure_5.png``,
    ``figure_6.png``.
    """
    from easyzloc_mm.analysis.npc.figures import (
        draw_average,
        draw_bandwidths,
        draw_gallery,
        draw_profiles,
        draw_single,
    )

    with whole_or_nothing(folder, Kind.PORES, if_exists=if_exists) as draft:
        draft.mkdir()
        result.table.to_csv(draft / "pores.csv", index=False, float_format="%.4g")
        if len(result.found.centres):
            draw_average(result.found, draft / "average_pore.png")
            draw_single(result.found, draft / "single_pore.png")
        if len(result.data):
            scan = scan_bandwidths(result.data.groups())
            scan.to_csv(draft / "bandwidths.csv", index=False, float_format="%.3f")
            draw_profiles(result.data, draft / "figure_4.png")
            draw_bandwidths(scan, draft / "figure_5.png")
            draw_gallery(result, draft / "figure_6.png")


def figure_run(
    run: Path,
    out: Path,
    figure: int,
    *,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Draw one of the paper's figures from a table.

    Parameters
    ----------
    figure : {4, 5, 6}
        4: density along z of single pores, their two most prominent peaks and the threshold. 5: successes against the
        bandwidth of the kernel, beside structureless pores. 6: a gallery of pores, and their average.
    progress : callable, optional
        Given (message, fraction).
    options
        As for `find_in_locs`.

    Returns
    -------
    dict
        ``out``, ``figure``, ``pores``, and the figures that the drawing shows.

    Raises
    ------
    InputError
        There is no such figure, or no pore to draw.
    """
    from easyzloc_mm.analysis.npc.figures import draw_bandwidths, draw_gallery, draw_profiles

    if figure not in FIGURES:
        raise InputError(f"`figure` {figure} is unknown: use {', '.join(map(str, FIGURES))}")
    out = check_output(Path(out), Kind.PICTURE, if_exists=if_exists, inputs=[run])
    check_figure(out)
    report = progress or silent
    _, found = _found(run, report, where=where, pixel_size_nm=pixel_size_nm, **options)
    report(f"figure {figure}", 0.3)
    data = pore_data(found.table)
    if not len(data):
        raise InputError(f"{run}: no pore was found to draw ({found.rejected or 'no candidates'})")
    shown: dict[str, Any] = {"out": out, "figure": figure, "pores": len(data)}
    with whole_or_nothing(out, Kind.PICTURE, if_exists=if_exists, inputs=[run]) as draft:
        if figure == 4:
            shown |= draw_profiles(data, draft)
        elif figure == 5:
            scan = scan_bandwidths(data.groups())
            draw_bandwidths(scan, draft)
            at_paper = int(np.argmin(np.abs(scan["bandwidth_nm"] - 15)))
            best = scan.iloc[int(np.argmax(scan["successes"]))]
            shown |= {
                "successes_at_15_nm": int(scan["successes"].iloc[at_paper]),
                "null_successes_at_15_nm": float(scan["null_successes"].iloc[at_paper]),
                "most_successes": int(best["successes"]),
                "at_bandwidth_nm": float(best["bandwidth_nm"]),
            }
        else:
            result = measure_pores(found)
            draw_gallery(result, draft)
            shown |= {"ring_spacing_nm": result.rings.spacing_nm, "ring_spacing_ci_nm": result.rings.ci_nm}
    return shown
