"""Pictures of localisations: depth as colour, and slices along z."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Real = NDArray[np.float64]

COLOUR_MAP = "turbo"
DEPTH_LEVELS = 24
MAX_EDGE_PX = 2048
MIN_PIXEL_NM = 10.0
MIN_BLUR_NM = 8.0
SATURATED = 99.7
"""Percentile of the lit pixels that is shown at full brightness."""
BAR_LENGTHS_NM = (100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def depth_image(
    table: pd.DataFrame, extent_nm: tuple[float, float, float, float], z_range_nm: tuple[float, float], pixel_nm: float
) -> Real:
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
    colours = matplotlib.colormaps[COLOUR_MAP]((np.arange(DEPTH_LEVELS) + 0.5) / DEPTH_LEVELS)[:, :3]
    blur = float(np.median(np.maximum(table["blur_nm"], MIN_BLUR_NM))) if len(table) else MIN_BLUR_NM
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


def draw_depth(
    path: Path, image: Real, extent_nm: tuple[float, float, float, float], z_range_nm: tuple[float, float]
) -> None:
    """Save a depth-coloured image with its scale bar and colour bar."""
    left, right, top, bottom = (value / 1000 for value in extent_nm)
    figure = Figure(figsize=(10.5, 9.3), layout="constrained", facecolor="black")
    axes = figure.subplots()
    axes.imshow(image, extent=(left, right, bottom, top), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    _scale_bar(axes, left, right, top, bottom)
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(*z_range_nm), COLOUR_MAP)
    bar = figure.colorbar(scale, ax=axes, fraction=0.035, pad=0.015)
    bar.set_label("z (nm)", color="white")
    bar.ax.tick_params(colors="white")
    figure.savefig(path, dpi=150)


def _scale_bar(axes: matplotlib.axes.Axes, left: float, right: float, top: float, bottom: float) -> None:
    wanted = 1000 * (right - left) / 6
    length = max(bar for bar in BAR_LENGTHS_NM if bar <= max(wanted, BAR_LENGTHS_NM[0])) / 1000
    y = bottom - 0.04 * (bottom - top)
    x = right - 0.04 * (right - left) - length
    axes.plot([x, x + length], [y, y], color="white", linewidth=4, solid_capstyle="butt")
    label = f"{length:g} µm" if length >= 1 else f"{1000 * length:g} nm"
    axes.text(x + length / 2, y - 0.015 * (bottom - top), label, color="white", ha="center", va="bottom")
