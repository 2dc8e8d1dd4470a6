"""Places in a spreadsheet: a line of headings, then name, x, y and perhaps z in um."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.places.place import Place
from easyzloc_mm.io.reading import reading
from easyzloc_mm.profile.schema import Profile

HEADINGS = {"name": ("name", "label", "field", "well"), "x": ("x",), "y": ("y",), "z": ("z",)}


def read_table(path: Path, _profile: Profile | None, _device_map: Mapping[str, str]) -> list[Place]:
    """Read the places of a CSV file, with commas, semicolons or tabs; with semicolons decimal commas are fine."""
    with reading(path, "CSV", csv.Error, cure="save it again as CSV (UTF-8)"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        separator = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    if not rows:
        raise InputError(f"{path} is empty: write a line of headings, name,x,y,z, and a line for each field (um)")
    columns = _columns(path, rows[0])
    places = []
    for number, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        values = {key: row[column] if column < len(row) else "" for key, column in columns.items()}
        x, y, z = (_number(path, number, key, values.get(key, "")) for key in "xyz")
        if x is None or y is None:
            raise InputError(f"{path}, line {number}: x or y is missing; write both, in um")
        places.append(Place(values.get("name", ""), x, y, z))
    return places


def _columns(path: Path, headings: list[str]) -> dict[str, int]:
    plain = [re.sub(r"[\[(]?um[\])]?$", "", heading.lower().replace("µ", "u")).strip(" _") for heading in headings]
    columns = {key: plain.index(name) for key, names in HEADINGS.items() for name in names if name in plain}
    if not {"x", "y"} <= set(columns):
        raise InputError(
            f"{path} has the headings {', '.join(headings)[:80]}: x and y (um) are needed, name and z are read"
        )
    return columns


def _number(path: Path, line: int, key: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise InputError(f"{path}, line {line}: {key} = '{text[:40]}' is no number; write um") from None
