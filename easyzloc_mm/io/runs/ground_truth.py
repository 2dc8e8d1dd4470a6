"""Ground truth of a simulated run, beside the run: ``RUN.records/NAME.parquet``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import COPY_AGAIN, reading
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import remove, whole_or_nothing

SCHEMA_VERSION = 1


def records_folder(run: Path) -> Path:
    """Folder of the ground truth of ``RUN.zarr``."""
    return Path(run).with_suffix(".records")


def write_records(run: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write the ground truth of a run, replacing an older one; without tables an older one is removed."""
    folder = records_folder(run)
    if not tables:
        remove(folder)
        return
    with whole_or_nothing(folder, Kind.RECORDS, if_exists="overwrite") as draft:
        draft.mkdir()
        for name, table in tables.items():
            # pandas keeps `attrs` in the file.
            marked = table.copy(deep=False)
            marked.attrs = {"easyzloc": {"kind": "ground truth", "schema_version": SCHEMA_VERSION}}
            marked.to_parquet(draft / f"{name}.parquet", index=False)


def read_record(run: Path, name: str) -> pd.DataFrame:
    """Read one table of a run's ground truth.

    Raises
    ------
    InputError
        The run has no such table: real instruments know no truth.
    """
    path = records_folder(run) / f"{name}.parquet"
    if not path.is_file():
        raise InputError(f"{path} is missing: only runs on the embedded microscope have such a record")
    with reading(path, "Parquet", cure=COPY_AGAIN):
        table = pd.read_parquet(path)
    version = table.attrs.get("easyzloc", {}).get("schema_version", 1)
    if version > SCHEMA_VERSION:
        raise InputError(f"{path} has schema version {version}, not up to {SCHEMA_VERSION}: update easyzloc_mm")
    table.attrs = {}
    return table
