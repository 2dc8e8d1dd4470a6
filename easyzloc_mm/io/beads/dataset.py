"""The bead data set: ROIs through focus with a z label per plane, and why each bead was kept or not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.metadata import BeadSetMetadata
from easyzloc_mm.io.reading import DAMAGED_STORE, reading
from easyzloc_mm.io.writing.kinds import Kind, did_you_mean
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.io.zarr.chunks import put_array, seal, whole_array
from easyzloc_mm.numerics.recurrence import find_recurrence, pixels_around
from easyzloc_mm.typing import F32, F64, I64, U16, Bool, IfExists

ARRAYS = ("rois", "z_nm", "x", "y", "roi_x0", "roi_y0", "stack", "region", "accepted")
LATER_ARRAYS = ("light", "lateral_shift_px_per_um")
"""Arrays that older stores lack."""
IDENTITY = "bead_id"
"""Follows from the others: no part of the digest, and found out again where a store lacks it."""
ROI_CHUNK = 16


@dataclass(frozen=True)
class BeadDataset:
    """Beads of one instrument.

    Attributes
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        ADU as the camera gave them; planes in the order of their stage position. Stacks with fewer planes than P are
        filled up with zeros, where `z_nm` is NaN.
    z_nm : ndarray, shape (n, P), float32
        Label of each plane: stage position above the bead's focus. NaN where there is no plane, and for beads whose
        focus was not found.
    x, y : ndarray, shape (n,), float64
        Centre of the bead in focus on the sensor, pixels. Where the position in the field is unknown, within the ROI.
    roi_x0, roi_y0 : ndarray, shape (n,), int64
        Sensor pixel of the ROI's first column and row.
    stack, region : ndarray, shape (n,), int64
        Split keys: field of view, and group of beads whose ROIs share camera pixels. No region spans two stacks.
    accepted : ndarray, shape (n,), bool
    reason : tuple of str
        Why a bead was rejected; empty for accepted ones.
    measures : DataFrame
        What was measured of each bead (`easyzloc_mm.beads.quality.judge`); NaN where it was not.
    response : CameraResponse
        What turns ADU into photons.
    pixel_size_nm : float
        Sample-plane pixel size.
    field_size_px : (int, int)
        Width and height of the camera image.
    field_known : bool
        Whether `x`, `y` are positions in the field.
    sources : tuple of str
        Names of the files or stores that the beads come from.
    light : ndarray, shape (n, P), float32
        Light of each plane relative to the one in focus, where beads bleach or the lamp drifts along the scan: divide a
        plane's photons above background by it, or brightness is a clue to z. 1 where nobody measured it.
    stacks : DataFrame
        One row per stack: source, planes, z range, focus, threshold, light; empty for ready-cut ROIs.
    lateral_shift_px_per_um : ndarray, shape (n, 2), float64
        Common sideways motion (x, y) of all beads of the stack per um of rising z: a stage that does not rise straight.
        No molecule moves so: cut out crops around `centres`, not around `x`, `y` alone.
    bead_id : ndarray, shape (n,), int64
        Which bead it is: recordings of one bead in several stacks have one number, the index of the first of them.
    """

    rois: U16
    z_nm: F32
    x: F64
    y: F64
    roi_x0: I64
    roi_y0: I64
    stack: I64
    region: I64
    accepted: Bool
    reason: tuple[str, ...]
    response: CameraResponse
    pixel_size_nm: float
    field_size_px: tuple[int, int]
    field_known: bool
    sources: tuple[str, ...] = ()
    measures: pd.DataFrame = field(default_factory=pd.DataFrame)
    light: F32 = field(default_factory=lambda: np.empty(0, np.float32))
    stacks: pd.DataFrame = field(default_factory=pd.DataFrame)
    lateral_shift_px_per_um: F64 = field(default_factory=lambda: np.empty(0))
    bead_id: I64 = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if not self.light.size:
            object.__setattr__(self, "light", np.ones(self.z_nm.shape, np.float32))
        if not self.lateral_shift_px_per_um.size:
            object.__setattr__(self, "lateral_shift_px_per_um", np.zeros((len(self.accepted), 2)))
        if not self.bead_id.size:
            object.__setattr__(self, "bead_id", np.arange(len(self.accepted)))

    def centres(self, bead: int, z_nm: ArrayLike) -> tuple[F64, F64]:
        """Centre of a bead within its ROI at labels `z_nm`: x and y (pixels), the common sideways motion followed."""
        shift = self.lateral_shift_px_per_um[bead][:, None] * np.atleast_1d(np.asarray(z_nm, float)) / 1000
        return self.x[bead] - self.roi_x0[bead] + shift[0], self.y[bead] - self.roi_y0[bead] + shift[1]

    def frames_per_plane(self, bead: int) -> int:
        """How many camera frames each plane of a bead is the mean of."""
        known = "frames_per_plane" in self.stacks
        return int(self.stacks["frames_per_plane"].iloc[self.stack[bead]]) if known else 1

    def __len__(self) -> int:
        return len(self.accepted)

    @property
    def distinct(self) -> int:
        """How many different beads are accepted, however often each was recorded."""
        return len(np.unique(self.bead_id[self.accepted]))

    def fingerprints(self, chosen: ArrayLike) -> tuple[str, ...]:
        """Return what tells the recordings of the beads `chosen` from all others, in whichever data set they stand."""
        found = []
        for bead in np.asarray(chosen, np.int64):
            pixels = pixels_around(self.rois[bead], self.x[bead] - self.roi_x0[bead], self.y[bead] - self.roi_y0[bead])
            if pixels is not None:
                found.append(hashlib.blake2b(pixels, digest_size=8).hexdigest())
        return tuple(found)

    def digest(self) -> str:
        """SHA-256 of what training sees of the data set."""
        content = hashlib.sha256()
        for name in (*ARRAYS, *LATER_ARRAYS):
            content.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        # Spelled as in the first version, or models would no longer know which beads they were trained on.
        values = ", ".join(f"{name}={value!r}" for name, value in self.response.model_dump().items())
        others = f"{self.pixel_size_nm!r}, {self.field_size_px!r}, {self.field_known!r}"
        content.update(f"(CameraUnits({values}), {others})".encode())
        return content.hexdigest()


def write_bead_set(path: Path, beads: BeadDataset, *, if_exists: IfExists = "error") -> None:
    """Write ``beads.zarr`` (Zarr v3), whole or not at all.

    Raises
    ------
    InputError
        `path` exists, or its folder does not.
    """
    import zarr

    with whole_or_nothing(Path(path), Kind.BEAD_SET, if_exists=if_exists) as draft:
        metadata = BeadSetMetadata(
            pixel_size_nm=beads.pixel_size_nm,
            field_size_px=beads.field_size_px,
            field_known=beads.field_known,
            camera_response=beads.response,
            reason=beads.reason,
            sources=beads.sources,
            measures=tuple(map(str, beads.measures.columns)),
            stacks=tuple(json.loads(beads.stacks.to_json(orient="records", double_precision=15))),
        )
        root = zarr.create_group(draft, attributes={"easyzloc": metadata.stored()})
        for name in (*ARRAYS, *LATER_ARRAYS, IDENTITY):
            values = np.asarray(getattr(beads, name))
            put_array(root, name, values, (ROI_CHUNK, *values.shape[1:]) if name == "rois" else None)
        measures = root.create_group("measures")
        for column in beads.measures.columns:
            put_array(measures, str(column), beads.measures[column].to_numpy(np.float64))
        seal(draft)


def read_bead_set(path: Path) -> BeadDataset:
    """Read ``beads.zarr``.

    Raises
    ------
    InputError
        There is none, it is damaged, or it was written by a newer version.
    """
    import zarr

    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a beads.zarr that `beads` or `calibrate` wrote")
    cure = "give a beads.zarr that `beads` or `calibrate` wrote"
    if path.is_dir() and not (path / "zarr.json").is_file():
        raise InputError(f"{path} is no bead data set: {cure}{did_you_mean(path, Kind.BEAD_SET)}")
    with reading(path, "a bead data set", cure=cure):
        root: Any = zarr.open_group(path, mode="r")
        stored: Any = root.attrs["easyzloc"]
    if not isinstance(stored, dict) or stored.get("kind") != BeadSetMetadata.KIND:
        raise InputError(f"{path} is no bead data set: {cure}")
    metadata = BeadSetMetadata.from_stored(stored, path)
    with reading(path, "a Zarr store", RuntimeError, cure=DAMAGED_STORE):
        # By their folders: zarr passes over an array whose metadata is damaged as if it were not there.
        folders = [entry.name for entry in path.iterdir() if entry.is_dir()]
        there = {metadata.RENAMED_ARRAYS.get(name, name): name for name in folders}
        wanted = (*ARRAYS, *(name for name in (*LATER_ARRAYS, IDENTITY) if name in there))
        # No ROI is black.
        arrays = {
            name: whole_array(root[there[name]], zeros_left_out=False if name == "rois" else None) for name in wanted
        }
        measures = {name: whole_array(root[f"measures/{name}"]) for name in metadata.measures}
    if len({*map(len, arrays.values()), *map(len, measures.values()), len(metadata.reason)}) != 1:
        raise InputError(f"{path} has arrays of unlike length: {DAMAGED_STORE}")
    if IDENTITY not in arrays:
        arrays[IDENTITY] = _identity(arrays, metadata)
    columns = metadata.RENAMED_COLUMNS
    return BeadDataset(
        **arrays,
        reason=tuple(metadata.RENAMED_REASONS.get(reason, reason) for reason in metadata.reason),
        response=metadata.camera_response,
        pixel_size_nm=metadata.pixel_size_nm,
        field_size_px=metadata.field_size_px,
        field_known=metadata.field_known,
        sources=metadata.sources,
        measures=pd.DataFrame({columns.get(name, name): values for name, values in measures.items()}),
        stacks=pd.DataFrame(list(metadata.stacks)).rename(columns=columns),
    )


def _identity(arrays: dict[str, Any], metadata: BeadSetMetadata) -> I64:
    """Return which beads of a store of an earlier version are the same one."""
    x, y = arrays["x"], arrays["y"]
    centres = np.stack([x - arrays["roi_x0"], y - arrays["roi_y0"]], axis=1)
    return find_recurrence(
        arrays["stack"], x, y, arrays["rois"], centres, metadata.field_size_px, field_known=metadata.field_known
    ).identity
