"""`Locs`: a localisation table with its metadata, from any file format and to any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.drift import Drift, holds_drift, read_drift
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import read_table, write_table
from easyzloc_mm.locs.query import select
from easyzloc_mm.locs.table import in_nm
from easyzloc_mm.typing import IfExists


@dataclass(frozen=True)
class Locs:
    """Localisations.

    Attributes
    ----------
    table : DataFrame
        Picasso's columns and units: ``frame`` (0-based); ``x``, ``y`` (camera pixels, 0 at the centre of the first
        pixel); ``photons``; ``sx``, ``sy`` (spot widths, px); ``bg`` (photons per pixel); ``lpx``, ``lpy``
        (localisation precision, px); ``ellipticity``, ``net_gradient``; in 3D ``z``, ``lpz`` (nm), ``z_flag``.
        Further columns of other programs are kept.
    metadata : RunMetadata
        Where the table comes from.
    source : Path or None
        File that it was read from, for messages.
    drift : Drift or None
        Drift that was taken out of it; a ``RUN.zarr`` keeps it.

    Examples
    --------
    >>> locs = ez.Locs.load("run.zarr")
    >>> locs.nm[["x_nm", "y_nm", "z"]].shape == (len(locs.nm), 3)
    True
    """

    table: pd.DataFrame
    metadata: RunMetadata
    source: Path | None = None
    drift: Drift | None = None

    @classmethod
    def load(cls, path: Path | str, where: str | None = None, pixel_size_nm: float | None = None) -> Self:
        """Read a table: ``RUN.zarr``, Picasso ``.hdf5``, ThunderSTORM ``.csv`` or ``.parquet``.

        Parameters
        ----------
        path : Path or str
            The table; its ending names the format.
        where : str, optional
            Condition on the rows, as in ``lpz < 40 and z_flag == 0``.
        pixel_size_nm : float, optional
            Camera pixel, for files that do not state it.

        Raises
        ------
        InputError
            There is no such table, the condition is not understood, or it leaves no row.
        """
        path = Path(path)
        table, metadata = read_table(path, pixel_size_nm=pixel_size_nm)
        locs = cls(table, metadata, path, read_drift(path) if holds_drift(path) else None)
        return locs if where is None else locs.where(where)

    def save(self, path: Path | str, if_exists: IfExists = "error") -> int:
        """Write the table in the format that the ending of `path` names (see `load`).

        Returns
        -------
        int
            Rows written: Picasso leaves out those outside the image.

        Raises
        ------
        InputError
            The ending names no format, or `path` exists.
        """
        return write_table(Path(path), self.table, self.metadata, drift=self.drift, if_exists=if_exists)

    def where(self, condition: str) -> Self:
        """Return the rows for which `condition` holds (`easyzloc_mm.locs.query.select`).

        Raises
        ------
        InputError
            The condition is not understood, or leaves none of the rows.
        """
        chosen = select(self.table, condition)
        if chosen.empty and len(self.table):
            raise InputError(f'`where` "{condition}" leaves none of the {len(self)} localisations of {self.name}')
        before = self.metadata.where
        both = condition if before is None else f"({before}) and ({condition})"
        return self.with_table(chosen, where=both)

    def with_table(self, table: pd.DataFrame, **changes: object) -> Self:
        """Return other rows with the same metadata, but for `changes`."""
        return replace(self, table=table, metadata=self.metadata.changed(**changes))

    @property
    def name(self) -> str:
        """What messages call the table."""
        return str(self.source) if self.source is not None else "the table"

    @property
    def pixel_size_nm(self) -> float:
        """Camera pixel, nm."""
        return self.metadata.pixel_size_nm

    @property
    def frames(self) -> int:
        """Frames of the run, lost ones included; also where its writer was killed before it could note them."""
        seen = int(self.table["frame"].max()) + 1 if len(self.table) else 1
        return max(seen, self.metadata.frames + self.metadata.frames_lost)

    @property
    def is_3d(self) -> bool:
        """Whether the table has z."""
        return "z" in self.table

    @property
    def nm(self) -> pd.DataFrame:
        """Rows that can be believed (``z_flag`` 0), in nm (`easyzloc_mm.locs.table.in_nm`).

        Columns ``frame``, ``x_nm``, ``y_nm``, ``z``, ``lpx_nm``, ``lpy_nm``, ``lpz``; a 2D table has no ``z``, ``lpz``.
        """
        return in_nm(self.table, self.pixel_size_nm)

    @property
    def nm_3d(self) -> pd.DataFrame:
        """`nm` of a 3D table that holds something.

        Raises
        ------
        InputError
            The table is 2D, or no row can be believed.
        """
        if not self.is_3d:
            raise InputError(f"{self.name} has no z: localise it with a model")
        kept = self.nm
        if kept.empty:
            raise InputError(f"{self.name} has no localisation whose z can be believed: nothing to show")
        return kept

    def __len__(self) -> int:
        return len(self.table)
