"""HDF5 tables that Picasso did not write: of pandas (PyTables), and of DECODE."""

from __future__ import annotations

import mmap
import pickletools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.tables.foreign.read import decode_units

if TYPE_CHECKING:
    import h5py

SAVE_AS_TEXT = "save the table as .csv or .parquet"
STRINGS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING")
"""Instructions of a pickle that are text; nothing of it is executed."""
LARGEST_RATIO = 1100
"""Of data to what they need in the file: no compression reaches more."""
SMALL_BYTES = 1 << 20
HEAP, HEAP_HEAD = b"GCOL\x01\0\0\0", 16
HEAP_OBJECT = struct.Struct("<HHIQ")
"""Number, references, nothing, bytes."""


def whole(path: Path, stored: h5py.Dataset) -> Any:
    """Return all values of an array.

    Raises
    ------
    InputError
        It states more data than the file can hold: reading it would take all memory.
    """
    held = min(stored.id.get_storage_size(), path.stat().st_size)
    if stored.nbytes > max(SMALL_BYTES, LARGEST_RATIO * held if stored.chunks else held):
        raise InputError(f"{path} is damaged: '{stored.name}' states more data than the file holds; {SAVE_AS_TEXT}")
    return stored[()]


def check_heaps(path: Path) -> None:
    """Refuse a file whose texts of variable length are damaged: the HDF5 library would search in them for ever.

    Raises
    ------
    InputError
        A global heap of the file is damaged, or a text in it is longer than the file.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(HEAP)
            while at >= 0:
                if not _whole_heap(data, at):
                    raise InputError(f"{path} is damaged (a text in it has no end): {SAVE_AS_TEXT}")
                if _longest_text(data, at) > len(data):
                    raise InputError(f"{path} is damaged (a text in it is longer than the file): {SAVE_AS_TEXT}")
                at = data.find(HEAP, at + 1)


def _whole_heap(data: mmap.mmap, at: int) -> bool:
    """Whether the objects of a global heap fill it, each within it (HDF5 file format, III.E)."""
    end = at + int.from_bytes(data[at + 8 : at + HEAP_HEAD], "little")
    return end <= len(data) and None not in _objects(data, at)


def _objects(data: mmap.mmap, heap: int) -> Iterator[int | None]:
    """Yield the numbers of the objects of a global heap; None, and no more, where one does not lie within it."""
    end = heap + int.from_bytes(data[heap + 8 : heap + HEAP_HEAD], "little")
    at = heap + HEAP_HEAD
    while at + HEAP_HEAD <= end:
        number, _, _, size = HEAP_OBJECT.unpack_from(data, at)
        # Number 0 is the free rest, whose size counts its own head.
        step = size if number == 0 else HEAP_HEAD + -(-size // 8) * 8
        if not HEAP_HEAD <= step <= end - at:
            yield None
            return
        if number:
            yield int(number)
        at += step


def _longest_text(data: mmap.mmap, heap: int) -> int:
    """Return the largest length that a reference to an object of a global heap states (HDF5 file format, III.E)."""
    known = set(_objects(data, heap))
    address, longest = heap.to_bytes(8, "little"), 0
    at = data.find(address, 4)
    while 0 <= at <= len(data) - 12:
        length, number = (int.from_bytes(data[first : first + 4], "little") for first in (at - 4, at + 8))
        longest = max(longest, length if number in known else 0)
        at = data.find(address, at + 1)
    return longest


def text_of(path: Path, stored: h5py.Dataset) -> bytes | None:
    """Return a single text of variable length, read from its place in the file; None where it is stored otherwise.

    The HDF5 library takes the length that the file states, and gigabytes of memory where that is damaged.

    Raises
    ------
    InputError
        There is no such text where the file says it is.
    """
    at = stored.id.get_offset()
    if stored.shape != () or at is None or stored.dtype.kind != "O":
        return None
    with path.open("rb") as file:
        file.seek(at)
        length, heap, wanted = struct.unpack("<IQI", file.read(HEAP_HEAD).ljust(HEAP_HEAD, b"\0"))
        file.seek(min(heap, path.stat().st_size))
        head = file.read(HEAP_HEAD)
        rest = file.read(min(int.from_bytes(head[8:], "little"), path.stat().st_size))
    at = 0
    while head.startswith(HEAP) and at + HEAP_HEAD <= len(rest):
        number, _, _, size = HEAP_OBJECT.unpack_from(rest, at)
        at += HEAP_HEAD
        if number == wanted and length <= size and at + length <= len(rest):
            return rest[at : at + length]
        at += -(-size // 8) * 8
    raise InputError(f"{path} is damaged ('{stored.name}' is not where it should be): {SAVE_AS_TEXT}")


def pandas_group(file: h5py.File) -> h5py.Group | None:
    """Return the data frame that a file holds; None where it holds none, or several and none is ``locs``."""
    import h5py

    groups = {name: item for name, item in file.items() if isinstance(item, h5py.Group) and "pandas_type" in item.attrs}
    return groups.get("locs") or (next(iter(groups.values())) if len(groups) == 1 else None)


def read_pandas(path: Path, group: h5py.Group) -> pd.DataFrame:
    """Return the columns of numbers of a data frame, as `DataFrame.to_hdf` writes it in either format.

    Raises
    ------
    InputError
        It is no data frame, or holds no numbers.
    """
    columns = _as_table(path, group) if "table" in group else _as_blocks(path, group)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise InputError(f"{path} was saved by pandas and holds no table of numbers: {SAVE_AS_TEXT}")
    return pd.DataFrame(columns)


def _as_blocks(path: Path, group: h5py.Group) -> dict[str, Any]:
    """``format='fixed'``: columns of one type in one array each."""
    columns: dict[str, Any] = {}
    number = 0
    while f"block{number}_values" in group:
        values = whole(path, group[f"block{number}_values"])
        items = group.get(f"block{number}_items", group.get("axis0"))
        names = [] if items is None else [_text(name) for name in whole(path, items)]
        if values.dtype.kind in "fiu" and values.ndim == 2 and values.shape[1] == len(names):
            columns |= {name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(names)}
        number += 1
    return columns


def _as_table(path: Path, group: h5py.Group) -> dict[str, Any]:
    """``format='table'``: rows, with columns of one type side by side, or each on its own."""
    table = group["table"]
    rows = whole(path, table)
    columns: dict[str, Any] = {}
    for name in rows.dtype.names or ():
        values = rows[name]
        if name == "index" or values.dtype.kind not in "fiu":
            continue
        if not name.startswith("values_block_"):
            columns[name] = np.ascontiguousarray(values)
            continue
        names = _pickled_texts(table.attrs.get(f"{name}_kind", b""))
        if values.ndim == 2 and values.shape[1] == len(names):
            columns |= {one: np.ascontiguousarray(values[:, i]) for i, one in enumerate(names)}
    return columns


def _pickled_texts(stored: Any) -> list[str]:
    """Return the texts of a pickled list, read without executing it."""
    data = bytes(stored) if isinstance(stored, bytes | np.bytes_) else str(stored).encode("latin-1", "replace")
    try:
        return [_text(argument) for one, argument, _ in pickletools.genops(data) if one.name in STRINGS]
    except ValueError:
        return []


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def holds_decode(file: h5py.File) -> bool:
    """Whether DECODE wrote a file."""
    return "data/xyz" in file and "data/frame_ix" in file


def read_decode(path: Path, file: h5py.File) -> tuple[pd.DataFrame, dict[str, str], float | None]:
    """Return the columns of a file of DECODE, their units, and the pixel (nm) if it is stated.

    Raises
    ------
    InputError
        Its arrays do not fit together.
    """
    data = file["data"]
    columns: dict[str, Any] = {"frame_ix": whole(path, data["frame_ix"])}
    for name, ending in (("xyz", ""), ("xyz_sig", "_sig"), ("xyz_cr", "_cr")):
        if name in data and data[name].shape not in (None, ()):
            columns |= {
                f"{axis}{ending}": values for axis, values in zip("xyz", whole(path, data[name]).T, strict=False)
            }
    names = [name for name in ("phot", "bg", "prob", "id", "phot_sig", "bg_sig", "phot_cr", "bg_cr") if name in data]
    columns |= {name: whole(path, data[name]) for name in names if data[name].shape not in (None, ())}
    rows = len(columns["frame_ix"])
    if any(np.shape(values) != (rows,) for values in columns.values()):
        raise InputError(f"{path}: DECODE's arrays have different lengths, the file is damaged: export it again")
    units, pixel = decode_units(dict(file["meta"].attrs) if "meta" in file else {})
    return pd.DataFrame(columns), units, pixel
