"""Localisations of pores, sorted by pore."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from easyzloc_mm.typing import F64, I64, Bool

USUAL_SIGMA_Z_NM = 40.0
"""Localisations less certain than this, and than half of all, carry little information on the rings: left out."""
MIN_LOCALIZATIONS = 15


@dataclass(frozen=True)
class PoreData:
    """Localisations sorted by pore: `begin[k]` to `begin[k + 1]` are those of pore `names[k]`."""

    z: F64
    lpz: F64
    dx: F64
    dy: F64
    begin: I64
    names: I64

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, number: int) -> slice:
        """Rows of one pore."""
        return slice(int(self.begin[number]), int(self.begin[number + 1]))

    def of(self, number: int) -> tuple[F64, F64, F64, F64]:
        """z, lpz, dx, dy of one pore."""
        rows = self.rows(number)
        return self.z[rows], self.lpz[rows], self.dx[rows], self.dy[rows]

    def groups(self) -> list[F64]:
        """Depths, pore by pore."""
        return [self.z[self.rows(number)] for number in range(len(self))]

    def pore(self) -> I64:
        """Position among `names` of every localisation's pore."""
        return np.repeat(np.arange(len(self)), np.diff(self.begin))

    def medians(self) -> F64:
        """Median depth of every pore, nm; 0 where it has no localisation."""
        return np.array([np.median(group) if len(group) else 0.0 for group in self.groups()])

    def part(self, kept: Bool) -> PoreData:
        """Return the localisations for which `kept` is true, of the same pores."""
        count = np.bincount(self.pore()[kept], minlength=len(self))
        begin = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        return PoreData(self.z[kept], self.lpz[kept], self.dx[kept], self.dy[kept], begin, self.names)

    def with_depths(self, z: F64) -> PoreData:
        """Return the same pores with other depths."""
        return PoreData(z, self.lpz, self.dx, self.dy, self.begin, self.names)


def pore_data(table: pd.DataFrame) -> PoreData:
    """Sort the localisations of pores (columns ``pore``, ``z``, ``lpz``, ``dx``, ``dy``); poor ones are left out."""
    if len(table):
        table = table[table["lpz"] <= max(USUAL_SIGMA_Z_NM, float(table["lpz"].median()))]
    counts = table["pore"].value_counts()
    table = table[table["pore"].isin(counts.index[counts >= MIN_LOCALIZATIONS])].sort_values("pore", kind="stable")
    names, begin = np.unique(table["pore"].to_numpy(np.int64), return_index=True)
    z, lpz, dx, dy = (np.ascontiguousarray(table[name].to_numpy(float)) for name in ("z", "lpz", "dx", "dy"))
    return PoreData(z, lpz, dx, dy, np.append(begin, len(table)).astype(np.int64), names)
