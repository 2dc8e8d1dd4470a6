"""`profile` and `doctor`: is the description right, and is the instrument well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import ExcessNoiseOption, JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.errors import HardwareError
from easyzloc_mm.io.writing.kinds import Kind

profile_app = typer.Typer(no_args_is_help=True, help="Write, check or show a hardware profile.")


MENDED_FIRST = 3
"""What `doctor` names at its end: more is no advice."""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(profile_app, name="profile")
    app.command()(doctor)


@profile_app.command("check")
def profile_check(
    profile: Annotated[str, typer.Argument(help="A .toml file, or the name of a shipped profile.")],
    as_json: JsonFlag = False,
) -> None:
    """Validate a profile without touching any device."""
    from easyzloc_mm.io.camera_database import origin_of_units
    from easyzloc_mm.io.profiles import load_profile

    loaded = load_profile(profile)
    summary = {
        "profile": loaded.name,
        "valid": True,
        "backend": str(loaded.connection.backend),
        "field_um": f"{loaded.camera.width_px * loaded.optics.pixel_size_nm / 1000:.1f} x "
        f"{loaded.camera.height_px * loaded.optics.pixel_size_nm / 1000:.1f}",
        "bead_planes": loaded.beads.planes,
        "bead_fovs": loaded.beads.fovs,
        "camera_units": origin_of_units(loaded.camera).text,
    }
    finish(summary, as_json=as_json, title="profile is valid")


@profile_app.command("show")
def profile_show(
    profile: Annotated[str | None, typer.Argument(help="Without it, the shipped profiles are listed.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print every field of a profile, defaults included."""
    from easyzloc_mm.io.profiles import load_profile, shipped_profiles

    if profile is None:
        finish({name: str(path) for name, path in shipped_profiles().items()}, as_json=as_json, title="shipped")
        return
    data = load_profile(profile).model_dump(mode="json")
    if as_json:
        finish(data, as_json=True)
        return
    for section, fields in data.items():
        if isinstance(fields, dict):
            finish(fields, as_json=False, title=section)
        else:
            typer.echo(f"{section}: {fields}")


@profile_app.command("new")
def profile_new(
    out: Annotated[Path, typer.Option("--out", "-o", help="Profile to write, .toml.")],
    mm_dir: Annotated[
        Path | None, typer.Option("--mm-dir", help="Folder of Micro-Manager, whose window is closed.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config-file", help="Its .cfg file, here or in that folder.")
    ] = None,
    java: Annotated[bool, typer.Option("--java", help="Instead: ask the Micro-Manager that is open.")] = False,
    java_port: Annotated[int, typer.Option("--java-port", help="Of its server.")] = 4827,
    na: Annotated[float | None, typer.Option("--na", help="Numerical aperture of the objective.")] = None,
    emission_nm: Annotated[float | None, typer.Option("--emission-nm", help="Middle of the emission filter.")] = None,
    pixel_size_nm: Annotated[
        float | None, typer.Option("--pixel-size-nm", help="In the sample; else Micro-Manager's.")
    ] = None,
    baseline_adu: Annotated[float | None, typer.Option("--baseline-adu", help="Camera offset.")] = None,
    electrons_per_adu: Annotated[float | None, typer.Option("--electrons-per-adu", help="Camera gain.")] = None,
    read_noise_e: Annotated[float | None, typer.Option("--read-noise-e", help="Camera read noise.")] = None,
    excess_noise: ExcessNoiseOption = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a profile from the connected microscope. Moves nothing; says what to check by hand."""
    from easyzloc_mm.errors import InputError
    from easyzloc_mm.io.camera_database import read_cameras
    from easyzloc_mm.io.profiles import parse_profile
    from easyzloc_mm.io.writing.output import whole_or_nothing
    from easyzloc_mm.microscope.setup.discover import discover
    from easyzloc_mm.microscope.setup.profile_draft import draft_profile
    from easyzloc_mm.profile.schema import Backend, Connection

    if not java and (mm_dir is None or config_file is None):
        raise InputError("give --mm-dir and --config-file, or --java for a Micro-Manager that is open")
    if config_file is not None and config_file.is_file():  # what is not here is looked for in Micro-Manager's folder
        config_file = config_file.absolute()
    known = {
        "na": na,
        "emission_nm": emission_nm,
        "pixel_size_nm": pixel_size_nm,
        "baseline_adu": baseline_adu,
        "electrons_per_adu": electrons_per_adu,
        "read_noise_e": read_noise_e,
        "excess_noise": excess_noise,
    }
    connection = Connection(
        backend=Backend.JAVA if java else Backend.PYTHON,
        mm_dir=None if java else mm_dir,
        config_file=None if java else config_file,
        java_port=java_port,
    )
    with whole_or_nothing(out, Kind.PROFILE, if_exists=existing(overwrite)) as draft:
        found = discover(connection)
        camera = read_cameras().find(found.identity.serial, found.identity.readout_mode)
        text, to_check = draft_profile(
            found,
            connection,
            name=out.stem,
            known={key: value for key, value in known.items() if value is not None},
            measured_before=camera,
        )
        draft.write_text(text, encoding="utf-8")
        try:
            parse_profile(draft)
        except InputError as error:  # it names the draft, which nobody can correct
            why = str(error).partition(": ")[2]
            raise InputError(f"what the devices say, with the options given, is no profile: {why}") from None
    finish(
        {
            "profile": out,
            **found.devices,
            "groups": ", ".join(found.groups),
            "camera units": "of the template" if camera is None else camera.in_words(),
            "check by hand": ", ".join(to_check),
        },
        as_json=as_json,
        title="profile written",
    )


def doctor(
    profile: Annotated[str, typer.Option("--profile", "-p", help="Profile to hold against the devices.")] = "demo",
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Model, to see if this PC keeps up with this camera.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check versions, disk, speed, and the profile against the devices; ends with a verdict. Moves nothing."""
    from easyzloc_mm.acquire.doctor import examine
    from easyzloc_mm.io.profiles import load_profile

    findings = examine(load_profile(profile), model=model)
    failed = [finding for finding in findings if finding.status == "fail"]
    doubtful = [finding for finding in findings if finding.status == "warn"]
    first = [f"{finding.subject}: {finding.text}" for finding in (*failed, *doubtful)][:MENDED_FIRST]
    verdict = (
        f"not ready: {len(failed)} check(s) failed" if failed
        else f"ready, but {len(doubtful)} thing(s) are doubtful" if doubtful
        else "ready"
    )  # fmt: skip
    if as_json:
        found = [vars(finding) for finding in findings]
        finish({"healthy": not failed, "verdict": verdict, "mend_first": first, "findings": found}, as_json=True)
    else:
        for finding in findings:
            typer.echo(f"{finding.status:>4}  {finding.subject}: {finding.text}")
        typer.echo(f"\n{verdict}{'; mend first:' if first else ''}")
        for number, sentence in enumerate(first, 1):
            typer.echo(f"  {number}. {sentence}")
    if failed:
        raise HardwareError(f"{len(failed)} check(s) failed, first: {failed[0].subject}: {failed[0].text}")
