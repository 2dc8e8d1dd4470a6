"""Movies and bead stacks written as OME-TIFF, as camera programs do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from easyzloc_mm.io.writing.kinds import MARK
from easyzloc_mm.typing import U16


def write_ome_tiff_movie(
    path: Path,
    frames: Iterable[U16],
    shape: tuple[int, int, int],
    *,
    pixel_size_nm: float,
    interval_ms: float,
) -> None:
    """Write frames as they come.

    Parameters
    ----------
    path : Path
        ``NAME.tif``.
    frames : iterable of ndarray, uint16
        ADU.
    shape : (int, int, int)
        Frames, height, width.
    pixel_size_nm, interval_ms : float
        Sampling, stored in the file.
    """
    import tifffile

    with tifffile.TiffWriter(path, ome=True, bigtiff=2 * int(np.prod(shape)) > 2**31) as tiff:
        tiff.write(
            iter(frames),
            shape=shape,
            dtype=np.uint16,
            photometric="minisblack",
            software=MARK.decode(),
            metadata={
                "axes": "TYX", **_pixel(pixel_size_nm), "TimeIncrement": interval_ms, "TimeIncrementUnit": "ms",
            },
        )  # fmt: skip


def write_ome_tiff_stacks(
    path: Path,
    stacks: Iterable[Iterable[U16]],
    shape: tuple[int, int, int],
    *,
    pixel_size_nm: float,
    z_step_nm: float,
) -> None:
    """Write bead stacks, each an image of its own in one file.

    Parameters
    ----------
    path : Path
        ``NAME.tif``.
    stacks : iterable of iterables of ndarray, uint16
        Planes of each field, ADU.
    shape : (int, int, int)
        Planes, height, width of every stack.
    pixel_size_nm, z_step_nm : float
        Sampling, stored in the file.
    """
    import tifffile

    metadata = {
        "axes": "ZYX", **_pixel(pixel_size_nm), "PhysicalSizeZ": z_step_nm / 1000, "PhysicalSizeZUnit": "µm",
    }  # fmt: skip
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as tiff:
        for planes in stacks:
            tiff.write(
                iter(planes),
                shape=shape,
                dtype=np.uint16,
                photometric="minisblack",
                software=MARK.decode(),
                metadata=metadata,
            )


def _pixel(pixel_size_nm: float) -> dict[str, object]:
    edges = {f"PhysicalSize{axis}": pixel_size_nm / 1000 for axis in "XY"}
    return {**edges, **dict.fromkeys((f"{edge}Unit" for edge in edges), "µm")}
