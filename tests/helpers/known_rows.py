"""Rows of a localisation table that tell which they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z


def known_rows(first: int, count: int) -> pd.DataFrame:
    """Rows whose every column is told by the row's number, so that a torn one is seen."""
    number = np.arange(first, first + count)
    table = pd.DataFrame({name: (number % 100003).astype(np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)})
    return table.assign(frame=(number % 100003).astype(np.uint32), z_flag=(number % 251).astype(np.uint8))


def assert_whole(table: pd.DataFrame) -> None:
    expected = known_rows(0, len(table))
    assert table.equals(expected[table.columns])
