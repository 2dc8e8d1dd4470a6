"""What the headings of a TIFF file state: how many images along which axes, and their sampling."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from easyzloc_mm.io.sources.images import ALIKE, PIXEL_NM, Sampling, stated_length
from easyzloc_mm.io.sources.tiff.directory import (
    METAMORPH,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Values,
)

IMAGEJ_ORDERS = {"czt": "TZC", "ctz": "ZTC", "zct": "TCZ", "ztc": "CTZ", "tcz": "ZCT", "tzc": "CZT"}
"""ImageJ's names of orders, fastest axis first; ours, slowest first."""
IMAGEJ_COUNTS = {"T": "frames", "Z": "slices", "C": "channels"}
CENTIMETRE = 3


@dataclass(frozen=True)
class Heading:
    """What one heading states.

    Attributes
    ----------
    program : str
        Whose heading it is, for people; empty where there is none.
    axes : str
        Axes with more than one place, slowest first; empty where it names none.
    sizes : tuple of int
        Places along each.
    counts : tuple of int
        All numbers of images that it states; those that contradict each other too.
    sampling : Sampling
    """

    program: str = ""
    axes: str = ""
    sizes: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def count(self) -> int:
        """How many images there should be; 0 where it does not say."""
        return self.counts[0] if self.counts else 0


def heading_of(directory: Directory) -> Heading:
    """Return what ImageJ's or MetaMorph's heading states, or the resolution tags alone."""
    text = directory.pages[0].description
    if text.startswith("ImageJ="):
        return _imagej(text, directory.first)
    sampling = Sampling(pixel_nm=_from_resolution_tags(directory.first))
    planes = directory.first.get(METAMORPH)
    if planes and int(planes[0]) > 1:
        return Heading("MetaMorph", "I", (int(planes[0]),), (int(planes[0]),), sampling)
    return Heading(sampling=sampling)


def _imagej(text: str, tags: Mapping[int, Values]) -> Heading:
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def number(name: str) -> int:
        value = facts.get(name, "")
        return int(value) if value.strip().isdigit() else 1

    order = IMAGEJ_ORDERS.get(facts.get("order", "czt").strip().lower(), "TZC")
    sizes = {axis: number(IMAGEJ_COUNTS[axis]) for axis in order}
    axes = "".join(axis for axis in order if sizes[axis] > 1)
    product = math.prod(sizes.values())
    images = number("images") if "images" in facts else product
    counts = (images, product) if product > 1 and product != images else (images,)
    return Heading("ImageJ", axes, tuple(sizes[axis] for axis in axes), counts, _imagej_sampling(facts, tags))


def _imagej_sampling(facts: Mapping[str, str], tags: Mapping[int, Values]) -> Sampling:
    unit = facts.get("unit", "")
    pixels, unread = [], list[str]()
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        edge = _per_pixel(tags.get(tag))
        if edge is not None:
            pixel, unclear = stated_length("its pixel size", edge, unit)
            pixels.append(pixel)
            unread += unclear if tag == X_RESOLUTION else ()
    step, unclear = stated_length("the distance of its planes", facts.get("spacing"), unit)
    pixel = next(iter(pixels), None)
    if not unit.strip():
        pixel = _from_resolution_tags(tags)
    unread += unclear if pixel is not None else ()
    return Sampling(pixel, step, None, (*unread, *not_square(pixels)))


def not_square(pixels: list[float | None]) -> tuple[str, ...]:
    """Return what is wrong with a pixel's width and height, nm."""
    known = [pixel for pixel in pixels if pixel]
    if len(known) == 2 and abs(known[0] / known[1] - 1) > ALIKE:
        return (f"a pixel of {known[0]:g} x {known[1]:g} nm, which is not square: the width is used",)
    return ()


def _per_pixel(values: Values | None) -> float | None:
    """Return the edge of a pixel in units of length, from a resolution: pixels per unit, as a fraction."""
    if not values or isinstance(values, bytes) or len(values) < 2 or not values[0] or not values[1]:
        return None
    return float(values[1]) / float(values[0])


def _from_resolution_tags(tags: Mapping[int, Values]) -> float | None:
    """Return the pixel size that the tags alone state; None for printers' resolutions."""
    unit = tags.get(RESOLUTION_UNIT)
    edge = _per_pixel(tags.get(X_RESOLUTION))
    if not unit or int(unit[0]) != CENTIMETRE or edge is None:
        return None
    pixel_nm = edge * 1e7
    return pixel_nm if PIXEL_NM[0] <= pixel_nm <= PIXEL_NM[1] else None


@dataclass(frozen=True)
class Shaped:
    """What tifffile writes into the first page of each array: its shape, and its axes (Q where they have no name)."""

    shape: tuple[int, ...]
    axes: str


def shaped_of(description: str) -> Shaped | None:
    """Return the array that begins with a page, where its description states one."""
    if not description.startswith(("{", "shape=(")):
        return None
    if description.startswith("shape=("):  # as the first versions wrote
        description = f'{{"shape": [{description[7:].split(")")[0].rstrip(", ")}]}}'
    try:
        facts = json.loads(description)
        shape = tuple(int(size) for size in facts["shape"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    axes = facts.get("axes", "")
    if len(shape) < 2 or min(shape) < 1:
        return None
    fits = isinstance(axes, str) and len(axes) == len(shape)
    return Shaped(shape, axes.upper() if fits else "Q" * (len(shape) - 2) + "YX")
