"""Bead stacks from TIFF and OME-TIFF files; sampling comes from the file's own metadata or from arguments."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stack import COLUMNS, MIN_PLANES, BeadStack, StackPixels
from easyzloc_mm.typing import F64, U16

TO_UM = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00B5m": 1.0, "micron": 1.0, "mm": 1e3}
"""Units of length as OME, ImageJ and Micro-Manager spell them."""
PLANE_AXES = "ZIQ"
"""First axes that mean planes: z, or a sequence of pages that the file does not name."""


def open_tiff_stacks(path: Path, *, z_step_nm: float | None, pixel_size_nm: float | None) -> list[BeadStack]:
    """Open every (z, y, x) image of a TIFF file; arguments and errors as in `open_bead_stacks`."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series = list(file.series) if file.is_ome else list(file.series)[:1]
            ome = ElementTree.fromstring(file.ome_metadata) if file.is_ome and file.ome_metadata else None
            sampling = _imagej_sampling(file) if file.is_imagej else (None, None)
            return [
                _stack(path, index, one, _ome_image(ome, index), sampling, z_step_nm, pixel_size_nm)
                for index, one in enumerate(series)
            ]
    except (tifffile.TiffFileError, ElementTree.ParseError, OSError) as error:
        raise InputError(f"{path} cannot be read as TIFF: {error}") from None


def ome_pixel_size_nm(file: Any) -> float | None:
    """Pixel size that an open `tifffile.TiffFile` states in its OME or ImageJ metadata."""
    if file.is_ome and file.ome_metadata:
        image = _ome_image(ElementTree.fromstring(file.ome_metadata), 0)
        return image.pixel_size_nm if image else None
    return _imagej_sampling(file)[0] if file.is_imagej else None


def read_roi_stacks(path: Path) -> U16:
    """Read ready-cut ROIs through focus from one TIFF file; a file of three dimensions is a single ROI.

    Returns
    -------
    ndarray, shape (n, z, y, x), uint16
        ADU.

    Raises
    ------
    InputError
        The file is missing, no TIFF, or not a stack of three or four dimensions of unsigned integers.
    """
    import tifffile

    path = Path(path)
    if not path.is_file():
        raise InputError(f"ROI stacks {path} do not exist: give a TIFF file")
    try:
        pixels = tifffile.imread(path)
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as TIFF: {error}") from None
    if pixels.ndim == 3:
        pixels = pixels[None]
    if pixels.ndim != 4 or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path} holds {pixels.dtype} {pixels.shape} instead of ROI stacks (n,z,y,x) of 8 or 16 bit counts: "
            "without `rois` a file is read as one bead stack (z,y,x)"
        )
    if pixels.shape[1] < MIN_PLANES:
        raise InputError(f"{path} has {pixels.shape[1]} planes per ROI, {MIN_PLANES} or more are needed")
    return np.asarray(pixels, np.uint16)


