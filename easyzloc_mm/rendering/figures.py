"""Figures of localisations: depth as colour from above, from the side and in space, with scale and depth bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.rendering.canvas import LOOK, Canvas, Extent, Source, turned
from easyzloc_mm.rendering.colormap import DEPTH, color_table
from easyzloc_mm.report.figures import picture
from easyzloc_mm.typing import F64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure


OVERVIEW_EDGE_PX = 1600
ZOOM_NM, ZOOM_RENDER_PIXEL_NM = 3000.0, 4.0
MIN_RENDER_PIXEL_NM, MAX_EDGE_PX = 5.0, 12_000
SLICE_NM = 4000.0
"""Length of a slice where no region is given."""
SLICE_THICK_NM = 400.0
BLOCK_NM = 4000.0
"""Edge of an isometric view where no region is given."""
ISOMETRIC = turned(45.0, 35.264)
BAR_LENGTHS_NM = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)
DENSITY_CELL_NM = 500.0
DEPTH_SHARE = (1.0, 99.0)
DEPTH_SAMPLE = 200_000
VIEWS = ("xy", "xz", "yz", "isometric")


@dataclass(frozen=True)
class FieldOverview:
    """What one pass over a table tells.

    Attributes
    ----------
    localizations : int
        That can be believed.
    z_range_nm : (float, float)
        Depths between which all but a few lie, rounded to 50 nm.
    density : ndarray
        Localisations per `DENSITY_CELL_NM` cell, rows by columns.
    extent_nm : (float, float, float, float)
        Of the field.
    """

    localizations: int
    z_range_nm: tuple[float, float]
    density: F64
    extent_nm: Extent

    def densest(self, edge_nm: float, count: int = 1) -> list[tuple[float, float]]:
        """Middles (x, y, nm) of the `count` squares of that edge with most localisations, apart and inside."""
        from scipy.ndimage import uniform_filter

        left, right, top, bottom = self.extent_nm
        size = max(1, round(edge_nm / DENSITY_CELL_NM))
        mean = uniform_filter(self.density, size, mode="constant")
        margin = min(size // 2, (min(mean.shape) - 1) // 2)
        inner = np.full_like(mean, -1.0)
        window = (slice(margin, mean.shape[0] - margin), slice(margin, mean.shape[1] - margin))
        inner[window] = mean[window]
        places = []
        for _ in range(count):
            row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
            x = left + (float(column) + 0.5) * DENSITY_CELL_NM
            y = top + (float(row) + 0.5) * DENSITY_CELL_NM
            places.append((min(max(x, left), right), min(max(y, top), bottom)))
            inner[max(0, row - 2 * size) : row + 2 * size + 1, max(0, column - 2 * size) : column + 2 * size + 1] = -1.0
        return places


def field_overview(source: Source) -> FieldOverview:
    """Count, and find depths and dense places.

    Raises
    ------
    InputError
        No localisation can be believed.
    """
    left, right, top, bottom = source.field_nm
    shape = int((bottom - top) / DENSITY_CELL_NM) + 1, int((right - left) / DENSITY_CELL_NM) + 1
    density, total = np.zeros(shape), 0
    depths: list[F64] = []
    for batch in source.batches():
        total += len(batch)
        row = ((batch["y_nm"].to_numpy() - top) / DENSITY_CELL_NM).astype(int).clip(0, shape[0] - 1)
        column = ((batch["x_nm"].to_numpy() - left) / DENSITY_CELL_NM).astype(int).clip(0, shape[1] - 1)
        density += np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)
        depths.append(batch["z"].to_numpy()[:: max(1, len(batch) * 8 // DEPTH_SAMPLE)])
    if not total:
        raise InputError(f"{source.path} has no localisation whose z can be believed: nothing to show")
    return FieldOverview(total, usual_depths(np.concatenate(depths)), density, source.field_nm)


def usual_depths(z: F64) -> tuple[float, float]:
    """Depths between which all but a few localisations lie, rounded to 50 nm."""
    if not len(z):
        return -500.0, 500.0
    low, high = np.percentile(z, DEPTH_SHARE)
    low, high = 50 * np.floor(low / 50), 50 * np.ceil(high / 50)
    return float(low), float(max(high, low + 50))


def fitting_render_pixel_nm(extent_nm: Extent, edge_px: int = OVERVIEW_EDGE_PX) -> float:
    """Pixel with which a picture has `edge_px` along its longer edge, and never less than `MIN_RENDER_PIXEL_NM`."""
    left, right, top, bottom = extent_nm
    return max(MIN_RENDER_PIXEL_NM, max(right - left, bottom - top) / edge_px)


def checked_render_pixel_nm(
    render_pixel_nm: float | None, extent_nm: Extent, *, edge_px: int = OVERVIEW_EDGE_PX
) -> float:
    """Pixel that a person asked for, or the fitting one.

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


