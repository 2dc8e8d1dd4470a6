"""Follow a scan: where its fields are, what became of each, and a small picture of what was found there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.acquire.scans.ledger import FieldState, FieldStatus, LedgerContent, read_ledger
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.runs.status import RunStatus, read_status
from easyzloc_mm.locs.table import in_nm
from easyzloc_mm.rendering.raster.canvas import VIEW_AXES, Canvas
from easyzloc_mm.typing import F32, F64

DRAW_S = 0.5
THUMBNAIL_PX = 96
THUMBNAIL_ROWS = 100_000
"""So many localisations are enough for a small picture."""
SAME_PART = 0.3
"""Of the distance of the nearest two fields: coordinates that differ by less are one column, or row."""
FILLED_PART = 0.3
WIDE = 2.4
"""Columns per row of a map, where the stage does not say it: as wide as the page."""
NO_STATE = FieldState(status=FieldStatus.PENDING, time_s=0.0)


@dataclass(frozen=True)
class ShownField:
    """A field of the scan.

    Attributes
    ----------
    name : str
    x_um, y_um : float
        Stage position.
    state : FieldState
    thumbnail : ndarray or None
        RGB, 0 to 1; None before there is one.
    """

    name: str
    x_um: float
    y_um: float
    state: FieldState
    thumbnail: F32 | None


class ScanFollower:
    """A scan as far as it is.

    Parameters
    ----------
    folder : Path
        With the ledger.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._content: LedgerContent | None = None
        self._drawn: dict[str, tuple[float, F32 | None]] = {}

    def poll(self) -> bool:
        """Read the ledger, and draw for a moment pictures of fields that have none; True if either is new."""
        until_s = time.monotonic() + DRAW_S
        before, drew = self._content, False
        self._content = read_ledger(self.folder)
        for name, state in self._content.fields.items():
            if state.run is None or state.status is FieldStatus.RUNNING:
                continue
            if name not in self._drawn or self._drawn[name][0] != state.time_s:
                self._drawn[name] = state.time_s, self._thumbnail(self.folder / state.run)
                drew = True
                if time.monotonic() > until_s:
                    break
        return drew or self._content != before

    def fields(self) -> list[ShownField]:
        """Return the fields in the order of visits."""
        if self._content is None:
            return []
        made = []
        for place in self._content.plan.places():
            state = self._content.fields.get(place.name, NO_STATE)
            thumbnail = self._drawn.get(place.name, (0.0, None))[1]
            made.append(ShownField(place.name, *place.position_um, state, thumbnail))
        return made

    def now(self) -> tuple[str, RunStatus] | None:
        """Return the field that is being imaged, and how its run goes; None between fields."""
        fields = self._content.fields if self._content is not None else {}
        for name, state in fields.items():
            if state.status is FieldStatus.RUNNING and state.run is not None:
                status = read_status(self.folder / state.run)
                return None if status is None else (name, status)
        return None

    def run_of(self, name: str) -> Path | None:
        """Return the run of a field; None where the scan has no such field, or no run of it."""
        state = read_ledger(self.folder).fields.get(name)
        return None if state is None or state.run is None else self.folder / state.run

    def _thumbnail(self, run: Path) -> F32 | None:
        try:
            rows, metadata = read_localizations(run, rows=THUMBNAIL_ROWS)
        except InputError:  # nothing was localised there, or its run was moved away
            return None
        if not len(rows):
            return None
        cloud = in_nm(rows, metadata.pixel_size_nm)
        pixel = metadata.pixel_size_nm
        left, top = metadata.origin_px
        extent = (
            (left - 0.5) * pixel, (metadata.width_px - 0.5) * pixel,
            (top - 0.5) * pixel, (metadata.height_px - 0.5) * pixel,
        )  # fmt: skip
        largest = max(extent[1] - extent[0], extent[3] - extent[2])
        canvas = Canvas(VIEW_AXES["xy"], extent, largest / THUMBNAIL_PX, _depths(cloud["z"].to_numpy(float)))
        canvas.add(cloud)
        return canvas.picture(full=canvas.full_brightness())


def places_on_map(places: F64) -> F64:
    """Return where fields stand on a map that has room for a picture of each: columns and rows, counted from 0.

    As the stage has them, but with equal distances: wells lie far apart, and their fields near each other. Where that
    leaves most of the map empty, as for places by hand, they stand in the order of visits, from the top left on.

    Parameters
    ----------
    places : ndarray, shape (n, 2)
        x, y of the stage, um, in the order of visits.

    Returns
    -------
    ndarray, shape (n, 2)
        The row rises with y; the first one is on top, as in images.
    """
    if not len(places):
        return np.empty((0, 2))
    apart = np.abs(places[:, None] - places[None]).max(axis=2)
    near = SAME_PART * float(apart[apart > 0].min(initial=np.inf))
    grid = np.stack([_ranks(axis, near) for axis in places.T], axis=1)
    if len(places) >= FILLED_PART * np.prod(grid.max(axis=0) + 1) and len(np.unique(grid, axis=0)) == len(grid):
        return grid
    columns = int(np.ceil(np.sqrt(WIDE * len(places))))
    number = np.arange(len(places))
    return np.stack([number % columns, number // columns], axis=1).astype(float)


def _ranks(values: F64, near: float) -> F64:
    """Return which of the distinct values each is, by size; values nearer than `near` count as one."""
    order = np.argsort(values, kind="stable")
    rank = np.concatenate([[0], np.cumsum(np.diff(values[order]) > near)])
    ranks = np.empty(len(values))
    ranks[order] = rank
    return ranks


def _depths(z_nm: NDArray[np.float64]) -> tuple[float, float]:
    """Return depths between which nearly all molecules lie."""
    if not len(z_nm):
        return -1.0, 1.0
    low, high = np.percentile(z_nm, [1, 99])
    return float(low), float(max(high, low + 1))
