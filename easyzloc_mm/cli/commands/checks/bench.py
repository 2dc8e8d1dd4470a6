"""Figures measured on this machine, side by side with the stock alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from easyzloc_mm.cli.command import Command
from easyzloc_mm.cli.output import JsonFlag, finish, plain
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.errors import InputError

bench_app = typer.Typer(no_args_is_help=True, help="Measure this machine, side by side with the stock alternatives.")
RecordOption = Annotated[
    str | None,
    typer.Option(
        "--record",
        metavar="[FILE]",
        help="Append the result, with the machine, to benchmarks/history/NAME.jsonl of the source tree, or to FILE.",
    ),
]


class BenchCommand(Command):
    """A command whose ``--record`` may stand alone: typer knows no options with an optional value."""

    # typer brings its own copy of click, and types its base class by that.
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give a bare ``--record`` an empty value."""
        following = [*args[1:], "--"]
        bare = [arg == "--record" and after.startswith("-") for arg, after in zip(args, following, strict=False)]
        return super().parse_args(ctx, [f"{arg}=" if alone else arg for arg, alone in zip(args, bare, strict=True)])


def report(ctx: typer.Context, result: Mapping[str, Any], *, title: str) -> None:
    """Print a result, and append it to the history where that is asked for."""
    record = ctx.params["record"]
    if record is not None:
        from easyzloc_mm.benchmarks.history import append_record

        arguments = {
            name: value.name if isinstance(value, Path) else plain(value)
            for name, value in ctx.params.items()
            if name not in ("record", "as_json")
        }
        kept = {name: value for name, value in plain(result).items() if not isinstance(result[name], Path)}
        append_record(str(ctx.info_name), arguments, kept, Path(record) if record else None)
    finish(result, as_json=ctx.params["as_json"], title=title)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(bench_app, name="bench")


@bench_app.command("detect", cls=BenchCommand)
def detect(ctx: typer.Context, record: RecordOption = None, as_json: JsonFlag = False) -> None:
    """Spot detection against Picasso's, on the same frames."""
    from easyzloc_mm.benchmarks.speed.detection import bench_detect

    report(ctx, bench_detect(), title="detection, one core")


@bench_app.command("fit", cls=BenchCommand)
def fit(ctx: typer.Context, record: RecordOption = None, as_json: JsonFlag = False) -> None:
    """Fits per second on one core, beside Picasso's own chain from frames to table."""
    from easyzloc_mm.benchmarks.speed.detection import bench_fit

    report(ctx, bench_fit(), title="fit, one core")


EmittersOption = Annotated[int, typer.Option("--emitters", min=1, help="Molecules per frame.")]
BenchModelOption = Annotated[
    Path | None, typer.Option("--model", "-m", help="Model of the embedded microscope; else one is trained quickly.")
]
FolderOption = Annotated[Path, typer.Option("--folder", help="Where to write: its disk is measured too.")]


@bench_app.command("live", cls=BenchCommand)
def live(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option("--seconds", min=2.0, help="How long the camera runs.")] = 120.0,
    emitters: EmittersOption = 200,
    model: BenchModelOption = None,
    folder: FolderOption = Path(),
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run live on the embedded microscope, 1200x1200 px at 30 ms, raw saved, with stock Picasso beside it."""
    from easyzloc_mm.benchmarks.speed.live import bench_live

    with progress_display() as show:
        result = bench_live(seconds, emitters, model, folder, show)
    report(ctx, result, title="live")


@bench_app.command("localize", cls=BenchCommand)
def localize(
    ctx: typer.Context,
    frames: Annotated[int, typer.Option("--frames", "-n", min=64, help="Length of the movie.")] = 20000,
    emitters: EmittersOption = 100,
    model: BenchModelOption = None,
    folder: FolderOption = Path(),
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Localise a long movie, 1200x1200 px, on all cores, and watch the memory."""
    from easyzloc_mm.benchmarks.speed.live import bench_localize

    with progress_display() as show:
        result = bench_localize(frames, emitters, model, folder, show)
    report(ctx, result, title="offline")


@bench_app.command("storage", cls=BenchCommand)
def storage(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option("--seconds", min=1.0, help="How long the camera runs, nine times.")] = 10.0,
    folder: FolderOption = Path(),
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Store frames of 1200x1200 px and their rows by every `localize.sync`: frame rates side by side."""
    from easyzloc_mm.benchmarks.speed.storage import bench_storage

    with progress_display() as show:
        result = bench_storage(seconds, folder, show)
    report(ctx, result, title="storage")


@bench_app.command("soak", cls=BenchCommand)
def soak(
    ctx: typer.Context,
    minutes: Annotated[float, typer.Option("--minutes", min=0.5, help="How long the camera runs.")] = 60.0,
    model: BenchModelOption = None,
    folder: FolderOption = Path(),
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run live for long at 256x256 px, 15 GB an hour: memory, threads, files, rate and lag at its beginning and end."""
    from easyzloc_mm.benchmarks.speed.soak import bench_soak

    with progress_display() as show:
        result = bench_soak(minutes, model, folder, show)
    report(ctx, result, title="soak")


