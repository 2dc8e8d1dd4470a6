"""Nodes and arrays of a store: whether every document and every chunk is there and says what it said."""

from __future__ import annotations

import itertools
import math
import os
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import DAMAGED_STORE, reading
from easyzloc_mm.io.verify.report import Findings
from easyzloc_mm.io.zarr.chunks import CHECKSUM, ChunkedArray, node_checksum, nodes_below, read_node


def check_nodes(findings: Findings, expected: Collection[str]) -> None:
    """Read every ``zarr.json``; name groups and arrays of the root that are not `expected`."""
    for node in sorted({findings.path, *nodes_below(findings.path)}):
        check_node(findings, node)
    for folder in sorted(entry for entry in findings.path.iterdir() if entry.is_dir()):
        if folder.name not in expected and not folder.name.startswith("."):
            findings.damage(folder, "is no part of such a store")


def check_node(findings: Findings, node: Path) -> dict[str, Any] | None:
    """Read one ``zarr.json``, hold it against its checksum, and return it; None where that cannot be."""
    document = node / "zarr.json"
    findings.counts["files"] += 1
    try:
        content = read_node(node)
    except FileNotFoundError:
        findings.damage(document, "is missing")
    except (OSError, ValueError) as error:
        findings.damage(document, f"cannot be read ({error})")
    else:
        attributes = content.get("attributes", {})
        if (
            isinstance(attributes, Mapping)
            and CHECKSUM in attributes
            and attributes[CHECKSUM] != node_checksum(content)
        ):
            findings.damage(document, "was changed after it was written")
        return content
    return None


def check_array(
    findings: Findings,
    node: Path,
    *,
    extent: int | None = None,
    all_there: bool | None = None,
    skipped: Collection[int] = (),
) -> None:
    """Look for every chunk of an array, and decode it unless the look is quick, which decodes the last one alone.

    Parameters
    ----------
    node : Path
        Folder of the array; its ``zarr.json`` was checked before.
    extent : int, optional
        Only so much of the first axis counts.
    all_there : bool, optional
        Whether every chunk must be there; by default where chunks have checksums: what zarr-python writes by itself
        leaves out chunks of zeros.
    skipped : collection of int
        Chunks along the first axis that need not be there.
    """
    if not (node / "zarr.json").is_file():
        findings.damage(node, "is missing")
        return
    try:
        with reading(node, "a Zarr store", RuntimeError, cure=DAMAGED_STORE):
            content = read_node(node)
            shape, chunks = content["shape"], content["chunk_grid"]["configuration"]["chunk_shape"]
            codecs = [codec["name"] for codec in content["codecs"]]
            lengths = [shape[0] if extent is None else extent, *shape[1:]]
            counts = [math.ceil(length / chunk) for length, chunk in zip(lengths, chunks, strict=True)]
            fault_of = _decoder(node, codecs, chunks, shape)
    except InputError:
        findings.damage(node / "zarr.json", "describes no array")
        return
    if shape[0] < lengths[0]:
        findings.damage(node, f"has {shape[0]} rows, not {extent}")
        return
    if 0 in counts:
        return
    needed = CHECKSUM in codecs if all_there is None else all_there
    folder, last = node / "c", tuple(count - 1 for count in counts)
    for index in itertools.product(*map(range, counts)):
        if index[0] in skipped:
            continue
        size = _size_of(folder, index)
        if size is None:
            if needed:
                findings.damage(folder.joinpath(*map(str, index)), "is missing")
            continue
        findings.counts["files"] += 1
        findings.counts["bytes"] += size
        looked_into = not findings.quick or index == last
        fault = fault_of(index) if looked_into else "" if size else "is empty"
        if fault:
            findings.damage(folder.joinpath(*map(str, index)), fault)


def _size_of(folder: Path, index: tuple[int, ...]) -> int | None:
    """Return how many bytes a chunk has, by one question to the file system (there are many); None if it is missing."""
    try:
        found = os.stat(f"{folder}/{'/'.join(map(str, index))}")  # noqa: PTH116  a Path for each costs more
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def read_array(node: Path) -> NDArray[Any] | None:
    """Read a whole array; None where it is damaged, which `check_array` has named."""
    import zarr

    try:
        return np.asarray(zarr.open_array(node, mode="r")[...])
    except (OSError, ValueError, RuntimeError, KeyError, TypeError):
        return None


def _decoder(node: Path, codecs: list[str], chunks: list[int], shape: list[int]) -> Callable[[tuple[int, ...]], str]:
    """Return what says of a chunk why it cannot be decoded; nothing where it can."""
    import zarr

    if "blosc" in codecs:
        return ChunkedArray.open(node).fault
    array: Any = zarr.open_array(node, mode="r")

    def fault(index: tuple[int, ...]) -> str:
        block = tuple(
            slice(place * step, min((place + 1) * step, length))
            for place, step, length in zip(index, chunks, shape, strict=True)
        )
        try:
            _ = array[block]
        except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
            return f"is damaged ({error})"
        return ""

    return fault
