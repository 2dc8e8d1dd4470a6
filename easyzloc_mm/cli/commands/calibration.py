"""From beads to a model: `calibrate`, and its steps one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm._extras import need_backend
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
from easyzloc_mm.cli.set_up import ExposureOption, MonitorFlag, SizeOption, as_set
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind

RecipeOption = Annotated[str, typer.Option("--recipe", help="How the network is trained: matched or paper.")]
MinutesOption = Annotated[float, typer.Option("--minutes", min=0.05, max=10_000, help="Time budget of the training.")]
RoiOption = Annotated[
    int | None, typer.Option("--roi-px", help="Edge of the crops, odd, 15 to 31; as the beads' light needs by default.")
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Length of the training in steps, in place of --minutes.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything drawn at random.")]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Use what is there of a set of several files of which some are missing.")
]
LikeOption = Annotated[
    Path | None, typer.Option("--like", help="A movie whose photons and background the training shall match.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(calibrate)
    app.command("acquire-beads")(acquire_beads)
    app.command()(beads)
    app.command("camera-calibrate")(camera_calibrate)
    app.command()(train)
    app.command()(tune)
    app.command()(evaluate)


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
    from easyzloc_mm.api.calibration import calibrate as run
    from easyzloc_mm.beads.build import count_reasons
    from easyzloc_mm.cli.score_tables import print_accuracies
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.monitor.beside import page_beside

    loaded = as_set(load_profile(profile), exposure_ms, size_px)
    with page_beside(out) if monitor else nullcontext(), progress_display() as show:
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
            **done.training.model_dump(mode="json", exclude={"schema_version"}),
            **done.accuracy.model_dump(mode="json", exclude={"schema_version"}),
            "model": done.model.path,
            "report": done.model.path / "report" / "index.html",
        },
        as_json=as_json,
        title="calibrated",
    )
    if not as_json:
        print_accuracies(done.accuracy.rows())


def _check(model: Path, profile: str, out: Path | None, stacks: list[Path], *, overwrite: bool, as_json: bool) -> None:
    """Say whether a calibration is still that of the instrument."""
    from easyzloc_mm.api.check import check_calibration

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
    from easyzloc_mm.api.calibration import acquire_beads as run
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.io.writing.output import check_output
    from easyzloc_mm.microscope.connect import connect

    loaded = load_profile(profile)
    if_exists = existing_or_resume(overwrite, resume)
    check_output(out, Kind.BEAD_STACKS, if_exists=if_exists, acquires=True)
    with progress_display() as show, connect(loaded) as microscope:
        report = run(microscope, out, if_exists=if_exists, progress=show)
    finish({"out": out, **report.as_dict()}, as_json=as_json, title="bead stacks")


def beads(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Bead stacks: OME-Zarr, TIFF, a folder of TIFFs, NDTiff; or ROI stacks with --rois."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Bead data set to write, beads.zarr.")],
    rois: Annotated[bool, typer.Option("--rois", help="The sources are ready-cut ROIs, (N,Z,Y,X).")] = False,
    pixel_size_nm: Annotated[float | None, typer.Option("--pixel-size-nm", help="Where the file does not say.")] = None,
    z_step_nm: Annotated[float | None, typer.Option("--z-step-nm", help="Where the file does not say.")] = None,
    baseline_adu: Annotated[float | None, typer.Option("--baseline-adu", help="Camera offset, ADU.")] = None,
    electrons_per_adu: Annotated[float | None, typer.Option("--electrons-per-adu", help="Camera gain.")] = None,
    excess_noise: ExcessNoiseOption = None,
    roi_px: RoiOption = None,
    partial: PartialOption = False,
    rules: Annotated[
        str, typer.Option("--rules", help="Who judges and labels: default, or paper (the published rules).")
    ] = "default",
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder of the HTML report; NAME_report beside --out by default.")
    ] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Find, judge, align and label beads: stacks to a bead data set."""
    from easyzloc_mm.api.calibration import bead_report_folder, build_beads
    from easyzloc_mm.beads.build import count_reasons
    from easyzloc_mm.beads.camera_response import noise_ratio
    from easyzloc_mm.beads.report.summary import offsets_in_words, summarize_beads, summary_figures, which_rejected

    page = report or bead_report_folder(out)
    with progress_display() as show:
        bead_set = build_beads(
            sources,
            out,
            report=page,
            rois=rois,
            pixel_size_nm=pixel_size_nm,
            z_step_nm=z_step_nm,
            baseline_adu=baseline_adu,
            electrons_per_adu=electrons_per_adu,
            excess_noise=excess_noise,
            roi_px=roi_px,
            partial=partial,
            rules=rules,
            if_exists=existing(overwrite),
            progress=show,
        )
    summary = summarize_beads(bead_set)
    figures = summary_figures(bead_set, summary)
    more: dict[str, object] = {}
    if rois and as_json:
        more = {"rejected_rois": which_rejected(bead_set)}
    elif rois:
        more = {f"ROIs: {why}": ", ".join(map(str, rows)) for why, rows in which_rejected(bead_set).items()}
    elif not as_json:
        more = {"stack_offsets": offsets_in_words(figures["stacks"])}
    finish(
        {
            "out": out,
            "found": len(bead_set.accepted),
            "accepted": int(bead_set.accepted.sum()),
            "distinct": bead_set.distinct,
            "rejected": count_reasons(bead_set),
            "regions": len(set(bead_set.region[bead_set.accepted].tolist())),
            "units_estimated": bead_set.response.estimated,
            "noise_ratio": noise_ratio(bead_set),
            **figures,
            **more,
            "report": page / "index.html",
        },
        as_json=as_json,
        title="beads",
    )


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


