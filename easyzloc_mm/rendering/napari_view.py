"""`view`: localisations in napari, coloured by depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._extras import need
from easyzloc_mm.errors import InputError
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.rendering.raster.colormap import DEPTH, color_table
from easyzloc_mm.rendering.source import usual_depths

MAX_POINTS = 1_000_000


def layer_of(
    run: Path,
    *,
    z_range_nm: tuple[float, float] | None = None,
    colormap: str = DEPTH,
    where: str | None = None,
    pixel_size_nm: float | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Points of a table as napari takes them.

    Returns
    -------
    points : ndarray, shape (n, 3)
        z, y, x, nm; `MAX_POINTS` at most, drawn at random.
    options : dict
        For ``Viewer.add_points``: colours by depth, and uncertainties as features.
    """
    table = Locs.load(run, where=where, pixel_size_nm=pixel_size_nm).nm_3d
    total = len(table)
    if total > MAX_POINTS:
        table = table.sample(MAX_POINTS, random_state=0)
    low, high = z_range_nm or usual_depths(table["z"].to_numpy())
    if not low < high:
        raise InputError(f"`z_range_nm` {low:g} {high:g}: give the lower depth first")
    level = np.clip((table["z"].to_numpy() - low) / (high - low) * 255, 0, 255).astype(int)
    rgba = np.column_stack([color_table(colormap)[level], np.ones(len(level))])
    options = {
        "name": Path(run).stem if len(table) == total else f"{Path(run).stem} ({MAX_POINTS:,} of {total:,})",
        "face_color": rgba,
        "border_width": 0,
        "size": np.maximum(2 * table[["lpx_nm", "lpy_nm"]].mean(axis=1).to_numpy(), 5.0),
        "features": table[["frame", "z", "lpz", "lpx_nm", "lpy_nm"]].reset_index(drop=True),
        "blending": "translucent",
    }
    return table[["z", "y_nm", "x_nm"]].to_numpy(), options


def view_run(run: Path, **options: Any) -> dict[str, Any]:
    """Open napari and return when its window is closed.

    Parameters
    ----------
    options
        As for `layer_of`.

    Raises
    ------
    InputError
        napari is not installed, or there is nothing to show.
    """
    need("napari", extra="view")
    import napari

    points, layer = layer_of(run, **options)
    viewer = napari.Viewer(title="easyzloc-mm", ndisplay=3)
    viewer.add_points(points, **layer)
    viewer.scale_bar.visible, viewer.scale_bar.unit = True, "nm"
    viewer.axes.visible = True
    napari.run()
    return {"localizations": len(points)}
