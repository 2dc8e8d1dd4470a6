"""Bead stacks as they are read: pixels on demand and a table of stage readings, from a store or a TIFF file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.profile import CameraUnits

if TYPE_CHECKING:
    import zarr

NUMBERS = ("requested_z_um", "measured_z_um", "x_um", "y_um", "exposure_ms", "time_s")
"""Columns of the stored plane table; after them stands the index of the illumination preset."""
COLUMNS = (*NUMBERS[:5], "illumination", "time_s")
"""Columns of `BeadStack.planes`, in order."""
MIN_PLANES = 5
"""A file with fewer planes is no stack through focus."""


class StackPixels:
    """A (z, y, x) uint16 array that is read only where it is indexed (`numpy.asarray` reads all)."""

    def __init__(self, array: zarr.Array | NDArray[np.uint16], planes: int) -> None:
        self._array = array
        self.shape: tuple[int, int, int] = (planes, int(array.shape[1]), int(array.shape[2]))
        self.dtype = np.dtype(np.uint16)
        self.ndim = 3

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint16]:
        head, *rest = key if isinstance(key, tuple) else (key,)
        if head is Ellipsis:
            head, rest = slice(None), [Ellipsis, *rest]
        chosen = range(self.shape[0])[head]
        if isinstance(chosen, range):
            # Zarr takes no negative steps: read the covered planes, then pick.
            low, high = (min(chosen), max(chosen) + 1) if len(chosen) else (0, 0)
            block = np.asarray(self._array[(slice(low, high), *rest)])
            return block[[plane - low for plane in chosen]]
        return np.asarray(self._array[(chosen, *rest)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True)
class BeadStack:
    """One field of view through focus.

    Attributes
    ----------
    fov : int
        0-based field of view within its source.
    pixels : StackPixels, shape (z, y, x), uint16
        ADU, cut to the complete planes; read on indexing.
    planes : DataFrame
        One row per plane, columns `COLUMNS`.
    pixel_size_nm, z_step_nm : float
        Sampling.
    units : CameraUnits or None
        Camera units of the profile that the stack was taken with.
    source : Path
        File or store.
    full_scale_adu : int or None
        The camera's upper end, where it is known.
    fading_per_um : float or None
        Relative change of the beads' light per um of rising z, where it was measured.
    frames_per_plane : int
        Camera frames whose mean each plane is.
    """

    fov: int
    pixels: StackPixels
    planes: pd.DataFrame
    pixel_size_nm: float
    z_step_nm: float
    units: CameraUnits | None
    source: Path
    full_scale_adu: int | None = None
    fading_per_um: float | None = None
    frames_per_plane: int = 1


def open_bead_stacks(
    path: Path, *, z_step_nm: float | None = None, pixel_size_nm: float | None = None
) -> list[BeadStack]:
    """Open bead stacks: a store of `BeadStackWriter`, TIFF, OME-TIFF, a folder of TIFFs, NDTiff, or another movie.

    Parameters
    ----------
    path : Path
        ``NAME.ome.zarr``, a TIFF file (one stack per image), a folder of such files or of one plane each, an NDTiff
        folder (one stack per position), another OME-Zarr image or a Picasso .raw movie (frames are planes).
    z_step_nm, pixel_size_nm : float, optional
        Stand in for what the file does not say; they win over what it says.

    Returns
    -------
    list of BeadStack
        In the order of the fields of view. Stacks that were cut off end at their last complete plane.

    Raises
    ------
    InputError
        The source is missing, is not a bead stack, holds no complete plane, or does not say its sampling.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"bead stacks {path} do not exist: give a .ome.zarr folder, TIFF files or NDTiff")
    sampling = {"z_step_nm": z_step_nm, "pixel_size_nm": pixel_size_nm}
    if (path / "zarr.json").is_file() and _is_ours(path):
        return _open_store(path, z_step_nm, pixel_size_nm)
    from easyzloc_mm.store.bead_folders import TIFF, is_tiff_folder, open_other_stacks, open_tiff_folder
    from easyzloc_mm.store.bead_tiffs import open_tiff_stacks

    if path.suffix.lower() in TIFF and path.is_file():
        return open_tiff_stacks(path, **sampling)
    if is_tiff_folder(path):
        return open_tiff_folder(path, **sampling)
    return open_other_stacks(path, **sampling)


def _is_ours(path: Path) -> bool:
    import zarr

    try:
        return "easyzloc" in zarr.open_group(path, mode="r").attrs
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a Zarr store: {error}") from None


def _open_store(path: Path, z_step_nm: float | None, pixel_size_nm: float | None) -> list[BeadStack]:
    import zarr

    root = zarr.open_group(path, mode="r")
    facts: Any = root.attrs["easyzloc"]
    names = sorted((name for name in root.group_keys() if name.isdigit()), key=int)
    if facts.get("kind") != "bead stacks":
        raise InputError(
            f"{path} holds {facts.get('kind', 'no bead stacks')}: give what acquire-beads or simulate beads wrote"
        )
    plane_group: Any = root["planes"]
    presets = plane_group.attrs.get("illuminations", [])
    camera = facts["profile"].get("camera")
    known = {key: camera[key] for key in CameraUnits.model_fields if key in camera} if camera else {}
    units = CameraUnits(**known) if known else None
    stacks = []
    for name in names:
        if f"{name}/0" not in root or name not in plane_group:
            continue  # killed between making the group and its arrays: no plane can be complete
        rows = np.asarray(plane_group[name][:])
        complete = int(np.argmin(np.append(np.isfinite(rows[:, -1]), False)))
        if complete == 0:
            continue
        table = pd.DataFrame(rows[:complete, :-1], columns=list(NUMBERS))
        table["illumination"] = [presets[int(index)] if index >= 0 else None for index in rows[:complete, -1]]
        stacks.append(
            BeadStack(
                fov=int(name),
                pixels=StackPixels(root[f"{name}/0"], complete),  # type: ignore[arg-type]
                planes=table[list(COLUMNS)],
                pixel_size_nm=float(pixel_size_nm or facts["pixel_size_nm"]),
                z_step_nm=float(z_step_nm or facts["z_step_nm"]),
                units=units,
                source=path,
                full_scale_adu=2 ** int(camera["bit_depth"]) - 1 if camera and "bit_depth" in camera else None,
                fading_per_um=_attribute(root[name], "fading_per_um"),
                frames_per_plane=int(facts["profile"].get("beads", {}).get("frames_per_plane", 1)),
            )
        )
    if not stacks:
        raise InputError(f"{path} holds no complete plane: it was cut off before the first one; acquire again")
    return stacks


def _attribute(group: Any, name: str) -> float | None:
    value = dict(group.attrs.get("easyzloc", {})).get(name)
    return None if value is None else float(value)
