"""Figures measured on this machine, side by side with the stock alternatives."""

from __future__ import annotations

from typing import Annotated

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


@bench_app.command("render")
def render(
    localizations: Annotated[int, typer.Option("--localizations", min=1000, help="How many are drawn.")] = 10_000_000,
    as_json: JsonFlag = False,
) -> None:
    """Draw the same localisations here and with Picasso: time and memory."""
    from easyzloc_mm.analysis.bench_render import bench_render

    finish(bench_render(localizations=localizations), as_json=as_json, title="rendering at 10 nm")


@bench_app.command("drift")
def drift(
    frames: Annotated[int, typer.Option("--frames", min=2000, help="Of the simulated runs.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Tell what is left of a known drift, by every way of finding it."""
    from easyzloc_mm.analysis.bench_drift import bench_drift

    result = bench_drift(frames=frames, seed=seed)
    finish(result, as_json=as_json, title="residual drift, root mean square")


@bench_app.command("npc")
def npc(
    pores: Annotated[int, typer.Option("--pores", min=40, help="In every simulated field.")] = 300,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Ring spacing against the truth, and false two-ring pores, ours beside the paper's rule."""
    from easyzloc_mm.analysis.bench_npc import bench_npc

    finish(bench_npc(pores=pores, seed=seed), as_json=as_json, title="nuclear pores")