@bench_app.command("accuracy", cls=BenchCommand)
def accuracy(
    ctx: typer.Context,
    beads: Annotated[int, typer.Option("--beads", min=60, help="Training beads, roughly.")] = 400,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time of each network.")] = 4.0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer molecules, 1 minute of training.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    real: Annotated[
        Path | None, typer.Option("--real", help="Ready-cut real ROIs instead, (N,Z,Y,X); with --movie, a bead stack.")
    ] = None,
    movie: Annotated[
        Path | None, typer.Option("--movie", help="With --real: a movie to localise, TIFF or a folder of them.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="With --movie: its emitters, as the SMLM Challenge lists them.")
    ] = None,
    baseline_adu: Annotated[float, typer.Option("--baseline-adu", help="With --movie.")] = 100.0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Splits, with --real.")] = 5,
    pixel_size_nm: Annotated[float, typer.Option("--pixel-size-nm", help="With --real.")] = 122.0,
    z_step_nm: Annotated[float, typer.Option("--z-step-nm", help="With --real.")] = 50.0,
    electrons_per_adu: Annotated[float, typer.Option("--electrons-per-adu", help="With --real.")] = 0.45,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Score z of molecules on the embedded optics: every method beside the information limit."""
    from easyzloc_mm.benchmarks.accuracy.compare import bench_accuracy
    from easyzloc_mm.cli.commands.checks.accuracy_tables import print_accuracy, print_real

    if movie is not None or truth is not None:
        from easyzloc_mm.benchmarks.accuracy.challenge import bench_challenge

        if real is None or movie is None or truth is None:
            raise InputError("`real`, `movie` and `truth` go together: give the bead stack, the movie and its emitters")
        with progress_display() as show:
            result = bench_challenge(
                real, movie, truth, pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm, seed=seed, progress=show,
                electrons_per_adu=electrons_per_adu, baseline_adu=baseline_adu, minutes=minutes,
            )  # fmt: skip
        report(ctx, result, title="the SMLM Challenge's rules")
        return
    if real is not None:
        from easyzloc_mm.benchmarks.accuracy.real import bench_real

        with progress_display() as show:
            result = bench_real(
                real, pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm, electrons_per_adu=electrons_per_adu,
                minutes=minutes, seeds=seeds, progress=show,
            )  # fmt: skip
        if not as_json:
            print_real(result)
        report(ctx, result, title="accuracy of z on real beads")
        return
    with progress_display() as show:
        result = bench_accuracy(
            beads=beads, minutes=min(minutes, 1.0) if quick else minutes, molecules=400 if quick else 3000,
            spline_beads=40, seed=seed, progress=show,
        )  # fmt: skip
    if not as_json:
        print_accuracy(result)
    report(ctx, result, title="accuracy of z, 1000-3000 photons")


@bench_app.command("recall", cls=BenchCommand)
def recall(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Keep beads, model, movies and runs here, and use what lies there.")
    ] = None,
    psf: Annotated[
        str, typer.Option("--psf", help="none (unmodified), astigmatic, double-helix, tetrapod or phase-ramp.")
    ] = "none",
    background: Annotated[
        str,
        typer.Option(
            "--background",
            help="even (sparse and dense molecules); structured: as cells are lit; or edge: a field stop in the image.",
        ),
    ] = "even",
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time.")] = 2.0,
    quick: Annotated[bool, typer.Option("--quick", help="A fifth of the frames.")] = False,
    picasso: Annotated[bool, typer.Option("--picasso/--no-picasso", help="Measure Picasso on the same frames.")] = True,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Score what is found in sparse and dense frames of independent optics, beside Picasso's spline fit."""
    from easyzloc_mm.benchmarks.accuracy.recall import bench_recall
    from easyzloc_mm.benchmarks.second_optics.lens import Mask
    from easyzloc_mm.benchmarks.second_optics.study import Background
    from easyzloc_mm.cli.score_tables import print_recall

    if psf not in list(Mask):
        raise InputError(f"`psf` {psf} is unknown: use {', '.join(Mask)}")
    if background not in list(Background):
        raise InputError(f"`background` {background} is unknown: use {', '.join(Background)}")
    with progress_display() as show:
        result = bench_recall(
            folder, mask=Mask(psf), background=Background(background), minutes=minutes, quick=quick, picasso=picasso,
            seed=seed, progress=show,
        )  # fmt: skip
    if not as_json:
        print_recall(result["movies"])
    report(ctx, result, title="recall")


@bench_app.command("cameras", cls=BenchCommand)
def cameras(
    ctx: typer.Context,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="cmos, scmos or emccd; may be given several times.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Keep beads, models, movies and runs here, and use what lies there.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time, for each camera.")] = 2.0,
    frames: Annotated[int, typer.Option("--frames", min=20, help="Length of the movie.")] = 400,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Hold stated uncertainties against the truth for CMOS, sCMOS and EMCCD cameras, their gain right and wrong."""
    from easyzloc_mm.benchmarks.accuracy.cameras import bench_cameras
    from easyzloc_mm.benchmarks.second_optics.cameras import CameraKind
    from easyzloc_mm.cli.commands.checks.accuracy_tables import print_cameras

    unknown = set(camera or ()) - set(CameraKind)
    if unknown:
        raise InputError(f"`camera` {', '.join(sorted(unknown))} is unknown: use {', '.join(CameraKind)}")
    kinds = [CameraKind(name) for name in camera or CameraKind]
    with progress_display() as show:
        result = bench_cameras(folder, kinds=kinds, minutes=minutes, frames=frames, seed=seed, progress=show)
    if not as_json:
        print_cameras(result["cameras"])
    report(ctx, result, title="cameras")


@bench_app.command("stacks", cls=BenchCommand)
def stacks(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Bead stacks, each held out in turn.")],
    pixel_size_nm: Annotated[float, typer.Option("--pixel-size-nm", min=1)],
    z_step_nm: Annotated[float, typer.Option("--z-step-nm")],
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time, for each stack.")] = 2.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Hold stated uncertainties against the stage, on beads of a stack that was held out, as faint as molecules."""
    from easyzloc_mm.benchmarks.accuracy.stacks import bench_stacks

    with progress_display() as show:
        result = bench_stacks(
            files, pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm, minutes=minutes, seed=seed, progress=show
        )
    report(ctx, result, title="real bead stacks, each held out in turn")


