"""From molecules to a localisation table: `live`, `localize`, `scan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, ProfileOption, finish, progress_display

ModelOption = Annotated[Path, typer.Option("--model", "-m", help="Model bundle from `train` or `calibrate`.")]
RunOption = Annotated[Path, typer.Option("--out", "-o", help="Run to write, RUN.zarr.")]
KeepRawOption = Annotated[bool, typer.Option("--keep-raw/--no-keep-raw", help="Keep the camera's frames.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(live)
    app.command()(localize)
    app.command()(scan)


def live(
    profile: ProfileOption,
    model: ModelOption,
    out: RunOption,
    frames: Annotated[
        int | None, typer.Option("--frames", "-n", min=1, help="Instead of the profile's imaging.frames.")
    ] = None,
    keep_raw: KeepRawOption = True,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Stream from the camera and localise in 3D while it runs."""
    from easyzloc_mm.acquire.live import run_live
    from easyzloc_mm.microscope import connect
    from easyzloc_mm.network import ModelBundle
    from easyzloc_mm.profile_library import load_profile
    from easyzloc_mm.store.output import check_output

    loaded = load_profile(profile)
    check_output(out, overwrite=overwrite)
    bundle = ModelBundle.load(model, loaded)
    with progress_display() as show, connect(loaded) as microscope:
        report = run_live(
            microscope,
            loaded,
            bundle,
            out,
            frames=frames or loaded.imaging.frames,
            keep_raw=keep_raw,
            overwrite=overwrite,
            progress=show,
        )
    finish({"out": out, **report.as_dict()}, as_json=as_json, title="live run")


def localize(
    movie: Annotated[Path, typer.Argument(help="TIFF, OME-TIFF, NDTiff, OME-Zarr, Picasso .raw, or a RUN.zarr.")],
    model: ModelOption,
    out: RunOption,
    pixel_size_nm: Annotated[
        float | None, typer.Option("--pixel-size-nm", help="Where the movie does not say; else the model's.")
    ] = None,
    baseline_adu: Annotated[float | None, typer.Option("--baseline-adu", help="Instead of the model's.")] = None,
    electrons_per_adu: Annotated[
        float | None, typer.Option("--electrons-per-adu", help="Instead of the model's.")
    ] = None,
    box_px: Annotated[int, typer.Option("--box-px", help="Side of Picasso's fitting box, odd.")] = 7,
    min_net_gradient: Annotated[
        float | None, typer.Option("--min-net-gradient", help="Detection threshold; found automatically.")
    ] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Localise a recorded movie in 3D: the live pipeline on a file."""
    from pydantic import ValidationError

    from easyzloc_mm.errors import InputError
    from easyzloc_mm.localize import localize_movie
    from easyzloc_mm.network import ModelBundle
    from easyzloc_mm.profile import LocalizeSettings
    from easyzloc_mm.store.output import check_output

    check_output(out, overwrite=overwrite)
    try:
        settings = LocalizeSettings(box_px=box_px, min_net_gradient=min_net_gradient)
    except ValidationError as error:
        raise InputError(f"--box-px / --min-net-gradient: {error.errors()[0]['msg']}") from None
    bundle = ModelBundle.load(model)
    changed = {
        key: value
        for key, value in (("baseline_adu", baseline_adu), ("electrons_per_adu", electrons_per_adu))
        if value is not None
    }
    with progress_display() as show:
        report = localize_movie(
            movie,
            bundle,
            out,
            units=bundle.units.model_copy(update=changed),
            pixel_size_nm=pixel_size_nm,
            settings=settings,
            overwrite=overwrite,
            progress=show,
        )
    finish({"out": out, **report.as_dict()}, as_json=as_json, title="localised")


def scan(
    profile: ProfileOption,
    plan: Annotated[Path, typer.Option("--plan", help="Scan plan, TOML: positions or a grid.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder: one run per field and the ledger.")],
    keep_raw: KeepRawOption = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew instead of resuming.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Live 3D runs at many positions; a killed scan goes on where it stopped."""
    from easyzloc_mm.acquire.scan import ScanPlan, run_scan
    from easyzloc_mm.microscope import connect
    from easyzloc_mm.network import ModelBundle
    from easyzloc_mm.profile_library import load_profile

    loaded = load_profile(profile)
    scan_plan = ScanPlan.from_file(plan)
    bundle = ModelBundle.load(model, loaded)
    with progress_display() as show, connect(loaded) as microscope:
        report = run_scan(
            microscope, loaded, scan_plan, bundle, out, keep_raw=keep_raw, overwrite=overwrite, progress=show
        )
    finish({"out": out, **report.as_dict()}, as_json=as_json, title="scan")
