"""Bead stacks from what else users have: TIFF files, folders of them, NDTiff, and any movie whose frames are planes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.planes import stack_of
from easyzloc_mm.io.beads.stack import MIN_PLANES, BeadStack
from easyzloc_mm.io.sources.images import FEW_PLACES, MOST_GAPS, Images
from easyzloc_mm.io.sources.ndtiff import holds_ndtiff
from easyzloc_mm.io.sources.ome_zarr import holds_zarr
from easyzloc_mm.io.sources.open import TIFF, open_images
from easyzloc_mm.io.sources.tiff.open import open_tiff
from easyzloc_mm.io.writing.kinds import Kind, did_you_mean

FOLDERS = "a .ome.zarr folder, TIFF files or a folder of them, or NDTiff"


def open_foreign_stacks(
    path: Path, *, z_step_nm: float | None, pixel_size_nm: float | None, partial: bool = False
) -> list[BeadStack]:
    """Open bead stacks that another program wrote; as `bead_stacks.open_bead_stacks`."""
    if path.is_dir() and not holds_ndtiff(path) and not holds_zarr(path):
        if not (files := _tiffs(path)):
            raise InputError(f"{path} holds no bead stacks: give {FOLDERS}{did_you_mean(path, Kind.BEAD_STACKS)}")
        found = _of_folder(path, files, partial)
    elif (path.is_file() and path.suffix.lower() not in (*TIFF, ".raw")) or not path.exists():
        raise InputError(f"{path} holds no bead stacks: give {FOLDERS}")
    else:
        found = _stacks_alone(open_images(path, "bead stack", partial=partial))
    # A stack exported as a time series is common; in TIFF it counts as z only when the caller gives the step.
    frames_are_planes = path.is_dir() or path.suffix.lower() == ".raw"
    fovs: dict[Path, int] = {}
    stacks = []
    for images in found:
        fov = fovs.get(images.source, 0)
        fovs[images.source] = fov + 1
        stacks.append(
            stack_of(
                images,
                fov,
                z_step_nm=z_step_nm,
                pixel_size_nm=pixel_size_nm,
                frames_are_planes=frames_are_planes and images.source == path,
            )
        )
    return stacks


def _stacks_alone(found: list[Images]) -> list[Images]:
    """Leave out arrays that are written behind a stack and are none."""
    kept = [images for number, images in enumerate(found) if number == 0 or len(images.there) >= MIN_PLANES]
    if len(kept) < len(found):
        warnings.warn(
            f"{found[0].source}: {len(found) - len(kept)} images beside the bead stack are left out",
            EasyZlocWarning,
            stacklevel=4,
        )
    return kept


def _of_folder(path: Path, files: Sequence[Path], partial: bool) -> list[Images]:
    """Open every TIFF of a folder in the order of their names; files of one plane each are one stack."""
    found: list[Images] = []
    covered: set[Path] = set()
    for file in files:
        if file.resolve() in covered:
            continue  # one data set in several files is opened by its first
        opened = open_tiff(file, partial=partial)
        covered |= {other.resolve() for images in opened for other in images.files}
        found += opened
    if len(found) >= MIN_PLANES and all(not images.axes for images in found):
        return [_one_stack(path, found)]
    return found


def _one_stack(path: Path, single: list[Images]) -> Images:
    """Return one stack of files of one plane each; a number that is missing among their names is a missing plane."""
    if len({images.shape_yx for images in single}) > 1 or len({images.dtype for images in single}) > 1:
        raise InputError(f"the single images in {path} differ in size or type: keep one stack per folder")
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
    return replace(
        single[0], source=path, axes="Z", sizes=(len(there),), there=there, take=take, remarks=tuple(remarks)
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


def _tiffs(path: Path) -> list[Path]:
    files = [file for file in path.iterdir() if file.suffix.lower() in TIFF and file.is_file()]
    # Numbers in names count as numbers: 10 comes after 9.
    return sorted(
        files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
    )
