"""A picture that fills up batch by batch: any direction of view, depth as colour, memory bounded by the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.rendering.raster.colormap import DEPTH, color_table
from easyzloc_mm.rendering.raster.splat import canvas_pixels, splat
from easyzloc_mm.typing import F32, F64

Extent = tuple[float, float, float, float]

SATURATED = 99.0
"""Percentile of the lit pixels that is shown at full brightness."""
STYLES = ("gaussian", "histogram")
VISIBLE_PX = 0.7
"""Narrowest Gaussian: finer than its pixels, a localisation would jump from one to the next."""
VIEW_AXES = {
    "xy": np.array([[1.0, 0, 0], [0, 1, 0]]),
    "xz": np.array([[1.0, 0, 0], [0, 0, -1]]),
    "yz": np.array([[0, 1.0, 0], [0, 0, -1]]),
}
"""Right and down of a view, as directions in the sample."""


def view_axes(azimuth_degrees: float, elevation_degrees: float) -> F64:
    """Right and down of a view from the side and above, with z pointing up. Isometric is 45 and 35.264 degrees.

    Returns
    -------
    ndarray, shape (2, 3)
        Unit vectors in the sample.
    """
    turn, lift = np.radians([azimuth_degrees, elevation_degrees])
    right = np.array([np.cos(turn), np.sin(turn), 0.0])
    down = np.array([-np.sin(turn) * np.sin(lift), np.cos(turn) * np.sin(lift), -np.cos(lift)])
    return np.stack([right, down])


class Canvas:
    """One picture.

    Parameters
    ----------
    axes : ndarray, shape (2, 3)
        Right and down of the view (`VIEW_AXES`, `view_axes`).
    extent_nm : (float, float, float, float)
        Left, right, top, bottom along those directions.
    render_pixel_nm : float
        Of the picture.
    z_range_nm : (float, float)
        Depths that the colours span.
    style : {"gaussian", "histogram"}
    colormap : str
        Name of a `color_table`.
    """

    def __init__(
        self,
        axes: F64,
        extent_nm: Extent,
        render_pixel_nm: float,
        z_range_nm: tuple[float, float],
        *,
        style: str = "gaussian",
        colormap: str = DEPTH,
    ) -> None:
        if style not in STYLES:
            raise InputError(f"`style` {style} is unknown: use {', '.join(STYLES)}")
        self.axes, self.extent_nm, self.render_pixel_nm = axes, extent_nm, render_pixel_nm
        self.style, self.z_range_nm = style, z_range_nm
        left, right, top, bottom = extent_nm
        shape = canvas_pixels(bottom - top, render_pixel_nm), canvas_pixels(right - left, render_pixel_nm)
        self._table = color_table(colormap).astype(np.float32)
        self.values = np.zeros((self._table.shape[1], *shape), np.float32)

    def add(self, cloud: pd.DataFrame) -> None:
        """Draw localisations (columns as `Locs.nm`)."""
        left, _, top, _ = self.extent_nm
        place = [cloud[name].to_numpy() for name in ("x_nm", "y_nm", "z")]
        spread = [cloud[name].to_numpy() for name in ("lpx_nm", "lpy_nm", "lpz")]

        def along(direction: F64) -> tuple[Any, Any]:
            position = sum(d * p for d, p in zip(direction, place, strict=True) if d)
            variance = sum((d * s) ** 2 for d, s in zip(direction, spread, strict=True) if d)
            return position, variance

        u, vu = along(self.axes[0])
        v, vv = along(self.axes[1])
        scale = 1 / self.render_pixel_nm
        if self.style == "histogram":
            su = sv = np.zeros(len(cloud), np.float32)
        else:
            su, sv = (np.maximum(np.sqrt(each) * scale, VISIBLE_PX).astype(np.float32) for each in (vu, vv))
        splat(
            self.values,
            ((u - left) * scale).astype(np.float32),
            ((v - top) * scale).astype(np.float32),
            su,
            sv,
            self._level(cloud["z"].to_numpy()),
            self._table,
        )

    def _level(self, z: F64) -> NDArray[np.uint8]:
        low, high = self.z_range_nm
        return np.asarray(np.clip((z - low) / (high - low) * 255, 0, 255).astype(np.uint8))

    def picture(self, *, full: float | None = None) -> F32:
        """Return what was drawn as RGB, 0 to 1; brightness goes as the root of the density.

        Parameters
        ----------
        full : float, optional
            Density that is shown at full brightness (`full_brightness`), for pictures that belong together.
        """
        brightness = self.values.max(axis=0)
        scale = full or self.full_brightness()
        # A root keeps single molecules visible beside dense structures.
        gain = np.sqrt(np.minimum(brightness / max(scale, 1e-12), 1.0)) / np.maximum(brightness, 1e-12)
        return np.asarray(np.clip((self.values * gain).transpose(1, 2, 0), 0, 1))

    def full_brightness(self) -> float:
        """Density at which a pixel is shown at full brightness."""
        brightness = self.values.max(axis=0)
        lit = brightness[brightness > 1e-3 * float(brightness.max(initial=0))]
        return float(np.percentile(lit, SATURATED)) if len(lit) else 1.0
