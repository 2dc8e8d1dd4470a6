"""Open bead stacks: our own stores here, and every other source by the reader that knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.folders import TIFF, is_tiff_folder, open_other_stacks, open_tiff_folder
from easyzloc_mm.io.beads.metadata import BeadStackMetadata, StackMetadata
from easyzloc_mm.io.beads.stack import COLUMNS, NUMBERS, BeadStack, StackPixels
from easyzloc_mm.io.beads.tiff import open_tiff_stacks
from easyzloc_mm.io.zarr.ome import numbered_images


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
        For what the file does not state; they win over what it states.

    Returns
    -------
    list of BeadStack
        In the order of the fields of view. Stacks that were cut off end at their last complete plane.

    Raises
    ------
    InputError
        The source is missing, is not a bead stack, holds no complete plane, or does not state its sampling.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"bead stacks {path} do not exist: give a .ome.zarr folder, TIFF files or NDTiff")
    sampling = {"z_step_nm": z_step_nm, "pixel_size_nm": pixel_size_nm}
    if (path / "zarr.json").is_file() and _is_ours(path):
        return _open_store(path, z_step_nm, pixel_size_nm)
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
    stored: Any = root.attrs["easyzloc"]
    names = numbered_images(path)
    if stored.get("kind") != BeadStackMetadata.KIND:
        raise InputError(
            f"{path} holds {stored.get('kind', 'no bead stacks')}: give what acquire-beads or simulate beads wrote"
        )
    metadata = BeadStackMetadata.from_stored(stored, path)
    plane_group: Any = root["planes"]
    presets = plane_group.attrs.get("illuminations", [])
    camera = metadata.profile.get("camera")
    known = {key: camera[key] for key in CameraResponse.model_fields if key in camera} if camera else {}
    response = CameraResponse(**known) if known else None
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
                pixel_size_nm=float(pixel_size_nm or metadata.pixel_size_nm),
                z_step_nm=float(z_step_nm or metadata.z_step_nm),
                response=response,
                source=path,
                full_scale_adu=2 ** int(camera["bit_depth"]) - 1 if camera and "bit_depth" in camera else None,
                bleaching_per_um=_stack_metadata(root[name], path).bleaching_per_um,
                frames_per_plane=int(metadata.profile.get("beads", {}).get("frames_per_plane", 1)),
            )
        )
    if not stacks:
        raise InputError(f"{path} holds no complete plane: it was cut off before the first one; acquire again")
    return stacks


def _stack_metadata(group: Any, path: Path) -> StackMetadata:
    return StackMetadata.from_stored(group.attrs.get("easyzloc", {}), path)
