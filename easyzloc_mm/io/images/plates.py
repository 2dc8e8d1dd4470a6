"""A plate of pictures: OME-Zarr 0.5 HCS, grown field by field and valid at every moment.

A field's image is put in place whole, then the well that lists it, then the plate that lists the well; the first field
brings the plate. Whatever ends the program between two of these steps, what is listed is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.io.images.volumes import SMALLEST_LEVEL_PX, halved
from easyzloc_mm.io.reading import DAMAGED_STORE, reading
from easyzloc_mm.io.writing.atomic import sync_folder, sync_tree
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import remove
from easyzloc_mm.io.zarr.chunks import put_array, put_group, read_node, seal
from easyzloc_mm.io.zarr.ome import (
    image_attributes,
    numbered_images,
    picture_channels,
    plate_attributes,
    pyramid_datasets,
    well_attributes,
)

CHUNK_PX = 1024
FACTS = "easyzloc"

Picture = NDArray[np.uint8]
"""Red, green and blue of a field, shape (3, height, width)."""


class PlatePlace(NamedTuple):
    """Where a field stands on a plate: row and column of its well, and its number in the well."""

    row: str
    column: str
    image: int = 0

    @property
    def well(self) -> str:
        """The well as people write it, ``B3``."""
        return f"{self.row}{self.column}"

    @property
    def path(self) -> str:
        """Folder of the image below the plate."""
        return f"{self.row}/{self.column}/{self.image}"


class PlateStore:
    """A plate that grows; one process writes it.

    Parameters
    ----------
    path : Path
        ``NAME.ome.zarr``, which need not be there.
    name : str
        What a viewer shows.
    places : sequence of PlatePlace
        All that the plate may come to hold.
    """

    def __init__(self, path: Path, name: str, places: Sequence[PlatePlace]) -> None:
        self.path, self._name = path, name
        self._rows = sorted({place.row for place in places}, key=lambda row: (len(row), row))
        self._columns = sorted({place.column for place in places}, key=int)
        self._most = 1 + max(place.image for place in places)

    def holds(self, place: PlatePlace) -> bool:
        """Whether the picture of a field is there, and listed."""
        return place in listed_places(self.path)

    def facts(self) -> dict[str, Any]:
        """Return what was stored with the plate when it was begun; nothing where it is not there."""
        if not (self.path / "zarr.json").is_file():
            return {}
        with reading(self.path, "a plate", cure=DAMAGED_STORE):
            return dict(read_node(self.path)["attributes"][FACTS])

    def put(
        self,
        place: PlatePlace,
        picture: Picture,
        pixel_um: float,
        *,
        about: Mapping[str, object],
        facts: Mapping[str, object],
    ) -> None:
        """Add the picture of a field, on the device when this returns.

        Parameters
        ----------
        place : PlatePlace
        picture : ndarray, shape (3, height, width), uint8
        pixel_um : float
            Edge of a pixel.
        about : mapping
            Of the field; stored with its image.
        facts : mapping
            Of the plate; stored when it is begun.
        """
        begun = (self.path / "zarr.json").is_file()
        # A plate without a well would be none: the first picture and the plate come in one step.
        root = self.path if begun else _draft(self.path)
        try:
            well = root / place.row / place.column
            well.mkdir(parents=True, exist_ok=True)
            _put_image(well / str(place.image), f"{self._name} {place.well}", picture, pixel_um, about)
            put_group(well, {"ome": well_attributes(numbered_images(well))}, durable=True)
            if not (well.parent / "zarr.json").is_file():
                put_group(well.parent, {}, durable=True)
            kept = self.facts() if begun else {"kind": Kind.PLATE.value, **facts}
            listed = plate_attributes(self._name, self._rows, self._columns, _wells(root), self._most)
            put_group(root, {"ome": listed, FACTS: kept}, durable=True)
            if not begun:
                remove(self.path)
                _take(root, self.path)
        finally:
            if not begun:
                remove(root)


def listed_places(path: Path) -> list[PlatePlace]:
    """Return the fields that a plate lists, in the order of its wells; none where there is no plate.

    Raises
    ------
    InputError
        Its metadata cannot be read.
    """
    if not (path / "zarr.json").is_file():
        return []
    places = []
    with reading(path, "a plate", cure=DAMAGED_STORE):
        for well in read_node(path)["attributes"]["ome"]["plate"]["wells"]:
            row, column = well["path"].split("/")
            images = read_node(path / row / column)["attributes"]["ome"]["well"]["images"]
            places += [PlatePlace(row, column, int(image["path"])) for image in images]
    return places


def read_picture(path: Path, place: PlatePlace, *, edge_px: int) -> Picture:
    """Read the picture of a field, at the smallest of its sizes that has an edge of `edge_px`.

    Raises
    ------
    InputError
        It is not there, or damaged.
    """
    import zarr

    node = path / place.path
    with reading(node, "a picture of a plate", RuntimeError, cure=DAMAGED_STORE):
        group: Any = zarr.open_group(node, mode="r")
        levels = [group[name] for name in sorted(group.array_keys(), key=int, reverse=True)]
        fitting = next((level for level in levels if max(level.shape[1:]) >= edge_px), levels[-1])
        return np.asarray(fitting[...], np.uint8)


def _put_image(target: Path, name: str, picture: Picture, pixel_um: float, about: Mapping[str, object]) -> None:
    import zarr

    levels = [picture]
    while max(levels[-1].shape[1:]) > SMALLEST_LEVEL_PX:
        levels.append(np.stack([halved(channel) for channel in levels[-1]]))
    attributes = image_attributes(name, "cyx", {"c": 1, "y": pixel_um, "x": pixel_um}, easyzloc=dict(about))
    multiscale = attributes["ome"]["multiscales"][0]
    multiscale["type"] = "mean"
    multiscale["datasets"] = pyramid_datasets(len(levels), (1.0, 0.0), pixel_um, (0.0, 0.0))
    attributes["ome"]["omero"] = picture_channels()
    draft = _draft(target)
    try:
        group = zarr.open_group(draft, mode="w", zarr_format=3, attributes=attributes)
        for number, level in enumerate(levels):
            chunks = (len(level), *(min(CHUNK_PX, edge) for edge in level.shape[1:]))
            put_array(group, str(number), level, chunks, dimension_names=("c", "y", "x"))
        seal(draft)
        remove(target)  # of a call that was killed before it was listed
        _take(draft, target)
    finally:
        remove(draft)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def _take(draft: Path, path: Path) -> None:
    sync_tree(draft)
    draft.rename(path)
    sync_folder(path.parent)


def _wells(root: Path) -> list[tuple[str, str]]:
    """Rows and columns of the wells that are there; a draft of an image makes none."""
    found = [document.parent for document in root.glob("*/*/zarr.json")]
    wells = [(well.parent.name, well.name) for well in found if not well.name.startswith(".")]
    return sorted(wells, key=lambda well: (len(well[0]), well[0], int(well[1])))
