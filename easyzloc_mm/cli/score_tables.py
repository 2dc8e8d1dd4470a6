"""What training and scoring found, as tables that fit a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from easyzloc_mm.analysis.scoring.figures import DensityScore, DepthScore, PhotonScore, Score

if TYPE_CHECKING:
    from easyzloc_mm.model.accuracy import AccuracyRow
    from easyzloc_mm.training.train import TrainReport

SHARES = ("recall", "precision", "coverage_68", "flagged")
FIGURES = {
    "molecules": "n",
    "recall": "recall",
    "precision": "precision",
    "bias_nm": "bias",
    "slope": "slope",
    "robust_z_nm": "error",
    "limit_z_nm": "limit",
    "coverage_68": "in 1 s.",
    "flagged": "flagged",
}


def training_in_short(report: TrainReport) -> dict[str, object]:
    """Return of a training what people read beside the table of accuracies."""
    return {
        "minutes of training": report.minutes,
        "beads for training, validation, test": f"{report.train_beads}, {report.validation_beads}, {report.test_beads}",
        "measured on": report.measured_on,
        **({"remark": report.remark} if report.remark else {}),
    }


def print_accuracies(rows: Iterable[AccuracyRow]) -> None:
    """Every accuracy of z, each with its molecules."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    from easyzloc_mm.model.accuracy import HEADINGS, QUOTE, TITLE

    figures = [Column(name, justify="right", no_wrap=True) for name in ("nm", "limit")]
    table = Table(
        Column(HEADINGS[0], no_wrap=True), *figures, HEADINGS[3],
        title=TITLE, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False,
    )  # fmt: skip
    for row in rows:
        table.add_row(*row.cells())
    console = Console()
    console.print(table)
    console.print(QUOTE)


def print_score(score: Score) -> None:
    """Tables by depth (errors of z in nm, of what carries no flag), by photons, and by density."""
    _print("z (nm)", [(f"{item.z_from_nm:.0f}..{item.z_to_nm:.0f}", item) for item in score.bins])
    _print("photons", [(f"{item.photons_from:.0f}..{item.photons_to:.0f}", item) for item in score.by_photons])
    if len(score.by_density) > 1:
        _print("per um^2", [(f"{item.per_um2_from:.2g} and more", item) for item in score.by_density])


def print_recall(movies: Mapping[str, Any]) -> None:
    """One row per movie of `bench recall`, and one for Picasso on it."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    names = {"recall": "recall", "precision": "precision", "jaccard": "Jaccard", "rmse_lateral_nm": "x, y (nm)",
             "rmse_axial_nm": "z (nm)", "e3d": "E3D", "over_limit": "unflagged z / limit"}  # fmt: skip
    head = (Column(called, justify="right", no_wrap=True) for called in names.values())
    table = Table(Column("frames", no_wrap=True), *head, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for movie, found in movies.items():
        for label, figures in ((movie, found), ("  Picasso", found.get("picasso"))):
            if figures is not None:
                limit, error = (figures.get(name) for name in ("rms_limit_z_nm", "rmse_z_nm"))
                figures = {**figures, "over_limit": error / limit if limit and error else None}
                values = (figures[name] for name in names)
                table.add_row(label, *("-" if value is None else f"{value:.3g}" for value in values))
    Console(soft_wrap=True).print(table)


def _print(heading: str, rows: Sequence[tuple[str, DepthScore | PhotonScore | DensityScore]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    if not rows:
        return
    names = [name for name in FIGURES if any(getattr(item, name, None) is not None for _, item in rows)]
    head = [Column(heading, no_wrap=True), *(Column(FIGURES[name], justify="right", no_wrap=True) for name in names)]
    table = Table(*head, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for label, item in rows:
        table.add_row(label, *(_cell(name, getattr(item, name)) for name in names))
    Console(soft_wrap=True).print(table)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name in SHARES:
        return f"{100 * value:.0f} %"
    if name == "slope":
        return f"{value:.2f}"
    return f"{value:,.0f}"
