"""Pixels of TIFF images: read as they lie, or decoded; an image that cannot be decoded is one that is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import UNDECODABLE, reading
from easyzloc_mm.io.sources.images import Take
from easyzloc_mm.io.sources.tiff.slots import Slot

logger = logging.getLogger(__name__)

LZW = 5
Place = tuple[Path, Slot]


def taker(places: Sequence[Place | None], dtype: np.dtype[Any], shape_yx: tuple[int, int]) -> Take:
    """Return what reads images by their number in `places`; no file stays open between two calls.

    Not mapped, since a mapped movie would count as this program's memory.
    """

    def take(numbers: Sequence[int]) -> NDArray[Any]:
        out = np.zeros((len(numbers), *shape_yx), dtype)
        for path, rows in _by_file(places, numbers):
            slots = [(row, slot) for row, place in rows if (slot := place[1])]
            flat = [(row, slot.at) for row, slot in slots if slot.at is not None]
            if flat:
                _read_flat(path, flat, out)
            coded = [(row, slot) for row, slot in slots if slot.at is None]
            if coded:
                _decode(path, coded, out)
        return out

    return take


def _by_file(places: Sequence[Place | None], numbers: Sequence[int]) -> Iterator[tuple[Path, list[tuple[int, Place]]]]:
    found: dict[Path, list[tuple[int, Place]]] = {}
    for row, number in enumerate(numbers):
        place = places[number]
        if place is not None:
            found.setdefault(place[0], []).append((row, place))
    yield from found.items()


def _read_flat(path: Path, wanted: list[tuple[int, int]], out: NDArray[Any]) -> None:
    size, item = int(np.prod(out.shape[1:])), out.dtype.itemsize
    with reading(path, "TIFF", cure="copy it again"), path.open("rb") as file:
        for row, at in wanted:
            file.seek(at)
            data = file.read(size * item)
            if len(data) == size * item:  # a file that shrank since it was opened gives zeros: a missing image
                out[row] = np.frombuffer(data, out.dtype).reshape(out.shape[1:])


def _decode(path: Path, wanted: list[tuple[int, Slot]], out: NDArray[Any]) -> None:
    import tifffile

    with _quiet_tifffile(), reading(path, "TIFF", tifffile.TiffFileError, cure="copy it again"):
        file = tifffile.TiffFile(path)
    with file, _quiet_tifffile():
        for row, slot in wanted:
            try:
                file.filehandle.seek(slot.page.offset)
                page = tifffile.TiffPage(file, index=slot.page.index)
                image = _decode_page(page)
                out[row] = np.asarray(image).reshape(out.shape[1:])
            except UNDECODABLE as error:
                if "imagecodecs" in str(error):
                    raise InputError(
                        f"{path} is compressed in a way that needs a package more: run `pip install imagecodecs`, or "
                        "save it without compression"
                    ) from error
                logger.warning("image %d of %s cannot be decoded: %s", slot.page.index, path, error)


@contextmanager
def _quiet_tifffile() -> Iterator[None]:
    """Keep what tifffile says to itself: it is said in our words where it matters."""
    talker = logging.getLogger("tifffile")
    before = talker.disabled
    talker.disabled = True
    try:
        yield
    finally:
        talker.disabled = before


def _decode_page(page: Any) -> NDArray[Any]:
    if page.compression != LZW or page.is_tiled:
        return np.asarray(page.asarray())
    from easyzloc_mm.io.sources.tiff.lzw import decode_lzw

    return decode_lzw(page)
