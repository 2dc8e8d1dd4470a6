"""Bead stacks from what else users have: TIFF files, folders of them, NDTiff, and any movie whose frames are planes."""

from __future__ import annotations

import warnings
from pathlib import Path

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.planes import stack_of
from easyzloc_mm.io.beads.stack import FEWEST_PLANES, BeadStack
from easyzloc_mm.io.sources.images import Images
from easyzloc_mm.io.sources.ndtiff import holds_ndtiff
from easyzloc_mm.io.sources.ome_zarr import holds_zarr
from easyzloc_mm.io.sources.open import open_images
from easyzloc_mm.io.sources.tiff.folder import TIFF, open_tiff_folder, tiffs_in
from easyzloc_mm.io.writing.kinds import Kind, did_you_mean

FOLDERS = "a .ome.zarr folder, TIFF files or a folder of them, or NDTiff"


def open_foreign_stacks(
    path: Path, *, z_step_nm: float | None, pixel_size_nm: float | None, partial: bool = False
) -> list[BeadStack]:
    """Open bead stacks that another program wrote; as `bead_stacks.open_bead_stacks`."""
    if path.is_dir() and not holds_ndtiff(path) and not holds_zarr(path):
        if not tiffs_in(path):
            raise InputError(f"{path} holds no bead stacks: give {FOLDERS}{did_you_mean(path, Kind.BEAD_STACKS)}")
        found = open_tiff_folder(path, partial=partial, fewest=FEWEST_PLANES)
    elif (path.is_file() and path.suffix.lower() not in (*TIFF, ".raw")) or not path.exists():
        raise InputError(f"{path} holds no bead stacks: give {FOLDERS}")
    else:
        found = _stacks_alone(open_images(path, "bead stack", partial=partial))
    # A stack exported as a time series is common; in TIFF it counts as z only when the caller gives the step.
    frames_are_planes = path.is_dir() or path.suffix.lower() == ".raw"
    fovs: dict[Path, int] = {}
    stacks = []
    for images in found:
        fov = fovs.get(images.source, 0)
        fovs[images.source] = fov + 1
        stacks.append(
            stack_of(
                images,
                fov,
                z_step_nm=z_step_nm,
                pixel_size_nm=pixel_size_nm,
                frames_are_planes=frames_are_planes and images.source == path,
            )
        )
    return stacks


def _stacks_alone(found: list[Images]) -> list[Images]:
    """Leave out arrays that are written behind a stack and are none."""
    kept = [images for number, images in enumerate(found) if number == 0 or len(images.there) >= FEWEST_PLANES]
    if len(kept) < len(found):
        warnings.warn(
            f"{found[0].source}: {len(found) - len(kept)} images beside the bead stack are left out",
            EasyZlocWarning,
            stacklevel=4,
        )
    return kept
