"""Figures measured on this machine, side by side with the stock alternatives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.accuracy_tables import print_accuracy, print_real
from easyzloc_mm.cli.output import JsonFlag, finish, progress_display

bench_app = typer.Typer(no_args_is_help=True, help="Measure this machine, side by side with the stock alternatives.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(bench_app, name="bench")


@bench_app.command("detect")
def detect(as_json: JsonFlag = False) -> None:
    """Spot detection against Picasso's, on the same frames."""
    from easyzloc_mm.benchmarks.speed.detection import bench_detect

    finish(bench_detect(), as_json=as_json, title="detection, one core")


@bench_app.command("fit")
def fit(as_json: JsonFlag = False) -> None:
    """Fits per second on one core, beside Picasso's own way from frames to table."""
    from easyzloc_mm.benchmarks.speed.detection import bench_fit

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
    from easyzloc_mm.benchmarks.speed.live import bench_live

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
    from easyzloc_mm.benchmarks.speed.live import bench_localize

    with progress_display() as show:
        result = bench_localize(frames, emitters, model, folder, show)
    finish(result, as_json=as_json, title="offline")


@bench_app.command("soak")
def soak(
    minutes: Annotated[float, typer.Option("--minutes", min=0.5, help="How long the camera runs.")] = 60.0,
    model: BenchModelOption = None,
    folder: FolderOption = Path(),
    as_json: JsonFlag = False,
) -> None:
    """Run live for long at 256x256 px, 15 GB an hour: memory, threads, files, rate and lag at its beginning and end."""
    from easyzloc_mm.benchmarks.speed.soak import bench_soak

    with progress_display() as show:
        result = bench_soak(minutes, model, folder, show)
    finish(result, as_json=as_json, title="soak")


@bench_app.command("accuracy")
def accuracy(
    beads: Annotated[int, typer.Option("--beads", min=60, help="Training beads, roughly.")] = 400,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time of each network.")] = 4.0,
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
    from easyzloc_mm.benchmarks.accuracy.compare import bench_accuracy

    if real is not None:
        from easyzloc_mm.benchmarks.accuracy.real import bench_real

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
        if not as_json:
            print_real(result)
        finish(result, as_json=as_json, title="accuracy of z on real beads")
        return
    with progress_display() as show:
        result = bench_accuracy(
            beads=beads,
            minutes=min(minutes, 1.0) if quick else minutes,
            molecules=400 if quick else 3000,
            spline_beads=40,
            seed=seed,
            progress=show,
        )
    if not as_json:
        print_accuracy(result)
    finish(result, as_json=as_json, title="accuracy of z, 1000-3000 photons")


@bench_app.command("infer")
def infer(
    model: Annotated[Path, typer.Argument(help="Model bundle of the matched recipe.")], as_json: JsonFlag = False
) -> None:
    """Spots per second of one core, beside `keras.predict` and the paper's network."""
    from easyzloc_mm.benchmarks.speed.inference import bench_infer

    finish(bench_infer(model), as_json=as_json, title="inference, one core")


@bench_app.command("train")
def training(
    beads: Annotated[int, typer.Option("--beads", min=60, help="Training beads, roughly.")] = 400,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Budget; twice that is tried too.")] = 10,
    z_step_nm: Annotated[
        float, typer.Option("--z-step-nm", min=5, max=100, help="Of the stacks: 10 makes 601 planes of each bead.")
    ] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Accuracy reached in a time budget, and in twice that."""
    from easyzloc_mm.benchmarks.speed.training import bench_train

    with progress_display() as show:
        result = bench_train(beads=beads, minutes=minutes, z_step_nm=z_step_nm, progress=show)
    finish(result, as_json=as_json, title="training")


@bench_app.command("render")
def render(
    localizations: Annotated[int, typer.Option("--localizations", min=1000, help="How many are drawn.")] = 10_000_000,
    as_json: JsonFlag = False,
) -> None:
    """Draw the same localisations here and with Picasso: time and memory."""
    from easyzloc_mm.benchmarks.speed.rendering import bench_render

    finish(bench_render(localizations=localizations), as_json=as_json, title="rendering at 10 nm")


@bench_app.command("drift")
def drift(
    frames: Annotated[int, typer.Option("--frames", min=2000, help="Of the simulated runs.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Tell what is left of a known drift, by every way of finding it."""
    from easyzloc_mm.benchmarks.drift import bench_drift

    result = bench_drift(frames=frames, seed=seed)
    finish(result, as_json=as_json, title="residual drift, root mean square")


@bench_app.command("npc")
def npc(
    pores: Annotated[int, typer.Option("--pores", min=40, help="In every simulated field.")] = 300,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Ring spacing against the truth, and false two-ring pores, ours beside the paper's rule."""
    from easyzloc_mm.benchmarks.npc import bench_npc

    finish(bench_npc(pores=pores, seed=seed), as_json=as_json, title="nuclear pores")


@bench_app.command("beads")
def beads(
    quick: Annotated[bool, typer.Option("--quick", help="2 fields of 301 planes instead of 14 of 601.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
    keep: Annotated[Path | None, typer.Option("--keep", help="Keep stacks, truth and data sets here (4 GB).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bead labels and verdicts against known truth, ours and the paper's rules, with time and memory."""
    from easyzloc_mm.benchmarks.beads import bench_beads

    with progress_display() as show:
        result = bench_beads(quick=quick, seed=seed, keep=keep, progress=show)
    finish(result, as_json=as_json, title="bead calibration against the truth")
