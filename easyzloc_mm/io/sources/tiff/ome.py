"""OME-XML: which plane of which image lies in which directory of which file, and the sampling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from easyzloc_mm.io.sources.images import MOST_GAPS, MOST_PLACES, Sampling, stated_length
from easyzloc_mm.io.sources.tiff.headings import not_square
from easyzloc_mm.typing import F64

ALL = 0
"""Planes of a block that does not say how many: those of its file."""


@dataclass(frozen=True)
class Block:
    """Planes that lie in consecutive directories of one file.

    Attributes
    ----------
    file : str
        Name of another file; empty for the one that holds the XML.
    directory, first : int
        Where the block begins, in the file and in the image.
    planes : int
        `ALL`, or how many.
    """

    file: str
    directory: int
    first: int
    planes: int


@dataclass(frozen=True)
class OmeImage:
    """One image of the XML.

    Attributes
    ----------
    axes : str
        Names of the axes before Y and X, slowest first.
    sizes : tuple of int
        Places along each.
    shape_yx : (int, int)
    blocks : tuple of Block
    sampling : Sampling
        With a stage reading per place where z is the only axis with more than one place.
    """

    axes: str
    sizes: tuple[int, ...]
    shape_yx: tuple[int, int]
    blocks: tuple[Block, ...]
    sampling: Sampling

    @property
    def places(self) -> int:
        """Images that it promises."""
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Ome:
    """The XML of one file.

    Attributes
    ----------
    images : tuple of OmeImage
    master : str
        Name of the file that holds the XML of the whole set; empty where this one does.
    """

    images: tuple[OmeImage, ...] = ()
    master: str = ""


def is_ome(description: str) -> bool:
    """Whether a description is OME-XML, damaged or not."""
    return description.lstrip("\ufeff \n\r\t").startswith("<") and "<OME" in description[:2000]


def read_ome(text: str, path: Path) -> Ome | None:
    """Parse the OME-XML of a file; None where it is damaged."""
    try:
        root = ElementTree.fromstring(text)
        only = root.find("{*}BinaryOnly")
        if only is not None:
            return Ome(master=only.get("MetadataFile", ""))
        return Ome(tuple(_image(pixels, root, path) for pixels in root.iterfind("{*}Image/{*}Pixels")))
    except (ElementTree.ParseError, KeyError, ValueError, OverflowError):
        return None


def _image(pixels: ElementTree.Element, root: ElementTree.Element, path: Path) -> OmeImage:
    axes = pixels.attrib["DimensionOrder"].replace("X", "").replace("Y", "")[::-1]
    sizes = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in "XYZCT"}
    channel = pixels.find("{*}Channel")
    sizes["C"] //= max(1, int(channel.get("SamplesPerPixel", "1"))) if channel is not None else 1
    if sorted(axes) != ["C", "T", "Z"] or min(sizes.values()) < 1:
        raise ValueError("impossible axes")
    lead = tuple(sizes[axis] for axis in axes)
    if math.prod(lead) > MOST_PLACES:
        raise ValueError("impossible numbers of planes")
    blocks = tuple(_blocks(pixels, axes, lead, root, path)) or (Block("", 0, 0, ALL),)
    many = [axis for axis in axes if sizes[axis] > 1]
    return OmeImage(
        "".join(many),
        tuple(sizes[axis] for axis in many),
        (sizes["Y"], sizes["X"]),
        blocks,
        _sampling(pixels, sizes["Z"]),
    )


def _blocks(
    pixels: ElementTree.Element, axes: str, lead: tuple[int, ...], root: ElementTree.Element, path: Path
) -> Iterator[Block]:
    named = {part.get("FileName", "") for part in root.iter() if part.tag.endswith("}UUID")}
    own = root.get("UUID")
    for data in pixels.iterfind("{*}TiffData"):
        planes = int(data.get("PlaneCount", data.get("NumPlanes", "1" if "IFD" in data.attrib else str(ALL))))
        index = [int(data.get(f"First{axis}", "0")) for axis in axes]
        if any(not 0 <= place < size for place, size in zip(index, lead, strict=True)) or planes < 0:
            continue  # ImageJ writes such blocks when it crops
        part = data.find("{*}UUID")
        name = part.get("FileName", "") if part is not None else ""
        here = part is None or name in ("", path.name) or (own is not None and part.text == own)
        # One file that was renamed: the name that it had is the only one that there is.
        here = here or (named == {name} and not (path.parent / name).exists())
        first = int(np.ravel_multi_index(index, lead))
        yield Block("" if here else name, int(data.get("IFD", "0")), first, planes)


def _sampling(pixels: ElementTree.Element, planes: int) -> Sampling:
    x, y, z = (_length(pixels, f"PhysicalSize{axis}", what) for axis, what in (
        ("X", "its pixel size"), ("Y", "its pixel size"), ("Z", "the distance of its planes")
    ))  # fmt: skip
    z_um = _readings(pixels, planes)
    step = z[0]
    if step is None and z_um is not None:
        step = float(np.nanmedian(np.abs(np.diff(z_um)))) * 1000 or None
    return Sampling(x[0], step, z_um, (*x[1], *z[1], *not_square([x[0], y[0]])))


def _readings(pixels: ElementTree.Element, planes: int) -> F64 | None:
    """Return the stage reading of each plane, um; NaN where there is none, None where the stage was not known."""
    positions: dict[int, float] = {}
    for plane in pixels.iterfind("{*}Plane"):
        place = int(plane.get("TheZ", "-1"))
        if plane.get("TheC", "0") == "0" and plane.get("TheT", "0") == "0" and 0 <= place < planes:
            value, unit = plane.get("PositionZ"), plane.get("PositionZUnit", "µm")
            reading, _ = stated_length("", value, unit)
            if reading is not None or value in ("0", "0.0"):
                positions[place] = (reading or 0.0) / 1000
    # Programs that do not know the stage write one value into every plane.
    if len(set(positions.values())) < 2 or planes > MOST_GAPS * len(positions):
        return None
    return np.array([positions.get(place, math.nan) for place in range(planes)])


def _length(element: ElementTree.Element, name: str, what: str) -> tuple[float | None, tuple[str, ...]]:
    value, unread = stated_length(what, element.get(name), element.get(f"{name}Unit", "µm"))
    if name.startswith("Physical") and value is not None and value <= 0:
        return None, ()  # so written where it is not known
    return value, unread
