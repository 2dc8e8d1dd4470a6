"""The directories of a TIFF file, read one by one up to where the file ends, and where the pixels of each lie.

tifffile decodes pixels (`pixels`). What there is to decode is found here, since tifffile takes the word of the first
heading that it knows, follows loops, and speaks to standard error about what it does not like.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import COPY_AGAIN, unreadable

U8 = NDArray[np.uint8]

WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION, OFFSETS, SAMPLES = 256, 257, 258, 259, 270, 273, 277
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, PREDICTOR, BYTES = 282, 283, 296, 317, 279
SUBFILE, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT, METAMORPH, MICRO_MANAGER = 254, 324, 325, 339, 33629, 51123
WANTED = {
    WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION, OFFSETS, SAMPLES, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT,
    PREDICTOR, BYTES, SUBFILE, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT, METAMORPH, MICRO_MANAGER,
}  # fmt: skip
FORMS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "B", 11: "f", 12: "d", 13: "I", 16: "Q", 18: "Q"}
"""TIFF's types of values, as `struct` spells them."""
STRUCTURE = {WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION, SAMPLES, PREDICTOR, SUBFILE, SAMPLE_FORMAT, TILE_OFFSETS}
"""Tags that say how an image is stored."""
SIZES = {kind: struct.calcsize(f"={form}") for kind, form in FORMS.items()}
FAR = 2**62
"""An offset that lies beyond every file."""
KINDS = {1: "u", 2: "i", 3: "f"}
UNCOMPRESSED = 1
REDUCED = 1
"""Bit of tag `SUBFILE`: a smaller copy of another image."""
MOST_TAGS = 4096

Values = tuple[int | float, ...] | bytes
Entry = tuple[int, int, int, bytes]
"""Tag, type, count, and the value or where it lies."""


@dataclass(frozen=True, slots=True)
class Page:
    """One directory.

    Attributes
    ----------
    index, offset : int
        Number in the chain, and place in the file, bytes.
    shape_yx : (int, int)
    dtype : dtype or None
        As in the file; None where a pixel is no single number of whole bytes.
    compression, predictor : int
        TIFF's numbers.
    at : int or None
        Where the pixels lie, bytes, if they lie in one piece as they are.
    nbytes : int
        Of the pixels, uncompressed.
    end : int
        Where what is stored of the pixels ends, bytes.
    reduced : bool
        A smaller copy of another image.
    description : str
    """

    index: int
    offset: int
    shape_yx: tuple[int, int]
    dtype: np.dtype[np.generic] | None
    compression: int
    predictor: int
    at: int | None
    nbytes: int
    end: int
    reduced: bool
    description: str

    @property
    def kind(self) -> tuple[tuple[int, int], np.dtype[np.generic] | None]:
        """What the pages of one movie have in common: height and width, and type of the pixels."""
        return self.shape_yx, self.dtype


@dataclass(frozen=True)
class Directory:
    """The chain of directories of a file.

    Attributes
    ----------
    path : Path
    size : int
        Of the file, bytes.
    pages : list of Page
    first : dict of int to values
        Tags of the first one, of those in `WANTED`.
    next_at : int
        Where the last directory says that another one lies; 0 where it is the last.
    header : bytes
        The first bytes of the file.
    """

    path: Path
    size: int
    byte_order: str
    pages: list[Page]
    first: dict[int, Values]
    next_at: int
    header: bytes = field(repr=False)

    @property
    def cut(self) -> bool:
        """Whether a directory should follow that is not there."""
        return self.next_at != 0


