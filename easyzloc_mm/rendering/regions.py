"""Which part of the sample a picture shows, and that something lies in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.rendering.raster.canvas import Extent
from easyzloc_mm.rendering.source import FieldOverview, Source
from easyzloc_mm.typing import F64

SLICE_NM = 4000.0
"""Length of a slice where no region is given."""
SLICE_THICK_NM = 400.0
BLOCK_NM = 4000.0
"""Edge of an isometric view where no region is given."""
STRIP_BINS = 8
"""Steps per thickness at which a slice is tried."""


def parse_region(region_um: tuple[float, float, float, float] | None) -> Extent | None:
    """Return a region in nm.

    Raises
    ------
    InputError
        Its edges are in the wrong order.
    """
    if region_um is None:
        return None
    left, right, top, bottom = (1000 * edge for edge in region_um)
    if not (left < right and top < bottom):
        raise InputError(f"`region` {' '.join(f'{e:g}' for e in region_um)}: give left, right, top, bottom in µm")
    return left, right, top, bottom


def around(position: tuple[float, float], edge_nm: float) -> Extent:
    """Square of that edge around a position."""
    x, y = position
    return x - edge_nm / 2, x + edge_nm / 2, y - edge_nm / 2, y + edge_nm / 2


def usual_region(source: Source, found: FieldOverview, view: str, thickness_nm: float) -> Extent:
    """Region to show where none is given: the field from above, its densest part otherwise.

    A slice goes through the strip of that part that holds most localisations: the middle of a dense part may be empty.
    """
    if view == "xy":
        return found.extent_nm
    if view == "isometric":
        return around(found.densest(BLOCK_NM)[0], BLOCK_NM)
    window = around(found.densest(SLICE_NM)[0], SLICE_NM)
    left, right, top, bottom = window
    if view == "xz":
        low, high = _richest_strip(source, window, "y_nm", (top, bottom), thickness_nm)
        return left, right, low, high
    low, high = _richest_strip(source, window, "x_nm", (left, right), thickness_nm)
    return low, high, top, bottom


def _richest_strip(
    source: Source, window_nm: Extent, across: str, ends_nm: tuple[float, float], thickness_nm: float
) -> tuple[float, float]:
    """Return the strip across a window, `thickness_nm` wide, that holds most localisations."""
    low, high = ends_nm
    step = thickness_nm / STRIP_BINS
    edges = np.arange(low, max(high, low + thickness_nm) + step, step)
    count: F64 = np.zeros(len(edges) - 1)
    for batch in inside(source.batches(), window_nm):
        count += np.histogram(batch[across], edges)[0]
    strips = np.convolve(count, np.ones(STRIP_BINS), mode="valid")
    # In the middle of equally good ones: a thin structure then lies in the middle of the slice.
    first = edges[int(np.median(np.flatnonzero(strips == strips.max())))]
    return float(first), float(first + thickness_nm)


def slab(region_nm: Extent, view: str, thickness_nm: float) -> Extent:
    """Return the part of a region that a view shows: of a slice, `thickness_nm` about its middle."""
    left, right, top, bottom = region_nm
    if view == "xz":
        middle = (top + bottom) / 2
        return left, right, middle - thickness_nm / 2, middle + thickness_nm / 2
    if view == "yz":
        middle = (left + right) / 2
        return middle - thickness_nm / 2, middle + thickness_nm / 2, top, bottom
    return region_nm


def inside(batches: Iterable[pd.DataFrame], region_nm: Extent) -> Iterator[pd.DataFrame]:
    """Give the rows of each batch that lie in a region."""
    left, right, top, bottom = region_nm
    for batch in batches:
        yield batch[batch["x_nm"].between(left, right) & batch["y_nm"].between(top, bottom)]


def check_shown(source: Source, region_nm: Extent, z_range_nm: tuple[float, float] | None = None) -> None:
    """Refuse a picture of nothing.

    Parameters
    ----------
    source : Source
    region_nm : (float, float, float, float)
        What of it will be drawn (`slab`).
    z_range_nm : (float, float), optional
        Depths between which localisations are drawn; all, if not given.

    Raises
    ------
    InputError
        No localisation lies there; the message says where they lie.
    """
    low, high = z_range_nm or (-np.inf, np.inf)
    if any(batch["z"].between(low, high).any() for batch in inside(source.batches(), region_nm)):
        return
    spans = [_span(source, name) for name in ("x_nm", "y_nm", "z")]
    x, y, z = (f"{least:g} to {most:g}" for least, most in (spans[0] / 1000, spans[1] / 1000, np.round(spans[2])))
    raise InputError(
        f"nothing would be drawn: no localisation of {source.name} lies in `region` "
        f"{' '.join(f'{edge / 1000:g}' for edge in region_nm)} and `z_range_nm`; they lie within x {x} µm, y {y} µm, "
        f"z {z} nm"
    )


def _span(source: Source, column: str) -> F64:
    least, most = np.inf, -np.inf
    for batch in source.batches():
        least, most = min(least, batch[column].min()), max(most, batch[column].max())
    return np.array([np.floor(least), np.ceil(most)])
