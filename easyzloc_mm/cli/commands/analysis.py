"""From a localisation table to biology: drift, pictures, pores, resolution, quality, scores, linking, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, ProfileOption, existing, finish
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind

RunArgument = Annotated[
    Path, typer.Argument(help="RUN.zarr, or a table of another program: .hdf5, .csv, .txt or .parquet.")
]
WhereOption = Annotated[
    str | None, typer.Option("--where", help='Only rows for which this holds: "lpz < 40 and z_flag == 0".')
]
PixelSizeOption = Annotated[
    float | None, typer.Option("--pixel-size-nm", help="Camera pixel, for tables that do not say.")
]
ZRangeOption = Annotated[tuple[float, float] | None, typer.Option("--z-range-nm", help="Depths that the colours span.")]
ColormapOption = Annotated[
    str,
    typer.Option(
        "--colormap", "--colours", help="depth (equal lightness), or a map of matplotlib: viridis, cividis, ..."
    ),
]


DOUBTFUL = {"flagged": "carry a z_flag", "poor_fits": "are uncertain by more than a pixel"}
RELIABLE = "z_flag == 0 and lpx < 1 and lpy < 1"


class ExportFormat(StrEnum):
    """What `export` writes."""

    PICASSO = "picasso"
    THUNDERSTORM = "thunderstorm"
    PARQUET = "parquet"
    ZARR = "zarr"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (undrift, depth, render, npc, resolution, report, score, link, export, view):
        app.command()(command)


def _beside(run: Path, ending: str) -> Path:
    """Name of a result next to a table: RUN.undrifted.zarr."""
    run = run if run.name else run.resolve()  # this folder, "."
    return run.with_name(run.name.removesuffix(run.suffix) + ending)


def undrift(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Corrected run; RUN.undrifted.zarr beside it by default.")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="x, y: auto, fiducials, rcc, aim, overlap, none.")] = "auto",
    z_method: Annotated[
        str, typer.Option("--z-method", help="z: auto, fiducials, paper, aim, overlap, none.")
    ] = "auto",
    fiducials: Annotated[
        str | None, typer.Option("--fiducials", help="Markers: picks file of Picasso (.yaml), or pixels as x,y;x,y.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="All estimates: .png, .svg or .pdf.")] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put the drift of a corrected run back (RUN.restored.zarr by default).")
    ] = False,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Correct drift in x, y and z: a new run that keeps the drift, the original stays as it is."""
    from easyzloc_mm.analysis.drift.apply import draw_drift, undo_run, undrift_run
    from easyzloc_mm.io.writing.output import check_output
    from easyzloc_mm.locs.locs import Locs
    from easyzloc_mm.report.figures import check_figure

    if undo:
        target = out or _beside(run, ".restored.zarr")
        finish(
            {"out": target, **undo_run(run, target, if_exists=existing(overwrite))},
            as_json=as_json,
            title="drift put back",
        )
        return
    if plot is not None:
        check_output(check_figure(plot), Kind.PICTURE, if_exists=existing(overwrite), inputs=[run])
    target = out or _beside(run, ".undrifted.zarr")
    with progress_display() as show:
        result = undrift_run(
            run, target, method_xy=method, method_z=z_method, fiducials=fiducials, pixel_size_nm=pixel_size_nm,
            if_exists=existing(overwrite), progress=show,
        )  # fmt: skip
    if plot is not None:
        corrected = Locs.load(target)
        if corrected.drift is not None:
            draw_drift(corrected.drift, corrected.pixel_size_nm, plot)
    finish({"out": target, **result}, as_json=as_json, title="drift corrected")


