"""Figures measured on this machine, side by side with the stock alternatives."""

from __future__ import annotations

import typer

from easyzloc_mm.cli.output import JsonFlag, finish

bench_app = typer.Typer(no_args_is_help=True, help="Measure this machine, side by side with the stock alternatives.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(bench_app, name="bench")


@bench_app.command("detect")
def detect(as_json: JsonFlag = False) -> None:
    """Spot detection against Picasso's, on the same frames."""
    from easyzloc_mm.localize.bench import bench_detect

    finish(bench_detect(), as_json=as_json, title="detection, one core")
