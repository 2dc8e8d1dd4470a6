"""From a bead slide to a model: `calibrate`, and its first step alone, `acquire-beads`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from easyzloc_mm.cli.options import MinutesOption, RecipeOption, SeedOption, StepsOption
from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, ProfileOption, existing, existing_or_resume, finish
from easyzloc_mm.cli.progress import connecting, progress_display
from easyzloc_mm.cli.set_up import ExposureOption, MonitorFlag, SizeOption, as_set
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind

if TYPE_CHECKING:
    from easyzloc_mm.api.calibrating.calibration import Calibration


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(calibrate)
    app.command("acquire-beads")(acquire_beads)


def calibrate(
    profile: ProfileOption,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for stacks, beads, model and reports; or of the check.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="MODEL", help="Train nothing: is MODEL still right, by a few beads of today?"),
    ] = None,
    stacks: Annotated[
        list[Path] | None,
        typer.Option("--stacks", help="With --check: bead stacks of today, in place of new ones; may be repeated."),
    ] = None,
    recipe: RecipeOption = "matched",
    minutes: MinutesOption = 10.0,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    exposure_ms: ExposureOption = None,
    size_px: SizeOption = None,
    monitor: MonitorFlag = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted calibration.")] = False,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Calibrate before an imaging session: photograph beads, label them, train, report. Or check a calibration."""
    from contextlib import nullcontext

    if check is not None:
        _check(check, profile, out, stacks or [], overwrite=overwrite, as_json=as_json)
        return
    if out is None or stacks:
        raise InputError("`stacks` go with `check`: give it" if stacks else "`out` is missing: give a folder")
    from easyzloc_mm.api.calibrating.calibration import calibrate as run
    from easyzloc_mm.beads.build import count_reasons
    from easyzloc_mm.cli.score_tables import print_accuracies, training_in_short
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.monitor.beside import page_beside

    loaded = as_set(load_profile(profile), exposure_ms, size_px)
    with page_beside(out) if monitor else nullcontext(), connecting() as show:
        done = run(
            loaded,
            out,
            recipe=recipe,
            minutes=minutes,
            steps=steps,
            seed=seed,
            if_exists=existing_or_resume(overwrite, resume),
            progress=show,
        )
    finish(
        {
            "out": out,
            "found": len(done.beads),
            "accepted": int(done.beads.accepted.sum()),
            "rejected": count_reasons(done.beads),
            **(_all_figures(done) if as_json else training_in_short(done.training)),
            "model": done.model.path,
            "report": done.model.path / "report" / "index.html",
        },
        as_json=as_json,
        title="calibrated",
    )
    if not as_json:
        print_accuracies(done.accuracy.rows())


def _all_figures(done: Calibration) -> dict[str, object]:
    """Return what training and evaluation give; beads that differ are counted over all of them."""
    training = done.training.model_dump(mode="json", exclude={"schema_version"})
    return {**done.accuracy.model_dump(mode="json", exclude={"schema_version"}), **training}


def _check(model: Path, profile: str, out: Path | None, stacks: list[Path], *, overwrite: bool, as_json: bool) -> None:
    """Say whether a calibration is still that of the instrument."""
    from easyzloc_mm.api.calibrating.check import check_calibration

    with progress_display() as show:
        found = check_calibration(model, profile, out, stacks=stacks, if_exists=existing(overwrite), progress=show)
    shown = found.as_dict() if as_json else found.rows()
    finish({**shown, "out": out}, as_json=as_json, title=str(found.verdict))


def acquire_beads(
    profile: ProfileOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Bead stacks to write, NAME.ome.zarr.")],
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted acquisition.")] = False,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Photograph beads through focus at several fields of view."""
    from easyzloc_mm.api.calibrating.calibration import acquire_beads as run
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.io.writing.output import check_output
    from easyzloc_mm.microscope.connect import connect

    loaded = load_profile(profile)
    if_exists = existing_or_resume(overwrite, resume)
    check_output(out, Kind.BEAD_STACKS, if_exists=if_exists, acquires=True)
    with connecting() as show, connect(loaded) as microscope:
        report = run(microscope, out, if_exists=if_exists, progress=show)
    finish({"out": out, **report.as_dict()}, as_json=as_json, title="bead stacks")
