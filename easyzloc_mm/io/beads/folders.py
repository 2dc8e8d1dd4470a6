"""Bead stacks from what else users have: folders of TIFF files, NDTiff, and any movie whose frames are planes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stack import MIN_PLANES, BeadStack
from easyzloc_mm.io.beads.tiff import open_tiff_stacks, plain_stack
from easyzloc_mm.io.movies import open_movie

TIFF = (".tif", ".tiff", ".btf")
Z_KEYS = ("ZPosition_um_Intended", "ZPositionUm")
"""Where Micro-Manager's programs note a plane's stage position."""


def is_tiff_folder(path: Path) -> bool:
    """Whether a folder is nothing but a place where TIFF files lie."""
    return path.is_dir() and not (path / "NDTiff.index").is_file() and bool(_tiffs(path))


def open_tiff_folder(path: Path, *, z_step_nm: float | None, pixel_size_nm: float | None) -> list[BeadStack]:
    """Open every TIFF of a folder as bead stacks in the order of their names; files of one plane each are one stack.

    Arguments and errors as in `bead_stacks.open_bead_stacks`.
    """
    import tifffile

    files = _tiffs(path)
    try:
        shapes = [_shape(file) for file in files]
    except (tifffile.TiffFileError, OSError, IndexError) as error:
        raise InputError(f"a file in {path} cannot be read as TIFF: {error}") from None
    if len(files) >= MIN_PLANES and all(len(shape) == 2 for shape in shapes):
        if len(set(shapes)) > 1:
            raise InputError(f"the single images in {path} differ in size: keep one stack per folder")
        pixels = np.stack([tifffile.imread(file) for file in files])
        return [plain_stack(path, 0, pixels, z_step_nm, pixel_size_nm)]
    stacks: list[BeadStack] = []
    covered: set[Path] = set()
    for file in files:
        if file.resolve() in covered:
            continue  # one data set in several files is opened by its first
        with tifffile.TiffFile(file) as opened:
            covered |= {Path(page.parent.filehandle.path).resolve() for one in opened.series for page in one if page}
        stacks += open_tiff_stacks(file, z_step_nm=z_step_nm, pixel_size_nm=pixel_size_nm)
    return stacks


def _shape(path: Path) -> tuple[int, ...]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return tuple(file.series[0].shape)


def open_other_stacks(path: Path, *, z_step_nm: float | None, pixel_size_nm: float | None) -> list[BeadStack]:
    """Open NDTiff, one stack per position, or another movie, frames as planes; as `bead_stacks.open_bead_stacks`."""
    if (path / "NDTiff.index").is_file():
        return _open_ndtiff(path, z_step_nm, pixel_size_nm)
    if path.suffix.lower() != ".raw" and not any((path / name).is_file() for name in ("zarr.json", ".zattrs")):
        raise InputError(
            f"{path} holds no bead stacks: give a .ome.zarr folder, TIFF files or a folder of them, or NDTiff"
        )
    movie = open_movie(path)
    pixels = movie.read(0, movie.shape[0])
    return [plain_stack(path, 0, pixels, z_step_nm, pixel_size_nm or movie.pixel_size_nm)]


def _tiffs(path: Path) -> list[Path]:
    files = [file for file in path.iterdir() if file.suffix.lower() in TIFF and file.is_file()]
    # Numbers in names count as numbers: 10 comes after 9.
    return sorted(
        files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
    )


def _open_ndtiff(path: Path, z_step_nm: float | None, pixel_size_nm: float | None) -> list[BeadStack]:
    from ndstorage import Dataset

    try:
        data = Dataset(str(path))
        axes = {name: sorted(values) for name, values in data.axes.items()}
    except Exception as error:  # ndstorage raises whatever its parser meets
        raise InputError(f"{path} cannot be read as NDTiff: {error}") from None
    many = [name for name, values in axes.items() if len(values) > 1 and name != "position"]
    if many not in (["z"], ["time"]):
        raise InputError(
            f"{path} has axes {', '.join(many) or 'of one image'} instead of z: save one z stack per position"
        )
    summary: Any = data.summary_metadata or {}
    step, pixel = z_step_nm or _nm(summary.get("z-step_um")), pixel_size_nm or _nm(summary.get("PixelSize_um"))
    fixed = {name: values[0] for name, values in axes.items()}
    stacks = []
    for fov, position in enumerate(axes.get("position", [None])):
        here = fixed if position is None else {**fixed, "position": position}
        places = [place for value in axes[many[0]] if data.has_image(**(place := {**here, many[0]: value}))]
        if not places:
            continue
        notes: list[Any] = [data.read_metadata(**place) or {} for place in places]
        pixels = np.stack([np.asarray(data.read_image(**place)) for place in places])
        z_um = [next((float(note[key]) for key in Z_KEYS if key in note), math.nan) for note in notes]
        known = z_step_nm is None and bool(np.isfinite(z_um).all()) and len(set(z_um)) > 1
        measured = np.array(z_um) if known else None
        pixel = pixel or _nm(notes[0].get("PixelSizeUm"))
        stacks.append(plain_stack(path, fov, pixels, step, pixel, measured))
    return stacks


def _nm(um: Any) -> float | None:
    return 1000 * float(um) if um else None
