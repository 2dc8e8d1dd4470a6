"""Data with known truth, from the embedded optics."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display

simulate_app = typer.Typer(no_args_is_help=True, help="Make data with known truth, from the embedded optics.")
SeedOption = Annotated[int, typer.Option("--seed", min=0)]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(simulate_app, name="simulate")


@simulate_app.command("beads")
def simulate_beads(
    out: Annotated[Path, typer.Option("--out", "-o", help="Stacks, NAME.ome.zarr or .tif; the truth lies beside.")],
    profile: Annotated[str, typer.Option("--profile", "-p", help="Whose optics, camera and bead plan.")] = "demo",
    seed: SeedOption = 0,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Bead stacks through focus, as `acquire-beads` or (.tif) a camera program writes them."""
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.simulator.datasets import simulate_beads as run

    with progress_display() as show:
        result = run(load_profile(profile), out, seed=seed, if_exists=existing(overwrite), progress=show)
    finish(asdict(result), as_json=as_json, title="simulated bead stacks")


@simulate_app.command("movie")
def simulate_movie(
    out: Annotated[Path, typer.Option("--out", "-o", help="Movie, NAME.tif; the truth lies beside.")],
    profile: Annotated[str, typer.Option("--profile", "-p", help="Whose optics and camera.")] = "demo",
    frames: Annotated[int, typer.Option("--frames", "-n", min=1)] = 500,
    seed: SeedOption = 0,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a blinking SMLM movie of nuclear pores and filaments."""
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.simulator.datasets import simulate_movie as run

    with progress_display() as show:
        result = run(load_profile(profile), out, frames=frames, seed=seed, if_exists=existing(overwrite), progress=show)
    finish(asdict(result), as_json=as_json, title="simulated movie")
