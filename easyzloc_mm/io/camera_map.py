"""Camera maps, ``camera.zarr``: baseline, gain and read noise of every pixel of an sCMOS camera."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from easyzloc_mm.camera.response import MAPS, CameraResponse, PixelResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.reading import reading, words
from easyzloc_mm.io.stored import StoredModel
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.io.zarr.chunks import put_array, seal, whole_array
from easyzloc_mm.profile.schema import Camera
from easyzloc_mm.typing import IfExists

ALIKE = 1.25
"""A map and the profile's own gain that differ by more are not of the same camera."""


class CameraMapMetadata(StoredModel):
    """Root attributes of a camera map."""

    KIND: ClassVar[str] = "camera map"
    SCHEMA_VERSION: ClassVar[int] = 2
    RENAMED: ClassVar[Mapping[str, str]] = {"camera_units": "camera_response"}

    camera_response: CameraResponse | None = None
    """Of the whole chip: medians of baseline and read noise, gain of the common line."""
    dark_frames: int = 0
    flat_frames: int = 0
    """Frames that the maps were measured from."""


def write_camera_map(
    path: Path, maps: PixelResponse, metadata: CameraMapMetadata | None = None, *, if_exists: IfExists = "error"
) -> None:
    """Write maps (Zarr v3, an array each of `MAPS`) and what they were measured from.

    Raises
    ------
    InputError
        `path` exists, or its folder does not.
    """
    import zarr

    with whole_or_nothing(Path(path), Kind.CAMERA_MAP, if_exists=if_exists) as draft:
        stored = (metadata or CameraMapMetadata()).stored()
        root = zarr.create_group(draft, attributes={"easyzloc": stored})
        for name in MAPS:
            put_array(root, name, getattr(maps, name))
        seal(draft)


def read_camera_map(path: Path) -> PixelResponse:
    """Read maps that `camera-calibrate` wrote.

    Raises
    ------
    InputError
        There are none, or they hold values that cannot be.
    """
    import zarr

    path = Path(path)
    if not path.exists():
        raise InputError(f"camera map {path} does not exist: write one with `camera-calibrate`, or leave it out")
    try:
        root: Any = zarr.open_group(path, mode="r")
        stored: Any = root.attrs["easyzloc"]
        if stored["kind"] != CameraMapMetadata.KIND:
            raise ValueError(f"it is a {stored['kind']}")
        CameraMapMetadata.from_stored(stored, path)
        maps = {name: whole_array(root[name]).astype(np.float32) for name in MAPS}
    except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{path} is no camera map ({words(error)}): give the `out` of `camera-calibrate`") from None
    sound = len({values.shape for values in maps.values()}) == 1 and maps["baseline_adu"].ndim == 2
    if not sound or not all(np.isfinite(values).all() for values in maps.values()):
        raise InputError(f"camera map {path} has unlike sizes or values that are no numbers: measure it again")
    if maps["electrons_per_adu"].min() <= 0 or maps["read_noise_e"].min() < 0:
        raise InputError(f"camera map {path} has gains of 0 or less, or negative read noise: measure it again")
    return PixelResponse(**maps)


def units_of_map(path: Path, pixels: PixelResponse) -> CameraResponse:
    """Return the units of the whole chip that were measured with a map; its medians where it states none."""
    import zarr

    with reading(path, "a camera map", cure="give the `out` of `camera-calibrate`"):
        stored: Any = zarr.open_group(path, mode="r").attrs["easyzloc"]
    stated = CameraMapMetadata.from_stored(stored, path).camera_response
    typical: dict[str, Any] = {name: float(np.median(getattr(pixels, name))) for name in MAPS}
    return stated or CameraResponse(**typical)


def check_camera_map(camera: Camera) -> None:
    """Read the map that a profile names, before anything moves; do nothing where it names none.

    Raises
    ------
    InputError
        It is missing, is no map, or is not of this camera's size.
    """
    if camera.map is None:
        return
    pixels = read_camera_map(camera.map)
    if pixels.shape != (camera.height_px, camera.width_px):
        raise InputError(
            f"camera.map {camera.map} has {pixels.shape[1]} x {pixels.shape[0]} px, but camera.width_px x height_px is "
            f"{camera.width_px} x {camera.height_px}: measure it with this camera ROI (`camera-calibrate`)"
        )
    typical = float(np.median(pixels.electrons_per_adu))
    if not 1 / ALIKE < typical / camera.electrons_per_adu < ALIKE:
        warnings.warn(
            f"camera.map {camera.map} has {typical:.3g} electrons per count and camera.electrons_per_adu is "
            f"{camera.electrons_per_adu:g}: copy the units that `camera-calibrate` printed into the profile",
            EasyZlocWarning,
            stacklevel=3,
        )
