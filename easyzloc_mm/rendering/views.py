"""Views of localisations as images: from above, slices from the side, isometric blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.rendering.raster.canvas import STYLES, VIEW_AXES, Canvas, Extent, view_axes
from easyzloc_mm.rendering.raster.colormap import DEPTH, color_table
from easyzloc_mm.rendering.regions import SLICE_THICK_NM, check_shown, inside, parse_region, slab, usual_region
from easyzloc_mm.rendering.source import LocsSource, Source, field_overview
from easyzloc_mm.typing import F32, F64, IfExists

OVERVIEW_EDGE_PX = 1600
MIN_RENDER_PIXEL_NM, MAX_EDGE_PX = 5.0, 12_000
ISOMETRIC = view_axes(45.0, 35.264)
SLICE_MARGIN_NM = 50.0
"""Above and below the depths that the colours of a slice span."""
VIEWS = ("xy", "xz", "yz", "isometric")


@dataclass(frozen=True)
class Style:
    """How localisations are drawn.

    Attributes
    ----------
    z_range_nm : (float, float)
        Depths that the colours span.
    colormap : str
        ``depth``, or a map of matplotlib.
    style : {"gaussian", "histogram"}
    """

    z_range_nm: tuple[float, float]
    colormap: str = DEPTH
    style: str = "gaussian"

    def canvas(self, axes: F64, extent_nm: Extent, render_pixel_nm: float) -> Canvas:
        """Return an empty picture in this style."""
        return Canvas(axes, extent_nm, render_pixel_nm, self.z_range_nm, style=self.style, colormap=self.colormap)


@dataclass(frozen=True)
class RenderedImage:
    """An image of localisations.

    Attributes
    ----------
    image : ndarray of float32, shape (height, width, 3)
        RGB, 0 to 1; colour is depth, brightness the root of the density.
    view : str
        One of `VIEWS`.
    extent_nm : (float, float, float, float)
        Left, right, top, bottom along the view's axes.
    render_pixel_nm : float
        Of the image.
    z_range_nm : (float, float)
        Depths that the colours span.
    localizations : int
        Believable ones in the whole table.
    """

    image: F32
    view: str
    extent_nm: Extent
    render_pixel_nm: float
    z_range_nm: tuple[float, float]
    localizations: int

    def save(self, path: str | Path, *, if_exists: IfExists = "error") -> Path:
        """Write the image, pixel by pixel, without axes; return where.

        Parameters
        ----------
        path : path
            ``NAME.png``.
        if_exists : {'error', 'overwrite'}
            What becomes of an image that is there already.

        Raises
        ------
        InputError
            `path` is no .png, or stands there already.
        """
        from PIL import Image

        path = Path(path)
        if path.suffix.lower() != ".png":
            raise InputError(f"{path}: name the image .png")
        with whole_or_nothing(path, Kind.PICTURE, if_exists=if_exists) as draft:
            Image.fromarray((255 * self.image).round().astype(np.uint8)).save(draft, format="PNG")
        return path


def render_image(
    locs: Locs,
    *,
    view: str = "xy",
    z_range_nm: tuple[float, float] | None = None,
    region_um: tuple[float, float, float, float] | None = None,
    render_pixel_nm: float | None = None,
    thickness_nm: float = SLICE_THICK_NM,
    style: str = "gaussian",
    colormap: str = DEPTH,
) -> RenderedImage:
    """Draw localisations, each as wide as it is uncertain, depth as colour.

    Parameters
    ----------
    locs : Locs
        3D; rows with a `z_flag` are left out.
    view : {"xy", "xz", "yz", "isometric"}
    z_range_nm : (float, float), optional
        Depths that the colours span; those of all but a few localisations if not given.
    region_um : (float, float, float, float), optional
        Left, right, top, bottom in x and y; the whole field (``xy``), or its densest part, if not given.
    render_pixel_nm : float, optional
        Pixel of the image; about 1600 px along the longer edge if not given.
    thickness_nm : float
        Of a slice (``xz``, ``yz``).
    style : {"gaussian", "histogram"}
    colormap : str
        ``depth`` (equal lightness), a map of matplotlib, or ``grey``.

    Raises
    ------
    InputError
        The table is 2D or empty, or something of this cannot be drawn.
    """
    check_look(view=view, z_range_nm=z_range_nm, style=style, colormap=colormap)
    check_lengths(render_pixel_nm=render_pixel_nm, thickness_nm=thickness_nm)
    source = LocsSource(locs)
    found = field_overview(source)
    look = Style(z_range_nm or found.z_range_nm, colormap, style)
    region = parse_region(region_um) or usual_region(source, found, view, thickness_nm)
    canvas = draw_region(source, look, view, region, render_pixel_nm=render_pixel_nm, thickness_nm=thickness_nm)
    return RenderedImage(
        canvas.picture(), view, canvas.extent_nm, canvas.render_pixel_nm, look.z_range_nm, found.localizations
    )


def check_look(*, view: str, z_range_nm: tuple[float, float] | None, style: str, colormap: str) -> None:
    """Refuse a view, a range of depths, a style or a colormap that does not exist.

    Raises
    ------
    InputError
        One of them does not.
    """
    if z_range_nm is not None and not z_range_nm[0] < z_range_nm[1]:
        raise InputError(f"`z_range_nm` {z_range_nm[0]:g} {z_range_nm[1]:g}: give the lower depth first")
    for name, value, known in (("`view`", view, VIEWS), ("`style`", style, STYLES)):
        if value not in known:
            raise InputError(f"{name} {value} is unknown: use {', '.join(known)}")
    color_table(colormap)


def check_lengths(**lengths_nm: float | None) -> None:
    """Refuse lengths that are not above 0; None is not given.

    Raises
    ------
    InputError
        One is not; the message names it.
    """
    for name, length in lengths_nm.items():
        if length is not None and not 0 < length < 1e6:
            raise InputError(f"`{name}` {length:g}: give a length above 0")


def draw_region(
    source: Source,
    style: Style,
    view: str,
    region_nm: Extent,
    *,
    render_pixel_nm: float | None,
    thickness_nm: float,
) -> Canvas:
    """Draw one region from above, from the side (`thickness_nm` of it), or as a block.

    Raises
    ------
    InputError
        Nothing lies in it.
    """
    shown = slab(region_nm, view, thickness_nm)
    left, right, top, bottom = shown
    low, high = style.z_range_nm
    depths = None
    if view == "xy":
        axes, extent = VIEW_AXES["xy"], region_nm
    elif view in ("xz", "yz"):
        axes, depths = VIEW_AXES[view], (low - SLICE_MARGIN_NM, high + SLICE_MARGIN_NM)
        ends = (left, right) if view == "xz" else (top, bottom)
        extent = (*ends, -depths[1], -depths[0])
    else:
        axes, extent = ISOMETRIC, _seen(ISOMETRIC, region_nm, style.z_range_nm)
    check_shown(source, shown, depths)
    canvas = style.canvas(axes, extent, checked_render_pixel_nm(render_pixel_nm, extent))
    fill([canvas], inside(source.batches(), shown))
    return canvas


def fitting_render_pixel_nm(extent_nm: Extent, edge_px: int = OVERVIEW_EDGE_PX) -> float:
    """Return the pixel that gives `edge_px` along the longer edge, at least `MIN_RENDER_PIXEL_NM`."""
    left, right, top, bottom = extent_nm
    return max(MIN_RENDER_PIXEL_NM, max(right - left, bottom - top) / edge_px)


def checked_render_pixel_nm(
    render_pixel_nm: float | None, extent_nm: Extent, *, edge_px: int = OVERVIEW_EDGE_PX
) -> float:
    """Return the requested pixel, or a suitable one.

    Raises
    ------
    InputError
        The picture would be too large for the memory.
    """
    if render_pixel_nm is None:
        return fitting_render_pixel_nm(extent_nm, edge_px)
    least = max(extent_nm[1] - extent_nm[0], extent_nm[3] - extent_nm[2]) / MAX_EDGE_PX
    if not render_pixel_nm >= least:
        raise InputError(
            f"`render_pixel_nm` {render_pixel_nm:g}: the picture would have more than {MAX_EDGE_PX} pixels along an "
            f"edge; use {np.ceil(10 * least) / 10:g} or more, or a smaller `region`"
        )
    return float(render_pixel_nm)


def fill(canvases: Sequence[Canvas], batches: Iterable[pd.DataFrame]) -> None:
    """Draw every batch on every canvas."""
    for batch in batches:
        for canvas in canvases:
            canvas.add(batch)


def corners(region_nm: Extent, z_range_nm: tuple[float, float]) -> F64:
    """Corners of a block, shape (8, 3), nm."""
    left, right, top, bottom = region_nm
    return np.array([[x, y, z] for x in (left, right) for y in (top, bottom) for z in z_range_nm])


def _seen(axes: F64, region_nm: Extent, z_range_nm: tuple[float, float]) -> Extent:
    """Extent of a block as a view shows it, with a margin."""
    u, v = axes @ corners(region_nm, z_range_nm).T
    margin = 0.04 * max(np.ptp(u), np.ptp(v))
    return float(u.min() - margin), float(u.max() + margin), float(v.min() - margin), float(v.max() + margin)
