"""TIFF files of a folder: sequences of single images, or files of several images each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.sources.images import FEW_PLACES, MOST_GAPS, Images
from easyzloc_mm.io.sources.tiff.open import open_tiff

TIFF = (".tif", ".tiff", ".btf", ".tf8", ".tf2", ".stk")


def open_tiff_folder(path: Path, *, partial: bool = False, fewest: int = 2) -> list[Images]:
    """Open every TIFF of a folder in the order of their names; files of one image each are one sequence.

    Parameters
    ----------
    path : Path
    partial : bool
        Whether a set of several files may lack some of them.
    fewest : int
        Images that make a sequence.

    Raises
    ------
    InputError
        A file is no TIFF, or the single images differ in size or type.
    """
    found: list[Images] = []
    covered: set[Path] = set()
    for file in tiffs_in(path):
        if file.resolve() in covered:
            continue  # one data set in several files is opened by its first
        opened = open_tiff(file, partial=partial)
        covered |= {other.resolve() for images in opened for other in images.files}
        found += opened
    if len(found) >= fewest and all(not images.axes for images in found):
        return [_one_sequence(path, found)]
    return found


def _one_sequence(path: Path, single: list[Images]) -> Images:
    """Return one sequence of files of one image each; a number that is missing among their names is a missing image."""
    if len({images.shape_yx for images in single}) > 1 or len({images.dtype for images in single}) > 1:
        raise InputError(f"the single images in {path} differ in size or type: keep one sequence per folder")
    places = _numbers([images.source.name for images in single])
    there = np.zeros(places[-1] + 1, bool)
    there[places] = True
    by_place = dict(zip(places, single, strict=True))

    def take(wanted: Sequence[int]) -> NDArray[np.generic]:
        return np.concatenate([by_place[place].take([0]) for place in wanted])

    remarks = [remark for images in single for remark in images.remarks]
    if not there.all():
        gone = np.count_nonzero(~there)
        remarks.append(f"{path}: {len(single)} of {len(there)} numbered images are there, {gone} are missing")
    files = frozenset(file for images in single for file in images.files)
    return replace(
        single[0],
        source=path,
        axes="Z",
        sizes=(len(there),),
        there=there,
        take=take,
        remarks=tuple(remarks),
        files=files,
    )


def _numbers(names: Sequence[str]) -> list[int]:
    """Return the place of each file by the one number in which the names differ; else their order."""
    parts = [re.split(r"(\d+)", name) for name in names]
    alike = len({len(part) for part in parts}) == 1
    differ = [at for at in range(len(parts[0])) if len({part[at] for part in parts}) > 1] if alike else []
    if len(differ) == 1 and differ[0] % 2 == 1:
        numbers = [int(part[differ[0]]) for part in parts]
        step = reduce(gcd, np.diff(numbers).tolist())
        places = [(number - numbers[0]) // step for number in numbers]
        if len(set(places)) == len(places) and places[-1] < MOST_GAPS * len(places) + FEW_PLACES:
            return places
    return list(range(len(names)))


def tiffs_in(path: Path) -> list[Path]:
    """Return the TIFF files of a folder; numbers in names count as numbers."""
    files = [file for file in path.iterdir() if file.suffix.lower() in TIFF and file.is_file()]
    return sorted(
        files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
    )
