"""OME-Zarr 0.5 metadata, shared by everything that writes images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

AXIS_KINDS = {"t": ("time", "millisecond"), "z": ("space", "micrometer")} | {
    axis: ("space", "micrometer") for axis in "yx"
}


def image_attributes(
    name: str, axes: Sequence[str], scale: Mapping[str, float], *, dataset: str = "0", **extra: object
) -> dict[str, Any]:
    """Attributes of a group that holds one full-resolution image.

    Parameters
    ----------
    name : str
        What a viewer shows.
    axes : sequence of {"t", "z", "y", "x"}
        Order of the array's dimensions.
    scale : mapping of axis to step
        Micrometres for z, y, x; milliseconds for t.
    dataset : str
        Name of the array inside the group.
    **extra
        Further attributes beside ``ome``.
    """
    multiscale = {
        "name": name,
        "axes": [{"name": a, "type": AXIS_KINDS[a][0], "unit": AXIS_KINDS[a][1]} for a in axes],
        "datasets": [
            {
                "path": dataset,
                "coordinateTransformations": [{"type": "scale", "scale": [float(scale[a]) for a in axes]}],
            }
        ],
    }
    return {"ome": {"version": "0.5", "multiscales": [multiscale]}, **extra}


def collection_attributes(**extra: object) -> dict[str, Any]:
    """Root attributes of a store that holds several images (bioformats2raw layout)."""
    return {"ome": {"version": "0.5", "bioformats2raw.layout": 3}, **extra}


def series_attributes(paths: Sequence[str]) -> dict[str, Any]:
    """Attributes of the ``OME`` group of a collection: the images in order."""
    return {"ome": {"version": "0.5", "series": list(paths)}}


def numbered_images(path: Path) -> list[str]:
    """Return the names of the images of a collection, ``0``, ``1``, ..., by the folders that are there.

    Asking Zarr for its members would warn of every file beside them that is no part of the hierarchy, such as a log.
    """
    return sorted((node.parent.name for node in Path(path).glob("*/zarr.json") if node.parent.name.isdigit()), key=int)
