"""From a localisation table to biology: tables in, tables and results out."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.run import Run


def load_locs(run: Run | str | Path, *, where: str | None = None, pixel_size_nm: float | None = None) -> Locs:
    """Return the localisations of a run, or of a table of any format.

    Parameters
    ----------
    run : Run or path
        ``RUN.zarr``, Picasso ``.hdf5``, ThunderSTORM ``.csv`` or ``.parquet``.
    where : str, optional
        Condition on the rows, as in ``lpz < 40 and z_flag == 0``.
    pixel_size_nm : float, optional
        Camera pixel, for tables that do not say.

    Raises
    ------
    InputError
        There is no such table, or the condition is not understood, or it leaves no row.
    """
    return Locs.load(run.path if isinstance(run, Run) else Path(run), where=where, pixel_size_nm=pixel_size_nm)


def as_locs(source: Locs | Run | str | Path) -> Locs:
    """Return a table, also where only its run or its file is given."""
    return source if isinstance(source, Locs) else load_locs(source)
