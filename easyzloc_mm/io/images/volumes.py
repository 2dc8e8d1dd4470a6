"""Image stacks of computed values: 16-bit TIFF pages and OME-Zarr pyramids, written tile by tile."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.io.writing.kinds import MARK, Kind
from easyzloc_mm.io.zarr.chunks import seal
from easyzloc_mm.io.zarr.ome import image_attributes, pyramid_datasets
from easyzloc_mm.typing import U16

SMALLEST_LEVEL_PX = 256
IMAGEJ_BYTES = 3_900_000_000
"""Beyond this an ImageJ file cannot be; a plain BigTIFF is written instead."""

Tiles = Iterable[tuple[slice, slice, U16]]
"""Rows, columns, and the voxels there: (planes, rows, columns)."""


@dataclass(frozen=True)
class Voxels:
    """Place and size of the voxels of a stack.

    Attributes
    ----------
    shape : (int, int, int)
        Planes, rows, columns.
    plane_nm, pixel_nm : float
        Distance of planes; edge of a pixel.
    corner_nm : (float, float, float)
        z, y, x of the outer corner of the first voxel.
    """

    shape: tuple[int, int, int]
    plane_nm: float
    pixel_nm: float
    corner_nm: tuple[float, float, float]


def write_tiff_stack(path: Path, voxels: Voxels, tiles: Tiles, *, info: str) -> None:
    """Write a multi-page 16-bit TIFF, one page per plane, that ImageJ and Fiji open with its scale and `info`."""
    import tifffile

    small = 2 * int(np.prod(voxels.shape)) < IMAGEJ_BYTES
    kind: dict[str, Any] = (
        {"imagej": True, "metadata": {"axes": "ZYX", "spacing": voxels.plane_nm / 1000, "unit": "micron", "info": info}}
        if small
        else {"bigtiff": True, "metadata": {"axes": "ZYX"}, "resolutionunit": "CENTIMETER"}
    )
    # ImageJ counts pixels per micrometre, others per centimetre.
    kind["software"] = MARK.decode()
    kind["resolution"] = ((1000 if small else 1e7) / voxels.pixel_nm,) * 2
    stack = tifffile.memmap(path, shape=voxels.shape, dtype=np.uint16, photometric="minisblack", **kind)
    for rows, columns, values in tiles:
        stack[:, rows, columns] = values
    stack.flush()


def write_pyramid(path: Path, voxels: Voxels, tiles: Tiles, *, tile_px: int, about: Mapping[str, object]) -> int:
    """Write an OME-Zarr 0.5 image (z, y, x) with levels that halve y and x until they fit a screen.

    Parameters
    ----------
    tile_px : int
        Edge of a chunk.
    about : mapping
        What the values mean; stored beside the kind.

    Returns
    -------
    int
        Levels.
    """
    import zarr

    shapes = [voxels.shape]
    while max(shapes[-1][1:]) > SMALLEST_LEVEL_PX:
        planes, height, width = shapes[-1]
        shapes.append((planes, -(-height // 2), -(-width // 2)))
    root = zarr.open_group(path, mode="w", zarr_format=3)
    levels = [
        root.create_array(
            str(level), shape=shape, chunks=(1, min(tile_px, shape[1]), min(tile_px, shape[2])), dtype="uint16",
            dimension_names=("z", "y", "x"),
        )
        for level, shape in enumerate(shapes)
    ]  # fmt: skip
    for rows, columns, values in tiles:
        levels[0][:, rows, columns] = values
    for fine, coarse in itertools.pairwise(levels):
        _halve(fine, coarse)
    plane, pixel = voxels.plane_nm / 1000, voxels.pixel_nm / 1000
    attributes = image_attributes(
        path.name, "zyx", {"z": plane, "y": pixel, "x": pixel}, easyzloc={"kind": Kind.PYRAMID, **about}
    )
    multiscale = attributes["ome"]["multiscales"][0]
    multiscale["type"] = "mean"
    z, y, x = voxels.corner_nm
    first = plane, (z + voxels.plane_nm / 2) / 1000
    multiscale["datasets"] = pyramid_datasets(len(levels), first, pixel, (y / 1000, x / 1000))
    root.attrs.update(attributes)
    seal(path)
    return len(levels)


def halved(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image (y, x) at half its size, by the mean of four pixels; an odd edge is repeated."""
    height, width = (-(-edge // 2) for edge in image.shape)
    even = np.pad(
        image.astype(np.float32), ((0, 2 * height - image.shape[0]), (0, 2 * width - image.shape[1])), mode="edge"
    )
    mean = even.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return np.asarray(np.rint(mean).astype(image.dtype))


def _halve(fine: Any, coarse: Any) -> None:
    for plane in range(fine.shape[0]):
        coarse[plane] = halved(np.asarray(fine[plane]))
