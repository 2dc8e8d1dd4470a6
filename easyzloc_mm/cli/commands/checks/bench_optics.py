"""Benches of samples, days and slides that differ, and of a curved field: the second optics, and real bead stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.commands.checks.bench import BenchCommand, RecordOption, bench_app, report
from easyzloc_mm.cli.output import JsonFlag
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.errors import InputError


def register(app: typer.Typer) -> None:
    """Add this module's commands to ``bench``."""
    for command in (mismatch, check, density, real_sample, flat):
        bench_app.command(command.__name__.replace("_", "-"), cls=BenchCommand)(command)


def mismatch(
    ctx: typer.Context,
    folder: Annotated[Path | None, typer.Option("--folder", help="Keep all here, and use what lies there.")] = None,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Samples with aberrations of their own.")] = 3,
    unchanged: Annotated[int, typer.Option("--unchanged", min=0, help="Samples under the beads' optics.")] = 1,
    deep: Annotated[int, typer.Option("--deep", min=0, help="Samples up to 3 um deep in water.")] = 0,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time of a refreshed model.")] = 0.5,
    judge_only: Annotated[bool, typer.Option("--judge-only", help="By the likelihood alone: no networks.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes, of samples that are judged only.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Localise samples of other optics than the beads' before and after `refresh`, and with their true PSF."""
    from easyzloc_mm.benchmarks.second_optics.mismatch import bench_mismatch

    with progress_display() as show:
        result = bench_mismatch(
            folder,
            draws=draws,
            unchanged=unchanged,
            deep=deep,
            minutes=minutes,
            judge_only=judge_only,
            workers=workers,
            seed=seed,
            progress=show,
        )
    report(ctx, result, title="samples of other optics")


def check(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Keep the calibration's beads here, and use what lies there.")
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Days.")] = 12,
    first: Annotated[int, typer.Option("--first", min=0, help="Number of the first day.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes side by side.")] = 1,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Judge the calibration of a second optics by a few beads, on days on which something has changed."""
    from easyzloc_mm.benchmarks.second_optics.check import bench_check

    with progress_display() as show:
        result = bench_check(folder, draws=draws, first=first, workers=workers, progress=show)
    report(ctx, result, title="checks of a calibration")


def density(
    ctx: typer.Context,
    psf: Annotated[
        str, typer.Option("--psf", help="none (unmodified), astigmatic, double-helix, tetrapod or phase-ramp.")
    ] = "double-helix",
    per_um2: Annotated[
        list[float] | None, typer.Option("--per-um2", min=0.001, help="Beads per um2; may be given several times.")
    ] = None,
    fields: Annotated[int, typer.Option("--fields", min=1, help="Of each slide.")] = 2,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Count the beads of crowded slides that are accepted, and those of them that are not alone."""
    from easyzloc_mm.benchmarks.bead_density import PER_UM2, bench_density
    from easyzloc_mm.benchmarks.second_optics.lens import Mask

    if psf not in list(Mask):
        raise InputError(f"`psf` {psf} is unknown: use {', '.join(Mask)}")
    with progress_display() as show:
        result = bench_density(mask=Mask(psf), per_um2=per_um2 or PER_UM2, fields=fields, seed=seed, progress=show)
    report(ctx, result, title="crowded bead slides")


def real_sample(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Bead stacks of one microscope, each held against each.")],
    pixel_size_nm: Annotated[float, typer.Option("--pixel-size-nm", min=1)],
    z_step_nm: Annotated[float, typer.Option("--z-step-nm")],
    na: Annotated[float, typer.Option("--na", min=0.1, max=1.7)],
    emission_nm: Annotated[float, typer.Option("--emission-nm", min=300, max=1100)],
    immersion_index: Annotated[float, typer.Option("--immersion-index", min=1, max=2)] = 1.518,
    sample_index: Annotated[float, typer.Option("--sample-index", min=1, max=2)] = 1.33,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Hold real bead stacks against each other: as a sample of molecules, and as the beads of another day."""
    from easyzloc_mm.benchmarks.accuracy.real_sample import bench_real_sample
    from easyzloc_mm.profile.schema import Optics

    if na >= immersion_index:
        raise InputError(f"`na` {na:g} cannot be with an immersion of {immersion_index:g}: give the other one")
    optics = Optics(
        na=na,
        emission_nm=emission_nm,
        immersion_index=immersion_index,
        sample_index=sample_index,
        pixel_size_nm=pixel_size_nm,
    )
    with progress_display() as show:
        result = bench_real_sample(files, optics, z_step_nm=z_step_nm, seed=seed, progress=show)
    report(ctx, result, title="real bead stacks against each other")


def flat(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Keep beads, model, movies and runs here, and use what lies there.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Training time.")] = 2.0,
    frames: Annotated[int, typer.Option("--frames", min=5, help="Of each layer.")] = 90,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    record: RecordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Localise flat layers of molecules over 120 um under 400 nm of field curvature, and say how flat they come out."""
    from easyzloc_mm.benchmarks.accuracy.flat import bench_flat

    with progress_display() as show:
        result = bench_flat(folder, minutes=minutes, frames=frames, seed=seed, progress=show)
    report(ctx, result, title="flat layers")
