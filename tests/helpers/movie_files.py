"""One movie in every format that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray

from easyzloc_mm.io.runs.frames import FrameWriter

SHAPE = (96, 128)


def as_tiff(folder: Path, movie: NDArray[np.uint16]) -> Path:
    tifffile.imwrite(folder / "m.tif", movie, photometric="minisblack", metadata={"axes": "TYX"})
    return folder / "m.tif"


def as_compressed_pages(folder: Path, movie: NDArray[np.uint16]) -> Path:
    with tifffile.TiffWriter(folder / "m.tif") as file:
        for frame in movie:
            file.write(frame, photometric="minisblack", compression="zlib", metadata=None)
    return folder / "m.tif"


def as_imagej(folder: Path, movie: NDArray[np.uint16]) -> Path:
    tifffile.imwrite(
        folder / "m.tif", movie, imagej=True, resolution=(1 / 0.11, 1 / 0.11), metadata={"unit": "um", "axes": "TYX"}
    )
    return folder / "m.tif"


def as_ome_tiff(folder: Path, movie: NDArray[np.uint16]) -> Path:
    metadata = {"axes": "TYX", "PhysicalSizeX": 0.11, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(folder / "m.ome.tif", movie, ome=True, metadata=metadata)
    return folder / "m.ome.tif"


def as_ome_tiff_files(folder: Path, movie: NDArray[np.uint16]) -> Path:
    """As Micro-Manager splits a long movie: one OME-XML that names the planes of several files."""
    parts = np.array_split(np.arange(len(movie)), 3)
    names = [f"m_{i}.ome.tif" for i in range(len(parts))]
    entries = "".join(
        f'<TiffData FirstC="0" FirstZ="0" FirstT="{t}" IFD="{i}" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:00000000-0000-0000-0000-00000000000{k}</UUID></TiffData>'
        for k, (name, part) in enumerate(zip(names, parts, strict=True))
        for i, t in enumerate(part)
    )
    for k, (name, part) in enumerate(zip(names, parts, strict=True)):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:00000000-0000-0000-0000-00000000000{k}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            f'DimensionOrder="XYCZT" Type="uint16" SizeX="{movie.shape[2]}" SizeY="{movie.shape[1]}" SizeC="1" '
            f'SizeZ="1" SizeT="{len(movie)}" PhysicalSizeX="0.11" PhysicalSizeXUnit="µm">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{entries}</Pixels></Image></OME>'
        )
        with tifffile.TiffWriter(folder / name) as file:
            for i, t in enumerate(part):
                description = xml.encode() if i == 0 else None
                file.write(movie[t], photometric="minisblack", description=description, metadata=None, contiguous=False)
    return folder / names[0]


def as_ndtiff(folder: Path, movie: NDArray[np.uint16]) -> Path:
    from ndstorage import NDTiffDataset

    data = NDTiffDataset(str(folder / "nd"), summary_metadata={"PixelSize_um": 0.11}, writable=True)
    for t, frame in enumerate(movie):
        data.put_image({"time": t}, frame, {"PixelSizeUm": 0.11})
    data.finish()
    data.close()
    return folder / "nd"


def as_ome_zarr(folder: Path, movie: NDArray[np.uint16]) -> Path:
    import zarr

    from easyzloc_mm.io.zarr.ome import image_attributes

    group = zarr.open_group(folder / "m.ome.zarr", mode="w")
    group.attrs.update(image_attributes("m", "tyx", {"t": 1.0, "y": 0.11, "x": 0.11}))
    array = group.create_array("0", shape=movie.shape, chunks=(7, 48, 64), dtype="uint16")
    array[:] = movie
    return folder / "m.ome.zarr"


def as_run(folder: Path, movie: NDArray[np.uint16]) -> Path:
    writer = FrameWriter(folder / "r.zarr", SHAPE, pixel_size_nm=110.0, expected=len(movie))
    for number, frame in enumerate(movie):
        writer.append(number, frame)
    writer.close()
    return folder / "r.zarr"


def as_raw(folder: Path, movie: NDArray[np.uint16]) -> Path:
    movie.astype(">u2").tofile(folder / "m.raw")
    info = {"Byte Order": ">", "Data Type": "uint16", "Frames": len(movie), "Height": SHAPE[0], "Width": SHAPE[1],
            "Pixelsize": 110}  # fmt: skip
    (folder / "m.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    return folder / "m.raw"


def as_single_images(folder: Path, movie: NDArray[np.uint16]) -> Path:
    images = folder / "images"
    images.mkdir()
    for number, frame in enumerate(movie, start=1):
        tifffile.imwrite(images / f"frame_{number}.tif", frame, photometric="minisblack")
    return images


WRITERS: list[Callable[[Path, NDArray[np.uint16]], Path]] = [
    as_tiff, as_compressed_pages, as_imagej, as_ome_tiff, as_ome_tiff_files, as_ndtiff, as_ome_zarr, as_run, as_raw,
    as_single_images,
]  # fmt: skip
