"""`localize_refreshed` on the run that `write_sample` wrote: what localises gives a copy of that."""

from __future__ import annotations

import shutil
from pathlib import Path

from easyzloc_mm.io.runs.localizations import update_run
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.sample.twice import localize_refreshed
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.typing import IfExistsResume
from tests.helpers.sample_run import FRAMES, PROFILE


def localized_twice(
    folder: Path, if_exists: IfExistsResume, *, movie: Path | None = None, known: bool = True
) -> RunReport:
    """Localise ``sample.tif`` of `folder` into ``out.zarr``; `known`: its microscope is."""

    def localize(card: ModelCard, out: Path) -> RunReport:
        if not out.exists():
            shutil.copytree(folder / "sample.zarr", out)
            update_run(out, model=card.reference)
        return RunReport(out=out, frames=FRAMES, frames_lost=0, frames_per_s=1.0, localizations=0)

    return localize_refreshed(
        localize,
        ModelCard.load(folder / "bead_model"),
        folder / "out.zarr",
        movie=movie or folder / "sample.tif",
        profile=PROFILE if known else None,
        minutes=0.1,
        steps=20,
        if_exists=if_exists,
    )
