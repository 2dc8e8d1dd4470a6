"""Zarr v3 arrays that are written while others read them: chunk files and attributes, each put in place whole.

zarr-python makes the arrays and reads them. Chunks are encoded here: at camera rate zarr-python's own path costs
6-10 ms of CPU per 1200x1200 frame, this one 2.4 ms, and the files are the same. Every chunk ends in its CRC-32C (the
codec `crc32c` of Zarr v3), so that any reader tells a damaged one.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.atomic import patiently, put_file, sync_folder

if TYPE_CHECKING:
    import zarr

EachNode = Callable[[Callable[[Path], None], Iterable[Path]], None]
"""Does something with each node, one after the other or many at a time."""
Compression = Literal["lz4", "zstd"]
"""Blosc's: LZ4 with byte shuffle for what comes at camera rate, Zstandard with bit shuffle for what is kept longer."""
CHECKSUM = "crc32c"
"""Name of the codec, and of the attribute of a node."""
LARGEST_CHUNK = 1 << 27
"""Values: the image of a sensor of 11585 x 11585 pixels; a file that states more is damaged."""
_CHECKSUM_BYTES = 4
_BLOSC_HEADER = struct.Struct("<4B3I")
"""Version, version of the codec, flags, size of an element; bytes before, of a block, and after compression."""


def read_node(node: Path) -> dict[str, Any]:
    """Read the ``zarr.json`` of a node; an `OSError` or `ValueError` where it cannot be read."""
    document = node / "zarr.json"
    content = json.loads(patiently(lambda: document.read_text(encoding="utf-8"), document))
    if not isinstance(content, dict):
        raise ValueError(f"{document} is no Zarr node")
    return content


def node_checksum(content: Mapping[str, Any]) -> int:
    """CRC-32C of what a ``zarr.json`` says, however it is set out; `update_node` keeps it among the attributes."""
    from google_crc32c import value

    attributes = {name: held for name, held in content.get("attributes", {}).items() if name != CHECKSUM}
    plain = json.dumps({**content, "attributes": attributes}, sort_keys=True, separators=(",", ":"))
    return int(value(plain.encode()))


def update_node(
    node: Path, attributes: Mapping[str, Any], *, shape: Sequence[int] | None = None, durable: bool = False
) -> None:
    """Change attributes (and the shape of an array) of a Zarr node in one step; `durable`: wait for the device."""
    content = read_node(node)
    content["attributes"] = {**content.get("attributes", {}), **attributes}
    if shape is not None:
        content["shape"] = [int(size) for size in shape]
    _put_node(node, content, durable=durable)


def put_group(node: Path, attributes: Mapping[str, Any], *, durable: bool = False) -> None:
    """Put a group with these attributes in place, in one step, whether it is there or not; what it holds stays."""
    node.mkdir(parents=True, exist_ok=True)
    _put_node(node, {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}, durable=durable)


def _put_node(node: Path, content: dict[str, Any], *, durable: bool) -> None:
    content["attributes"][CHECKSUM] = node_checksum(content)
    put_file(node / "zarr.json", json.dumps(content, indent=2).encode(), durable=durable)
    if durable:
        patiently(lambda: sync_folder(node), node)


def one_by_one(act: Callable[[Path], None], nodes: Iterable[Path]) -> None:
    """Do something with each node."""
    for node in nodes:
        act(node)


def seal(path: Path, *, durable: bool = False, each: EachNode = one_by_one) -> None:
    """Give every node that zarr-python made at `path` and below its checksum; `durable`: wait for the device.

    A node that has its checksum is left alone: `update_node` put it there, and waited for the device where it had to.
    """

    def is_open(node: Path) -> bool:
        content = read_node(node)
        return bool(content.get("attributes", {}).get(CHECKSUM) != node_checksum(content))

    nodes = list(filter(is_open, nodes_below(path)))
    each(partial(update_node, attributes={}, durable=durable), nodes)
    if durable:  # the names of the new nodes, too
        for folder in sorted({path.parent, *(node.parent for node in nodes)}):
            patiently(partial(sync_folder, folder), folder)