def train(
    beads: Annotated[Path, typer.Argument(help="Bead data set, beads.zarr.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model bundle to write.")],
    recipe: RecipeOption = "matched",
    minutes: MinutesOption = 10.0,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    roi_px: RoiOption = None,
    like: LikeOption = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="An earlier model to train further: a minute is then enough.")
    ] = None,
    study: Annotated[Path | None, typer.Option("--settings", help="What `tune` found: its --out.")] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Learn z from a bead data set: a model bundle with its report. Interrupted, it resumes where it stopped."""
    from easyzloc_mm.api.calibration import train as run

    with progress_display() as show:
        model = run(
            beads,
            out,
            recipe=recipe,
            minutes=minutes,
            steps=steps,
            seed=seed,
            roi_px=roi_px,
            like=like,
            start_from=start_from,
            settings=study,
            if_exists=existing(overwrite),
            progress=show,
        )
    found: dict[str, object] = model.report.model_dump(mode="json") if model.report else {}
    if like is not None:
        found |= model.fit_to(like)
    finish({"out": out, **found}, as_json=as_json, title="trained")


def tune(
    beads: Annotated[Path, typer.Argument(help="Bead data set, beads.zarr.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the search; an existing one is taken up.")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials over all calls.")] = 30,
    minutes: Annotated[float, typer.Option("--minutes", min=0.02, help="Training time of a trial.")] = 2.0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that train side by side.")] = 1,
    seed: SeedOption = 0,
    like: LikeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Search the network's sizes, rates and training images for this instrument; for `train --settings`."""
    need_backend()
    from easyzloc_mm.training.search import tune as run

    emitters = None
    if like is not None:
        from easyzloc_mm.io.beads.dataset import read_bead_set
        from easyzloc_mm.localization.offline.movie_emitters import emitter_prior

        emitters = emitter_prior(like, read_bead_set(beads).response)
    with progress_display() as show:
        result = run(
            beads, out, trials=trials, minutes=minutes, workers=workers, seed=seed, emitters=emitters, progress=show
        )
    finish(result, as_json=as_json, title="searched")


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model bundle.")],
    beads: Annotated[Path, typer.Argument(help="Bead data set, beads.zarr.")],
    background: Annotated[
        Path | None, typer.Option("--background", help="Movie without molecules, in which beads are then searched.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Also write an HTML report to this folder.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Accuracy on held-out beads by z and photons, beside the information limit; and how many are found in frames."""
    from easyzloc_mm.api.model import Model
    from easyzloc_mm.cli.score_tables import print_accuracies, print_score

    with progress_display() as show:
        result = Model.load(model).evaluate(beads, background=background, report=report, progress=show)
    found: dict[str, object] = {}
    if result.in_frames is not None:
        found = {name: getattr(result.in_frames, name) for name in ("recall", "precision", "jaccard")}
    said = {"measured_on": result.measured_on, "remark": result.remark}
    finish({**result.model_dump(mode="json"), **said, **found}, as_json=as_json, title="accuracy")
    if not as_json:
        print_accuracies(result.rows())
    if not as_json and result.in_frames is not None:
        print_score(result.in_frames)
