"""Options that commands of several steps share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeOption = Annotated[str, typer.Option("--recipe", help="How the network is trained: matched or paper.")]
MinutesOption = Annotated[float, typer.Option("--minutes", min=0.05, max=10_000, help="Time budget of the training.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Length of the training in steps, in place of --minutes.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything drawn at random.")]
RoiOption = Annotated[
    int | None, typer.Option("--roi-px", help="Edge of the crops, odd, 15 to 31; as the beads' light needs by default.")
]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Use what is there of a set of several files of which some are missing.")
]
ModelOption = Annotated[Path, typer.Option("--model", "-m", help="Model bundle from `train` or `calibrate`.")]
RunOption = Annotated[Path, typer.Option("--out", "-o", help="Run to write, RUN.zarr.")]
CameraMapOption = Annotated[
    Path | None, typer.Option("--camera-map", help="Units of each pixel, from `camera-calibrate`: sCMOS cameras.")
]
