"""What the commands on a localisation table share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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


def beside(run: Path, ending: str) -> Path:
    """Name of a result next to a table: RUN.undrifted.zarr."""
    run = run if run.name else run.resolve()  # this folder, "."
    return run.with_name(run.name.removesuffix(run.suffix) + ending)
