"""Files of images as other programs write them, whole and not: small writers that share nothing with our readers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[np.uint16]
PLAIN: dict[str, Any] = {"photometric": "minisblack", "metadata": None}


def counts(images: int, shape: tuple[int, int] = (48, 64), seed: int = 0) -> Pixels:
    """Return images that differ from each other: noise around 200 counts."""
    return np.random.default_rng(seed).poisson(200, (images, *shape)).astype(np.uint16)


def page_by_page(path: Path, images: Iterable[Pixels], heading: str = "", **options: Any) -> Path:
    """Write a page for each image, each with its directory before it; `heading` stands in the first."""
    with tifffile.TiffWriter(path) as file:
        for number, image in enumerate(images):
            description = heading.encode() if number == 0 and heading else None
            file.write(image, metadata=None, contiguous=False, description=description, **options)
    return path


def imagej(path: Path, images: Pixels, *facts: str, pixel: float = 0.11) -> Path:
    """Write pages under an ImageJ heading that states whatever it is given."""
    heading = "\n".join(["ImageJ=1.53t", *facts, "loop=false", ""])
    return page_by_page(path, images, heading, resolution=(1 / pixel,) * 2, resolutionunit=1)


def imagej_in_one_piece(path: Path, images: Pixels, stated: int | None = None) -> Path:
    """Write images behind each other after a single directory, as ImageJ does."""
    tifffile.imwrite(path, images, imagej=True, metadata={"axes": "TYX"})
    data = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", data, 4)[0]
    at = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
    second = struct.unpack_from("<I", data, at)[0]
    struct.pack_into("<I", data, at, 0)
    content = bytes(data[:second])
    for name in ("images", "frames"):
        old = f"{name}={len(images)}\n".encode()
        content = content.replace(old, f"{name}={stated or len(images)}\n".encode().rjust(len(old), b"\n"))
    path.write_bytes(content)
    return path


def ome_xml(
    sizes: dict[str, int], planes: str, *, uuid: str = "urn:uuid:1", pixels: str = "", shape: tuple[int, int] = (48, 64)
) -> str:
    """Return OME-XML of one image; `planes` are its elements TiffData and Plane, `pixels` further attributes."""
    lengths = " ".join(f'Size{axis}="{sizes.get(axis, 1)}"' for axis in "ZCT")
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="{uuid}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
        f'SizeX="{shape[1]}" SizeY="{shape[0]}" {lengths} {pixels}><Channel ID="Channel:0" SamplesPerPixel="1"/>'
        f"{planes}</Pixels></Image></OME>"
    )


def ome_set(folder: Path, images: Pixels, *, files: int, axis: str = "T") -> list[Path]:
    """Write an OME-TIFF in several files as Micro-Manager does: the others only name the first, which has the XML."""
    parts = np.array_split(np.arange(len(images)), files)
    names = [f"run_MMStack_Pos0{f'_{number}' if number else ''}.ome.tif" for number in range(files)]
    planes = "".join(
        f'<TiffData IFD="{row}" First{axis}="{place}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{number}</UUID>'
        "</TiffData>"
        for number, (name, part) in enumerate(zip(names, parts, strict=True))
        for row, place in enumerate(part)
    )
    only = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:1"><BinaryOnly MetadataFile="{names[0]}" UUID="urn:uuid:0"/></OME>'
    )
    whole = ome_xml({axis: len(images)}, planes, uuid="urn:uuid:0", shape=images.shape[1:])
    return [
        page_by_page(folder / name, images[part], only if number else whole)
        for number, (name, part) in enumerate(zip(names, parts, strict=True))
    ]


def micro_manager(path: Path, images: Pixels, frames: Iterable[int], *, planned: int) -> Path:
    """Write Micro-Manager's own stack file: an index of the frame of every directory, no OME-XML."""
    summary = f'{{"Prefix": "run", "Frames": {planned}, "MicroManagerVersion": "2.0"}}'.encode()
    body, index = bytearray(40 + len(summary) + len(summary) % 2), []
    for image, frame in zip(images, frames, strict=True):
        entries = [
            (256, 4, image.shape[1]), (257, 4, image.shape[0]), (258, 3, 16), (259, 3, 1), (262, 3, 1),
            (273, 4, 0), (277, 3, 1), (278, 4, image.shape[0]), (279, 4, image.nbytes), (51123, 2, 0),
        ]  # fmt: skip
        here = len(body)
        index.append((0, 0, frame, 0, here))
        at = here + 2 + 12 * len(entries) + 4
        body += struct.pack("<H", len(entries))
        for tag, kind, value in entries:
            body += struct.pack("<HHII", tag, kind, 1, at if tag == 273 else value)
        body += struct.pack("<I", at + image.nbytes) + image.astype("<u2").tobytes()
    last = index[-1][4]
    struct.pack_into("<I", body, last + 2 + 12 * 10, 0)
    struct.pack_into("<4sI", body, 0, b"II*\0", index[0][4])
    struct.pack_into("<II", body, 8, 54773648, len(body))
    struct.pack_into("<II", body, 32, 2355492, len(summary))
    body[40 : 40 + len(summary)] = summary
    body += struct.pack("<II", 3453623, len(index)) + b"".join(struct.pack("<5I", *row) for row in index)
    path.write_bytes(bytes(body))
    return path


