"""Molecules while the camera runs: `live`, and many fields of it, `scan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.options import ModelOption, RunOption
from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, ProfileOption, existing, finish, in_short
from easyzloc_mm.cli.progress import connecting
from easyzloc_mm.cli.set_up import ExposureOption, FramesOption, MonitorFlag, SizeOption, as_set, given
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind

KeepRawOption = Annotated[bool, typer.Option("--keep-raw/--no-keep-raw", help="Keep the camera's frames.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(live)
    app.command()(scan)


def live(
    profile: ProfileOption,
    model: ModelOption,
    out: RunOption,
    frames: FramesOption = None,
    keep_raw: KeepRawOption = True,
    hold_focus_nm: Annotated[
        float | None,
        typer.Option("--hold-focus-nm", min=1.0, help="Hold the focus by the molecules' z: correct larger drifts."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Where the beads' PSF is not the sample's: go on with a model for it.")
    ] = False,
    refresh_after: Annotated[
        int, typer.Option("--refresh-after", min=1000, help="Of so many molecules that model is made.")
    ] = 5000,
    exposure_ms: ExposureOption = None,
    size_px: SizeOption = None,
    monitor: MonitorFlag = False,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Stream from the camera and localise in 3D while it runs."""
    import threading
    from contextlib import nullcontext

    from easyzloc_mm.acquire.live import STOPPED
    from easyzloc_mm.api.imaging.acquisition import live as run
    from easyzloc_mm.api.model import Model
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.io.writing.output import check_output
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.monitor.beside import page_beside
    from easyzloc_mm.simulator.embedded.truth import truth_beside

    loaded = as_set(load_profile(profile), exposure_ms, size_px)
    check_output(out, Kind.RUN, if_exists=existing(overwrite), inputs=[model], acquires=True)
    bundle = Model.load(model, loaded)
    stop = threading.Event()
    again = ["live", *given(profile=profile, model=model, frames=frames, hold_focus_nm=hold_focus_nm)]
    again += [*given(exposure_ms=exposure_ms, size_px=size_px), *([] if keep_raw else ["--no-keep-raw"])]
    again += ["--refresh", *given(refresh_after=refresh_after)] if refresh else []
    page = page_beside(out, on_stop=stop.set, again=again) if monitor else nullcontext()
    with page, connecting() as show, connect(loaded) as microscope, truth_beside(out):
        done = run(
            microscope,
            bundle,
            out,
            frames=frames,
            keep_raw=keep_raw,
            hold_focus_nm=hold_focus_nm,
            if_exists=existing(overwrite),
            progress=show,
            stop=stop,
            refresh_after=refresh_after if refresh else None,
        )
    result = done.as_dict()
    stopped = result.get("ended_by") == STOPPED
    finish(
        result if as_json else in_short(result),
        as_json=as_json,
        title="live run, stopped from its page" if stopped else "live run",
    )


def scan(
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="Hardware profile: .toml, or a name.")] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="Plan .toml, Micro-Manager .pos, useq .json or .yaml, or .csv."),
    ] = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Model from `train` or `calibrate`.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder: one run per field and the ledger.")] = None,
    template: Annotated[
        Path | None, typer.Option("--template", help="Write a commented plan to fill in, .toml, and do nothing else.")
    ] = None,
    keep_raw: KeepRawOption = True,
    frames: FramesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it needs: limits, time, disk, light; with a map, OUT.png.")
    ] = False,
    exposure_ms: ExposureOption = None,
    size_px: SizeOption = None,
    monitor: MonitorFlag = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew instead of resuming.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Live 3D runs at many positions; a killed scan resumes where it stopped."""
    from contextlib import nullcontext

    from easyzloc_mm.acquire.plans.plan import ScanPlan, write_template
    from easyzloc_mm.api.imaging.acquisition import forecast
    from easyzloc_mm.api.imaging.acquisition import scan as run
    from easyzloc_mm.api.model import Model
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.monitor.beside import page_beside
    from easyzloc_mm.simulator.embedded.truth import truth_beside

    if template is not None:
        write_template(template)
        finish({"template": template}, as_json=as_json, title="fill it in, and give it as --plan")
        return
    if profile is None or plan is None or model is None or out is None:
        raise InputError("a scan needs `profile`, `plan`, `model` and `out`; `template` writes a plan to fill in")
    loaded = as_set(load_profile(profile), exposure_ms, size_px, frames)
    scan_plan = ScanPlan.from_file(plan, loaded)
    bundle = Model.load(model, loaded)
    if dry_run:
        place = out.absolute()
        found = forecast(loaded, scan_plan, place, keep_raw=keep_raw, picture=place.with_name(f"{place.name}.png"))
        finish(found.as_dict(), as_json=as_json, title="scan, not run")
        if found.problems:
            raise InputError(found.problems[0])
        return
    page = page_beside(out) if monitor else nullcontext()
    with page, connecting() as show, connect(loaded) as microscope:
        report = run(
            microscope,
            scan_plan,
            bundle,
            out,
            keep_raw=keep_raw,
            if_exists="overwrite" if overwrite else "resume",
            progress=show,
            around_run=truth_beside,
        )
    finish({"out": out, **report.as_dict()}, as_json=as_json, title="scan")
