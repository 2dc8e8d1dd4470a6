"""Help from the developers: `report-bug`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("report-bug")(report_bug)


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
