"""How an instrument does over days: the passports of a folder of calibrations, side by side."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.passport import PASSPORT_FILE, Grade, Passport
from easyzloc_mm.report.figures import picture
from easyzloc_mm.report.html import Heading, Paragraph, Picture, Rows, write_page

DEEP = 3
"""Folders below the given one in which passports are looked for."""
COLOURS = {Grade.GREEN: "#009e73", Grade.YELLOW: "#e69f00", Grade.RED: "#d55e00", None: "#5b6675"}
TRENDS_FILE = "trends.json"


def find_passports(folder: Path) -> list[tuple[Path, Passport]]:
    """Return the passports below a folder, the oldest first.

    Raises
    ------
    InputError
        There are none, or one is damaged.
    """
    places = [
        path.parent
        for depth in range(DEEP + 1)
        for path in sorted(folder.glob("/".join(["*"] * depth + [PASSPORT_FILE])))
    ]
    found = [(place, passport) for place in places if (passport := Passport.read(place)) is not None]
    if not found:
        raise InputError(
            f"no {PASSPORT_FILE} lies in {folder} or below: give a folder of calibrations, or of models that `train` "
            "wrote"
        )
    return sorted(found, key=lambda pair: datetime.fromisoformat(pair[1].made).astimezone())


def write_trends(passports: list[tuple[Path, Passport]], folder: Path) -> dict[str, list[float | None]]:
    """Write ``index.html``, ``trends.png`` and ``trends.json`` into a folder.

    Parameters
    ----------
    passports : list of (Path, Passport)
        The oldest first.
    folder : Path

    Returns
    -------
    dict
        Of each graded figure its value on each day; None where it was not measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(item.name for _, one in passports for item in one.items if item.grade is not None))
    days = [{item.name: item for item in one.items} for _, one in passports]
    values = {name: [day[name].value if name in day else None for day in days] for name in names}
    made = [one.made for _, one in passports]
    stored = {"kind": "trends", "schema_version": 1, "made": made, "places": [str(place) for place, _ in passports]}
    text = json.dumps({**stored, "values": values}, indent=1, allow_nan=False)
    (folder / TRENDS_FILE).write_text(text, encoding="utf-8")
    _draw(passports, names, folder / "trends.png")
    latest = days[-1]
    rows: list[tuple[str, ...]] = [("figure", *(day[:10] for day in made), "grade now", "mend")]
    for name in names:
        now = latest.get(name)
        shown = tuple("-" if value is None else f"{value:.3g}" for value in values[name])
        grade, mend = ("-", "") if now is None else (str(now.grade or "-"), now.mend)
        rows.append((name, *shown, grade, mend))
    write_page(
        folder,
        "An instrument over days",
        f"{len(passports)} calibrations, {made[0][:10]} to {made[-1][:10]}.",
        [
            Picture("trends.png", "Graded figures by day; the colour is the grade."),
            Heading("Figures"),
            Rows(rows, header=True),
            Paragraph("From passport.json of each calibration; limits of the grades are those of its day."),
        ],
    )
    return values


def _draw(passports: list[tuple[Path, Passport]], names: list[str], path: Path) -> None:
    at = np.arange(len(passports))
    columns = 3
    rows = max(1, -(-len(names) // columns))
    with picture(path, 10.0, 2.2 * rows) as figure:
        axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
        for name, axis in zip(names, axes, strict=False):
            items = [next((item for item in one.items if item.name == name), None) for _, one in passports]
            for day, item in zip(at, items, strict=True):
                if item is not None and item.value is not None:
                    axis.errorbar(day, item.value, item.sd, fmt="o", color=COLOURS[item.grade], markersize=4)
            axis.set_title(name, fontsize=8)
            axis.set_xticks(at, [one.made[5:10] for _, one in passports], fontsize=7)
            axis.margins(0.1)
        for axis in axes[len(names) :]:
            axis.set_axis_off()
