"""Pages for people: the check of a calibration, and the passport of an instrument."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from easyzloc_mm.io.calibration_check import CalibrationCheck, MeasuredChange
from easyzloc_mm.io.passport import Grade, Passport
from easyzloc_mm.report.html import Heading, Paragraph, Rows, write_page

COLOURS: Mapping[str, str] = {Grade.GREEN: "#2f9e44", Grade.YELLOW: "#f2b705", Grade.RED: "#d6336c"}
"""Of the dots beside the words, apart for people who do not tell green from red, too."""


def write_check(folder: Path, found: CalibrationCheck) -> Path:
    """Write ``index.html`` of a check, and return its path."""
    rows: list[tuple[str, ...]] = [("figure", "today", "standard error", "limit", "asks for", "")]
    rows += [_row(change) for change in found.changes]
    return write_page(
        folder,
        f"Calibration: {found.verdict}",
        f"{found.because}. {found.beads} beads of {found.made[:16]}, held against {found.model}.",
        [
            Heading("What has changed"),
            Rows(rows, header=True),
            Paragraph(
                "Aberrations are those that came since the calibration, fitted to the beads' images as refresh fits "
                "them to molecules. Figures without a limit decide nothing."
            ),
        ],
    )


def _row(change: MeasuredChange) -> tuple[str, ...]:
    return (
        change.name.replace("_", " "),
        "-" if change.value is None else f"{change.value:.3g} {change.unit}".rstrip(),
        "-" if change.sd is None else f"{change.sd:.2g}",
        "-" if change.limit is None else f"{change.limit:g}",
        str(change.verdict) if change.limit is not None and change.value is not None else "",
        change.remark,
    )


def write_passport(folder: Path, passport: Passport) -> Path:
    """Write ``passport.html``, and return its path."""
    rows: list[tuple[str, ...]] = [("figure", "value", "scatter", "grade", "what it is", "mend")]
    rows += [
        (
            item.name,
            item.value_in_words(),
            "-" if item.sd is None else f"{item.sd:.2g}",
            "-" if item.grade is None else str(item.grade),
            item.meaning,
            item.mend,
        )
        for item in passport.items
    ]
    rejected = ", ".join(f"{reason} {count}" for reason, count in passport.rejected.items()) or "none"
    return write_page(
        folder,
        "Passport of the instrument",
        f"{passport.in_words()} {passport.instrument} {passport.made[:16]}".rstrip(),
        [
            Heading("Figures"),
            Rows(rows, header=True, marks=COLOURS),
            Paragraph(f"Candidates that were no usable beads, by reason: {rejected}."),
            Paragraph(
                "Names and definitions are those of the PSF analysis of microscope-metrics, where it has them; the "
                "limits of the grades are this program's."
            ),
        ],
        name="passport.html",
    )
