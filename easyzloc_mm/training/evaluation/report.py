"""The HTML report of a model: predicted z, its uncertainty, and where to doubt it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.analysis.scoring.picture import draw_score
from easyzloc_mm.model.accuracy import HEADINGS, MISTAKE_LIMITS, QUOTE, THINNED, TITLE, EvaluationResult
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.report.figures import picture
from easyzloc_mm.report.html import Block, Heading, Paragraph, Picture, Rows, write_page
from easyzloc_mm.training.evaluation.judged import Judged

RECORDED_COLOUR, MOLECULE_COLOUR, LIMIT_COLOUR = "#1c2430", "#0072b2", "#d55e00"


def write_model_report(folder: Path, card: ModelCard, result: EvaluationResult, judged: Judged) -> Path:
    """Write ``index.html`` and its pictures into `folder`.

    Parameters
    ----------
    folder : Path
    card : ModelCard
    result : EvaluationResult
    judged : Judged
        What the figures of `result` are of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _draw_z(judged.emitters, judged.recorded, folder / "z_against_stage.png")
    _draw_error(result, folder / "error_by_z.png")
    rows: list[tuple[str, ...]] = [("z (nm)", "RMSE (nm)", "limit (nm)", "bias (nm)", "within 1 sigma", "flagged")]
    for item in result.bins:
        rows.append(
            (
                f"{item.z_from_nm:.0f} to {item.z_to_nm:.0f}",
                *(_number(value) for value in (item.rmse_z_nm, item.limit_z_nm, item.bias_nm)),
                "-" if item.coverage_68 is None else f"{item.coverage_68:.0%}",
                f"{item.flagged:.0%}",
            )
        )
    blocks: list[Block] = [
        Picture(
            "z_against_stage.png",
            f"z predicted against stage position for {result.measured_on}: as recorded (left), and thinned to the "
            "photons and background of molecules (right; flagged ones in grey).",
        ),
        Heading(TITLE),
        Rows((HEADINGS, *(row.cells() for row in result.rows())), header=True),
        Paragraph(QUOTE),
        Heading("Accuracy by depth"),
        Paragraph(
            f"Of single molecules: {result.measured_on}, {THINNED}. The information limit is that of the measured "
            f"PSF, the median over the molecules, of which eight in ten have {_range(result.limit_range_z_nm)}."
        ),
        Picture("error_by_z.png", "Error (RMSE, and robust) and information limit by depth."),
        Rows(rows, header=True),
        Paragraph(
            f"Flags are on {_share(result.mistakes_flagged)} of the molecules whose error is more than "
            f"{MISTAKE_LIMITS:g} times the information limit, and on {_share(result.good_flagged)} of the others."
        ),
        *_in_frames(result.in_frames, folder),
        Heading("The model"),
        Rows(
            (
                ("recipe", str(card.recipe)),
                ("training time", f"{card.minutes:.1f} min"),
                (
                    "beads: training, validation, test",
                    ", ".join(str(count) for _, count in card.beads),
                ),
                ("pixel size", f"{card.pixel_size_nm:g} nm"),
                ("camera response", "guessed" if card.response.estimated else "as given"),
                ("distinct beads that were judged", str(result.distinct_beads)),
                ("held out", str(result.held_out) + (f", {result.folds} folds" if result.folds else "")),
                ("PSF over the field", _field(card)),
            )
        ),
    ]
    return write_page(
        folder,
        "Model",
        result.summary,
        blocks,
    )


def _in_frames(found: Score | None, folder: Path) -> list[Block]:
    """How many typical molecules of every depth are found, and how well z of those is known."""
    if found is None or not found.bins:
        return []
    draw_score(found, folder / "found_by_z.png")
    rows: list[tuple[str, ...]] = [("z (nm)", "found", "RMSE (nm)", "limit (nm)", "bias (nm)", "slope", "flagged")]
    for item in found.bins:
        rows.append(
            (
                f"{item.z_from_nm:.0f} to {item.z_to_nm:.0f}",
                _percent(item.recall),
                *(_number(value) for value in (item.rmse_z_nm, item.limit_z_nm, item.bias_nm)),
                "-" if item.slope is None else f"{item.slope:.2f}",
                _percent(item.flagged),
            )
        )
    return [
        Heading("What is found in a frame"),
        Paragraph(
            "The same molecules, each placed in a frame where its bead lay, and searched there: detection, fit and z "
            f"as in a run. {_percent(found.recall)} are found, and {_percent(found.precision)} of what is found is a "
            "molecule. A depth is usable where most molecules are found and z is known."
        ),
        Picture("found_by_z.png", "Left: the share that is found. Right: error and bias of z of those, by depth."),
        Rows(tuple(rows), header=True),
    ]


def _range(limits: tuple[float, float] | None) -> str:
    return "one that is not defined" if limits is None else f"one between {limits[0]:.0f} and {limits[1]:.0f} nm"


def _field(card: ModelCard) -> str:
    if not card.field_known:
        return "places unknown: every place is treated alike"
    if card.psf_degree == 0:
        return "taken as uniform: distinct beads are too few, or too near each other, to show how it varies"
    return "known" if card.psf_degree is None else f"a polynomial of degree {card.psf_degree}"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _draw_z(emitters: pd.DataFrame, recorded: pd.DataFrame, path: Path) -> None:
    with picture(path, 9.5, 4.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        left.plot(recorded["z"], recorded["predicted"], ".", color=RECORDED_COLOUR, markersize=2, alpha=0.4)
        left.set(title="beads as recorded", xlabel="stage z (nm)", ylabel="predicted z (nm)")
        some = emitters.iloc[:3000]
        flagged = some["flag"] != 0
        right.plot(some["z"][flagged], some["predicted"][flagged], ".", color="0.7", markersize=2, label="flagged")
        right.plot(
            some["z"][~flagged], some["predicted"][~flagged], ".", color=MOLECULE_COLOUR, markersize=2, alpha=0.5,
            label="believed",
        )  # fmt: skip
        right.set(title="the same, as faint as molecules", xlabel="stage z (nm)")
        right.legend(loc="upper left", markerscale=4)
        for axes in (left, right):
            span = [float(emitters["z"].min()), float(emitters["z"].max())]
            axes.plot(span, span, color=LIMIT_COLOUR, linewidth=1)
            axes.set(xlim=span, ylim=[1.25 * span[0], 1.25 * span[1]])
            axes.grid(alpha=0.3)


def _draw_error(result: EvaluationResult, path: Path) -> None:
    with picture(path, 7.5, 4) as figure:
        axes = figure.subplots()
        bins = [item for item in result.bins if item.rmse_z_nm is not None]
        z = [(item.z_from_nm + item.z_to_nm) / 2 for item in bins]
        rmse, robust, limit = (
            np.array([getattr(item, name) for item in bins], float)
            for name in ("rmse_z_nm", "robust_z_nm", "limit_z_nm")
        )
        axes.plot(z, rmse, "o-", color=MOLECULE_COLOUR, label="RMSE")
        axes.plot(z, robust, "o--", color=MOLECULE_COLOUR, alpha=0.6, label="robust (1.48 MAD)")
        axes.plot(z, limit, "-", color=LIMIT_COLOUR, label="information limit")
        top = max([*rmse, 50.0])
        axes.set(xlabel="z (nm)", ylabel="nm", ylim=(0, 1.2 * float(np.ceil(top))))
        axes.grid(alpha=0.3)
        axes.legend()
