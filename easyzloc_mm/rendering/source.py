"""Localisations to draw, batch by batch, and one pass over them: how many, how deep, and where they are densest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.query import select
from easyzloc_mm.locs.table import in_nm
from easyzloc_mm.rendering.raster.canvas import Extent
from easyzloc_mm.typing import F64

BATCH_ROWS = 1 << 20
NEEDED = ("frame", "x", "y", "z", "lpx", "lpy", "lpz", "z_flag")
DENSITY_CELL_NM = 500.0
MAX_DENSITY_CELLS = 4096
"""Along an edge of the map of densities: larger fields have larger cells."""
DEPTH_SHARE = (1.0, 99.0)
"""Percentiles of z between which the usual depths lie."""
DEPTH_SAMPLE = 200_000


class Source(ABC):
    """Believable localisations of a 3D table.

    Parameters
    ----------
    name : str
        What messages call the table.
    metadata : RunMetadata
    """

    def __init__(self, name: str, metadata: RunMetadata) -> None:
        self.name, self.metadata = name, metadata

    @abstractmethod
    def batches(self) -> Iterator[pd.DataFrame]:
        """Give the localisations, `BATCH_ROWS` at a time, with the columns of `Locs.nm`."""

    @property
    def field_nm(self) -> Extent:
        """Left, right, top, bottom of the whole field."""
        pixel, height, width = self.metadata.pixel_size_nm, self.metadata.height_px, self.metadata.width_px
        return -0.5 * pixel, (width - 0.5) * pixel, -0.5 * pixel, (height - 0.5) * pixel


class LocsSource(Source):
    """A table in memory.

    Raises
    ------
    InputError
        It is 2D, or no row can be believed.
    """

    def __init__(self, locs: Locs) -> None:
        super().__init__(locs.name, locs.metadata)
        self._table = locs.nm_3d

    def batches(self) -> Iterator[pd.DataFrame]:
        """Give the localisations, `BATCH_ROWS` at a time."""
        for first in range(0, len(self._table), BATCH_ROWS):
            yield self._table.iloc[first : first + BATCH_ROWS]


class RunSource(Source):
    """A ``RUN.zarr``, which is never read whole.

    Parameters
    ----------
    path : Path
    where : str, optional
        Condition on its rows.

    Raises
    ------
    InputError
        It has no z, or the condition is not understood.
    """

    def __init__(self, path: Path, where: str | None = None) -> None:
        first, metadata = read_localizations(path, rows=1)
        super().__init__(str(path), metadata)
        if "z" not in first:
            raise InputError(f"{path} has no z: localise it with a model")
        select(first, where)  # a condition that is not understood is refused before any work
        self.path, self._where = path, where

    def batches(self) -> Iterator[pd.DataFrame]:
        """Read the localisations, `BATCH_ROWS` at a time."""
        first = 0
        wanted = None if self._where else NEEDED
        while True:
            rows, _ = read_localizations(self.path, first_row=first, rows=BATCH_ROWS, columns=wanted)
            if not len(rows):
                return
            first += len(rows)
            yield in_nm(select(rows, self._where), self.metadata.pixel_size_nm)


def open_source(table: Locs | Path, *, where: str | None = None, pixel_size_nm: float | None = None) -> Source:
    """Return the localisations of a table, of a run, or of a file of another program.

    Parameters
    ----------
    table : Locs or Path
    where : str, optional
        Condition on the rows.
    pixel_size_nm : float, optional
        Camera pixel, for files that do not say.

    Raises
    ------
    InputError
        There is no such table, it has no z, or the condition is not understood.
    """
    if isinstance(table, Locs):
        return LocsSource(table if where is None else table.where(where))
    if table.is_dir():
        return RunSource(table, where)
    return LocsSource(Locs.load(table, where=where, pixel_size_nm=pixel_size_nm))


@dataclass(frozen=True)
class FieldOverview:
    """Where the localisations of a table lie.

    Attributes
    ----------
    localizations : int
        Believable ones.
    z_range_nm : (float, float)
        Depths between which all but a few lie, rounded to 50 nm.
    density : ndarray
        Localisations per cell, rows by columns.
    cell_nm : float
        Edge of a cell: `DENSITY_CELL_NM`, more in fields that are wider than a camera's.
    extent_nm : (float, float, float, float)
        Of the field.
    """

    localizations: int
    z_range_nm: tuple[float, float]
    density: F64
    cell_nm: float
    extent_nm: Extent

    def densest(self, edge_nm: float, count: int = 1) -> list[tuple[float, float]]:
        """Centres (x, y, nm) of the `count` squares of that edge with most localisations, apart and inside."""
        from scipy.ndimage import uniform_filter

        left, right, top, bottom = self.extent_nm
        size = max(1, round(edge_nm / self.cell_nm))
        mean = uniform_filter(self.density, size, mode="constant")
        margin = min(size // 2, (min(mean.shape) - 1) // 2)
        inner = np.full_like(mean, -1.0)
        window = (slice(margin, mean.shape[0] - margin), slice(margin, mean.shape[1] - margin))
        inner[window] = mean[window]
        found = []
        for _ in range(count):
            row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
            x = left + (float(column) + 0.5) * self.cell_nm
            y = top + (float(row) + 0.5) * self.cell_nm
            found.append((min(max(x, left), right), min(max(y, top), bottom)))
            inner[max(0, row - 2 * size) : row + 2 * size + 1, max(0, column - 2 * size) : column + 2 * size + 1] = -1.0
        return found


def field_overview(source: Source) -> FieldOverview:
    """Count the localisations and their density, and find the depths that they span.

    Raises
    ------
    InputError
        No localisation can be believed.
    """
    left, right, top, bottom = source.field_nm
    cell = max(DENSITY_CELL_NM, max(bottom - top, right - left) / MAX_DENSITY_CELLS)
    shape = int((bottom - top) / cell) + 1, int((right - left) / cell) + 1
    density, total = np.zeros(shape), 0
    depths: list[F64] = []
    for batch in source.batches():
        total += len(batch)
        row = ((batch["y_nm"].to_numpy() - top) / cell).astype(int).clip(0, shape[0] - 1)
        column = ((batch["x_nm"].to_numpy() - left) / cell).astype(int).clip(0, shape[1] - 1)
        density += np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)
        depths.append(batch["z"].to_numpy()[:: max(1, len(batch) * 8 // DEPTH_SAMPLE)])
    if not total:
        raise InputError(f"{source.name} has no localisation whose z can be believed: nothing to show")
    return FieldOverview(total, usual_depths(np.concatenate(depths)), density, cell, source.field_nm)


def usual_depths(z: F64) -> tuple[float, float]:
    """Depths between which all but a few localisations lie, rounded to 50 nm."""
    if not len(z):
        return -500.0, 500.0
    low, high = np.percentile(z, DEPTH_SHARE)
    low, high = 50 * np.floor(low / 50), 50 * np.ceil(high / 50)
    return float(low), float(max(high, low + 50))