def depth(
    run: RunArgument,
    profile: ProfileOption,
    focus_nm: Annotated[
        float, typer.Option("--focus-nm", min=0, help="How far the stage stood from where the glass is in focus.")
    ],
    into_sample: Annotated[
        str, typer.Option("--into-sample", help="Way of the stage from the glass into the sample: rising or falling.")
    ] = "rising",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Corrected run; RUN.depth.zarr beside it by default.")
    ] = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Turn z from travel of the stage into depth of a sample of another index: a new run, the original stays."""
    from easyzloc_mm.api.depth import correct_depth
    from easyzloc_mm.io.writing.output import check_output
    from easyzloc_mm.locs.locs import Locs

    target = out or _beside(run, ".depth.zarr")
    check_output(target, Kind.RUN, if_exists=existing(overwrite), inputs=[run])
    corrected = correct_depth(
        Locs.load(run, pixel_size_nm=pixel_size_nm), profile, focus_nm=focus_nm, into_sample=into_sample
    )
    corrected.save(target, if_exists=existing(overwrite))
    scale = corrected.metadata.depth_scale
    assert scale is not None, "corrected for depth just now"
    finish(
        {"out": target, "focus_depth_nm": scale.focus_depth_nm, "factor_at_focus": float(scale.slope(0.0)),
         "localizations": len(corrected), "says": scale.in_words()},
        as_json=as_json, title="depth in the sample",
    )  # fmt: skip


def render(
    run: RunArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Figure .png, .svg, .pdf; 16-bit stack .tif or .ome.zarr (pyramid); turntable .gif, .mp4.",
        ),
    ],
    view: Annotated[str, typer.Option("--view", help="Of a figure: xy, xz, yz or isometric.")] = "xy",
    z_range_nm: ZRangeOption = None,
    region: Annotated[
        tuple[float, float, float, float] | None, typer.Option("--region", help="Left, right, top, bottom in µm.")
    ] = None,
    render_pixel_nm: Annotated[float | None, typer.Option("--pixel-nm", help="Pixel of the picture.")] = None,
    plane_nm: Annotated[float, typer.Option("--plane-nm", help="Distance of the planes of a stack.")] = 50.0,
    thickness_nm: Annotated[float, typer.Option("--thickness-nm", help="Of an xz or yz slice.")] = 400.0,
    style: Annotated[
        str, typer.Option("--style", help="gaussian (as wide as each localisation is uncertain) or histogram.")
    ] = "gaussian",
    colormap: ColormapOption = "depth",
    where: WhereOption = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Draw the depth-coloured image, slices, views in space, stacks and turntables."""
    from easyzloc_mm.rendering.outputs import write_rendering

    with progress_display() as show:
        result = write_rendering(
            run, out, view=view, z_range_nm=z_range_nm, region_um=region, render_pixel_nm=render_pixel_nm,
            plane_nm=plane_nm, thickness_nm=thickness_nm, style=style, colormap=colormap, where=where,
            pixel_size_nm=pixel_size_nm, if_exists=existing(overwrite), progress=show,
        )  # fmt: skip
    finish(result, as_json=as_json, title="rendered")


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
    from easyzloc_mm.api.trends import is_folder_of_calibrations, trends
    from easyzloc_mm.io.writing.kinds import kind_of

    if kind_of(run) is Kind.SCAN:
        plain = where is None and pixel_size_nm is None and movie is None
        _report_scan(run, out, plain=plain, overwrite=overwrite, as_json=as_json)
        return
    target = out or _beside(run, "_report")
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
    from easyzloc_mm.api.analysis import score as run_score
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


def link(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Linked table, any format; RUN.linked.zarr by default.")
    ] = None,
    max_distance_nm: Annotated[
        float | None, typer.Option("--max-distance-nm", help="From frame to frame; by the precision if not given.")
    ] = None,
    max_dark_frames: Annotated[int, typer.Option("--max-dark-frames", help="Frames that may be missing.")] = 1,
    where: WhereOption = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Merge the localisations of a molecule that stays on for several frames."""
    from easyzloc_mm.locs.linking import link_run

    target = out or _beside(run, ".linked.zarr")
    with progress_display() as show:
        result = link_run(
            run, target, max_distance_nm=max_distance_nm, max_dark_frames=max_dark_frames, where=where,
            pixel_size_nm=pixel_size_nm, if_exists=existing(overwrite), progress=show,
        )  # fmt: skip
    finish({"out": target, **result}, as_json=as_json, title="linked")


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .hdf5, .csv, .parquet or .zarr.")],
    file_format: Annotated[
        ExportFormat | None, typer.Option("--format", help="Where the file's ending does not say.")
    ] = None,
    where: WhereOption = None,
    pixel_size_nm: PixelSizeOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the table for Picasso, ThunderSTORM, as Parquet, or as RUN.zarr: all rows, flagged ones too."""
    from easyzloc_mm.locs.export import export_run

    chosen = file_format.value if file_format else None
    result = export_run(run, out, chosen, where=where, pixel_size_nm=pixel_size_nm, if_exists=existing(overwrite))
    doubtful = [f"{result[name]:,} {words}" for name, words in DOUBTFUL.items() if result.get(name)]
    hint = [f'of the {result["rows"]:,} rows {" and ".join(doubtful)}: --where "{RELIABLE}" leaves them out']
    finish({"out": out, **result, "alarms": hint if doubtful else []}, as_json=as_json, title="exported")


def view(
    run: RunArgument,
    z_range_nm: ZRangeOption = None,
    colormap: ColormapOption = "depth",
    where: WhereOption = None,
    pixel_size_nm: PixelSizeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the localisations in napari, coloured by depth (optional extra `view`)."""
    from easyzloc_mm.rendering.napari_view import view_run

    result = view_run(run, z_range_nm=z_range_nm, colormap=colormap, where=where, pixel_size_nm=pixel_size_nm)
    finish(result, as_json=as_json, title="viewed")