@dataclass(frozen=True)
class Style:
    """How a figure looks: depths of the colours (nm), their name, and gaussian or histogram."""

    z_range_nm: tuple[float, float]
    colormap: str = DEPTH
    style: str = "gaussian"

    def canvas(self, look: F64, extent_nm: Extent, render_pixel_nm: float) -> Canvas:
        """Return an empty picture in this style."""
        return Canvas(look, extent_nm, render_pixel_nm, self.z_range_nm, style=self.style, colormap=self.colormap)


def draw_overview(
    path: Path, source: Source, found: FieldOverview, style: Style, *, render_pixel_nm: float | None = None
) -> float:
    """Draw the whole field from above beside its two densest spots, enlarged; return the pixel (nm)."""
    left, right, top, bottom = found.extent_nm
    large = min(right - left, bottom - top) > 3 * ZOOM_NM
    windows = [around(place, ZOOM_NM) for place in (found.densest(ZOOM_NM, 2) if large else [])]
    pixel = checked_render_pixel_nm(render_pixel_nm, found.extent_nm)
    canvases = [style.canvas(LOOK["xy"], found.extent_nm, pixel)]
    canvases += [style.canvas(LOOK["xy"], window, ZOOM_RENDER_PIXEL_NM) for window in windows]
    fill(canvases, source.batches())
    aspect = (bottom - top) / (right - left)
    with picture(
        path, 15.2 if windows else 10.6, 10.0 * min(max(aspect, 0.4), 1.3), facecolor="black", dpi=160
    ) as figure:
        grid = figure.add_gridspec(
            2 if windows else 1, 2 if windows else 1, width_ratios=(2.02, 1) if windows else None
        )
        overview = figure.add_subplot(grid[:, 0])
        panels = [overview, *(figure.add_subplot(grid[row, 1]) for row in range(len(windows)))]
        # The bar of the overview keeps clear of the squares.
        busy = any(x1 > right - (right - left) / 4 and y1 > bottom - (bottom - top) / 8 for _, x1, _, y1 in windows)
        for axes, canvas in zip(panels, canvases, strict=True):
            show(axes, canvas, bar_left=busy and axes is overview)
        for letter, axes, window in zip("ab", panels[1:], windows, strict=False):
            _mark(overview, window, letter)
            axes.text(0.03, 0.97, letter, color="white", fontsize=15, weight="bold", va="top", transform=axes.transAxes)
            for spine in axes.spines.values():
                spine.set(visible=True, color="white", linewidth=0.8)
        depth_bar(figure, panels, style)
    return pixel


def draw_view(
    path: Path,
    source: Source,
    style: Style,
    view: str,
    region_nm: Extent,
    *,
    render_pixel_nm: float | None,
    thickness_nm: float,
) -> float:
    """Draw one region from above, from the side (`thickness_nm` of it), or in space; return the pixel (nm)."""
    left, right, top, bottom = region_nm
    low, high = style.z_range_nm
    batches: Iterable[pd.DataFrame] = source.batches()
    if view == "xy":
        look, extent = LOOK["xy"], region_nm
    elif view in ("xz", "yz"):
        look = LOOK[view]
        ends, across, middle = ((left, right), "y_nm", (top + bottom) / 2) if view == "xz" else (
            (top, bottom), "x_nm", (left + right) / 2)  # fmt: skip
        extent = (*ends, -high - 50, -low + 50)
        batches = (b[(b[across] - middle).abs() <= thickness_nm / 2] for b in batches)
    else:
        look, extent = ISOMETRIC, _seen(ISOMETRIC, region_nm, style.z_range_nm)
    batches = (b[b["x_nm"].between(left, right) & b["y_nm"].between(top, bottom)] for b in batches)
    pixel = checked_render_pixel_nm(render_pixel_nm, extent)
    canvas = style.canvas(look, extent, pixel)
    fill([canvas], batches)
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    with picture(path, 11.0, max(2.4, min(10.5, 9.6 * aspect + 0.6)), facecolor="black", dpi=160) as figure:
        axes = figure.subplots()
        show(axes, canvas)
        if view in ("xz", "yz"):
            axes.set_title(
                f"{view} slice, {thickness_nm:g} nm thick, {len_um(extent)} long, depth in true proportion",
                color="white", fontsize=10,
            )  # fmt: skip
        if view == "isometric":
            _draw_block(axes, region_nm, style.z_range_nm)
        depth_bar(figure, [axes], style)
    return pixel


