"""What `bench accuracy` and `bench cameras` found, as tables that fit a terminal."""

from __future__ import annotations

from typing import Any

from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.cli.score_tables import print_score

EMBEDDED_FIGURES = {
    "rmse_nm": "RMSE, nm",
    "robust_nm": "robust sigma, nm",
    "gross": "off by > 200 nm",
    "coverage_68": "in 1 sigma",
    "coverage_95": "in 1.96 sigma",
    "flagged": "flagged",
    "mistakes_flagged": "  of mistakes",
    "good_flagged": "  of good ones",
    "unflagged_rmse_nm": "unflagged: RMSE",
    "unflagged_limit_nm": "  limit, nm",
    "unflagged_gross": "  > 200 nm",
}
REAL_FIGURES = {
    "rmse_with_flagged_z_nm": "RMSE, nm",
    "robust_z_nm": "robust sigma, nm",
    "coverage_68": "in 1 sigma",
    "coverage_95": "in 1.96 sigma",
    "flagged": "flagged",
    "mistakes_flagged": "  of mistakes",
    "good_flagged": "  of good ones",
    "rmse_z_nm": "unflagged: RMSE",
    "limit_z_nm": "  limit, nm",
    "bead_rmse_z_nm": "beads as recorded",
    "bead_rmse_offset_removed_z_nm": "  less offset",
}


CAMERA_FIGURES = {
    **{f"{axis}_{share}": f"{axis} in {sigmas} s." for axis in "xyz" for share, sigmas in ((68, "1"), (95, "1.96"))},
    **{f"rmse_{axis}_nm": f"RMSE of {axis}, nm" for axis in "xyz"},
    **{f"walk_{axis}_nm": f"  walk of {axis}, taken out" for axis in "xy"},
    "flagged": "flagged",
    "recall": "recall",
    "photons": "photons / true",
    "noise_ratio": "noise / units",
    "noticed": "warnings of it",
}


def print_cameras(cameras: dict[str, Any]) -> None:
    """Table of `bench_cameras`: a column for each camera and each gain."""
    columns = {f"{kind}, {gain}": found for kind, gains in cameras.items() for gain, found in gains.items()}
    _print_methods(columns, CAMERA_FIGURES, "stated uncertainties against the truth, of what carries no flag")


def print_real(result: dict[str, Any]) -> None:
    """Tables of `bench_real`: over the whole range, and near focus."""
    _print_methods(result["methods"], REAL_FIGURES, "means over the seeds")
    _print_methods(result["near"], REAL_FIGURES, "the same, within 700 nm of focus")


def _print_methods(methods: dict[str, dict[str, Any]], figures: dict[str, str], title: str) -> None:
    """One column per method, a row per figure (by its key: how it is called): no wider than a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    head = (Column(name, justify="right") for name in methods)
    table = Table(
        Column(no_wrap=True), *head, title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False
    )
    for figure, called in figures.items():
        values = (method.get(figure) for method in methods.values())
        table.add_row(called, *("-" if value is None else f"{value:.3g}" for value in values))
    Console().print(table)


def print_accuracy(result: dict[str, Any]) -> None:
    """Tables of `bench_accuracy`: by method, by photons, by depth."""
    from rich.console import Console
    from rich.table import Table

    groups = {"1000-3000 photons": result["methods"], **{f"{n} photons": m for n, m in result["levels"].items()}}
    for title, methods in groups.items():
        _print_methods(
            {name: figures for name, figures in methods.items() if isinstance(figures, dict)}, EMBEDDED_FIGURES, title
        )
    table = Table(
        "z (nm)", "limit", "matched / limit", "unflagged / limit", "within 1 sigma", "oracle posterior / limit",
        title="matched by z",
    )  # fmt: skip
    for row in result["bins"]:
        ours = row["matched"]
        unflagged = ours["unflagged_rmse_nm"]
        table.add_row(
            f"{row['z_from_nm']:.0f}..{row['z_to_nm']:.0f}",
            f"{row['limit_nm']:.0f}",
            f"{ours['rmse_nm'] / row['limit_nm']:.2f}",
            "-" if unflagged is None else f"{unflagged / ours['unflagged_limit_nm']:.2f}",
            "-" if ours["coverage_68"] is None else f"{ours['coverage_68']:.0%}",
            f"{row['oracle posterior']['rmse_nm'] / row['limit_nm']:.2f}",
        )
    Console(soft_wrap=True).print(table)
    print_score(Score.model_validate({**result["in_frames"], "rules": {}}))