def ndtiff(folder: Path, images: Pixels, values: Iterable[int], *, axis: str = "time", **summary: Any) -> Path:
    """Write an NDTiff data set with these values of its axis."""
    from ndstorage import NDTiffDataset

    data = NDTiffDataset(str(folder), summary_metadata={"PixelSize_um": 0.11, **summary}, writable=True)
    for value, image in zip(values, images, strict=True):
        data.put_image({axis: value}, image, {"PixelSizeUm": 0.11})
    data.finish()
    data.close()
    return folder


def ome_zarr(
    path: Path, images: Pixels, *, chunks: tuple[int, int, int], axis: str = "t", version: int = 3, unit: str = ""
) -> Path:
    """Write an OME-Zarr image, scale 0.05 along z and 0.11 in the plane."""
    import zarr

    axes = [{"name": axis, "type": "space", "unit": unit or "micrometer"}] + [
        {"name": name, "type": "space", "unit": unit or "micrometer"} for name in "yx"
    ]
    scales = {"axes": axes, "datasets": [
        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.05, 0.11, 0.11]}]}
    ]}  # fmt: skip
    multiscales: dict[str, Any] = {"multiscales": [scales]}
    group = zarr.create_group(path, zarr_format=3 if version == 3 else 2)
    group.attrs.update({"ome": {"version": "0.5", **multiscales}} if version == 3 else multiscales)
    group.create_array("0", shape=images.shape, chunks=chunks, dtype="uint16")[...] = images
    return path


def cut(path: Path, share: float) -> Path:
    """Cut a file to a share of its bytes, as a full disk or a broken copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def lzw(path: Path, images: Pixels) -> Path:
    """Write LZW pages with Pillow."""
    from PIL import Image

    first, *others = [Image.fromarray(image) for image in images]
    first.save(path, save_all=True, append_images=others, compression="tiff_lzw")
    return path


LAYOUTS: dict[str, Callable[[Path, Pixels], Path]] = {
    "contiguous": lambda path, images: _write(path, images, **PLAIN),
    "with its shape": lambda path, images: _write(path, images, photometric="minisblack"),
    "page by page": page_by_page,
    "series by series": lambda path, images: _series(path, images),
    "big-endian": lambda path, images: _write(path, images, byteorder=">", **PLAIN),
    "BigTIFF": lambda path, images: _write(path, images, bigtiff=True, **PLAIN),
    "BigTIFF, big-endian, page by page": lambda path, images: _big_pages(path, images),
    "deflate": lambda path, images: _write(path, images, compression="zlib", predictor=True, **PLAIN),
    "LZW": lzw,
    "tiles": lambda path, images: _write(path, images, tile=(32, 32), **PLAIN),
    "strips": lambda path, images: _write(path, images, rowsperstrip=7, **PLAIN),
    "ImageJ": lambda path, images: _write(path, images, imagej=True, metadata={"axes": "TYX"}),
    "ImageJ in one piece": imagej_in_one_piece,
    "OME": lambda path, images: _write(path, images, ome=True, metadata={"axes": "TYX"}),
    "OME, big-endian BigTIFF": lambda path, images: _write(
        path, images, ome=True, bigtiff=True, byteorder=">", metadata={"axes": "TYX"}
    ),
    "Micro-Manager": lambda path, images: micro_manager(path, images, range(len(images)), planned=len(images)),
}
"""Every layout of a TIFF movie, whole."""


def _write(path: Path, images: Pixels, **options: Any) -> Path:
    tifffile.imwrite(path, images, **options)
    return path


def _series(path: Path, images: Pixels) -> Path:
    with tifffile.TiffWriter(path) as file:
        for image in images:
            file.write(image)
    return path


def _big_pages(path: Path, images: Pixels) -> Path:
    with tifffile.TiffWriter(path, bigtiff=True, byteorder=">") as file:
        for image in images:
            file.write(image, metadata=None, contiguous=False)
    return path
