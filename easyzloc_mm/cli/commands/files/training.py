"""From a bead data set to a model, and how good it is: `train`, `tune`, `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm._extras import need_backend
from easyzloc_mm.cli.options import MinutesOption, RecipeOption, RoiOption, SeedOption, StepsOption
from easyzloc_mm.cli.output import JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display

LikeOption = Annotated[
    Path | None, typer.Option("--like", help="A movie whose photons and background the training shall match.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(train)
    app.command()(tune)
    app.command()(evaluate)


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
    from easyzloc_mm.api.calibrating.calibration import train as run
    from easyzloc_mm.cli.score_tables import print_accuracies, training_in_short

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
    assert model.report is not None, "just trained"
    found: dict[str, object] = model.report.model_dump(mode="json") if as_json else training_in_short(model.report)
    found["report"] = out / "report" / "index.html"
    if like is not None:
        found |= model.fit_to(like)
    finish({"out": out, **found}, as_json=as_json, title="trained")
    if not as_json and model.card.accuracy is not None:
        print_accuracies(model.card.accuracy.rows())


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