def len_um(extent_nm: Extent) -> str:
    """Width of an extent, for people."""
    return f"{(extent_nm[1] - extent_nm[0]) / 1000:.3g} µm"


def around(place: tuple[float, float], edge_nm: float) -> Extent:
    """Square of that edge around a place."""
    x, y = place
    return x - edge_nm / 2, x + edge_nm / 2, y - edge_nm / 2, y + edge_nm / 2


def fill(canvases: Sequence[Canvas], batches: Iterable[pd.DataFrame]) -> None:
    """Draw every batch on every canvas."""
    for batch in batches:
        for canvas in canvases:
            canvas.add(batch)


def _corners(region_nm: Extent, z_range_nm: tuple[float, float]) -> F64:
    left, right, top, bottom = region_nm
    return np.array([[x, y, z] for x in (left, right) for y in (top, bottom) for z in z_range_nm])


def _seen(look: F64, region_nm: Extent, z_range_nm: tuple[float, float]) -> Extent:
    """Extent of a block as a view shows it, with a margin."""
    u, v = look @ _corners(region_nm, z_range_nm).T
    margin = 0.04 * max(np.ptp(u), np.ptp(v))
    return float(u.min() - margin), float(u.max() + margin), float(v.min() - margin), float(v.max() + margin)


def _draw_block(axes: Axes, region_nm: Extent, z_range_nm: tuple[float, float]) -> None:
    corners = _corners(region_nm, z_range_nm)
    u, v = ISOMETRIC @ corners.T / 1000
    for a in range(8):
        for b in range(a + 1, 8):
            if (corners[a] != corners[b]).sum() == 1:
                axes.plot([u[a], u[b]], [v[a], v[b]], color="white", lw=0.7, alpha=0.45)


def show(axes: Axes, canvas: Canvas, *, bar_left: bool = False) -> None:
    """Put a canvas into a panel, in µm, with a scale bar."""
    left, right, top, bottom = (edge / 1000 for edge in canvas.extent_nm)
    axes.imshow(canvas.picture(), extent=(left, right, bottom, top), interpolation="antialiased", aspect="equal")
    axes.set(xticks=[], yticks=[], xlim=(left, right), ylim=(bottom, top))
    axes.set_facecolor("black")
    scale_bar(axes, left, right, top, bottom, on_left=bar_left)


def bar_length_nm(width_nm: float) -> float:
    """Length of a scale bar that suits a picture."""
    return max(bar for bar in BAR_LENGTHS_NM if bar <= max(width_nm / 6, BAR_LENGTHS_NM[0]))


def length_label(length_nm: float) -> str:
    """Say a length for people."""
    return f"{length_nm / 1000:g} µm" if length_nm >= 1000 else f"{length_nm:g} nm"


def scale_bar(axes: Axes, left: float, right: float, top: float, bottom: float, *, on_left: bool = False) -> None:
    """Draw a scale bar with its length into a lower corner; edges in µm."""
    from matplotlib.patheffects import withStroke

    length = bar_length_nm(1000 * (right - left))
    width, height = right - left, bottom - top
    x = left + 0.035 * width if on_left else right - 0.035 * width - length / 1000
    y = bottom - 0.045 * min(width, height)
    edge = [withStroke(linewidth=2.5, foreground="black")]
    axes.plot([x, x + length / 1000], [y, y], color="white", lw=3.5, solid_capstyle="butt", path_effects=edge)
    axes.annotate(
        length_label(length), (x + length / 2000, y), (0, 5), textcoords="offset points", color="white", ha="center",
        va="bottom", fontsize=11, path_effects=edge,
    )  # fmt: skip


def depth_colormap(name: str = DEPTH) -> ListedColormap:
    """Return the colours of depth for matplotlib."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(color_table(name))


def depth_bar(figure: Figure, panels: Sequence[Axes], style: Style) -> None:
    """Draw the bar that says which colour is which depth."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(*style.z_range_nm), depth_colormap(style.colormap))
    bar = figure.colorbar(scale, ax=list(panels), fraction=0.025, pad=0.01, aspect=38, shrink=0.9)
    bar.set_label("z (nm)", color="white", fontsize=11)
    bar.ax.tick_params(colors="white", labelsize=10)
    bar.outline.set_edgecolor("white")
    bar.outline.set_linewidth(0.6)


def _mark(axes: Axes, window: Extent, letter: str) -> None:
    from matplotlib.patches import Rectangle

    left, right, top, bottom = (edge / 1000 for edge in window)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color="white", lw=0.9))
    axes.text(left, top, letter, color="white", fontsize=11, weight="bold", va="bottom", ha="left")
