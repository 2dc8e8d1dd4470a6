"""Tables that the instrument itself kept about a run, beside the run: ``RUN.records/NAME.parquet``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.output import remove, whole_or_nothing


def records_folder(run: Path) -> Path:
    """Where the records of ``RUN.zarr`` lie."""
    return Path(run).with_suffix(".records")


def write_records(run: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write the records of a run, replacing older ones; nothing is written where there are none."""
    folder = records_folder(run)
    if not tables:
        remove(folder)
        return
    with whole_or_nothing(folder, if_exists="overwrite") as draft:
        draft.mkdir()
        for name, table in tables.items():
            table.to_parquet(draft / f"{name}.parquet", index=False)


def read_record(run: Path, name: str) -> pd.DataFrame:
    """Read one table of a run's records.

    Raises
    ------
    InputError
        The run has no such record: real instruments keep none.
    """
    path = records_folder(run) / f"{name}.parquet"
    if not path.is_file():
        raise InputError(f"{path} is missing: only runs on the embedded microscope have such a record")
    return pd.read_parquet(path)
