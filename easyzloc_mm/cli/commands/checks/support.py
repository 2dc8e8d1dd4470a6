"""When in doubt: `verify` reads a result back, `report-bug` packs what the developers need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.errors import InputError


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(verify)
    app.command("report-bug")(report_bug)


def verify(
    path: Annotated[
        Path,
        typer.Argument(help="Run, bead stacks, bead data set, model, or the folder of a scan or a calibration."),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Counts and which files are there, without decoding.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Read a result back and say whether it is whole; exit code 2 if it is not."""
    from easyzloc_mm.api.analysing.verify import verify as run

    with progress_display() as show:
        show(f"reading {path}", 0.0)
        report = run(path, quick=quick)
    if report.whole or as_json:
        finish(report.as_dict(), as_json=as_json, title="whole")
    if not report.whole:
        raise InputError(report.sentence())


def report_bug(
    run: Annotated[Path, typer.Argument(help="RUN.zarr, or the folder of a scan or a calibration.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Archive to write, .zip; RUN.bug.zip in this folder by default.")
    ] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Pack log, versions, profile and metadata as a zip for a bug report: no images, no localisations, no user name."""
    from easyzloc_mm.acquire.bug_report import pack_bug_report

    archive = Path(f"{run.absolute().stem}.bug.zip") if out is None else out
    names = pack_bug_report(run, archive, if_exists=existing(overwrite))
    finish({"out": archive, "files": ", ".join(names)}, as_json=as_json, title="packed; look at it before you send it")
