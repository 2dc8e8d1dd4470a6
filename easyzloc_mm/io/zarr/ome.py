"""OME-Zarr 0.5 metadata, shared by everything that writes images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

AXIS_KINDS = {"t": {"type": "time", "unit": "millisecond"}, "c": {"type": "channel"}} | {
    axis: {"type": "space", "unit": "micrometer"} for axis in "zyx"
}


def image_attributes(
    name: str, axes: Sequence[str], scale: Mapping[str, float], *, dataset: str = "0", **extra: object
) -> dict[str, Any]:
    """Attributes of a group that holds one full-resolution image.

    Parameters
    ----------
    name : str
        What a viewer shows.
    axes : sequence of {"t", "c", "z", "y", "x"}
        Order of the array's dimensions.
    scale : mapping of axis to step
        Micrometres for z, y, x; milliseconds for t; 1 for c.
    dataset : str
        Name of the array inside the group.
    **extra
        Further attributes beside ``ome``.
    """
    multiscale = {
        "name": name,
        "axes": [{"name": a, **AXIS_KINDS[a]} for a in axes],
        "datasets": [
            {
                "path": dataset,
                "coordinateTransformations": [{"type": "scale", "scale": [float(scale[a]) for a in axes]}],
            }
        ],
    }
    return {"ome": {"version": "0.5", "multiscales": [multiscale]}, **extra}


def pyramid_datasets(
    levels: int, first: tuple[float, float], pixel_um: float, corner_um: tuple[float, float]
) -> list[dict[str, Any]]:
    """Datasets of an image whose levels halve y and x.

    Parameters
    ----------
    levels : int
    first : (float, float)
        Step of the first axis, and where its first plane lies.
    pixel_um : float
        Edge of a pixel of level 0.
    corner_um : (float, float)
        y, x of the outer corner of the first pixel.
    """
    step, start = first
    return [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [step, *(2**level * pixel_um,) * 2]},
                {
                    "type": "translation",
                    "translation": [start, *(edge + 2**level * pixel_um / 2 for edge in corner_um)],
                },
            ],
        }
        for level in range(levels)
    ]


def picture_channels() -> dict[str, Any]:
    """Return how viewers show an image of three channels, 8 bit: as red, green and blue."""
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    colors = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
    channels = [{"label": name, "color": color, "active": True, "window": window} for name, color in colors.items()]
    return {"channels": channels, "rdefs": {"model": "color"}}


def plate_attributes(
    name: str, rows: Sequence[str], columns: Sequence[str], wells: Sequence[tuple[str, str]], field_count: int
) -> dict[str, Any]:
    """Attributes of a plate with the wells that are there, (row, column) each; `field_count` is the most of a well."""
    listed = [
        {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
        for row, column in wells
    ]
    plate = {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": listed,
        "acquisitions": [{"id": 0, "name": name, "maximumfieldcount": field_count}],
        "field_count": field_count,
    }
    return {"version": "0.5", "plate": plate}


def well_attributes(images: Sequence[str]) -> dict[str, Any]:
    """Attributes of a well with the images that are there."""
    return {"version": "0.5", "well": {"images": [{"path": image, "acquisition": 0} for image in images]}}


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
