"""Figures measured on this machine, side by side with the stock alternatives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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


@bench_app.command("accuracy")
def accuracy(
    beads: Annotated[int, typer.Option("--beads", min=60, help="Training beads, roughly.")] = 400,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time of each network.")] = 10.0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer molecules, 1 minute of training.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    real: Annotated[Path | None, typer.Option("--real", help="Ready-cut real ROIs instead, (N,Z,Y,X).")] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Splits, with --real.")] = 5,
    pixel_size_nm: Annotated[float, typer.Option("--pixel-size-nm", help="With --real.")] = 122.0,
    z_step_nm: Annotated[float, typer.Option("--z-step-nm", help="With --real.")] = 50.0,
    electrons_per_adu: Annotated[float, typer.Option("--electrons-per-adu", help="With --real.")] = 0.45,
    as_json: JsonFlag = False,
) -> None:
    """Score z of molecules on the embedded optics: every method beside the information limit."""
    from easyzloc_mm.benchmarks.accuracy import bench_accuracy

    if real is not None:
        from easyzloc_mm.benchmarks.real import bench_real

        with progress_display() as show:
            result = bench_real(
                real,
                pixel_size_nm=pixel_size_nm,
                z_step_nm=z_step_nm,
                electrons_per_adu=electrons_per_adu,
                minutes=minutes,
                seeds=seeds,
                progress=show,
            )
        finish(result | result["methods"], as_json=as_json, title="accuracy of z on real beads")
        return
    with progress_display() as show:
        result = bench_accuracy(
            beads=beads,
            minutes=min(minutes, 1.0) if quick else minutes,
            molecules=400 if quick else 3000,
            spline_beads=6 if quick else 20,
            seed=seed,
            progress=show,
        )
    if not as_json:
        _print_accuracy(result)
    finish(result, as_json=as_json, title="accuracy of z, 1000-3000 photons")


@bench_app.command("infer")
def infer(
    model: Annotated[Path, typer.Argument(help="Model bundle of the matched recipe.")], as_json: JsonFlag = False
) -> None:
    """Spots per second of one core, beside `keras.predict` and the paper's network."""
    from easyzloc_mm.benchmarks.inference import bench_infer

    finish(bench_infer(model), as_json=as_json, title="inference, one core")


@bench_app.command("train")
def training(
    beads: Annotated[int, typer.Option("--beads", min=60, help="Training beads, roughly.")] = 400,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Budget; twice that is tried too.")] = 10,
    as_json: JsonFlag = False,
) -> None:
    """Accuracy reached in a time budget, and in twice that."""
    from easyzloc_mm.benchmarks.training import bench_train

    with progress_display() as show:
        result = bench_train(beads=beads, minutes=minutes, progress=show)
    finish(result, as_json=as_json, title="training")


def _print_accuracy(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("rmse_nm", "robust_nm", "gross", "coverage_68", "coverage_95", "unflagged_rmse_nm",
               "unflagged_limit_nm", "unflagged_gross", "flagged")  # fmt: skip
    groups = {"1000-3000 photons": result["methods"], **{f"{n} photons": m for n, m in result["levels"].items()}}
    for title, methods in groups.items():
        table = Table("method", *(name.replace("_", " ") for name in columns), title=title, title_justify="left")
        for method, figures in methods.items():
            if isinstance(figures, dict):
                shown = ("-" if figures[c] is None else f"{figures[c]:.3g}" for c in columns)
                table.add_row(method, *shown)
        Console(soft_wrap=True).print(table)
    table = Table("z (nm)", "limit", "matched / limit", "unflagged / limit", "within 1 sigma", title="matched by z")
    for row in result["bins"]:
        mine = row["matched"]
        unflagged = mine["unflagged_rmse_nm"]
        table.add_row(
            f"{row['z_from_nm']:.0f} to {row['z_to_nm']:.0f}",
            f"{row['limit_nm']:.0f}",
            f"{mine['rmse_nm'] / row['limit_nm']:.2f}",
            "-" if unflagged is None else f"{unflagged / mine['unflagged_limit_nm']:.2f}",
            "-" if mine["coverage_68"] is None else f"{mine['coverage_68']:.0%}",
        )
    Console(soft_wrap=True).print(table)
