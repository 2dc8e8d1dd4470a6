"""Drift of the sample: the estimate, and the group ``drift/`` of a corrected ``RUN.zarr`` that keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import DAMAGED_STORE, reading
from easyzloc_mm.io.stored import StoredModel
from easyzloc_mm.io.zarr.chunks import CHECKSUM, put_array, seal, whole_array

GROUP = "drift"
COLUMNS = ("frame", "x", "y", "z")


class RejectedPath(FrozenModel):
    """A path that was estimated but not applied, thinned for plotting."""

    step: int
    """Frames between two points."""
    nm: tuple[tuple[float, ...], ...]
    """Displacement at each point: x and y, or z alone, nm."""


class DriftRecord(StoredModel):
    """How a drift was estimated."""

    KIND: ClassVar[str] = "drift"
    SCHEMA_VERSION: ClassVar[int] = 1

    method_xy: str = ""
    method_z: str = ""
    """Methods in words, for people."""
    reason_xy: str = ""
    reason_z: str = ""
    """Why those were chosen."""
    markers: int = 0
    """Fiducial markers in use."""
    sharpness: dict[str, float] = Field(default_factory=dict)
    """Sharpness of the table after each path that was tried; ``none`` is the table as it was."""
    others: dict[str, RejectedPath] = Field(default_factory=dict)
    """Paths that were not applied: ``xy NAME`` or ``z NAME``."""


@dataclass(frozen=True)
class Drift:
    """Displacement of the sample in every frame, relative to its mean over the run.

    Attributes
    ----------
    table : DataFrame
        One row per frame: ``frame``; ``x``, ``y`` (px); ``z`` (nm).
    record : DriftRecord
        How it was estimated.
    """

    table: pd.DataFrame
    record: DriftRecord

    def range_nm(self, pixel_size_nm: float) -> dict[str, float]:
        """Peak-to-peak displacement, nm: ``x``, ``y``, ``z``."""
        scale = {"x": pixel_size_nm, "y": pixel_size_nm, "z": 1.0}
        return {axis: float(np.ptp(self.table[axis])) * scale[axis] for axis in "xyz"}


def write_drift(path: Path, drift: Drift) -> None:
    """Write one row per frame, in full precision so that the correction can be undone, and the record."""
    import zarr

    group = zarr.open_group(path, mode="a").create_group(GROUP, attributes=drift.record.stored())
    for name in COLUMNS:
        put_array(group, name, drift.table[name].to_numpy("uint32" if name == "frame" else "float64"))
    seal(path / GROUP)


def holds_drift(path: Path) -> bool:
    """Whether a run keeps the drift that was taken out of it."""
    return (path / GROUP / "zarr.json").is_file()


def read_drift(path: Path) -> Drift:
    """Read the drift that was taken out of a run.

    Raises
    ------
    InputError
        The run was not corrected.
    """
    import zarr

    if not holds_drift(path):
        raise InputError(f"{path} holds no drift: give a run that `undrift` wrote")
    with reading(path, "the drift of a run", RuntimeError, cure=DAMAGED_STORE):
        group: Any = zarr.open_group(path, mode="r")[GROUP]
        table = pd.DataFrame({name: whole_array(group[name]) for name in COLUMNS})
        stored = {name: value for name, value in group.attrs.items() if name != CHECKSUM}
    return Drift(table, DriftRecord.from_stored(stored, f"the drift of {path}"))
