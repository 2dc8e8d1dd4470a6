"""Open a source of images, whatever program wrote it."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.sources.images import Images
from easyzloc_mm.io.sources.ndtiff import INDEX, holds_ndtiff, open_ndtiff
from easyzloc_mm.io.sources.ome_zarr import holds_zarr, open_ome_zarr
from easyzloc_mm.io.sources.raw import open_raw
from easyzloc_mm.io.sources.tiff.folder import TIFF, open_tiff_folder, tiffs_in
from easyzloc_mm.io.sources.tiff.open import open_tiff

FORMATS = (
    "TIFF, OME-TIFF, a folder of single TIFF images, an NDTiff folder, OME-Zarr, a RUN.zarr with raw frames, or "
    "Picasso .raw with its .yaml"
)


def open_images(path: Path, what: str, *, partial: bool = False) -> list[Images]:
    """Open the images of a file or folder: one entry per array, position or image that it tells apart.

    Parameters
    ----------
    path : Path
    what : str
        What it is wanted for, as in "movie".
    partial : bool
        Whether a set of several files may lack some of them.

    Raises
    ------
    InputError
        It is missing, of an unknown format, damaged, or incomplete.
    """
    if not path.exists():
        raise InputError(f"{what} {path} does not exist: give {FORMATS}")
    if path.is_dir():
        if holds_ndtiff(path):
            return open_ndtiff(path, partial=partial)
        if holds_zarr(path):
            return [open_ome_zarr(path)]
        if tiffs_in(path):
            found = open_tiff_folder(path, partial=partial)
            if len(found) > 1:
                several = f"{len(found)} TIFF files that are no single images"
                raise InputError(f"{path} holds {several}: give one as the {what}")
            return found
        raise InputError(f"{path} is a folder but no {what}: give {FORMATS}")
    if path.suffix.lower() in TIFF:
        if holds_ndtiff(path.parent) and path.name.startswith("NDTiffStack"):
            return open_ndtiff(path.parent, partial=partial)
        return open_tiff(path, partial=partial)
    if path.suffix.lower() == ".raw":
        return [open_raw(path)]
    if path.name == INDEX:
        return open_ndtiff(path.parent, partial=partial)
    raise InputError(f"{path} is no {what} that can be read: give {FORMATS}")
