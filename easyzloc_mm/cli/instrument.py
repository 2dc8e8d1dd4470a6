"""`profile` and `doctor`: is the description right, and is the instrument well."""

from __future__ import annotations

from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, finish
from easyzloc_mm.errors import HardwareError

profile_app = typer.Typer(no_args_is_help=True, help="Check or show a hardware profile.")


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
    from easyzloc_mm.profile_library import load_profile

    loaded = load_profile(profile)
    summary = {
        "profile": loaded.name,
        "valid": True,
        "backend": str(loaded.connection.backend),
        "field_um": f"{loaded.camera.width_px * loaded.optics.pixel_size_nm / 1000:.1f} x "
        f"{loaded.camera.height_px * loaded.optics.pixel_size_nm / 1000:.1f}",
        "bead_planes": loaded.beads.planes,
        "bead_fovs": loaded.beads.fovs,
    }
    finish(summary, as_json=as_json, title="profile is valid")


@profile_app.command("show")
def profile_show(
    profile: Annotated[str | None, typer.Argument(help="Without it, the shipped profiles are listed.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print every field of a profile, defaults included."""
    from easyzloc_mm.profile_library import load_profile, shipped_profiles

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


def doctor(
    profile: Annotated[str, typer.Option("--profile", "-p", help="Profile to hold against the devices.")] = "demo",
    as_json: JsonFlag = False,
) -> None:
    """Check versions, devices, and the profile against the devices. Moves nothing."""
    from easyzloc_mm.doctor import examine
    from easyzloc_mm.profile_library import load_profile

    findings = examine(load_profile(profile))
    failed = [finding for finding in findings if finding.status == "fail"]
    if as_json:
        finish({"healthy": not failed, "findings": [vars(finding) for finding in findings]}, as_json=True)
    else:
        for finding in findings:
            typer.echo(f"{finding.status:>4}  {finding.subject}: {finding.text}")
    if failed:
        raise HardwareError(f"{len(failed)} check(s) failed, first: {failed[0].subject}: {failed[0].text}")
