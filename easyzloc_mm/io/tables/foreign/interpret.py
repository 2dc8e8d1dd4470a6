"""Columns of other programs in Picasso's names, units and counting."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.tables.foreign.programs import (
    AXIAL,
    FRAME,
    FWHM,
    LATERAL,
    PHOTONS,
    PROGRAMS,
    Meaning,
    Program,
    base_and_unit,
    recognised,
)
from easyzloc_mm.io.tables.raw import RawTable, columns_of_numbers, listed, seen_size
from easyzloc_mm.io.units import is_pixels, length_nm

ASSUMED_PIXEL_NM = 100.0
"""Of a table in nm, which does not state it. Lengths in nm do not depend on it."""
SIGMAS_OF_FWHM = 2 * np.sqrt(2 * np.log(2))
LENGTHS = (LATERAL, AXIAL, FWHM)
NAME_THEM = "call them `frame`, `x [nm]`, `y [nm]` (or [px]) and `z [nm]`"
PICASSO_BEGINS, PICASSO_ENDS = ["id", "frame", "x [nm]", "y [nm]"], ["bkgstd [photon]", "uncertainty_xy [nm]"]
"""The first columns of Picasso's ThunderSTORM export, and the last ones before ``detections``."""
TRANSPOSED = {"x": "y", "y": "x", "lpx": "lpy", "lpy": "lpx", "sx": "sy", "sy": "sx"}

Columns = dict[str, tuple[Meaning, str]]
"""What a column means, and its unit, by heading."""


def interpret(
    path: Path,
    found: pd.DataFrame,
    pixel_size_nm: float | None = None,
    *,
    units: Mapping[str, str] | None = None,
    pixel_stated_nm: float | None = None,
) -> RawTable:
    """Return a table of any program that is known, or whose headings state their units.

    Parameters
    ----------
    path : Path
        For messages.
    found : DataFrame
        Columns under their headings.
    pixel_size_nm : float, optional
        Camera pixel, for tables in nm that do not state it.
    units : mapping of str to str, optional
        Units of columns whose headings do not state them.
    pixel_stated_nm : float, optional
        Camera pixel that the file states.

    Raises
    ------
    InputError
        Frame, x or y is missing, or has no unit, or holds no number; the message names what is there.
    """
    headings = [str(name) for name in found.columns]
    program = recognised(headings)
    columns = _meanings(path, headings, program, units or {})
    frame = next(heading for heading, (meaning, _) in columns.items() if meaning.kind == FRAME)
    program = _counting(path, found, program, frame)
    pixel = pixel_stated_nm or pixel_size_nm or ASSUMED_PIXEL_NM
    values: dict[str, Any] = {}
    for heading, (meaning, unit) in columns.items():
        if len(found) and not pd.api.types.is_numeric_dtype(found[heading]):
            raise InputError(f"{path}: the column {heading} holds text where numbers should stand: mend or remove it")
        for ours in meaning.ours:
            name = TRANSPOSED.get(ours, ours) if program.transposed else ours
            values[name] = _converted(found[heading], meaning, unit, pixel)
    values["frame"] = frame_numbers(values["frame"] - (program.first_frame or 0))
    values |= {axis: values[axis] - program.centre_px for axis in "xy"}
    counters = _counters(found, program.first_frame or 0)
    others = [name for name in headings if name not in columns and name not in counters]
    foreign = columns_of_numbers(path, found[others])
    table = pd.DataFrame({**values, **{str(name): foreign[name].to_numpy() for name in foreign.columns}})
    stated: dict[str, Any] = {"counting": program.counting, **seen_size(table)}
    in_pixels = any(is_pixels(unit) for meaning, unit in columns.values() if meaning.ours == ("x",))
    if pixel_stated_nm or not in_pixels:
        stated |= {"pixel_size_nm": pixel, "pixel_size_assumed": not (pixel_stated_nm or pixel_size_nm)}
    if program is PROGRAMS["ThunderSTORM"] and not counters:
        stated["thunderstorm_columns"] = headings
    return RawTable(table, stated)


