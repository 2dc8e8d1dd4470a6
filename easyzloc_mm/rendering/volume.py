"""Localisations as image stacks: 16-bit TIFF pages and OME-Zarr pyramids, one plane per depth.

A voxel holds `SCALE` times the number of localisations in it, every one spread by its uncertainty in x, y and z; the
same in every file, so that pictures can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images import volumes
from easyzloc_mm.rendering.raster.canvas import VISIBLE_PX, Extent
from easyzloc_mm.rendering.raster.splat import MAX_RADIUS_PX, canvas_pixels, splat
from easyzloc_mm.rendering.source import Source
from easyzloc_mm.typing import F32, U16, Progress

SCALE = 1000.0
FULL = 65535
TILE_PX = 512
MAX_PLANES = 200


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

    @property
    def voxels(self) -> volumes.Voxels:
        """Place and size of the voxels, as files state them."""
        left, _, top, _ = self.extent_nm
        return volumes.Voxels(self.shape, self.plane_nm, self.render_pixel_nm, (self.z_range_nm[0], top, left))


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


def write_tiff(path: Path, source: Source, grid: Grid, style: str, *, progress: Progress) -> dict[str, Any]:
    """Write a multi-page 16-bit TIFF, one page per depth, that ImageJ and Fiji open with its scale.

    Returns
    -------
    dict
        ``planes``, ``saturated_voxels``.
    """
    counted = _Counted(tiles(source, grid, style), grid, progress)
    volumes.write_tiff_stack(path, grid.voxels, counted, info=f"{SCALE:g} x localisations per voxel")
    return {"planes": grid.shape[0], "saturated_voxels": counted.saturated}


def write_pyramid(path: Path, source: Source, grid: Grid, style: str, *, progress: Progress) -> dict[str, Any]:
    """Write an OME-Zarr 0.5 image (z, y, x) with levels that halve y and x until they fit a screen.

    Returns
    -------
    dict
        ``planes``, ``levels``, ``saturated_voxels``.
    """
    counted = _Counted(tiles(source, grid, style), grid, progress)
    about = {
        "scale": SCALE, "unit": "localisations per voxel of level 0", "z_from_nm": grid.z_range_nm[0],
    }  # fmt: skip
    levels = volumes.write_pyramid(path, grid.voxels, counted, tile_px=TILE_PX, about=about)
    return {"planes": grid.shape[0], "levels": levels, "saturated_voxels": counted.saturated}


class _Counted:
    """Tiles as they are, reported as they come, and how many of their voxels are saturated."""

    def __init__(self, parts: Iterator[tuple[slice, slice, U16]], grid: Grid, progress: Progress) -> None:
        self._parts, self._progress = parts, progress
        self._tiles = int(np.prod([-(-edge // TILE_PX) for edge in grid.shape[1:]]))
        self.saturated = 0

    def __iter__(self) -> Iterator[tuple[slice, slice, U16]]:
        for number, (rows, columns, voxels) in enumerate(self._parts, 1):
            self._progress(f"tile {number} of {self._tiles}", number / self._tiles)
            self.saturated += int((voxels == FULL).sum())
            yield rows, columns, voxels
