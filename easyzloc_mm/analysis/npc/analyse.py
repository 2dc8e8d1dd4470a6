"""`npc`: nuclear pores found, judged, averaged; the paper's figures 4, 5 and 6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.analysis.npc.population import pore_data
from easyzloc_mm.analysis.npc.pores import analyse_pores, pore_table, pores_of, summarize_pores
from easyzloc_mm.analysis.npc.published import scan_bandwidths
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import check_output, whole_or_nothing
from easyzloc_mm.typing import IfExists

FIGURES = (4, 5, 6)


def npc_run(run: Path, folder: Path, *, if_exists: IfExists = "error", **options: Any) -> dict[str, Any]:
    """Find nuclear pores, measure their rings, draw them.

    Writes ``pores.csv`` (one row per pore), ``bandwidths.csv``, ``average_pore.png``, ``single_pore.png``, and the
    paper's ``figure_4.png``, ``figure_5.png``, ``figure_6.png``.

    Parameters
    ----------
    options
        As for `pore_analysis.pores_of`.

    Returns
    -------
    dict
        As `pore_population.measure_rings`, with ``pores_found``, ``two_ring_pores``, ``two_ring_share``,
        ``paper_successes``, ``paper_null_successes``, ``paper_p_value``, ``candidates_rejected``.
    """
    from easyzloc_mm.analysis.npc.figures import draw_bandwidths, draw_gallery, draw_profiles
    from easyzloc_mm.analysis.npc.pictures import draw_average, draw_single

    folder = check_output(Path(folder), Kind.PORES, if_exists=if_exists, inputs=[run])
    analysis = analyse_pores(pores_of(Path(run), **options))
    with whole_or_nothing(folder, Kind.PORES, if_exists=if_exists, inputs=[run]) as draft:
        draft.mkdir()
        pore_table(analysis).to_csv(draft / "pores.csv", index=False, float_format="%.4g")
        if len(analysis.found.centres):
            draw_average(analysis.found, draft / "average_pore.png")
            draw_single(analysis.found, draft / "single_pore.png")
        if len(analysis.data):
            scan = scan_bandwidths(analysis.data.groups())
            scan.to_csv(draft / "bandwidths.csv", index=False, float_format="%.3f")
            draw_profiles(analysis.data, draft / "figure_4.png")
            draw_bandwidths(scan, draft / "figure_5.png")
            draw_gallery(analysis, draft / "figure_6.png")
    return summarize_pores(analysis)


def figure_run(run: Path, out: Path, figure: int, *, if_exists: IfExists = "error", **options: Any) -> dict[str, Any]:
    """Draw one of the paper's figures from a table.

    Parameters
    ----------
    figure : {4, 5, 6}
        4: density along z of single pores, their two most prominent peaks and the threshold. 5: successes against the
        bandwidth of the kernel, beside structureless pores. 6: a gallery of pores, and their average.

    Raises
    ------
    InputError
        There is no such figure, or no pore to draw.
    """
    from easyzloc_mm.analysis.npc.figures import draw_bandwidths, draw_gallery, draw_profiles

    if figure not in FIGURES:
        raise InputError(f"`figure` {figure} is unknown: use {', '.join(map(str, FIGURES))}")
    out = check_output(Path(out), Kind.PICTURE, if_exists=if_exists, inputs=[run])
    if out.suffix.lower() != ".png":
        raise InputError(f"{out}: name the figure .png")
    found = pores_of(Path(run), **options)
    data = pore_data(found.table)
    if not len(data):
        raise InputError(f"{run}: no pore was found to draw ({found.rejected or 'no candidates'})")
    result: dict[str, Any] = {"out": out, "figure": figure, "pores": len(data)}
    with whole_or_nothing(out, Kind.PICTURE, if_exists=if_exists, inputs=[run]) as draft:
        if figure == 4:
            result |= draw_profiles(data, draft)
        elif figure == 5:
            scan = scan_bandwidths(data.groups())
            draw_bandwidths(scan, draft)
            at_paper = int(np.argmin(np.abs(scan["bandwidth_nm"] - 15)))
            best = scan.iloc[int(np.argmax(scan["successes"]))]
            result |= {
                "successes_at_15_nm": int(scan["successes"].iloc[at_paper]),
                "null_successes_at_15_nm": float(scan["null_successes"].iloc[at_paper]),
                "most_successes": int(best["successes"]),
                "at_bandwidth_nm": float(best["bandwidth_nm"]),
            }
        else:
            analysis = analyse_pores(found)
            draw_gallery(analysis, draft)
            result |= {name: analysis.rings[name] for name in ("ring_spacing_nm", "ring_spacing_ci_nm")}
    return result
