"""Movies written as OME-TIFF."""

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

    pixel_um = pixel_size_nm / 1000
    with tifffile.TiffWriter(path, ome=True, bigtiff=2 * int(np.prod(shape)) > 2**31) as tiff:
        tiff.write(
            iter(frames),
            shape=shape,
            dtype=np.uint16,
            photometric="minisblack",
            software=MARK.decode(),
            metadata={
                "axes": "TYX",
                "PhysicalSizeX": pixel_um,
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": pixel_um,
                "PhysicalSizeYUnit": "µm",
                "TimeIncrement": interval_ms,
                "TimeIncrementUnit": "ms",
            },
        )
