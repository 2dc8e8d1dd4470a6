"""The page of a run, a calibration, bead stacks or a scan; and of the camera before any of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(monitor)


def monitor(
    path: Annotated[
        Path | None,
        typer.Argument(help="Run, calibration, bead stacks or scan; still written, or not begun yet, or done."),
    ] = None,
    camera: Annotated[bool, typer.Option("--camera", help="Show the camera before a run: a focus aid.")] = False,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help="With --camera, hardware profile: .toml, or a name.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Of the page; 5007 or, where taken, any; 0: any.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to serve it at; others can then look.")] = "127.0.0.1",
) -> None:
    """Show in the browser what is being measured. Ctrl-C ends the page, never the run."""
    from easyzloc_mm.errors import InputError
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.monitor.serve import serve

    if camera != (path is None) or camera != (profile is not None):
        raise InputError("give what to show, or `camera` with `profile` for the camera before a run")
    # Ctrl-C is the way to end a page, and no failure.
    with suppress(KeyboardInterrupt):
        if path is not None:
            from easyzloc_mm.monitor.choose import page_of

            page, deeds = page_of(path, lambda line: typer.echo(f"runs: {line}"))
            name = path.name
            serve(page, deeds, port=port, host=host, ready=lambda address: typer.echo(f"{name}: {address}"))
        if profile is not None:
            from easyzloc_mm.monitor.follow.camera import CameraWatch
            from easyzloc_mm.monitor.pages.camera import camera_deeds, make_camera_page

            watch = CameraWatch(load_profile(profile))
            try:
                serve(
                    lambda document, token: make_camera_page(document, watch, token), camera_deeds(watch), port=port,
                    host=host, ready=lambda address: typer.echo(f"camera: {address}"),
                )  # fmt: skip
            finally:
                watch.end(wait=True)
