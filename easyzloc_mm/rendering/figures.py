"""Figures of localisations: depth as colour from above, from the side and in space, with scale and depth bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm.rendering.raster.canvas import VIEW_AXES, Canvas, Extent
from easyzloc_mm.rendering.raster.colormap import DEPTH, GREY, color_table
from easyzloc_mm.rendering.regions import around
from easyzloc_mm.rendering.source import FieldOverview, Source
from easyzloc_mm.rendering.views import (
    ISOMETRIC,
    Style,
    checked_render_pixel_nm,
    corners,
    draw_region,
    fill,
)
from easyzloc_mm.report.figures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure


ZOOM_NM, ZOOM_RENDER_PIXEL_NM = 3000.0, 4.0
BAR_LENGTHS_NM = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def draw_overview(
    path: Path, source: Source, found: FieldOverview, style: Style, *, render_pixel_nm: float | None = None
) -> float:
    """Draw the whole field from above beside its two densest spots, enlarged; return the pixel (nm)."""
    left, right, top, bottom = found.extent_nm
    large = min(right - left, bottom - top) > 3 * ZOOM_NM
    windows = [around(place, ZOOM_NM) for place in (found.densest(ZOOM_NM, 2) if large else [])]
    pixel = checked_render_pixel_nm(render_pixel_nm, found.extent_nm)
    canvases = [style.canvas(VIEW_AXES["xy"], found.extent_nm, pixel)]
    canvases += [style.canvas(VIEW_AXES["xy"], window, ZOOM_RENDER_PIXEL_NM) for window in windows]
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
    """Draw one region from above, from the side (`thickness_nm` of it), or as a block; return the pixel (nm)."""
    canvas = draw_region(source, style, view, region_nm, render_pixel_nm=render_pixel_nm, thickness_nm=thickness_nm)
    extent = canvas.extent_nm
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
    return canvas.render_pixel_nm


def len_um(extent_nm: Extent) -> str:
    """Return the width of an extent as text, in µm."""
    return f"{(extent_nm[1] - extent_nm[0]) / 1000:.3g} µm"


def _draw_block(axes: Axes, region_nm: Extent, z_range_nm: tuple[float, float]) -> None:
    block = corners(region_nm, z_range_nm)
    u, v = ISOMETRIC @ block.T / 1000
    for a in range(8):
        for b in range(a + 1, 8):
            if (block[a] != block[b]).sum() == 1:
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
    """Return a length as text, in nm or µm."""
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
    """Draw the bar of the depths that the colours mean; grey means none."""
    if style.colormap == GREY:
        return
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
