"""`camera-calibrate`: counts to photons, of the whole chip and of each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.options import PartialOption
from easyzloc_mm.cli.output import ExcessNoiseOption, JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("camera-calibrate")(camera_calibrate)


def camera_calibrate(
    out: Annotated[Path, typer.Option("--out", "-o", help="Maps of all pixels to write, camera.zarr.")],
    dark: Annotated[Path | None, typer.Option("--dark", help="Movie taken without light.")] = None,
    flat: Annotated[
        list[Path] | None, typer.Option("--flat", help="Movie of steady light; may be given several times.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help="Take the series on this microscope instead.")
    ] = None,
    dark_preset: Annotated[str, typer.Option("--dark-preset", help="Illumination preset without light.")] = "Off",
    light_preset: Annotated[
        str | None, typer.Option("--light-preset", help="Preset with light; that of the imaging plan by default.")
    ] = None,
    exposure_ms: Annotated[
        float | None, typer.Option("--exposure-ms", min=0.1, help="Longest exposure; that of the imaging plan.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=10, help="Frames of each series on the microscope.")] = 200,
    excess_noise: ExcessNoiseOption = None,
    serial: Annotated[
        str | None, typer.Option("--serial", help="Number of the camera, for the data base; else its adapter's.")
    ] = None,
    readout_mode: Annotated[
        str | None, typer.Option("--readout-mode", help="Mode that the series were taken in; else its adapter's.")
    ] = None,
    partial: PartialOption = False,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure the camera's baseline, gain and read noise by photon transfer, for each pixel too."""
    from easyzloc_mm.acquire.camera import calibrate_from_files, calibrate_on_microscope, enter_camera
    from easyzloc_mm.camera.response import NO_EXCESS
    from easyzloc_mm.io.camera_map import CameraMapMetadata, write_camera_map
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.io.writing.output import check_output

    check_output(out, Kind.CAMERA_MAP, if_exists=existing(overwrite), inputs=[*(flat or []), *([dark] if dark else [])])
    if (profile is None) == (dark is None and not flat):
        raise InputError("give either --dark and --flat movies, or --profile to take them on the microscope")
    if profile is None:
        if dark is None or not flat:
            raise InputError("photon transfer needs both: --dark DARK.tif and at least one --flat FLAT.tif")
        camera = calibrate_from_files(
            dark, flat, excess_noise=NO_EXCESS if excess_noise is None else excess_noise, partial=partial
        )
    else:
        loaded = load_profile(profile)
        with progress_display() as show:
            taken = calibrate_on_microscope(
                loaded,
                dark_preset=dark_preset,
                light_preset=light_preset or loaded.imaging.illumination or "High",
                exposure_ms=exposure_ms or loaded.imaging.exposure_ms,
                frames=frames,
                excess_noise=excess_noise,
                progress=show,
            )
        camera, serial, readout_mode = taken.camera, serial or taken.serial, readout_mode or taken.readout_mode
    metadata = CameraMapMetadata(
        camera_response=camera.response, dark_frames=camera.dark_frames, flat_frames=camera.flat_frames
    )
    write_camera_map(out, camera, metadata, if_exists=existing(overwrite))
    entry = enter_camera(camera, serial, readout_mode or "", out) if serial else None
    finish(
        {
            "out": out,
            "baseline_adu": camera.response.baseline_adu,
            "electrons_per_adu": camera.response.electrons_per_adu,
            "read_noise_e": camera.response.read_noise_e,
            "excess_noise": camera.response.excess_noise,
            "linearity": camera.linearity,
            "noisy_pixels": camera.noisy_pixels,
            "dark_frames": camera.dark_frames,
            "flat_frames": camera.flat_frames,
            "frames_lost": camera.frames_lost,
            "serial": serial or None,
            "readout_mode": readout_mode or None,
            "entered": "no: the camera's number is not known, give it" if entry is None else entry.in_words(),
        },
        as_json=as_json,
        title="camera: copy the units, and map = this file, into the profile, section camera",
    )
