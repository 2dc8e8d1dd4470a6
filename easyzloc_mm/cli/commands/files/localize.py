"""From a movie to a localisation table: `localize`, and z for a table of another program, `assign-z`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.options import CameraMapOption, ModelOption, PartialOption, RunOption
from easyzloc_mm.cli.output import (
    ExcessNoiseOption,
    JsonFlag,
    OverwriteFlag,
    existing,
    existing_or_resume,
    finish,
    in_short,
)
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.profile.detection import SurfaceRemoval

PixelSizeOption = Annotated[
    float | None, typer.Option("--pixel-size-nm", help="Where the movie does not say; else the model's.")
]
BaselineOption = Annotated[float | None, typer.Option("--baseline-adu", help="Instead of the run's or model's.")]
GainOption = Annotated[float | None, typer.Option("--electrons-per-adu", help="Instead of the run's or model's.")]
OriginOption = Annotated[
    tuple[int, int], typer.Option("--origin-px", help="Sensor column and row of the movie's first pixel (camera ROI).")
]
FocalShiftOption = Annotated[
    float | None,
    typer.Option("--focal-shift-factor", help="Depth in the sample per stage travel, by which z is multiplied."),
]
FocalSurfaceOption = Annotated[
    SurfaceRemoval | None,
    typer.Option("--focal-surface", help="Taken out of z: curvature, tilt (and curvature), or none; curvature."),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(localize)
    app.command("assign-z")(assign_z)


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
    from easyzloc_mm.api.imaging.movies import localize as run

    with progress_display() as show:
        show("the localising processes start", 0.0)
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
    finish(done.as_dict() if as_json else in_short(done.as_dict()), as_json=as_json, title="localised")


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
    from easyzloc_mm.api.imaging.movies import assign_z as run

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
    finish(done.as_dict() if as_json else in_short(done.as_dict()), as_json=as_json, title="z assigned")
