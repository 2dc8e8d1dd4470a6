"""From a localisation table to biology: `undrift`, `render`, `npc`, `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, finish

RunArgument = Annotated[Path, typer.Argument(help="Run, RUN.zarr.")]


class ExportFormat(StrEnum):
    """What `export` writes."""

    PICASSO = "picasso"
    THUNDERSTORM = "thunderstorm"
    PARQUET = "parquet"


SUFFIX_FORMAT = {
    ".hdf5": ExportFormat.PICASSO,
    ".h5": ExportFormat.PICASSO,
    ".csv": ExportFormat.THUNDERSTORM,
    ".parquet": ExportFormat.PARQUET,
}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(undrift)
    app.command()(render)
    app.command()(npc)
    app.command()(export)
    app.command()(resolution)


def undrift(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Corrected run; RUN.undrifted.zarr beside it by default.")
    ] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Correct drift in x, y and z: a new run, the original stays as it is."""
    from easyzloc_mm.analysis.runs import undrift_run

    target = out or run.with_name(run.name.removesuffix(".zarr") + ".undrifted.zarr")
    finish({"out": target, **undrift_run(run, target, overwrite=overwrite)}, as_json=as_json, title="drift corrected")


def render(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture: .png, or .tif for 16-bit values.")],
    z_range_nm: Annotated[
        tuple[float, float] | None, typer.Option("--z-range-nm", help="Depths that the colours span.")
    ] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Draw the depth-coloured image."""
    from easyzloc_mm.analysis.runs import render_run

    finish(render_run(run, out, z_range_nm=z_range_nm, overwrite=overwrite), as_json=as_json, title="rendered")


def npc(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the table and the pictures.")],
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Find nuclear pores and measure the distance between their two rings, beside a null."""
    from easyzloc_mm.analysis.runs import npc_run

    finish({"out": out, **npc_run(run, out, overwrite=overwrite)}, as_json=as_json, title="nuclear pores")


def resolution(run: RunArgument, as_json: JsonFlag = False) -> None:
    """Localisation precision (NeNA) and Fourier ring correlation."""
    from easyzloc_mm.analysis.runs import resolution_run

    finish(resolution_run(run), as_json=as_json, title="resolution")


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .hdf5, .csv or .parquet.")],
    file_format: Annotated[
        ExportFormat | None, typer.Option("--format", help="Where the file's ending does not say.")
    ] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the table for Picasso, ThunderSTORM, or as Parquet."""
    from easyzloc_mm.analysis.runs import export_run
    from easyzloc_mm.errors import InputError

    chosen = file_format or SUFFIX_FORMAT.get(out.suffix.lower())
    if chosen is None:
        raise InputError(f"{out}: the ending does not name a format; use .hdf5, .csv or .parquet, or add --format")
    finish({"out": out, **export_run(run, out, chosen.value, overwrite=overwrite)}, as_json=as_json, title="exported")
