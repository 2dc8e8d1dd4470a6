"""Figures measured on this machine, side by side with the stock alternatives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, finish, progress_display

bench_app = typer.Typer(no_args_is_help=True, help="Measure this machine, side by side with the stock alternatives.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(bench_app, name="bench")


@bench_app.command("detect")
def detect(as_json: JsonFlag = False) -> None:
    """Spot detection against Picasso's, on the same frames."""
    from easyzloc_mm.localize.bench import bench_detect

    finish(bench_detect(), as_json=as_json, title="detection, one core")


@bench_app.command("fit")
def fit(as_json: JsonFlag = False) -> None:
    """Fits per second on one core, beside Picasso's own way from frames to table."""
    from easyzloc_mm.localize.bench import bench_fit

    finish(bench_fit(), as_json=as_json, title="fit, one core")


EmittersOption = Annotated[int, typer.Option("--emitters", min=1, help="Molecules per frame.")]
BenchModelOption = Annotated[
    Path | None, typer.Option("--model", "-m", help="Model of the embedded microscope; else one is trained quickly.")
]
FolderOption = Annotated[Path, typer.Option("--folder", help="Where to write: its disk is measured too.")]


@bench_app.command("live")
def live(
    seconds: Annotated[float, typer.Option("--seconds", min=2.0, help="How long the camera runs.")] = 120.0,
    emitters: EmittersOption = 200,
    model: BenchModelOption = None,
    folder: FolderOption = Path(),
    as_json: JsonFlag = False,
) -> None:
    """Run live on the embedded microscope, 1200x1200 px at 30 ms, raw saved, with stock Picasso beside it."""
    from easyzloc_mm.acquire.bench import bench_live

    with progress_display() as show:
        result = bench_live(seconds, emitters, model, folder, show)
    finish(result, as_json=as_json, title="live")


@bench_app.command("localize")
def localize(
    frames: Annotated[int, typer.Option("--frames", "-n", min=64, help="Length of the movie.")] = 20000,
    emitters: EmittersOption = 100,
    model: BenchModelOption = None,
    folder: FolderOption = Path(),
    as_json: JsonFlag = False,
) -> None:
    """Localise a long movie, 1200x1200 px, on all cores, and watch the memory."""
    from easyzloc_mm.acquire.bench import bench_localize

    with progress_display() as show:
        result = bench_localize(frames, emitters, model, folder, show)
    finish(result, as_json=as_json, title="offline")