def _meanings(path: Path, headings: list[str], program: Program, units: Mapping[str, str]) -> Columns:
    out: Columns = {}
    without_unit: dict[str, str] = {}
    for heading in headings:
        base, unit = base_and_unit(heading)
        meaning = program.columns.get(base)
        if meaning is None:
            continue
        if meaning.kind in LENGTHS:
            unit = unit or meaning.unit or units.get(base, "")
            if length_nm(unit) or (is_pixels(unit) and meaning.kind != AXIAL):
                out[heading] = meaning, unit
            elif meaning.ours[0] in ("x", "y", "z"):
                without_unit[meaning.ours[0]] = heading
        elif not meaning.unit or unit in PHOTONS:
            out[heading] = meaning, unit
    there = [meaning.ours[0] for meaning, _ in out.values() if len(meaning.ours) == 1]
    missing = [name for name in ("frame", "x", "y") if name not in (*there, *without_unit)]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}, it has {listed(headings)}: {NAME_THEM}")
    if without_unit:
        raise InputError(f"{path} does not state the unit of {', '.join(without_unit.values())}: {NAME_THEM}")
    twice = [name for name in ("frame", "x", "y", "z") if there.count(name) > 1]
    if twice:
        raise InputError(
            f"{path} has several columns for {', '.join(twice)}, it has {listed(headings)}: remove all but one"
        )
    return out


def _counting(path: Path, found: pd.DataFrame, program: Program, frame: str) -> Program:
    """Return who counts so, where several programs write the same headings; say so where that is not certain."""
    thunderstorm = PROGRAMS["ThunderSTORM"]
    zero = bool((found[frame] == 0).any())
    if program is thunderstorm and _by_picasso(found):
        warnings.warn(
            f"{path} counts frames from 0, as Picasso's export does: x and y are taken to begin at the middle of the "
            "first pixel",
            EasyZlocWarning,
            stacklevel=5,
        )
        return PROGRAMS["Picasso, for ThunderSTORM"]
    if program.first_frame is not None and not (program is thunderstorm and zero):
        return program
    first = 0 if zero else 1
    warnings.warn(
        f"{path} does not say which program wrote it: frames are taken to count from {first}, and x, y from the corner "
        "of the first pixel (all are half a pixel off if it counts from that pixel's middle)",
        EasyZlocWarning,
        stacklevel=5,
    )
    return replace(PROGRAMS["others"], first_frame=first)


def _by_picasso(found: pd.DataFrame) -> bool:
    """Whether columns of ThunderSTORM were written by Picasso: ids from 0, or a background that never varies."""
    names = [str(name) for name in found.columns if name != "detections"]
    if names[: len(PICASSO_BEGINS)] != PICASSO_BEGINS or not len(found):
        return False
    flat = names[-len(PICASSO_ENDS) :] == PICASSO_ENDS and (found[PICASSO_ENDS[0]] == 0).all()
    return bool(flat or (found["id"] == 0).any())


def _converted(cells: pd.Series, meaning: Meaning, unit: str, pixel_nm: float) -> NDArray[Any]:
    values = cells.to_numpy()
    if meaning.kind == FRAME:
        return values.astype(np.int64) if values.dtype.kind in "ui" else values.astype(float)
    if meaning.ours == ("z_flag",):
        return values
    values = values.astype(float)
    if meaning.kind == AXIAL:
        return values * (length_nm(unit) or 1.0)
    if meaning.kind in (LATERAL, FWHM):
        scale = 1.0 if is_pixels(unit) else (length_nm(unit) or 1.0) / pixel_nm
        return values * (scale / SIGMAS_OF_FWHM if meaning.kind == FWHM else scale)
    return values


def frame_numbers(frame: NDArray[Any]) -> NDArray[Any]:
    """Frame numbers as uint32; as they are where one of them is none, for the checks that follow."""
    values = frame.astype(float)
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (values >= 0) & (values % 1 == 0) & (values < 2**32)
    return frame.astype(np.uint32) if whole.all() else values


def _counters(found: pd.DataFrame, first: int) -> list[str]:
    """Ids that only count the rows, which are made anew where a program wants them."""
    count = np.arange(len(found)) + first
    return [str(name) for name in found.columns if str(name).lower() == "id" and np.array_equal(found[name], count)]
