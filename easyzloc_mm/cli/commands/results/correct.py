"""A corrected table beside the first one: `undrift`, `depth`, `link`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.commands.results.options import PixelSizeOption, RunArgument, WhereOption, beside
from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, ProfileOption, existing, finish
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.io.writing.kinds import Kind


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(undrift)
    app.command()(depth)
    app.command()(link)


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
        target = out or beside(run, ".restored.zarr")
        finish(
            {"out": target, **undo_run(run, target, if_exists=existing(overwrite))},
            as_json=as_json,
            title="drift put back",
        )
        return
    if plot is not None:
        check_output(check_figure(plot), Kind.PICTURE, if_exists=existing(overwrite), inputs=[run])
    target = out or beside(run, ".undrifted.zarr")
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
    from easyzloc_mm.api.analysing.depth import correct_depth
    from easyzloc_mm.io.writing.output import check_output
    from easyzloc_mm.locs.locs import Locs

    target = out or beside(run, ".depth.zarr")
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

    target = out or beside(run, ".linked.zarr")
    with progress_display() as show:
        result = link_run(
            run, target, max_distance_nm=max_distance_nm, max_dark_frames=max_dark_frames, where=where,
            pixel_size_nm=pixel_size_nm, if_exists=existing(overwrite), progress=show,
        )  # fmt: skip
    finish({"out": target, **result}, as_json=as_json, title="linked")
