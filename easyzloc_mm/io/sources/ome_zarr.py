"""OME-Zarr images: an image of which a chunk is missing was never written whole, and is missing."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import COPY_AGAIN, UNDECODABLE, reading
from easyzloc_mm.io.sources.images import MOST_PLACES, Images, Sampling, cut_behind_last, stated_length
from easyzloc_mm.typing import Bool

logger = logging.getLogger(__name__)

NODES = ("zarr.json", ".zgroup", ".zattrs")
"""Files of which one stands in every Zarr group."""


def holds_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group."""
    return any((path / name).is_file() for name in NODES)


def open_ome_zarr(path: Path) -> Images:
    """Open the first image of an OME-Zarr group, at full resolution.

    Raises
    ------
    InputError
        It is none, is damaged, or no image of it is whole.
    """
    import zarr

    cure = "give an OME-Zarr image"
    with reading(path, "OME-Zarr", cure=cure):
        group: Any = zarr.open_group(path, mode="r")
        attributes: Any = group.attrs.get("ome", dict(group.attrs))
        multiscale = attributes["multiscales"][0]
        dataset = multiscale["datasets"][0]
        array: Any = group[dataset["path"]]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale["axes"]]
        names = [str(axis["name"]).lower() for axis in axes]
        shape = tuple(int(size) for size in array.shape)
    if len(names) != len(shape) or names[-2:] != ["y", "x"] or min(shape) < 1 or math.prod(shape[:-2]) > MOST_PLACES:
        raise InputError(
            f"{path} has axes {''.join(names)} {shape} instead of frames, y, x: save one channel as a series"
        )
    lead = shape[:-2]
    with reading(path, "OME-Zarr", cure=COPY_AGAIN):
        there = whole_images(path / dataset["path"], shape)
    if not there.any():
        raise InputError(f"{path} has no image that is whole: {COPY_AGAIN}")
    kept = [axis for axis, size in enumerate(lead) if size > 1]
    sizes, cut, after = cut_behind_last([lead[axis] for axis in kept], there)
    gone = int(np.count_nonzero(~there))
    remark = f"{path}: {len(there) - gone} of {len(there)} images are there, {gone} are missing (chunks are not there)"
    return Images(
        source=path,
        axes="".join(names[axis].upper() for axis in kept),
        sizes=sizes,
        shape_yx=(shape[-2], shape[-1]),
        dtype=np.dtype(array.dtype).newbyteorder("="),
        there=cut,
        take=_taker(path, array, lead),
        lost_after=after,
        sampling=_sampling(axes, dataset),
        remarks=(remark,) if gone else (),
    )


def whole_images(folder: Path, shape: tuple[int, ...]) -> Bool:
    """Return which images of an array in `folder`, (..., Y, X), have all of their chunk files; shape (places,).

    Zarr writes no file for a chunk of zeros, so that a black image is a missing one here too.
    """
    chunks, key, prefix = _layout(folder)
    if len(chunks) != len(shape) or min(chunks) < 1:
        raise ValueError("its chunks do not fit its shape")
    grid = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    there = np.ones(shape[:-2], bool)
    parts = list(itertools.product(*(range(count) for count in grid[-2:])))
    for lead in itertools.product(*(range(count) for count in grid[:-2])):
        if not all((folder / prefix / key.join(map(str, (*lead, *part)))).is_file() for part in parts):
            at = tuple(slice(i * c, (i + 1) * c) for i, c in zip(lead, chunks[:-2], strict=True))
            there[at] = False
    return np.asarray(there.reshape(-1))


def _layout(folder: Path) -> tuple[list[int], str, str]:
    """Return the shape of a chunk's file, what separates the numbers in its name, and what stands before them."""
    if (folder / "zarr.json").is_file():
        document = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
        encoding = document.get("chunk_key_encoding", {"name": "default"})
        plain = encoding["name"] == "v2"
        separator = encoding.get("configuration", {}).get("separator", "." if plain else "/")
        prefix = "" if plain else "c"
        chunks = document["chunk_grid"]["configuration"]["chunk_shape"]
        return [int(size) for size in chunks], _joined(separator), prefix
    document = json.loads((folder / ".zarray").read_text(encoding="utf-8"))
    return [int(size) for size in document["chunks"]], _joined(document.get("dimension_separator") or "."), ""


def _joined(separator: str) -> str:
    if separator not in (".", "/"):
        raise ValueError(f"its chunks are named with {separator!r}")
    return separator


def _taker(path: Path, array: Any, lead: tuple[int, ...]) -> Any:
    def take(places: Sequence[int]) -> NDArray[Any]:
        out = np.zeros((len(places), *array.shape[-2:]), array.dtype)
        first, last = min(places), max(places)
        if len(lead) == 1 and last - first < 2 * len(places):  # chunks may hold many images: read each once
            block = _read(path, array, slice(first, last + 1))
            if block is not None:
                return np.asarray(block[[place - first for place in places]])
        for row, place in enumerate(places):
            image = _read(path, array, tuple(map(int, np.unravel_index(place, lead))) if lead else ...)
            if image is not None:
                out[row] = image
        return out

    return take


def _read(path: Path, array: Any, index: Any) -> NDArray[Any] | None:
    """Read a part of an array; None where a chunk of it is damaged."""
    try:
        return np.asarray(array[index])
    except UNDECODABLE as error:
        logger.warning("images %s of %s cannot be decoded: %s", index, path, error)
        return None


def _sampling(axes: list[dict[str, Any]], dataset: Any) -> Sampling:
    pixel: float | None = None
    step: float | None = None
    unread: tuple[str, ...] = ()
    steps = dataset.get("coordinateTransformations", [])
    for part in steps if isinstance(steps, list) else []:
        scale = part.get("scale") if isinstance(part, dict) and part.get("type") == "scale" else None
        if not isinstance(scale, list) or len(scale) != len(axes):
            continue
        pixel, unread = stated_length("its pixel size", scale[-1], axes[-1].get("unit", ""))
        names = [str(axis["name"]).lower() for axis in axes]
        if "z" in names:
            place = names.index("z")
            step, unclear = stated_length("the distance of its planes", scale[place], axes[place].get("unit", ""))
            unread = (*unread, *unclear)
    return Sampling(pixel, step, None, unread)