def nodes_below(path: Path) -> list[Path]:
    """Return the nodes at `path` and below, in order; folders of chunks, which may be very many, are not gone into."""
    found = []
    for name, inside, files in os.walk(path):
        folder = Path(name)
        if "zarr.json" in files:
            found.append(folder)
            if "c" in inside and not (folder / "c" / "zarr.json").is_file():
                inside.remove("c")
    return sorted(found)


def put_array(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    chunks: Sequence[int] | None = None,
    *,
    dimension_names: Sequence[str] | None = None,
) -> None:
    """Store a whole array in `group`, in one chunk or in these; every chunk is there and has a checksum."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(1, size) for size in (values.shape if chunks is None else chunks)),
        dtype=values.dtype,
        compressors=(ZstdCodec(), Crc32cCodec()),
        dimension_names=dimension_names,
        config={"write_empty_chunks": True},
    )
    array[...] = values


def whole_array(array: zarr.Array[Any], *, zeros_left_out: bool | None = None) -> NDArray[Any]:
    """Read a whole array by zarr-python, which takes zeros where a chunk is missing.

    Parameters
    ----------
    array : zarr.Array
    zeros_left_out : bool, optional
        Whether a chunk of zeros need not be there: by default where chunks have no checksum, as in stores of 0.1.

    Raises
    ------
    ValueError
        A chunk is missing.
    """
    from zarr.codecs import Crc32cCodec

    if zeros_left_out is None:
        codecs: Iterable[Any] = array.metadata.codecs  # type: ignore[union-attr]
        zeros_left_out = not any(isinstance(codec, Crc32cCodec) for codec in codecs)
    if not zeros_left_out and (there := array.nchunks_initialized) < array.nchunks:
        raise ValueError(f"{array.nchunks - there} of {array.nchunks} chunk(s) of {array.basename} are missing")
    return np.asarray(array[...])


class ChunkedArray:
    """One array of a local Zarr v3 store, written chunk by chunk, little-endian, Blosc and CRC-32C.

    Make one with `create`, or open one with `open`.

    Parameters
    ----------
    path : Path
        Folder of the array.
    shape, chunks : sequence of int
        Length of the axes, and of a chunk along them.
    dtype : dtype
        Of the elements.
    compression : {'lz4', 'zstd'}
    checksum : bool
        Whether chunks end in their checksum; those of 0.1 do not.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        chunks: Sequence[int],
        dtype: DTypeLike,
        *,
        compression: Compression = "lz4",
        checksum: bool = True,
    ) -> None:
        from numcodecs import Blosc

        self.path, self.shape, self.chunks = path, tuple(shape), tuple(chunks)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        shuffle = Blosc.SHUFFLE if compression == "lz4" else Blosc.BITSHUFFLE
        self._codec = Blosc(cname=compression, clevel=1, shuffle=shuffle)
        self._checksum = checksum

    @classmethod
    def create(
        cls,
        group: zarr.Group,
        name: str,
        *,
        shape: Sequence[int],
        chunks: Sequence[int],
        dtype: DTypeLike,
        dimension_names: Sequence[str] | None = None,
        compression: Compression = "lz4",
        fill_value: float | None = None,
    ) -> Self:
        """Make an array `name` in `group`, which lies in a local folder; `dimension_names` name the axes."""
        from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

        shuffle = BloscShuffle.shuffle if compression == "lz4" else BloscShuffle.bitshuffle
        array = group.create_array(
            name,
            shape=tuple(shape),
            chunks=tuple(chunks),
            dtype=np.dtype(dtype),
            compressors=(BloscCodec(cname=compression, clevel=1, shuffle=shuffle), Crc32cCodec()),
            fill_value=fill_value,
            dimension_names=dimension_names,
        )
        path = Path(str(group.store_path.store.root)) / array.path  # type: ignore[attr-defined]
        return cls(path, shape, chunks, dtype, compression=compression)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an array that `create` made, to read it or to continue writing.

        Raises
        ------
        InputError
            It cannot be read, or another program wrote it.
        """
        try:
            content = read_node(path)
            codecs = {codec["name"]: codec.get("configuration", {}) for codec in content["codecs"]}
            chunks = content["chunk_grid"]["configuration"]["chunk_shape"]
            if math.prod(chunks) > LARGEST_CHUNK:
                raise ValueError(f"it states chunks of {chunks} values, and none is so large")
            return cls(
                path,
                content["shape"],
                chunks,
                content["data_type"],
                compression="zstd" if codecs["blosc"]["cname"] == "zstd" else "lz4",
                checksum=CHECKSUM in codecs,
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path / 'zarr.json'} cannot be read ({type(error).__name__}: {error}): copy it anew"
            ) from None

    def encoded(self, index: Sequence[int], chunk: NDArray[Any]) -> tuple[Path, bytes]:
        """File and content of the chunk with grid position `index`; `chunk` has the chunk's full shape."""
        from google_crc32c import value

        if chunk.shape != self.chunks:
            raise ValueError(f"a chunk has shape {self.chunks}, not {chunk.shape}")
        content: bytes = self._codec.encode(np.ascontiguousarray(chunk, dtype=self.dtype))
        if self._checksum:
            content += value(content).to_bytes(_CHECKSUM_BYTES, "little")
        return self.file(index), content

    def read(self, index: Sequence[int], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read one chunk back, into `out` where it is given: making room anew costs more than to decode.

        Raises
        ------
        InputError
            The chunk is missing or damaged.
        """
        if out is None:
            out = np.empty(self.chunks, self.dtype)
        fault = self._load(index, out)
        if fault:
            raise InputError(f"{self.file(index)} {fault}: copy it anew; `verify` names all that is damaged")
        return out

    def link(self, index: Sequence[int], source: Sequence[int]) -> None:
        """Put a hard link to the chunk `source` in place of the chunk `index`, which is not there yet."""
        target = self.file(index)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(self.file(source))

    def has(self, index: Sequence[int]) -> bool:
        """Whether a chunk was written; of a writer that was killed it is whole, after a power cut it may be torn."""
        return self.file(index).is_file()

    def fault(self, index: Sequence[int]) -> str:
        """Read a chunk, and return what is wrong with it; empty if nothing is."""
        return self._load(index, np.empty(self.chunks, self.dtype))

    def resize(self, shape: Sequence[int], *, durable: bool = False) -> None:
        """Declare another length; no chunk is touched."""
        update_node(self.path, {}, shape=shape, durable=durable)
        self.shape = tuple(shape)

    def file(self, index: Sequence[int]) -> Path:
        """File of the chunk with grid position `index`."""
        return self.path.joinpath("c", *map(str, index))

    def _load(self, index: Sequence[int], out: NDArray[Any]) -> str:
        """Read and decode a chunk into `out`; return why that cannot be, or nothing."""
        from google_crc32c import value

        file = self.file(index)
        try:
            content = patiently(file.read_bytes, file)
        except OSError as error:
            return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        packed = content
        if self._checksum:
            packed = content[:-_CHECKSUM_BYTES]
            if value(packed).to_bytes(_CHECKSUM_BYTES, "little") != content[len(packed) :]:
                return "is damaged (its checksum is another)"
        if len(packed) < _BLOSC_HEADER.size:
            return f"is damaged (it has {len(content)} bytes)"
        *_, before, _block, after = _BLOSC_HEADER.unpack_from(packed)
        if (before, after) != (out.nbytes, len(packed)):
            return "is damaged (it has another size than it says)"
        try:
            self._codec.decode(packed, out=out)
        except (RuntimeError, ValueError) as error:
            return f"is damaged ({error})"
        return ""
