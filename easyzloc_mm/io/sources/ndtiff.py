"""NDTiff: its index says which image lies where; what it leaves out on an axis was lost on the way."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import COPY_AGAIN, DAMAGED, unreadable
from easyzloc_mm.io.sources.images import Images, Sampling, check_places, cut_behind_last, stated_length
from easyzloc_mm.typing import I64

INDEX = "NDTiff.index"
HEADER = 483729
"""Stands at byte 8 of each of its files."""
PIXELS = {0: "u1", 1: "<u2", 3: "<u2", 4: "<u2", 5: "<u2", 6: "<u2"}
"""Pixel types that are camera counts: 8 bit, 16 bit, and 10, 12, 14, 11 bit in 16."""
POSITION = "position"
LETTERS = {"time": "T", "z": "Z", "channel": "C"}
Z_KEYS = ("ZPosition_um_Intended", "ZPositionUm")
"""Where Micro-Manager's programs note a plane's stage position."""

Value = int | str


@dataclass(frozen=True)
class Entry:
    """One image: its place on the axes, and where its pixels and its metadata lie, bytes."""

    axes: dict[str, Value]
    file: str
    pixel_type: int
    shape_yx: tuple[int, int]
    at: int
    notes_at: int
    notes_bytes: int


def holds_ndtiff(path: Path) -> bool:
    """Whether a folder is an NDTiff data set."""
    return (path / INDEX).is_file()


def open_ndtiff(path: Path, *, partial: bool = False) -> list[Images]:
    """Open an NDTiff data set: one entry per position, frames or planes at the value of their axis.

    Raises
    ------
    InputError
        It cannot be read, holds colour images, or one of its files is missing.
    """
    entries, torn = _entries(path)
    if not entries:
        raise InputError(f"{path} is empty (its index names no image): record it again")
    sizes = {name: (path / name).stat().st_size if (path / name).is_file() else None for name in _files(entries)}
    missing = [name for name, size in sizes.items() if size is None]
    remarks = []
    if missing:
        if not partial:
            raise InputError(
                f"{path} lacks its file {', '.join(missing)}: put it back, or read what is there with `partial`"
            )
        remarks.append(f"{path} lacks its file {', '.join(missing)}: only what is there is read")
    if torn:
        remarks.append(f"{path}: its index was cut off within an entry: one image or more is missing")
    summary = _summary(path, next((name for name, size in sizes.items() if size is not None), ""))
    positions = sorted({entry.axes.get(POSITION, 0) for entry in entries}, key=str)
    numbers = all(isinstance(position, int) for position in positions)
    found = []
    for position in sorted(positions) if numbers else positions:
        own = [entry for entry in entries if entry.axes.get(POSITION, 0) == position]
        found.append(_images(path, own, entries, sizes, summary, remarks, lost=int(torn)))
        remarks = []
    return found


def _files(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.file for entry in entries))


def _entries(path: Path) -> tuple[list[Entry], bool]:
    """Return the images of the index, the last of each place, and whether it ends within an entry."""
    from ndstorage.ndtiff_index import NDTiffIndexEntry

    try:
        data = (path / INDEX).read_bytes()
    except OSError as error:
        raise unreadable(path / INDEX, error) from error
    found: dict[frozenset[tuple[str, Value]], Entry] = {}
    place = 0
    while place + 4 <= len(data) and data[place : place + 4] != bytes(4):
        try:
            place, axes, raw = NDTiffIndexEntry.unpack_single_index_entry(data, place)
            entry = Entry(
                {str(name): value for name, value in axes.items()}, raw.filename, raw.pixel_type,
                (raw.image_height, raw.image_width), raw.pix_offset, raw.metadata_offset, raw.metadata_length,
            )  # fmt: skip
            plain = all(isinstance(value, int | str) for value in axes.values()) and min(entry.shape_yx) > 0
            if "/" in entry.file or "\\" in entry.file or not plain:
                raise ValueError("impossible entry")
            found[frozenset(entry.axes.items())] = entry
        except DAMAGED:
            return list(found.values()), True
    return list(found.values()), 0 < len(data) - place < 4


def _summary(path: Path, name: str) -> dict[str, Any]:
    """Return the metadata of the whole data set, which stand at the head of each file."""
    if not name:
        return {}
    try:
        with (path / name).open("rb") as file:
            head = file.read(28)
            if len(head) < 28 or struct.unpack_from("<I", head, 8)[0] != HEADER:
                return {}
            length = struct.unpack_from("<I", head, 24)[0]
            found = json.loads(file.read(min(length, (path / name).stat().st_size)))
    except OSError as error:
        raise unreadable(path / name, error) from error
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _images(
    path: Path,
    own: list[Entry],
    everything: list[Entry],
    sizes: dict[str, int | None],
    summary: dict[str, Any],
    remarks: Sequence[str],
    *,
    lost: int,
) -> Images:
    kinds = [(entry.shape_yx, entry.pixel_type) for entry in own]
    usual = max(dict.fromkeys(kinds), key=kinds.count)
    said = list(remarks)
    if len(set(kinds)) > 1:
        odd = sum(kind != usual for kind in kinds)
        said.append(f"{path}: {odd} of {len(kinds)} images are of another size or type than the others, and left out")
    form = PIXELS.get(usual[1])
    if form is None:
        raise InputError(f"{path} holds colour images, or pixels of an unknown type: record 8 or 16 bit grey")
    (axes, lead, places), dtype = _places(path, own, everything, summary), np.dtype(form)
    nbytes = dtype.itemsize * usual[0][0] * usual[0][1]
    at: dict[int, Entry] = {
        int(place): entry
        for place, entry, kind in zip(places, own, kinds, strict=True)
        if kind == usual and (sizes[entry.file] or 0) >= entry.at + nbytes
    }
    there = np.zeros(int(np.prod(lead, dtype=np.int64)), bool)
    there[list(at)] = True
    if not at:
        raise InputError(f"{path} was cut off before the end of its first image: {COPY_AGAIN}")
    if not there.all() or lost:
        gone = int(np.count_nonzero(~there))
        said.append(f"{path}: {len(at)} of {len(there)} images are there, {gone} are missing")
    lead, there, after = cut_behind_last(lead, there)
    return Images(
        source=path,
        axes=axes,
        sizes=lead,
        shape_yx=usual[0],
        dtype=dtype.newbyteorder("="),
        there=there,
        take=_taker(path, at, dtype, usual[0]),
        lost_after=after + lost,
        sampling=_sampling(path, at, summary, len(there) if axes else 0),
        remarks=tuple(said),
    )


def _places(
    path: Path, own: list[Entry], everything: list[Entry], summary: dict[str, Any]
) -> tuple[str, tuple[int, ...], I64]:
    """Return axes, their sizes, and each image's place on them."""
    names = dict.fromkeys(name for entry in everything for name in entry.axes if name != POSITION)
    axes, lead, columns = "", [], []
    for name in names:
        values = [entry.axes.get(name, 0) for entry in own]
        known = [entry.axes.get(name, 0) for entry in everything]
        if all(isinstance(value, int) for value in known):
            numbers = np.array(values, np.int64)
            # Frames count from 0; planes from the lowest of all positions, which need not be 0.
            numbers -= 0 if name == "time" else min(int(value) for value in known)
            check_places(path, name, numbers)
            size = int(numbers.max()) + 1
            if name == "time":
                size = max(size, _intended(summary, name, size, len(own)))
        else:
            order = sorted(set(map(str, known)))
            numbers = np.array([order.index(str(value)) for value in values], np.int64)
            size = len(order)
        if size > 1:
            axes += LETTERS.get(name, "Q")
            lead.append(size)
            columns.append(numbers)
    if not lead:
        return "", (), np.zeros(len(own), np.int64)
    if len(lead) > 1:
        check_places(path, "place", np.array([int(np.prod(lead)) - 1] * len(own)))
    return axes, tuple(lead), np.ravel_multi_index(tuple(columns), tuple(lead)).astype(np.int64)


