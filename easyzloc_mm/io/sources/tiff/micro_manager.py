"""Micro-Manager's own index of an image file: channel, slice, frame and position of each directory."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.io.reading import unreadable
from easyzloc_mm.io.sources.tiff.directory import Directory, read_directory
from easyzloc_mm.io.sources.tiff.slots import Slot, slots_of
from easyzloc_mm.typing import I64

INDEX_HEADER, INDEX, SUMMARY = 54773648, 3453623, 2355492
COLUMNS = "CZTR"
"""Channel, slice, frame, position; then the directory's place, bytes."""
STACK = "_MMStack"


@dataclass(frozen=True)
class Indexed:
    """Images of all files of one acquisition.

    Attributes
    ----------
    places : ndarray, shape (n, 4)
        Channel, slice, frame, position of each image.
    images : list of (Path, Slot)
    frames : int
        How many the acquisition was to have; 0 where it does not say.
    missing : tuple of str
        Names of files of the set that are not there.
    """

    places: I64
    images: list[tuple[Path, Slot]]
    frames: int
    missing: tuple[str, ...]


def read_index(directory: Directory) -> Indexed | None:
    """Return the indexed images of a file, and of the others of its acquisition; None where it has no whole index."""
    summary = _summary(directory)
    rows = _rows(directory)
    if summary is None or rows is None:
        return None
    files = {directory.path: (directory, rows)}
    prefix = directory.path.name.split(STACK)[0] if STACK in directory.path.name else ""
    if prefix:
        for path in sorted(directory.path.parent.glob(f"*{STACK}*.tif")):
            if path.name.startswith(f"{prefix}{STACK}") and path not in files:
                other = read_directory(path)
                found = _rows(other)
                if found is not None:
                    files[path] = other, found
    places: list[I64] = []
    images: list[tuple[Path, Slot]] = []
    for path, (opened, found) in files.items():
        slots = {slot.page.offset: slot for slot in slots_of(opened)[0]}
        for row in found:
            slot = slots.get(int(row[4]))
            if slot is not None:
                places.append(row[:4])
                images.append((path, slot))
    if not images:
        return None
    frames = summary.get("Frames", 0)
    return Indexed(np.array(places), images, frames if isinstance(frames, int) else 0, _gaps(list(files)))


def _summary(directory: Directory) -> dict[str, Any] | None:
    """Return what the head of the file says of the acquisition; None where it is not Micro-Manager's."""
    order, header = directory.byte_order, directory.header
    if len(header) < 40 or struct.unpack_from(f"{order}I", header, 8)[0] != INDEX_HEADER:
        return None
    mark, length = struct.unpack_from(f"{order}II", header, 32)
    if mark != SUMMARY:
        return None
    try:
        text = _bytes(directory, 40, length).decode("utf-8").rstrip("\0")
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _rows(directory: Directory) -> I64 | None:
    order, header = directory.byte_order, directory.header
    if len(header) < 40 or struct.unpack_from(f"{order}I", header, 8)[0] != INDEX_HEADER:
        return None
    at = struct.unpack_from(f"{order}I", header, 12)[0]
    head = _bytes(directory, at, 8)
    if len(head) < 8:
        return None
    mark, count = struct.unpack(f"{order}II", head)
    body = _bytes(directory, at + 8, 20 * count)
    if mark != INDEX or count == 0 or len(body) < 20 * count:
        return None
    return np.frombuffer(body, f"{order}u4").reshape(-1, 5).astype(np.int64)


def _bytes(directory: Directory, at: int, length: int) -> bytes:
    if at + length > directory.size:
        return b""
    try:
        with directory.path.open("rb") as file:
            file.seek(at)
            return file.read(length)
    except OSError as error:
        raise unreadable(directory.path, error) from error


def _gaps(paths: list[Path]) -> tuple[str, ...]:
    """Return the files that are missing between those that are there: NAME.ome.tif, NAME_1.ome.tif, ..."""
    found: dict[tuple[str, str], set[int]] = {}
    for path in paths:
        stem, _, ending = path.name.partition(".")
        base, _, number = stem.rpartition("_")
        known = number.isdigit() and STACK in base
        found.setdefault((base if known else stem, ending), set()).add(int(number) if known else 0)
    return tuple(
        f"{base}{f'_{number}' if number else ''}.{ending}"
        for (base, ending), numbers in found.items()
        for number in range(max(numbers))
        if number not in numbers
    )
