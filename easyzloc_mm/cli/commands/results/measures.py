"""Figures of a table: `resolution`, `report`, `npc`, `score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from easyzloc_mm.cli.commands.results.options import PixelSizeOption, RunArgument, WhereOption, beside
from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(resolution)
    app.command()(report)
    app.command()(npc)
    app.command()(score)


def resolution(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Curves: .png, .svg or .pdf.")] = None,
    where: WhereOption = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Tell precision (NeNA) per axis, Fourier ring and shell correlation with 95 % limits, and density."""
    from easyzloc_mm.analysis.resolution_output import resolution_run

    with progress_display() as show:
        result = resolution_run(
            run, out, where=where, pixel_size_nm=pixel_size_nm, if_exists=existing(overwrite), progress=show
        )
    finish(result, as_json=as_json, title="resolution")


def report(
    run: Annotated[Path, typer.Argument(help="RUN.zarr, a table of another program, or the folder of a scan.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the page; RUN_report beside, SCAN/report by default.")
    ] = None,
    figures: Annotated[str, typer.Option("--figures", help="Format of the figures: png, svg or pdf.")] = "png",
    movie: Annotated[
        Path | None, typer.Option("--movie", help="Its images, for its linearity, where they do not lie beside it.")
    ] = None,
    where: WhereOption = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """One page, with its JSON: on a run, on every field of a scan, or, of a folder of calibrations, over days."""
    from easyzloc_mm.analysis.quality.page import write_quality_report
    from easyzloc_mm.api.calibrating.trends import is_folder_of_calibrations, trends
    from easyzloc_mm.io.writing.kinds import kind_of

    if kind_of(run) is Kind.SCAN:
        plain = where is None and pixel_size_nm is None and movie is None
        _report_scan(run, out, plain=plain, overwrite=overwrite, as_json=as_json)
        return
    target = out or beside(run, "_report")
    if is_folder_of_calibrations(run):
        over_days = trends(run, target, if_exists=existing(overwrite))
        finish({**over_days, "report": target / "index.html"}, as_json=as_json, title="an instrument over days")
        return
    with progress_display() as show:
        found = write_quality_report(
            run, target, figures=figures, where=where, pixel_size_nm=pixel_size_nm, movie=movie,
            if_exists=existing(overwrite), progress=show,
        )  # fmt: skip
    shown = found.model_dump(mode="json") if as_json else found.in_short()
    finish({"out": target, **shown, "report": target / "index.html"}, as_json=as_json, title="quality")


def _report_scan(scan: Path, out: Path | None, *, plain: bool, overwrite: bool, as_json: bool) -> None:
    from easyzloc_mm.acquire.scans.results.page import REPORT, write_scan_page

    if not plain:
        raise InputError("`where`, `pixel_size_nm`, `movie` are for the report of one run: leave them out for a scan")
    # The page in the scan's own folder is always of the scan as it is now.
    found = write_scan_page(scan, out, if_exists=existing(overwrite or out is None))
    shown = found.model_dump(mode="json") if as_json else found.model_dump(exclude={"fields", "visits", "rules"})
    finish({**shown, "report": (out or scan / REPORT) / "index.html"}, as_json=as_json, title="scan")


def npc(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tables and figures; with --figure, one figure.")],
    figure: Annotated[
        int | None,
        typer.Option(
            "--figure",
            help="Only this figure of the paper. 4: density along z of single pores. 5: successes against bandwidth, "
            "beside structureless pores. 6: gallery and average.",
        ),
    ] = None,
    picks: Annotated[Path | None, typer.Option("--picks", help="Picks file of Picasso instead of searching.")] = None,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="The column `group` assigns localisations to pores.")
    ] = False,
    diameter_nm: Annotated[float, typer.Option("--diameter-nm", help="Of the rings that are searched.")] = 107.0,
    z_scale: Annotated[
        str | None,
        typer.Option(
            "--z-scale",
            help="Also tell the factor of z that puts the rings where the literature has them: nup96, nup107, or their "
            "distance in nm. Nothing is changed; the profile's focal_shift_factor is where it would go.",
        ),
    ] = None,
    z_scale_error: Annotated[
        float, typer.Option("--z-scale-error", help="Relative standard error of z's scale, for the interval.")
    ] = 0.0,
    where: WhereOption = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Find nuclear pores and measure the distance between their two rings, beside a null."""
    from easyzloc_mm.analysis.npc.outputs import figure_run, npc_run

    common: dict[str, Any] = {
        "picks": picks, "by_group": by_group, "diameter_nm": diameter_nm, "where": where,
        "pixel_size_nm": pixel_size_nm, "if_exists": existing(overwrite),
    }  # fmt: skip
    with progress_display() as show:
        if figure is not None:
            result, title = figure_run(run, out, figure, progress=show, **common), f"figure {figure}"
        else:
            found = npc_run(run, out, z_scale=z_scale, z_scale_error=z_scale_error, progress=show, **common)
            result, title = {"out": out, **found}, "nuclear pores"
    finish(result, as_json=as_json, title=title)


def score(
    run: RunArgument,
    truth: Annotated[
        Path | None,
        typer.Argument(help="True molecules: NAME.truth.parquet, RUN.records or any table; those beside RUN, if any."),
    ] = None,
    lateral_nm: Annotated[float, typer.Option("--lateral-nm", min=0.1, help="Largest lateral distance.")] = 250.0,
    axial_nm: Annotated[float, typer.Option("--axial-nm", min=0.1, help="Largest axial distance.")] = 500.0,
    border_nm: Annotated[float, typer.Option("--border-nm", min=0, help="Border that does not count.")] = 0.0,
    faintest_photons: Annotated[
        float, typer.Option("--faintest-photons", min=0, help="Molecules with fewer in a frame do not count.")
    ] = 0.0,
    offset: Annotated[bool, typer.Option("--offset/--no-offset", help="Take out the median error per axis.")] = True,
    plot: Annotated[Path | None, typer.Option("--plot", help="Figure by depth: .png, .svg, .pdf.")] = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Recall, precision, Jaccard and errors by depth against the truth, by the SMLM Challenge's rules."""
    from easyzloc_mm.analysis.scoring.picture import draw_score
    from easyzloc_mm.api.analysing.analysis import score as run_score
    from easyzloc_mm.cli.score_tables import print_score
    from easyzloc_mm.io.writing.output import check_output
    from easyzloc_mm.report.figures import check_figure

    if plot is not None:
        inputs = [run, *([truth] if truth else [])]
        check_output(check_figure(plot), Kind.PICTURE, if_exists=existing(overwrite), inputs=inputs)
    with progress_display() as show:
        show(f"pairing {run} with the truth", 0.0)
        result = run_score(
            run, truth, pixel_size_nm=pixel_size_nm, lateral_nm=lateral_nm, axial_nm=axial_nm, border_nm=border_nm,
            faintest_photons=faintest_photons, remove_offset=offset,
        )  # fmt: skip
    if plot is not None:
        draw_score(result, plot)
    finish(result.model_dump(mode="json"), as_json=as_json, title="against the truth")
    if not as_json:
        print_score(result)
