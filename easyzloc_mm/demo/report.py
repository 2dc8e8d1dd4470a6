"""The demonstration's page: the pictures and the figures a person wants to see first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from easyzloc_mm.analysis.npc.measure import PoreResult
from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.analysis.scoring.picture import draw_score
from easyzloc_mm.api.calibrating.calibration import Calibration
from easyzloc_mm.beads.build import count_reasons
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.model.accuracy import HEADINGS, QUOTE, SAMPLE, TITLE, AccuracyRow
from easyzloc_mm.report.html import Block, Heading, Links, Paragraph, Picture, Rows, write_page

FILES = {
    "localisations (Zarr)": "../run.zarr",
    "drift-corrected localisations (Zarr)": "../run.undrifted.zarr",
    "for Picasso": "../run_picasso.hdf5",
    "for ThunderSTORM": "../run_thunderstorm.csv",
    "Parquet": "../run_table.parquet",
    "model and its report": "../calibration/model/report/index.html",
    "beads and their report": "../calibration/beads_report/index.html",
}
"""Label to path, as the page lists them."""


def write_demo_report(
    out: Path, result: dict[str, Any], *, calibration: Calibration, locs: Locs, pores: PoreResult, score: Score
) -> Path:
    """Write ``report/index.html`` of a demonstration and return its path.

    Parameters
    ----------
    out : Path
        The demonstration's folder, with calibration, runs and ``npc/`` inside.
    result : dict
        Figures as `run_demo` returns them.
    calibration : Calibration
    locs : Locs
        Drift-corrected.
    pores : PoreResult
    score : Score
        Of the localisations against the truth.
    """
    folder = out / "report"
    folder.mkdir(exist_ok=True)
    blocks = _picture_blocks(folder, locs)
    blocks += _found_blocks(folder, score)
    blocks += _accuracy_blocks(result, calibration)
    blocks += _pore_blocks(out, folder, pores)
    blocks += _calibration_blocks(out, folder, calibration)
    blocks += _run_blocks(folder, result, locs)
    blocks += [Heading("Files"), Links(FILES)]
    return write_page(
        folder,
        "easyZloc on the embedded microscope",
        f"{result['beads_accepted']} of {result['beads_found']} beads, {result['training_s']:.0f} s of training, "
        f"{result['localizations']:,} localisations in 3D from {result['frames']:,} frames, "
        f"{_percent(score.recall)} of the molecules found, z known to {_nm(result['rmse_z_nm'])} "
        f"(limit {_nm(result['limit_z_nm'])}).",
        blocks,
    )


def _picture_blocks(folder: Path, locs: Locs) -> list[Block]:
    from easyzloc_mm.rendering.outputs import write_rendering

    write_rendering(locs, folder / "depth.png")
    write_rendering(locs, folder / "slice.png", view="xz")
    return [
        Picture("depth.png", "Every localisation that can be believed, drift-corrected; colour is depth."),
        Picture(
            "slice.png", "The same picture from the side: a slice through its densest part, depth in true proportion."
        ),
    ]


def _found_blocks(folder: Path, score: Score) -> list[Block]:
    draw_score(score, folder / "score_by_depth.png")
    rows = [("z (nm)", "molecules", "found", "bias (nm)", "slope", "error (nm)", "within 1 sigma_z", "flagged")]
    for item in score.bins:
        rows.append(
            (
                f"{item.z_from_nm:.0f} to {item.z_to_nm:.0f}",
                f"{item.molecules:,}",
                _percent(item.recall),
                "-" if item.bias_nm is None else f"{item.bias_nm:.0f}",
                "-" if item.slope is None else f"{item.slope:.2f}",
                "-" if item.robust_z_nm is None else f"{item.robust_z_nm:.0f}",
                _percent(item.coverage_68),
                _percent(item.flagged),
            )
        )
    return [
        Heading("How many molecules are found"),
        Paragraph(
            f"Of {score.molecules:,} molecules that gave {score.rules.faintest_photons:.0f} photons or more in a "
            f"frame, {_percent(score.recall)} were found (recall), and {_percent(score.precision)} of the "
            f"localisations are of a molecule (precision); the Jaccard index is {_percent(score.jaccard)}. They are "
            f"paired within {score.rules.lateral_nm:.0f} nm laterally and {score.rules.axial_nm or 0:.0f} nm axially, "
            "after one offset per axis (rules of the SMLM Challenge 2016)."
        ),
        Picture(
            "score_by_depth.png",
            "By true depth: the share of the molecules that is found, and error and bias of z of those without a flag.",
        ),
        Rows(tuple(rows), header=True),
    ]


def _accuracy_blocks(result: dict[str, Any], calibration: Calibration) -> list[Block]:
    own = AccuracyRow(SAMPLE[0], result["rmse_z_nm"], result["limit_z_nm"], SAMPLE[1])
    return [
        Heading("How close to the truth"),
        Paragraph(
            "Only a simulation knows where each molecule was. Errors are of single localisations, before drift "
            "correction, with |z| below 700 nm and no flag; the information limit is what no method can beat, for "
            "these same molecules under the true optics (root mean square, as the errors are)."
        ),
        Rows(
            (
                ("axis", "RMSE (nm)", "information limit (nm)", "ratio"),
                *((axis, *_figures(result[f"rmse_{axis}_nm"], result[f"limit_{axis}_nm"])) for axis in "xyz"),
            ),
            header=True,
        ),
        Rows(
            (
                (
                    "error of z without outliers, beside the median limit",
                    f"{_nm(result['robust_z_nm'])}, {_nm(result['median_limit_z_nm'])}",
                ),
                ("molecules within 1 sigma_z (68 % wanted)", _percent(result["coverage_68"])),
                ("molecules within 2 sigma_z (95 % wanted)", _percent(result["coverage_95"])),
                ("spots that carry a flag", _percent(result["flagged"])),
            )
        ),
        Heading(TITLE),
        Rows((HEADINGS, own.cells(), *(row.cells() for row in calibration.accuracy.rows())), header=True),
        Paragraph(QUOTE),
    ]


def _run_blocks(folder: Path, result: dict[str, Any], locs: Locs) -> list[Block]:
    from easyzloc_mm.analysis.drift.apply import draw_drift

    blocks: list[Block] = [
        Heading("The live run"),
        Rows(
            (
                ("frames", f"{result['frames']:,} ({result['frames_lost']} lost)"),
                ("frames per second", f"{result['frames_per_s']:.1f}"),
                ("localisations", f"{result['localizations']:,}"),
                ("from frame to stored row, 95th percentile", f"{result['p95_latency_s']:.2f} s"),
            )
        ),
    ]
    if locs.drift is None:
        return blocks
    draw_drift(locs.drift, locs.pixel_size_nm, folder / "drift.png")
    record = locs.drift.record
    caption = f"Drift as estimated and removed ({record.method_xy} in x and y, {record.method_z} in z)."
    return [*blocks, Picture("drift.png", caption)]


def _figures(rmse: float | None, limit: float | None) -> tuple[str, str, str]:
    if rmse is None or limit is None:
        return "-", "-", "-"
    return f"{rmse:.1f}", f"{limit:.1f}", f"{rmse / limit:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _pore_blocks(out: Path, folder: Path, pores: PoreResult) -> list[Block]:
    blocks: list[Block] = [Heading("Nuclear pores")]
    rings = pores.rings
    if rings.spacing_nm is None or rings.ci_nm is None:
        return [*blocks, Paragraph(f"A longer run shows the rings of the pores ({pores.why_not}).")]
    found = len(pores.found.centres)
    for name, caption in (
        ("average_pore.png", f"All {found} pores on top of each other: from above, from the side, and along z."),
        ("figure_6.png", "Single pores from above and from the side, and their average."),
    ):
        source = out / "npc" / name
        if source.exists():
            shutil.copyfile(source, folder / name)
            blocks.append(Picture(name, caption))
    low, high = rings.ci_nm
    blocks.append(
        Paragraph(
            f"The two rings lie {rings.spacing_nm:.1f} nm apart (95 % interval {low:.1f} to {high:.1f}); the truth is "
            "50 nm."
        )
    )
    return blocks


def _calibration_blocks(out: Path, folder: Path, calibration: Calibration) -> list[Block]:
    blocks: list[Block] = [Heading("The calibration")]
    source = out / "calibration" / "model" / "report" / "z_against_stage.png"
    if source.exists():
        shutil.copyfile(source, folder / source.name)
        blocks.append(Picture(source.name, "z predicted against stage position, for beads that training never saw."))
    blocks.append(
        Rows(
            (
                ("beads found, accepted", f"{len(calibration.beads)}, {int(calibration.beads.accepted.sum())}"),
                (
                    "rejected",
                    ", ".join(f"{reason} {count}" for reason, count in count_reasons(calibration.beads).items())
                    or "none",
                ),
            )
        )
    )
    return blocks


def _nm(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} nm"
