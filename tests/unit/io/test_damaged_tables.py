"""HDF5 tables whose stated sizes are damaged are refused before they take memory or time."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import read_table, write_table
from tests.unit.io.test_tables import random_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of Picasso whose metadata are in the file alone."""
    rows, metadata = random_table(np.random.default_rng(2))
    write_table(tmp_path / "t.hdf5", rows, metadata)
    (tmp_path / "t.yaml").unlink()
    return tmp_path / "t.hdf5"


def test_metadata_in_the_file_are_read(table: Path) -> None:
    rows, metadata = random_table(np.random.default_rng(2))
    found, again = read_table(table)
    assert len(found) == len(rows)
    assert isinstance(again, RunMetadata)
    assert (again.pixel_size_nm, again.width_px) == (metadata.pixel_size_nm, metadata.width_px)


def test_a_text_without_an_end_is_not_searched_for_ever(table: Path) -> None:
    """An object of no size in the heap of texts: the HDF5 library never gets past it."""
    data = bytearray(table.read_bytes())
    heap = data.index(b"GCOL")
    size = int.from_bytes(data[heap + 24 : heap + 32], "little")
    rest = heap + 32 + -(-size // 8) * 8
    data[rest + 8 : rest + 16] = bytes(8)
    table.write_bytes(data)
    with pytest.raises(InputError, match="a text in it has no end"):
        read_table(table)


@pytest.mark.parametrize(
    ("length", "sentence"), [(2**32 - 1, "longer than the file"), (3000, "'/metadata' is not where it should be")]
)
def test_a_text_longer_than_what_holds_it_takes_no_memory(table: Path, length: int, sentence: str) -> None:
    with h5py.File(table, "r") as file:
        at = file["metadata"].id.get_offset()
    data = bytearray(table.read_bytes())
    assert len(data) > 3000
    data[at : at + 4] = length.to_bytes(4, "little")
    table.write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        read_table(table)


def test_an_attribute_longer_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file.create_group("meta").attrs["xy_unit"] = "px"
        file["data/xyz"], file["data/frame_ix"] = np.ones((3, 3), np.float32), np.arange(3)
    assert len(read_table(path, pixel_size_nm=100.0)[0]) == 3
    data = bytearray(path.read_bytes())
    reference = (2).to_bytes(4, "little") + data.index(b"GCOL").to_bytes(8, "little") + (1).to_bytes(4, "little")
    assert data.count(reference) == 1
    at = data.index(reference)
    data[at : at + 4] = (2**32 - 1).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="a text in it is longer than the file"):
        read_table(path, pixel_size_nm=100.0)


def test_more_rows_than_the_file_can_hold(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        file.create_dataset("locs", shape=(10**9,), dtype=[("frame", "u4"), ("x", "f4"), ("y", "f4")], chunks=(1000,))
    with pytest.raises(InputError, match="states more data than the file holds"):
        read_table(tmp_path / "t.hdf5")
