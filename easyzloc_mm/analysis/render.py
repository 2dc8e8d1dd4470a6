"""Pictures of localisations: depth as colour, and slices along z."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from easyzloc_mm.store.pictures import picture

Real = NDArray[np.float64]
Extent = tuple[float, float, float, float]

COLOUR_MAP, COLOURS_FROM, COLOURS_TO = "turbo", 0.1, 0.9
"""Without its ends, which are too dark on black."""
DEPTH_LEVELS = 24
MAX_EDGE_PX = 1400
ZOOM_NM = 3000.0
"""Edge of the enlarged squares beside an overview."""
ZOOM_PIXEL_NM = 5.0
MIN_PIXEL_NM = 10.0
MIN_BLUR_NM = 8.0
VISIBLE_PX = 1.1
"""Pixels over which a localisation is spread at least, so that an overview does not lose it."""
SATURATED = 99.7
"""Percentile of the lit pixels that is shown at full brightness."""
BAR_LENGTHS_NM = (100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def depth_colours() -> ListedColormap:
    """Colours of depth in every picture."""
    return ListedColormap(matplotlib.colormaps[COLOUR_MAP](np.linspace(COLOURS_FROM, COLOURS_TO, 256)))


def depth_image(table: pd.DataFrame, extent_nm: Extent, z_range_nm: tuple[float, float], pixel_nm: float) -> Real:
    """Render localisations as Gaussians of their precision, coloured by depth.

    Parameters
    ----------
    table : DataFrame
        Columns ``x_nm``, ``y_nm``, ``z``, ``blur_nm``.
    extent_nm : (float, float, float, float)
        Left, right, top, bottom.
    z_range_nm : (float, float)
        Depths that the colours span.
    pixel_nm : float
        Of the picture.

    Returns
    -------
    ndarray, shape (height, width, 3)
        0 to 1.
    """
    left, right, top, bottom = extent_nm
    shape = int(np.ceil((bottom - top) / pixel_nm)), int(np.ceil((right - left) / pixel_nm))
    depth = np.clip((table["z"].to_numpy(float) - z_range_nm[0]) / (z_range_nm[1] - z_range_nm[0]), 0, 1)
    level = np.minimum((depth * DEPTH_LEVELS).astype(int), DEPTH_LEVELS - 1)
    colours = depth_colours()((np.arange(DEPTH_LEVELS) + 0.5) / DEPTH_LEVELS)[:, :3]
    sharp = float(table["blur_nm"].median()) if len(table) else 0.0
    blur = max(sharp, MIN_BLUR_NM, VISIBLE_PX * pixel_nm)
    image = np.zeros((*shape, 3))
    for number in range(DEPTH_LEVELS):
        part = table[level == number]
        if part.empty:
            continue
        counts = np.histogram2d(part["y_nm"], part["x_nm"], bins=shape, range=((top, bottom), (left, right)))[0]
        image += gaussian_filter(counts, blur / pixel_nm)[..., None] * colours[number]
    brightness = image.max(axis=2)
    lit = brightness[brightness > 1e-4 * brightness.max(initial=0)]
    scale = np.percentile(lit, SATURATED) if len(lit) else 1.0
    # A root keeps single molecules visible beside dense structures.
    gain = np.sqrt(np.minimum(brightness / max(scale, 1e-12), 1.0)) / np.maximum(brightness, 1e-12)
    return np.clip(image * gain[..., None], 0, 1)


def in_nm(table: pd.DataFrame, pixel_size_nm: float) -> pd.DataFrame:
    """Columns ``x_nm``, ``y_nm``, ``z``, ``lpz``, ``blur_nm`` of the localisations that can be believed."""
    trusted = table[table["z_flag"] == 0] if "z_flag" in table else table
    return pd.DataFrame(
        {
            "x_nm": trusted["x"].to_numpy(float) * pixel_size_nm,
            "y_nm": trusted["y"].to_numpy(float) * pixel_size_nm,
            "z": trusted["z"].to_numpy(float),
            "lpz": trusted["lpz"].to_numpy(float),
            "blur_nm": (trusted["lpx"] + trusted["lpy"]).to_numpy(float) / 2 * pixel_size_nm,
        }
    )


def usual_depths(table: pd.DataFrame) -> tuple[float, float]:
    """Depths between which all but a few localisations lie, rounded to 50 nm."""
    if table.empty:
        return -500.0, 500.0
    low, high = np.percentile(table["z"], [1, 99])
    low, high = 50 * np.floor(low / 50), 50 * np.ceil(high / 50)
    return float(low), float(max(high, low + 50))


def picture_pixel_nm(width_nm: float, height_nm: float) -> float:
    """Pixel of a picture: 10 nm, or more where the picture would be too large."""
    return max(MIN_PIXEL_NM, max(width_nm, height_nm) / MAX_EDGE_PX)


def draw_depth(path: Path, table: pd.DataFrame, extent_nm: Extent, z_range_nm: tuple[float, float]) -> None:
    """Draw the depth-coloured field beside its two densest spots, enlarged.

    Parameters
    ----------
    table : DataFrame
        As `in_nm` gives it.
    extent_nm : (float, float, float, float)
        Left, right, top, bottom.
    """
    left, right, top, bottom = extent_nm
    zooms = _densest(table, extent_nm) if min(right - left, bottom - top) > 2 * ZOOM_NM else []
    with picture(path, 14.0 if zooms else 10.5, 9.4, facecolor="black") as figure:
        if zooms:
            grid = figure.add_gridspec(2, 2, width_ratios=(2.05, 1))
            overview = figure.add_subplot(grid[:, 0])
            details = [figure.add_subplot(grid[row, 1]) for row in range(2)]
        else:
            overview, details = figure.subplots(), []
        _panel(overview, table, extent_nm, z_range_nm, picture_pixel_nm(right - left, bottom - top))
        for axes, (x, y) in zip(details, zooms, strict=False):
            window = (x - ZOOM_NM / 2, x + ZOOM_NM / 2, y - ZOOM_NM / 2, y + ZOOM_NM / 2)
            _panel(axes, table, window, z_range_nm, ZOOM_PIXEL_NM)
            corner = (window[0] / 1000, window[2] / 1000)
            overview.add_patch(
                Rectangle(corner, ZOOM_NM / 1000, ZOOM_NM / 1000, fill=False, color="white", linewidth=0.8)
            )
        scale = matplotlib.cm.ScalarMappable(Normalize(*z_range_nm), depth_colours())
        bar = figure.colorbar(scale, ax=[overview, *details], fraction=0.03, pad=0.01, aspect=40)
        bar.set_label("z (nm)", color="white")
        bar.ax.tick_params(colors="white")


def _panel(
    axes: matplotlib.axes.Axes, table: pd.DataFrame, extent_nm: Extent, z_range_nm: tuple[float, float], pixel_nm: float
) -> None:
    left, right, top, bottom = extent_nm
    margin = 200.0
    inside = table[
        table["x_nm"].between(left - margin, right + margin) & table["y_nm"].between(top - margin, bottom + margin)
    ]
    image = depth_image(inside, extent_nm, z_range_nm, pixel_nm)
    axes.imshow(
        image, extent=(left / 1000, right / 1000, bottom / 1000, top / 1000), interpolation="nearest", aspect="equal"
    )
    axes.set(xticks=[], yticks=[])
    _scale_bar(axes, left / 1000, right / 1000, top / 1000, bottom / 1000)


def _densest(table: pd.DataFrame, extent_nm: Extent) -> list[tuple[float, float]]:
    """Middles of the two squares of `ZOOM_NM` with the most localisations, inside the field and apart."""
    left, right, top, bottom = extent_nm
    columns, rows = int((right - left) // ZOOM_NM), int((bottom - top) // ZOOM_NM)
    span = ((top, top + rows * ZOOM_NM), (left, left + columns * ZOOM_NM))
    counts = np.histogram2d(table["y_nm"], table["x_nm"], bins=(rows, columns), range=span)[0]
    places = []
    for _ in range(2):
        row, column = np.unravel_index(int(np.argmax(counts)), counts.shape)
        places.append((left + (float(column) + 0.5) * ZOOM_NM, top + (float(row) + 0.5) * ZOOM_NM))
        counts[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = -1
    return places


def _scale_bar(axes: matplotlib.axes.Axes, left: float, right: float, top: float, bottom: float) -> None:
    wanted = 1000 * (right - left) / 6
    length = max(bar for bar in BAR_LENGTHS_NM if bar <= max(wanted, BAR_LENGTHS_NM[0])) / 1000
    y = bottom - 0.04 * (bottom - top)
    x = right - 0.04 * (right - left) - length
    axes.plot([x, x + length], [y, y], color="white", linewidth=4, solid_capstyle="butt")
    label = f"{length:g} µm" if length >= 1 else f"{1000 * length:g} nm"
    axes.text(x + length / 2, y - 0.015 * (bottom - top), label, color="white", ha="center", va="bottom")
