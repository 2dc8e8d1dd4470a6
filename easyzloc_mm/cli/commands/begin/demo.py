"""The whole workflow in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")] = Path(
        "easyzloc-demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer beads, less training, a shorter movie.")] = False,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Calibrate, image, correct drift, render and score, on the embedded microscope."""
    from easyzloc_mm.demo.run import FULL, QUICK, run_demo

    with progress_display() as show:
        result = run_demo(out, QUICK if quick else FULL, if_exists=existing(overwrite), progress=show)
    finish(result, as_json=as_json, title="easyZloc on the embedded microscope")
    if not as_json:
        typer.echo(f"open {result['report']} in a browser")
