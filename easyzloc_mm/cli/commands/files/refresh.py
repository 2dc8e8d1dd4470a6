"""A sample held against the bead slide: `refresh`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display

if TYPE_CHECKING:
    from easyzloc_mm.api.imaging.refresh import Refreshed


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(refresh)


def refresh(
    model: Annotated[Path, typer.Argument(help="Model bundle that beads made.")],
    run: Annotated[Path, typer.Option("--from", help="RUN.zarr of the sample, localised with it.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Model for the sample; without it, the sample is judged only.")
    ] = None,
    movie: Annotated[
        Path | None, typer.Option("--movie", help="The run's frames, where it does not keep them.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help="Hardware profile, where the run does not state it.")
    ] = None,
    molecules: Annotated[int, typer.Option("--molecules", min=300, help="Used at most, the brightest.")] = 6000,
    depth_um: Annotated[
        float | None, typer.Option("--depth-um", help="About how deep the molecules lie above the glass, if you know.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the molecules by depth beside the beads' PSF: NAME.png.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="Time budget of the training.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Length of the training in steps, in place of --minutes.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything drawn at random.")] = 0,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Hold a sample against the bead slide; where its PSF is another, write a model with the PSF of its molecules."""
    from easyzloc_mm.api.imaging.refresh import refresh as go

    with progress_display() as show:
        found = go(
            model,
            run,
            out,
            movie=movie,
            profile=profile,
            molecules=molecules,
            depth_um=depth_um,
            picture=picture,
            minutes=minutes,
            steps=steps,
            seed=seed,
            if_exists=existing(overwrite),
            progress=show,
        )
    finish(found.as_dict() if as_json else _rows(found), as_json=as_json, title=found.found.in_words())


def _rows(found: Refreshed) -> dict[str, object]:
    """Return what people read, each aberration on a line."""
    sample = found.found
    terms = zip(sample.terms, sample.theta_rad, sample.sd_rad, strict=True)
    return {
        "molecules": sample.molecules,
        **{f"{name}, rad": f"{value:+.3f} +- {sd:.3f}" for name, value, sd in terms},
        **({"depth, um": f"{sample.depth_nm / 1e3:.2f} +- {sample.depth_sd_nm / 1e3:.2f}"} if sample.depth_nm else {}),
        "p_value": sample.p_value,
        "z_error_nm": sample.z_error_nm,
        **({} if found.model is None else {"out": found.model.path}),
    }
