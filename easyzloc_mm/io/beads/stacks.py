"""Open bead stacks: our own stores here, and every other source by the reader that knows it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.folders import open_foreign_stacks
from easyzloc_mm.io.beads.metadata import BeadStackMetadata, StackMetadata
from easyzloc_mm.io.beads.stack import COLUMNS, NUMBERS, BeadStack, StackPixels, StoredPlanes
from easyzloc_mm.io.reading import COPY_AGAIN, reading
from easyzloc_mm.io.sources.ome_zarr import whole_images
from easyzloc_mm.io.zarr.chunks import ChunkedArray
from easyzloc_mm.io.zarr.ome import numbered_images

BLACK_PART = 20
"""Images of a camera are never compressed to so small a part."""


def open_bead_stacks(
    path: Path, *, z_step_nm: float | None = None, pixel_size_nm: float | None = None, partial: bool = False
) -> list[BeadStack]:
    """Open bead stacks: a store of `BeadStackWriter`, TIFF, OME-TIFF, a folder of TIFFs, NDTiff, or another movie.

    Parameters
    ----------
    path : Path
        ``NAME.ome.zarr``, a TIFF file (one stack per image), a folder of such files or of one plane each, an NDTiff
        folder (one stack per position), another OME-Zarr image or a Picasso .raw movie (frames are planes).
    z_step_nm, pixel_size_nm : float, optional
        For what the file does not state; they win over what it states.
    partial : bool
        Read what is there of a set of several files of which some are missing.

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
    if (path / "zarr.json").is_file() and _is_ours(path):
        return _open_store(path, z_step_nm, pixel_size_nm)
    return open_foreign_stacks(path, z_step_nm=z_step_nm, pixel_size_nm=pixel_size_nm, partial=partial)


def _is_ours(path: Path) -> bool:
    import zarr

    with reading(path, "a Zarr store", cure=COPY_AGAIN):
        return "easyzloc" in zarr.open_group(path, mode="r").attrs


def _open_store(path: Path, z_step_nm: float | None, pixel_size_nm: float | None) -> list[BeadStack]:
    import zarr

    metadata = read_stack_metadata(path)
    with reading(path, "a Zarr store", cure=COPY_AGAIN):
        root = zarr.open_group(path, mode="r")
    stacks = []
    for name in numbered_images(path):
        with reading(path / name, "a bead stack", RuntimeError, cure=COPY_AGAIN):
            stack = _read_stack(path, root, name, metadata)
        if stack is not None:
            stack = replace(stack, pixel_size_nm=float(pixel_size_nm or stack.pixel_size_nm))
            stacks.append(replace(stack, z_step_nm=float(z_step_nm or stack.z_step_nm)))
    if not stacks:
        raise InputError(f"{path} holds no complete plane: it was cut off before the first one; acquire again")
    return stacks


def read_stack_metadata(path: Path) -> BeadStackMetadata:
    """Return what stands in a store of bead stacks beside its planes: the profile, and how far the acquisition is.

    Raises
    ------
    InputError
        It is not there yet, cannot be read, or is of something else.
    """
    import zarr

    with reading(path, "a Zarr store", cure=COPY_AGAIN):
        stored: Any = zarr.open_group(path, mode="r").attrs["easyzloc"]
    kind = stored.get("kind") if isinstance(stored, dict) else None
    if kind != BeadStackMetadata.KIND:
        raise InputError(f"{path} holds {kind or 'no bead stacks'}: give what acquire-beads or simulate beads wrote")
    return BeadStackMetadata.from_stored(stored, path)


def _is_black(folder: Path, array: ChunkedArray, plane: int) -> bool:
    """Whether a plane is one value all over; only what was compressed to next to nothing is looked at."""
    stored = folder.joinpath("c", str(plane), "0", "0").stat().st_size
    if BLACK_PART * stored > 2 * array.shape[1] * array.shape[2]:
        return False
    return bool(blank_images(array.read((plane, 0, 0)))[0])


def _read_stack(path: Path, root: Any, name: str, metadata: BeadStackMetadata) -> BeadStack | None:
    """Return one stack of a store, without the planes that are missing; None where none is complete."""
    if f"{name}/0" not in root or f"planes/{name}" not in root:
        return None  # killed between making the group and its arrays: no plane can be complete
    presets = root["planes"].attrs.get("illuminations", [])
    rows, image = np.asarray(root["planes"][name][:]), root[f"{name}/0"]
    complete = int(np.argmin(np.append(np.isfinite(rows[:, -1]), False)))
    complete = min(complete, int(image.shape[0]))
    there = np.flatnonzero(whole_images(path / name / "0", image.shape)[:complete])
    array = ChunkedArray.open(path / name / "0")
    there = np.array([plane for plane in there.tolist() if not _is_black(path / name / "0", array, plane)], np.int64)
    if not len(there):
        return None
    if len(there) < complete:
        warnings.warn(
            f"{path}, field {name}: {complete - len(there)} of {complete} planes are missing (black, or without their "
            "files); the others keep their z",
            EasyZlocWarning,
            stacklevel=4,
        )
    table = pd.DataFrame(rows[there, :-1], columns=list(NUMBERS))
    table["illumination"] = [presets[int(index)] if index >= 0 else None for index in rows[there, -1]]
    camera = metadata.profile.get("camera")
    known = {key: camera[key] for key in CameraResponse.model_fields if key in camera} if camera else {}
    return BeadStack(
        fov=int(name),
        pixels=StackPixels(StoredPlanes(array), there.tolist() if len(there) < complete else complete),
        planes=table[list(COLUMNS)],
        pixel_size_nm=metadata.pixel_size_nm,
        z_step_nm=metadata.z_step_nm,
        response=CameraResponse(**known) if known else None,
        source=path,
        full_scale_adu=2 ** int(camera["bit_depth"]) - 1 if camera and "bit_depth" in camera else None,
        bleaching_per_um=StackMetadata.from_stored(root[name].attrs.get("easyzloc", {}), path).bleaching_per_um,
        frames_per_plane=int(metadata.profile.get("beads", {}).get("frames_per_plane", 1)),
        planes_lost=max(metadata.planned_planes or 0, complete) - len(there),
    )