def _intended(summary: dict[str, Any], name: str, seen: int, count: int) -> int:
    """Return how many places an axis was to have; 0 where the summary does not say, or says what cannot be."""
    intended = summary.get("IntendedDimensions")
    value = intended.get(name) if isinstance(intended, dict) else None
    return value if isinstance(value, int) and seen <= value <= 20 * count + 10_000 else 0


def _taker(path: Path, entries: dict[int, Entry], dtype: np.dtype[Any], shape_yx: tuple[int, int]) -> Any:
    size = shape_yx[0] * shape_yx[1]

    def take(places: Sequence[int]) -> NDArray[Any]:
        out = np.zeros((len(places), *shape_yx), dtype)
        for row, place in enumerate(places):
            entry = entries[place]
            try:
                values = np.fromfile(path / entry.file, dtype, size, offset=entry.at)
            except OSError as error:
                raise unreadable(path / entry.file, error) from error
            if values.size == size:
                out[row] = values.reshape(shape_yx)
        return out

    return take


def _sampling(path: Path, entries: dict[int, Entry], summary: dict[str, Any], places: int) -> Sampling:
    notes = {place: _notes(path, entry) for place, entry in _first_and_planes(entries, places)}
    first = next(iter(notes.values()), {})
    pixel, unclear = stated_length("its pixel size", summary.get("PixelSize_um") or first.get("PixelSizeUm"), "um")
    step, unclear_step = stated_length("the distance of its planes", summary.get("z-step_um"), "um")
    readings = np.full(places, np.nan)
    for place, note in notes.items():
        value = next((note[key] for key in Z_KEYS if key in note), None)
        if isinstance(value, int | float) and place < places:
            readings[place] = value
    return Sampling(pixel, step, readings if np.isfinite(readings).any() else None, (*unclear, *unclear_step))


def _first_and_planes(entries: dict[int, Entry], places: int) -> list[tuple[int, Entry]]:
    """Return whose metadata are read: of stacks all, of movies the first image's."""
    ordered = sorted(entries.items())
    return ordered if places <= MOST_PLANES else ordered[:1]


MOST_PLANES = 5000
"""A data set with more is a movie, and the stage position of each image is not read."""


def _notes(path: Path, entry: Entry) -> dict[str, Any]:
    try:
        with (path / entry.file).open("rb") as file:
            size = file.seek(0, 2)
            if not 0 <= entry.notes_at <= entry.notes_at + entry.notes_bytes <= size:
                return {}  # the index is damaged: the image itself is held against the file elsewhere
            file.seek(entry.notes_at)
            found = json.loads(file.read(entry.notes_bytes))
    except OSError as error:
        raise unreadable(path / entry.file, error) from error
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
