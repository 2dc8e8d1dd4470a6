"""From molecules to a localisation table: `live`, `localize`, `assign-z`, `scan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import (
    ExcessNoiseOption,
    JsonFlag,
    OverwriteFlag,
    ProfileOption,
    existing,
    existing_or_resume,
    finish,
)
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.cli.set_up import ExposureOption, FramesOption, MonitorFlag, SizeOption, as_set, given
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.profile.detection import SurfaceRemoval

ModelOption = Annotated[Path, typer.Option("--model", "-m", help="Model bundle from `train` or `calibrate`.")]
RunOption = Annotated[Path, typer.Option("--out", "-o", help="Run to write, RUN.zarr.")]
PixelSizeOption = Annotated[
    float | None, typer.Option("--pixel-size-nm", help="Where the movie does not say; else the model's.")
]
BaselineOption = Annotated[float | None, typer.Option("--baseline-adu", help="Instead of the run's or model's.")]
GainOption = Annotated[float | None, typer.Option("--electrons-per-adu", help="Instead of the run's or model's.")]
OriginOption = Annotated[
    tuple[int, int], typer.Option("--origin-px", help="Sensor column and row of the movie's first pixel (camera ROI).")
]
CameraMapOption = Annotated[
    Path | None, typer.Option("--camera-map", help="Units of each pixel, from `camera-calibrate`: sCMOS cameras.")
]
FocalShiftOption = Annotated[
    float | None,
    typer.Option("--focal-shift-factor", help="Depth in the sample per stage travel, by which z is multiplied."),
]
FocalSurfaceOption = Annotated[
    SurfaceRemoval | None,
    typer.Option("--focal-surface", help="Taken out of z: curvature, tilt (and curvature), or none; curvature."),
]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Use what is there of a movie in several files of which some are missing.")
]
KeepRawOption = Annotated[bool, typer.Option("--keep-raw/--no-keep-raw", help="Keep the camera's frames.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(live)
    app.command()(localize)
    app.command("assign-z")(assign_z)
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
    from easyzloc_mm.api.acquisition import live as run
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
    with page, progress_display() as show, connect(loaded) as microscope, truth_beside(out):
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
    finish(result, as_json=as_json, title="live run, stopped from its page" if stopped else "live run")


def localize(
    movie: Annotated[Path, typer.Argument(help="TIFF, OME-TIFF, NDTiff, OME-Zarr, Picasso .raw, or a RUN.zarr.")],
    model: ModelOption,
    out: RunOption,
    pixel_size_nm: PixelSizeOption = None,
    baseline_adu: BaselineOption = None,
    electrons_per_adu: GainOption = None,
    excess_noise: ExcessNoiseOption = None,
    origin_px: OriginOption = (0, 0),
    camera_map: CameraMapOption = None,
    detection: Annotated[
        str | None,
        typer.Option("--detection", help="psf (at every depth; default with a measured PSF) or picasso (in focus)."),
    ] = None,
    false_alarms_per_frame: Annotated[
        float, typer.Option("--false-alarms-per-frame", help="psf: molecules that noise may feign, per frame.")
    ] = 0.05,
    min_snr: Annotated[
        float | None, typer.Option("--min-snr", help="psf: threshold, signal to noise, in place of the false alarms.")
    ] = None,
    passes: Annotated[
        int | None, typer.Option("--passes", help="psf: looks at what the fits leave, for dense frames; 6 by default.")
    ] = None,
    box_px: Annotated[int, typer.Option("--box-px", help="Side of Picasso's box, odd.")] = 7,
    min_net_gradient: Annotated[
        float | None, typer.Option("--min-net-gradient", help="picasso: threshold; found automatically.")
    ] = None,
    fit: Annotated[
        str, typer.Option("--fit", help="picasso: lq (least squares) or mle (maximum likelihood, slower).")
    ] = "lq",
    background_frames: Annotated[
        int | None,
        typer.Option("--background-frames", help="Detect on frames less their running median over so many frames."),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option("--refine/--no-refine", help="Refine z, x, y by their likelihood, or network alone (faster)."),
    ] = True,
    focal_shift_factor: FocalShiftOption = None,
    focal_surface: FocalSurfaceOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one per core by default.")] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Localise on the workers of this dask scheduler, tcp://HOST:8786.")
    ] = None,
    follow_s: Annotated[
        float | None,
        typer.Option("--follow", min=0.1, help="The movie is still being written; done when it has not grown so long."),
    ] = None,
    partial: PartialOption = False,
    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", help="Hardware profile: the sample is then held against the beads' PSF."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Where that is not the sample's: make it a model, and localise again.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume a run that was cut off, with the settings that it was begun with.")
    ] = False,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Localise a recorded movie in 3D: the live pipeline on a file."""
    from easyzloc_mm.api.imaging import localize as run

    with progress_display() as show:
        done = run(
            movie,
            model,
            out,
            pixel_size_nm=pixel_size_nm,
            baseline_adu=baseline_adu,
            electrons_per_adu=electrons_per_adu,
            excess_noise=excess_noise,
            origin_px=origin_px,
            camera_map=camera_map,
            detection=detection,
            false_alarms_per_frame=false_alarms_per_frame,
            min_snr=min_snr,
            passes=passes,
            box_px=box_px,
            min_net_gradient=min_net_gradient,
            fit=fit,
            background_frames=background_frames,
            refine=refine,
            focal_shift_factor=focal_shift_factor,
            focal_surface=focal_surface.value if focal_surface else None,
            workers=workers,
            scheduler=scheduler,
            follow_s=follow_s,
            partial=partial,
            profile=profile,
            refresh=refresh,
            if_exists=existing_or_resume(overwrite, resume),
            progress=show,
        )
    finish(done.as_dict(), as_json=as_json, title="localised")


def assign_z(
    table: Annotated[Path, typer.Argument(help="2D table: Picasso .hdf5 or ThunderSTORM .csv.")],
    movie: Annotated[Path, typer.Argument(help="The movie that it was made from, in any format of `localize`.")],
    model: ModelOption,
    out: RunOption,
    pixel_size_nm: PixelSizeOption = None,
    baseline_adu: BaselineOption = None,
    electrons_per_adu: GainOption = None,
    excess_noise: ExcessNoiseOption = None,
    origin_px: OriginOption = (0, 0),
    camera_map: CameraMapOption = None,
    focal_shift_factor: FocalShiftOption = None,
    focal_surface: FocalSurfaceOption = None,
    partial: PartialOption = False,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Give z to the molecules of a 2D table that Picasso or ThunderSTORM made; its rows stay in their order."""
    from easyzloc_mm.api.imaging import assign_z as run

    with progress_display() as show:
        done = run(
            table,
            movie,
            model,
            out,
            pixel_size_nm=pixel_size_nm,
            baseline_adu=baseline_adu,
            electrons_per_adu=electrons_per_adu,
            excess_noise=excess_noise,
            origin_px=origin_px,
            camera_map=camera_map,
            focal_shift_factor=focal_shift_factor,
            focal_surface=focal_surface.value if focal_surface else None,
            partial=partial,
            if_exists=existing(overwrite),
            progress=show,
        )
    finish(done.as_dict(), as_json=as_json, title="z assigned")


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
    from easyzloc_mm.api.acquisition import forecast
    from easyzloc_mm.api.acquisition import scan as run
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
    with page, progress_display() as show, connect(loaded) as microscope:
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
