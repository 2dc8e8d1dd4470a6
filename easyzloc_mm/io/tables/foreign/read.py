"""Tables of text of any program: its headings, and what its comments state."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import words
from easyzloc_mm.io.tables.foreign.interpret import NAME_THEM, frame_numbers, interpret
from easyzloc_mm.io.tables.foreign.text import TextTable, read_text
from easyzloc_mm.io.tables.raw import RawTable, seen_size

XML = "<localizations"
"""How the first comment of a file of rapidSTORM begins."""
OLDEST_COLUMNS = 4
"""Of rapidSTORM before it had headings: x, y (px), frame, amplitude."""


def read_text_table(path: Path, pixel_size_nm: float | None = None) -> RawTable:
    """Read a table of text: ThunderSTORM, SMAP, DECODE, rapidSTORM, SMLM Challenge, or headings with units.

    Parameters
    ----------
    path : Path
        The file.
    pixel_size_nm : float, optional
        Camera pixel, in which x and y are counted here, for tables in nm that do not state it.

    Raises
    ------
    InputError
        The file is no such table; the message names what is missing.
    """
    text = read_text(path)
    if text.comments and text.comments[0].startswith(XML):
        return _rapidstorm(path, text, pixel_size_nm)
    if not text.headed:
        return _oldest_rapidstorm(path, text.table)
    units, pixel = _stated_in(text.comments)
    return interpret(path, text.table, pixel_size_nm, units=units, pixel_stated_nm=pixel)


def _rapidstorm(path: Path, text: TextTable, pixel_size_nm: float | None) -> RawTable:
    try:
        fields = list(ElementTree.fromstring(text.comments[0]))
    except ElementTree.ParseError as error:
        raise InputError(
            f"{path}: the heading that rapidSTORM wrote is damaged ({words(error)}): export it again"
        ) from None
    if any(one.tag != "field" for one in fields):
        raise InputError(f"{path} holds tracks of rapidSTORM: export its localisations instead")
    names = [one.get("identifier") or one.get("semantic") or "" for one in fields]
    if text.headed or len(names) != text.table.shape[1] or len(set(names)) != len(names):
        raise InputError(
            f"{path}: rapidSTORM's heading names {len(names)} columns, and the rows have {text.table.shape[1]}: "
            "export it again"
        )
    units = {name.lower(): one.get("unit") or "" for name, one in zip(names, fields, strict=True)}
    return interpret(path, text.table.set_axis(names, axis=1), pixel_size_nm, units=units)


def _oldest_rapidstorm(path: Path, rows: pd.DataFrame) -> RawTable:
    """Rows of numbers below a line with the largest x, y and frame, and a 0: rapidSTORM before 3.0."""
    largest, table = rows.iloc[:1].to_numpy(float), rows.iloc[1:]
    values = table.to_numpy(float)[:, :OLDEST_COLUMNS] if rows.shape[1] >= OLDEST_COLUMNS else np.empty((0, 0))
    with np.errstate(invalid="ignore"):
        known = len(values) and largest[0, 3] == 0 and (values[:, :3] <= largest[0, :3]).all() and values[:, 3].all()
    if not known:
        raise InputError(f"{path} has no headings: {NAME_THEM}")
    x, y, frame, amplitude = values.T
    found = pd.DataFrame({"frame": frame_numbers(frame), "x": x, "y": y, "Amplitude-0-0": amplitude})
    counting = "rapidSTORM, without headings: frames from 0, centre of the first pixel at 0 px"
    return RawTable(found, {"counting": counting, **seen_size(found)})


def _stated_in(comments: Sequence[str]) -> tuple[dict[str, str], float | None]:
    """Return units and pixel that the comments of a DECODE file state."""
    for comment in comments:
        try:
            stated = json.loads(comment)
        except (ValueError, RecursionError):
            continue
        if isinstance(stated, dict) and "xy_unit" in stated:
            return decode_units(stated)
    return {}, None


def decode_units(stated: Mapping[str, Any]) -> tuple[dict[str, str], float | None]:
    """Return the units of DECODE's columns, and its pixel (nm) if that is square, from its metadata."""
    unit, sizes = stated.get("xy_unit"), stated.get("px_size")
    lateral = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit or "")
    try:
        pixel = np.unique(np.round(np.asarray([] if sizes is None else sizes, float), 3))
    except (TypeError, ValueError):
        pixel = np.empty(0)
    square = len(pixel) == 1 and bool(np.isfinite(pixel[0]) and pixel[0] > 0)
    units = {**dict.fromkeys(("x", "y", "x_sig", "y_sig"), lateral), **dict.fromkeys(("z", "z_sig"), "nm")}
    return units, float(pixel[0]) if square else None
