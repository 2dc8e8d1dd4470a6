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


@bench_app.command("beads")
def beads(
    quick: Annotated[bool, typer.Option("--quick", help="2 fields of 301 planes instead of 14 of 601.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
    keep: Annotated[Path | None, typer.Option("--keep", help="Keep stacks, truth and data sets here (4 GB).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bead labels and verdicts against known truth, ours and the paper's rules, with time and memory."""
    from easyzloc_mm.beads.bench import bench_beads

    with progress_display() as show:
        result = bench_beads(quick=quick, seed=seed, keep=keep, progress=show)
    finish(result, as_json=as_json, title="bead calibration against the truth")
