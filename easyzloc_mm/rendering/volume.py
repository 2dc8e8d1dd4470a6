"""Localisations as image stacks: 16-bit TIFF pages and OME-Zarr pyramids, one plane per depth.

A voxel holds `SCALE` times the number of localisations in it, every one spread by its uncertainty in x, y and z; the
same in every file, so that pictures can be compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import MARK, Kind
from easyzloc_mm.rendering.canvas import VISIBLE_PX, Extent
from easyzloc_mm.rendering.source import Source
from easyzloc_mm.rendering.splat import MAX_RADIUS_PX, canvas_pixels, splat
from easyzloc_mm.typing import F32, U16

SCALE = 1000.0
FULL = 65535
TILE_PX = 512
MAX_PLANES = 200
SMALLEST_LEVEL_PX = 256
IMAGEJ_BYTES = 3_900_000_000
"""Beyond this an ImageJ file cannot be; a plain BigTIFF is written instead."""


@dataclass(frozen=True)
class Grid:
    """Voxels of a stack: extent and edges in nm, planes from `z_range_nm[0]` up.

    Attributes
    ----------
    extent_nm : (float, float, float, float)
        Left, right, top, bottom.
    render_pixel_nm, plane_nm : float
    z_range_nm : (float, float)
    """

    extent_nm: Extent
    render_pixel_nm: float
    plane_nm: float
    z_range_nm: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows, columns."""
        left, right, top, bottom = self.extent_nm
        planes = canvas_pixels(self.z_range_nm[1] - self.z_range_nm[0], self.plane_nm)
        if planes > MAX_PLANES:
            raise InputError(f"`plane_nm` {self.plane_nm:g} makes {planes} planes: at most {MAX_PLANES}")
        return (
            planes,
            canvas_pixels(bottom - top, self.render_pixel_nm),
            canvas_pixels(right - left, self.render_pixel_nm),
        )


def tiles(source: Source, grid: Grid, style: str) -> Iterator[tuple[slice, slice, U16]]:
    """Give the stack tile by tile: rows, columns, and the voxels (planes, rows, columns), 16 bit."""
    planes, height, width = grid.shape
    cloud = _gathered(source, grid)
    for top in range(0, height, TILE_PX):
        rows = slice(top, min(top + TILE_PX, height))
        band = cloud[(cloud["v"] > top - MAX_RADIUS_PX) & (cloud["v"] < rows.stop + MAX_RADIUS_PX)]
        for left in range(0, width, TILE_PX):
            columns = slice(left, min(left + TILE_PX, width))
            part = band[(band["u"] > left - MAX_RADIUS_PX) & (band["u"] < columns.stop + MAX_RADIUS_PX)]
            out = np.zeros((planes, rows.stop - top, columns.stop - left), np.float32)
            if len(part):
                narrow = np.zeros(len(part), np.float32)
                su, sv = (narrow, narrow) if style == "histogram" else (part[n].to_numpy() for n in ("su", "sv"))
                u, v = (part["u"] - left).to_numpy(), (part["v"] - top).to_numpy()
                splat(out, u, v, su, sv, np.arange(len(part), dtype=np.int32), _shares(part, grid, planes, style))
            yield rows, columns, np.minimum(np.rint(out * SCALE), FULL).astype(np.uint16)


def _gathered(source: Source, grid: Grid) -> pd.DataFrame:
    """Positions in pixels, single precision: 24 bytes per localisation."""
    left, right, top, bottom = grid.extent_nm
    margin = MAX_RADIUS_PX * grid.render_pixel_nm
    parts = []
    for batch in source.batches():
        near = batch["x_nm"].between(left - margin, right + margin) & batch["y_nm"].between(
            top - margin, bottom + margin
        )
        batch = batch[near]
        parts.append(
            pd.DataFrame(
                {
                    "u": (batch["x_nm"] - left) / grid.render_pixel_nm,
                    "v": (batch["y_nm"] - top) / grid.render_pixel_nm,
                    "su": np.maximum(batch["lpx_nm"] / grid.render_pixel_nm, VISIBLE_PX),
                    "sv": np.maximum(batch["lpy_nm"] / grid.render_pixel_nm, VISIBLE_PX),
                    "z": batch["z"],
                    "lpz": batch["lpz"],
                }
            ).astype(np.float32)
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["u", "v", "su", "sv", "z", "lpz"])