def read_directory(path: Path) -> Directory:
    """Read the chain of directories of a TIFF or BigTIFF file, as far as the file goes.

    Raises
    ------
    InputError
        It is no TIFF file, cannot be read, or ends before its first directory.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, path.stat().st_size)
    except OSError as error:
        raise unreadable(path, error) from error


def _read(path: Path, file: BinaryIO, size: int) -> Directory:
    header = file.read(1024)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    version = struct.unpack(f"{order}H", header[2:4])[0] if order and len(header) >= 8 else 0
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes): {COPY_AGAIN}, or record it again")
    if order is not None and version in (42, 43) and len(header) < 16:
        raise InputError(f"{path} is empty: a TIFF file without an image; {COPY_AGAIN}, or record it again")
    if order is None or version not in (42, 43):
        raise InputError(
            f"{path} cannot be read as TIFF (its first bytes are those of another format): give a TIFF file"
        )
    reader = _Reader(file, size, order, big=version == 43)
    pages: list[Page] = []
    first: dict[int, Values] = {}
    alike: _Alike | None = None
    offset, seen = reader.offset_at(header), set[int]()
    while offset and offset not in seen and (found := reader.directory(offset)) is not None:
        body, following = found
        page = alike.page(len(pages), offset, body) if alike is not None else None
        if page is None:
            tags = reader.tags(body)
            page = _page(len(pages), offset, tags, order)
            if page is None:
                break
            alike = _Alike.of(page, body, reader.entries(body), order)
            first = first or tags
        seen.add(offset)
        pages.append(page)
        offset = following
    if not pages:
        raise InputError(f"{path} was cut off before its first image, or is damaged there: {COPY_AGAIN}")
    return Directory(path, size, order, pages, first, 0 if offset in seen else offset, header)


class _Alike:
    """Directories that differ from an earlier one only in where things lie: nearly all of a movie's.

    Parameters
    ----------
    page : Page
        What the earlier one describes.
    mask : ndarray of uint8
        0 for bytes in which directories may differ.
    start, length : (Struct, int)
        How, and where in the directory, the place and the number of bytes of the pixels are written.
    """

    def __init__(
        self, page: Page, body: bytes, mask: U8, start: tuple[struct.Struct, int], length: tuple[struct.Struct, int]
    ) -> None:
        self._page, self._mask, self._start, self._length = page, mask, start, length
        self._same = np.frombuffer(body, np.uint8) & mask

    @classmethod
    def of(cls, page: Page, body: bytes, entries: list[Entry], order: str) -> _Alike | None:
        """Return what is like a page; None where a page has a text, or lies in several pieces."""
        size = 4 + 2 * len(entries[0][3])
        value_at = size - len(entries[0][3])
        mask = np.full(size * len(entries), 0xFF, np.uint8)
        found: dict[int, tuple[struct.Struct, int]] = {}
        for number, (tag, kind, count, _) in enumerate(entries):
            at = number * size
            if tag in (OFFSETS, BYTES) and count == 1 and kind in (3, 4, 13, 16, 18):
                found[tag] = struct.Struct(f"{order}{FORMS[kind]}"), at + value_at
                mask[at + value_at : at + size] = 0
            elif tag not in STRUCTURE:
                mask[at + 4 : at + size] = 0
        if page.description or set(found) != {OFFSETS, BYTES}:
            return None
        return cls(page, body, mask, found[OFFSETS], found[BYTES])

    def page(self, index: int, offset: int, body: bytes) -> Page | None:
        """Return the page of a directory, if it is like the earlier one."""
        if len(body) != len(self._same) or not np.array_equal(np.frombuffer(body, np.uint8) & self._mask, self._same):
            return None
        start = min(int(self._start[0].unpack_from(body, self._start[1])[0]), FAR)
        flat = self._page.at is not None
        length = self._page.nbytes if flat else int(self._length[0].unpack_from(body, self._length[1])[0])
        return replace(self._page, index=index, offset=offset, at=start if flat else None, end=start + min(length, FAR))


class _Reader:
    def __init__(self, file: BinaryIO, size: int, order: str, *, big: bool) -> None:
        self._file, self._size, self._order, self._big = file, size, order, big
        self._count = struct.Struct(f"{order}{'Q' if big else 'H'}")
        self._entry = struct.Struct(f"{order}HH{'Q8s' if big else 'I4s'}")
        self._offset = struct.Struct(f"{order}{'Q' if big else 'I'}")

    def offset_at(self, header: bytes) -> int:
        return int(self._offset.unpack_from(header, 8 if self._big else 4)[0])

    def directory(self, offset: int) -> tuple[bytes, int] | None:
        """Return the directory at `offset`, and where the next one lies; None where there is none."""
        head = self._bytes(offset, self._count.size)
        count = self._count.unpack(head)[0] if len(head) == self._count.size else 0
        length = count * self._entry.size
        body = self._bytes(offset + self._count.size, length + self._offset.size) if 0 < count <= MOST_TAGS else b""
        if len(body) < length + self._offset.size:
            return None
        return body[:length], int(self._offset.unpack(body[length:])[0])

    def entries(self, body: bytes) -> list[Entry]:
        """Return the entries of a directory."""
        return list(self._entry.iter_unpack(body))

    def tags(self, body: bytes) -> dict[int, Values]:
        """Return the values of a directory, of the tags in `WANTED`."""
        return {tag: value for tag, value in self._values(self._entry.iter_unpack(body)) if value is not None}

    def _values(self, entries: Iterator[Entry]) -> Iterator[tuple[int, Values | None]]:
        for tag, kind, count, inline in entries:
            form = FORMS.get(kind)
            if tag not in WANTED or form is None:
                continue
            if tag in (METAMORPH, MICRO_MANAGER):  # how many, or whether, is all that is asked
                yield tag, (count,)
                continue
            length = SIZES[kind] * count
            data = inline[:length] if length <= len(inline) else self._bytes(self._offset.unpack(inline)[0], length)
            if len(data) < length:
                yield tag, None
            else:
                yield tag, data if form == "s" else struct.unpack(f"{self._order}{form * count}", data)

    def _bytes(self, offset: int, length: int) -> bytes:
        if not 0 <= offset <= self._size - length:
            return b""
        self._file.seek(offset)
        return self._file.read(length)


def _page(index: int, offset: int, tags: dict[int, Values], order: str) -> Page | None:
    """Return what the tags say of an image; None where they do not describe one."""

    def number(tag: int, default: int = 0) -> int:
        values = tags.get(tag)
        return int(values[0]) if values else default

    height, width = number(HEIGHT), number(WIDTH)
    at = tags.get(OFFSETS, tags.get(TILE_OFFSETS))
    counts = tags.get(BYTES, tags.get(TILE_BYTES))
    bits, samples = number(BITS, 1), number(SAMPLES, 1)
    if height <= 0 or width <= 0 or not at:
        return None
    dtype = _dtype(order, number(SAMPLE_FORMAT, 1), bits) if samples == 1 else None
    nbytes = height * width * (dtype.itemsize if dtype is not None else max(1, bits * samples // 8))
    compression = number(COMPRESSION, UNCOMPRESSED)
    starts = [min(int(value), FAR) for value in at]
    stored = counts if counts and len(counts) == len(at) else (nbytes,) * len(at)
    ends = [start + min(int(value), FAR) for start, value in zip(starts, stored, strict=True)]
    in_one_piece = (
        compression == UNCOMPRESSED
        and OFFSETS in tags
        and dtype is not None
        and (len(starts) == 1 or (starts[1:] == ends[:-1] and ends[-1] - starts[0] == nbytes))
    )
    text = tags.get(DESCRIPTION, b"")
    return Page(
        index=index,
        offset=offset,
        shape_yx=(height, width),
        dtype=dtype,
        compression=compression,
        predictor=number(PREDICTOR, 1),
        at=starts[0] if in_one_piece else None,
        nbytes=nbytes,
        end=starts[0] + nbytes if in_one_piece else max(ends),
        reduced=bool(number(SUBFILE) & REDUCED),
        description=_text(text) if isinstance(text, bytes) else "",
    )


@cache
def _dtype(order: str, sample_format: int, bits: int) -> np.dtype[np.generic] | None:
    """Return the type of a pixel; None where it is no number of whole bytes."""
    kind = KINDS.get(sample_format)
    if kind is None or bits not in ((16, 32, 64) if kind == "f" else (8, 16, 32, 64)):
        return None
    return np.dtype(f"{order}{kind}{bits // 8}")


def _text(value: bytes) -> str:
    value = value.split(b"\0", 1)[0]
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
