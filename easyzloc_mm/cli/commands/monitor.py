"""The page of a run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(monitor)


def monitor(
    run: Annotated[Path, typer.Argument(help="Run, RUN.zarr; it may still be written, or not have begun.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page; 0: any.")] = 5007,
    host: Annotated[str, typer.Option("--host", help="Address to serve it at; others can then look.")] = "127.0.0.1",
) -> None:
    """Show a run in the browser while it grows. Ctrl-C ends the page, never the run."""
    from easyzloc_mm.errors import InputError
    from easyzloc_mm.monitor.serve import serve

    if not run.absolute().parent.is_dir():
        raise InputError(f"{run.absolute().parent} does not exist: give a RUN.zarr that is written or will be")
    # The way to end a page, and how `live --monitor` ends its own: no failure.
    with suppress(KeyboardInterrupt):
        serve(run, port=port, host=host, ready=lambda address: typer.echo(f"{run.name}: {address}"))