def _stack(
    path: Path,
    index: int,
    series: Any,
    ome: _OmeImage | None,
    imagej: tuple[float | None, float | None],
    z_step_nm: float | None,
    pixel_size_nm: float | None,
) -> BeadStack:
    axes = "".join(axis for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX")
    # A stack exported as a time series is common; it counts as z only when the caller gives the step.
    planes_axes = PLANE_AXES + ("T" if z_step_nm else "")
    if len(axes) != 3 or axes[0] not in planes_axes or axes[1:] != "YX":
        cure = "if its frames are z planes, give `z_step_nm`" if axes == "TYX" else "save one z stack per image"
        raise InputError(
            f"{path} image {index} has axes {series.axes} {tuple(series.shape)} instead of z, y, x: {cure}"
        )
    pixels = series.asarray().reshape(-1, *series.shape[-2:])
    step = z_step_nm or (ome.z_step_nm if ome else None) or imagej[1]
    pixel = pixel_size_nm or (ome.pixel_size_nm if ome else None) or imagej[0]
    measured = ome.z_um if ome and not z_step_nm and len(ome.z_um) == len(pixels) else None
    return plain_stack(path, index, pixels, step, pixel, measured)


def plain_stack(
    path: Path,
    fov: int,
    pixels: NDArray[Any],
    z_step_nm: float | None,
    pixel_size_nm: float | None,
    measured_um: F64 | None = None,
) -> BeadStack:
    """Make a stack of planes in the order of their numbers.

    Parameters
    ----------
    path : Path
        Where it is from.
    fov : int
        Number of the stack in that file or folder.
    pixels : ndarray, shape (z, y, x)
    z_step_nm, pixel_size_nm : float or None
        As far as they are known.
    measured_um : ndarray, shape (z,), optional
        Stage readings; without them planes are taken to lie where they were meant to.

    Raises
    ------
    InputError
        No counts, too few planes, or unknown sampling.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} has {pixels.dtype} pixels: save the camera's own counts, 8 or 16 bit unsigned")
    if len(pixels) < MIN_PLANES:
        raise InputError(f"{path} image {fov} has {len(pixels)} planes, a bead stack needs {MIN_PLANES} or more")
    if z_step_nm is None and measured_um is not None:
        z_step_nm = 1000 * float(np.median(np.abs(np.diff(measured_um))))
    if z_step_nm is None:
        raise InputError(f"{path} does not say how far its planes lie apart: give `z_step_nm`")
    if pixel_size_nm is None:
        raise InputError(f"{path} does not say its pixel size: give `pixel_size_nm`")
    nominal = np.arange(len(pixels)) * z_step_nm / 1000
    table = pd.DataFrame({"requested_z_um": nominal, "measured_z_um": nominal if measured_um is None else measured_um})
    table = table.assign(x_um=math.nan, y_um=math.nan, exposure_ms=math.nan, illumination=None, time_s=math.nan)
    counts = pixels.astype(np.uint16, copy=False)
    return BeadStack(
        fov=fov,
        pixels=StackPixels(counts, len(counts)),
        planes=table[list(COLUMNS)],
        pixel_size_nm=float(pixel_size_nm),
        z_step_nm=float(z_step_nm),
        response=None,
        source=path,
    )


class _OmeImage:
    """What the OME-XML states about one image."""

    def __init__(self, pixels: ElementTree.Element) -> None:
        self.pixel_size_nm = _length_nm(pixels, "PhysicalSizeX")
        self.z_step_nm = _length_nm(pixels, "PhysicalSizeZ")
        positions = {
            int(plane.get("TheZ", -1)): _length_nm(plane, "PositionZ")
            for plane in pixels.iterfind("{*}Plane")
            if plane.get("TheC", "0") == "0" and plane.get("TheT", "0") == "0"
        }
        readings = [positions[z] for z in sorted(positions)]
        known = [value / 1000 for value in readings if value is not None]
        # Programs that do not know the stage write one value into every plane.
        self.z_um = np.array(known) if len(known) == len(readings) and len(set(known)) > 1 else np.empty(0)
        if self.z_step_nm is None and len(self.z_um) > 1:
            self.z_step_nm = float(np.median(np.abs(np.diff(self.z_um)))) * 1000 or None


def _ome_image(ome: ElementTree.Element | None, index: int) -> _OmeImage | None:
    if ome is None:
        return None
    images = ome.findall("{*}Image/{*}Pixels")
    return _OmeImage(images[index]) if index < len(images) else None


def _length_nm(element: ElementTree.Element, name: str) -> float | None:
    text, unit = element.get(name), element.get(f"{name}Unit", "µm")
    if text is None or unit not in TO_UM:
        return None
    value = float(text)
    if not math.isfinite(value) or (value <= 0 and name.startswith("Physical")):
        return None
    return value * TO_UM[unit] * 1000


def _imagej_sampling(file: Any) -> tuple[float | None, float | None]:
    """Return pixel size and z step, nm, of an ImageJ file; None where it does not state them."""
    facts = file.imagej_metadata or {}
    scale = TO_UM.get(str(facts.get("unit", "")))
    if scale is None:
        return None, None
    resolution = file.pages[0].tags.get("XResolution")
    pixel = None
    if resolution is not None and resolution.value[0]:
        pixel = resolution.value[1] / resolution.value[0] * scale * 1000
    spacing = facts.get("spacing")
    return pixel, float(spacing) * scale * 1000 if spacing else None
