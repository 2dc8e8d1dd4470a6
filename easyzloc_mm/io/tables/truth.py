"""The truth about a simulated run or movie: where every emitter was in every frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.ground_truth import read_record, records_folder
from easyzloc_mm.io.tables.checks import impossible
from easyzloc_mm.io.tables.registry import read_table

REQUIRED = ("frame", "x", "y")
NAMES = (*REQUIRED, "z", "sample_z", "photons", "background", "limit_x_nm", "limit_y_nm", "limit_z_nm")
"""Columns that scoring uses; others may hold whatever they do."""


def truth_of_run(run: Path) -> pd.DataFrame:
    """Read the truth that lies beside a run of the embedded microscope.

    Raises
    ------
    InputError
        There is none.
    """
    if not records_folder(run).is_dir():
        raise InputError(f"no truth lies beside {run}: give the table of the true molecules as `truth`")
    return read_record(run, "emitters")


def in_pixels(path: Path) -> bool:
    """Whether a file of true emitters counts x, y in pixels, whatever their size: those of simulations do."""
    return path.suffix in (".records", ".parquet", ".zarr")


def read_truth(path: Path, pixel_size_nm: float) -> pd.DataFrame:
    """Read true emitters.

    Parameters
    ----------
    path : Path
        ``NAME.truth.parquet`` of a simulation, a folder ``RUN.records``, or a table of any program's format.
    pixel_size_nm : float
        Camera pixel, in which ``x``, ``y`` are counted here.

    Returns
    -------
    DataFrame
        ``frame`` (0-based), ``x``, ``y`` (px, 0 at the centre of the first pixel) and, where the file states them,
        ``z`` (nm), ``sample_z`` (nm, height in the sample, where ``z`` counts from the focus at each place of the
        field: the embedded microscope's), ``photons``, ``background``, ``limit_x_nm``, ``limit_y_nm``, ``limit_z_nm``.

    Raises
    ------
    InputError
        There is no such table, or a row of it is impossible.
    """
    path = Path(path)
    if path.suffix == ".records" and path.is_dir():
        truth = read_record(path.with_suffix(".zarr"), "emitters")
    elif path.suffix == ".parquet" and path.is_file():
        try:
            truth = pd.read_parquet(path)
        except (ValueError, OSError):
            raise InputError(f"{path} cannot be read as Parquet: give the truth as it was written") from None
    else:
        truth, _ = read_table(path, pixel_size_nm=pixel_size_nm)
    missing = [name for name in REQUIRED if name not in truth]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}: give a table of the true molecules")
    truth = truth[[name for name in NAMES if name in truth]]
    wrong = [np.flatnonzero(impossible(truth, str(name))) for name in truth.columns]
    for name, rows in zip(truth.columns, wrong, strict=True):
        if len(rows):
            raise InputError(f"{path}: column {name} of row {rows[0] + 1} holds no number that could be true: mend it")
    return truth
