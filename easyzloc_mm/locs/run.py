"""`Run`: an opened ``RUN.zarr``, with its table, raw frames, drift and live status."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.frames import StoredFrames, holds_frames
from easyzloc_mm.io.runs.localizations import holds_localizations, read_metadata
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.runs.status import RunStatus, read_status
from easyzloc_mm.locs.locs import Locs


@dataclass(frozen=True)
class Run:
    """A ``RUN.zarr`` that live, localize, assign-z or scan wrote; it may still be growing.

    Attributes
    ----------
    path : Path
        The store.
    """

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a run.

        Raises
        ------
        InputError
            There is none.
        """
        path = Path(path)
        if not holds_localizations(path) and not holds_frames(path):
            raise InputError(f"{path} is no run: give a RUN.zarr that live, localize or scan wrote")
        return cls(path)

    @property
    def metadata(self) -> RunMetadata:
        """Provenance, as it is on disk now."""
        return read_metadata(self.path)

    @property
    def complete(self) -> bool:
        """Whether every frame that was asked for came and is localised."""
        return bool(self.metadata.complete)

    @property
    def has_frames(self) -> bool:
        """Whether raw frames were kept."""
        return holds_frames(self.path)

    @property
    def status(self) -> RunStatus | None:
        """Last state of a live run; None for a run that was never live."""
        return read_status(self.path)

    def locs(self, where: str | None = None) -> Locs:
        """Read the localisations that are committed (`Locs.load`)."""
        return Locs.load(self.path, where=where)

    def frames(self) -> StoredFrames:
        """Open the raw frames.

        Raises
        ------
        InputError
            None were kept.
        """
        return StoredFrames(self.path)