def _shares(part: pd.DataFrame, grid: Grid, planes: int, style: str) -> F32:
    """Part of every localisation that lies in each plane."""
    from scipy.special import ndtr

    edges = grid.z_range_nm[0] + grid.plane_nm * np.arange(planes + 1)
    z, spread = part["z"].to_numpy(float)[:, None], part["lpz"].to_numpy(float)[:, None]
    if style == "histogram":
        return ((z >= edges[:-1]) & (z < edges[1:])).astype(np.float32)
    return np.asarray(np.diff(ndtr((edges - z) / np.maximum(spread, 1.0)), axis=1), np.float32)


def write_tiff(path: Path, source: Source, grid: Grid, style: str) -> dict[str, Any]:
    """Write a multi-page 16-bit TIFF, one page per depth, that ImageJ and Fiji open with its scale.

    Returns
    -------
    dict
        ``planes``, ``saturated_voxels``.
    """
    import tifffile

    shape = grid.shape
    small = 2 * int(np.prod(shape)) < IMAGEJ_BYTES
    kind: dict[str, Any] = (
        {"imagej": True, "metadata": {"axes": "ZYX", "spacing": grid.plane_nm / 1000, "unit": "micron",
                                      "info": f"{SCALE:g} x localisations per voxel"}}
        if small
        else {"bigtiff": True, "metadata": {"axes": "ZYX"}, "resolutionunit": "CENTIMETER"}
    )  # fmt: skip
    # ImageJ counts pixels per micrometre, others per centimetre.
    kind["software"] = MARK.decode()
    kind["resolution"] = ((1000 if small else 1e7) / grid.render_pixel_nm,) * 2
    stack = tifffile.memmap(path, shape=shape, dtype=np.uint16, photometric="minisblack", **kind)
    saturated = 0
    for rows, columns, voxels in tiles(source, grid, style):
        stack[:, rows, columns] = voxels
        saturated += int((voxels == FULL).sum())
    stack.flush()
    return {"planes": shape[0], "saturated_voxels": saturated}


def write_pyramid(path: Path, source: Source, grid: Grid, style: str) -> dict[str, Any]:
    """Write an OME-Zarr 0.5 image (z, y, x) with levels that halve y and x until they fit a screen.

    Returns
    -------
    dict
        ``planes``, ``levels``, ``saturated_voxels``.
    """
    import zarr

    from easyzloc_mm.io.zarr.ome import image_attributes

    shapes = [grid.shape]
    while max(shapes[-1][1:]) > SMALLEST_LEVEL_PX:
        planes, height, width = shapes[-1]
        shapes.append((planes, -(-height // 2), -(-width // 2)))
    root = zarr.open_group(path, mode="w", zarr_format=3)
    levels = [
        root.create_array(
            str(level), shape=shape, chunks=(1, min(TILE_PX, shape[1]), min(TILE_PX, shape[2])), dtype="uint16",
            dimension_names=("z", "y", "x"),
        )
        for level, shape in enumerate(shapes)
    ]  # fmt: skip
    saturated = 0
    for rows, columns, voxels in tiles(source, grid, style):
        levels[0][:, rows, columns] = voxels
        saturated += int((voxels == FULL).sum())
    for fine, coarse in itertools.pairwise(levels):
        _halve(fine, coarse)
    attributes = image_attributes(
        path.name, "zyx", dict(zip("zyx", (grid.plane_nm / 1000, *(grid.render_pixel_nm / 1000,) * 2), strict=True)),
        easyzloc={"kind": Kind.PYRAMID, "scale": SCALE, "unit": "localisations per voxel of level 0",
                  "z_from_nm": grid.z_range_nm[0]},
    )  # fmt: skip
    multiscale = attributes["ome"]["multiscales"][0]
    multiscale["type"] = "mean"
    multiscale["datasets"] = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [grid.plane_nm / 1000, *(2**level * grid.render_pixel_nm / 1000,) * 2]},
                {
                    "type": "translation",
                    "translation": [
                        (grid.z_range_nm[0] + grid.plane_nm / 2) / 1000,
                        (grid.extent_nm[2] + 2**level * grid.render_pixel_nm / 2) / 1000,
                        (grid.extent_nm[0] + 2**level * grid.render_pixel_nm / 2) / 1000,
                    ],
                },
            ],
        }
        for level in range(len(levels))
    ]
    root.attrs.update(attributes)
    return {"planes": shapes[0][0], "levels": len(levels), "saturated_voxels": saturated}


def _halve(fine: Any, coarse: Any) -> None:
    _, height, width = coarse.shape
    for plane in range(fine.shape[0]):
        image = fine[plane].astype(np.float32)
        image = np.pad(image, ((0, 2 * height - image.shape[0]), (0, 2 * width - image.shape[1])), mode="edge")
        mean = image.reshape(height, 2, width, 2).mean(axis=(1, 3))
        coarse[plane] = np.rint(mean).astype(np.uint16)
