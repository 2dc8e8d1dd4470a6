"""To look at, here and in other programs: `render`, `view`, `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.commands.results.options import (
    ColormapOption,
    PixelSizeOption,
    RunArgument,
    WhereOption,
    ZRangeOption,
)
from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display

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
    app.command()(render)
    app.command()(view)
    app.command()(export)


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