@bench_app.command("infer", cls=BenchCommand)
def infer(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help="Model bundle of the matched recipe.")],
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Spots per second of one core, beside `keras.predict` and the paper's network."""
    from easyzloc_mm.benchmarks.speed.inference import bench_infer

    report(ctx, bench_infer(model), title="inference, one core")


@bench_app.command("train", cls=BenchCommand)
def training(
    ctx: typer.Context,
    beads: Annotated[int, typer.Option("--beads", min=60, help="Training beads, roughly.")] = 400,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Budget; twice that is tried too.")] = 10,
    z_step_nm: Annotated[
        float, typer.Option("--z-step-nm", min=5, max=100, help="Of the stacks: 10 makes 601 planes of each bead.")
    ] = 50,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Accuracy reached in a time budget, and in twice that."""
    from easyzloc_mm.benchmarks.speed.training import bench_train

    with progress_display() as show:
        result = bench_train(beads=beads, minutes=minutes, z_step_nm=z_step_nm, progress=show)
    report(ctx, result, title="training")


@bench_app.command("render", cls=BenchCommand)
def render(
    ctx: typer.Context,
    localizations: Annotated[int, typer.Option("--localizations", min=1000, help="How many are drawn.")] = 10_000_000,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Draw the same localisations here and with Picasso: time and memory."""
    from easyzloc_mm.benchmarks.speed.rendering import bench_render

    report(ctx, bench_render(localizations=localizations), title="rendering at 10 nm")


@bench_app.command("drift", cls=BenchCommand)
def drift(
    ctx: typer.Context,
    frames: Annotated[int, typer.Option("--frames", min=2000, help="Of the simulated runs.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Residual of a known drift after every method of estimating it."""
    from easyzloc_mm.benchmarks.drift import bench_drift

    result = bench_drift(frames=frames, seed=seed)
    report(ctx, result, title="residual drift, root mean square")


@bench_app.command("npc", cls=BenchCommand)
def npc(
    ctx: typer.Context,
    pores: Annotated[int, typer.Option("--pores", min=40, help="In every simulated field.")] = 300,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Also so many samples at 4 shares of outliers.")] = 0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes for the samples.")] = 1,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ring spacing against the truth, and false two-ring pores, beside the paper's rule."""
    from easyzloc_mm.benchmarks.npc import bench_npc

    report(ctx, bench_npc(pores=pores, draws=draws, seed=seed, workers=workers), title="nuclear pores")


@bench_app.command("beads", cls=BenchCommand)
def beads(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="2 fields of 301 planes instead of 14 of 601.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
    keep: Annotated[Path | None, typer.Option("--keep", help="Keep stacks, truth and data sets here (4 GB).")] = None,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Bead labels and verdicts against known truth, by the default and the published rules, with time and memory."""
    from easyzloc_mm.benchmarks.beads import bench_beads

    with progress_display() as show:
        result = bench_beads(quick=quick, seed=seed, keep=keep, progress=show)
    report(ctx, result, title="bead calibration against the truth")
