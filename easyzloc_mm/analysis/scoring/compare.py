"""A localisation table against the truth, row by row: who was found, who was missed, what is false."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.scoring.figures import ScoreRules
from easyzloc_mm.analysis.scoring.matching import Points, match
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.typing import I64, Bool

OPPOSITE = -0.5
"""Correlation of z with its truth below which its sign is the other way round."""
MIN_PAIRS = 20
"""Of those that a correlation is worth looking at."""
TRUTH_COLUMNS = ("x", "y", "z", "photons", "background", "limit_z_nm")


@dataclass(frozen=True)
class Comparison:
    """Localisations and emitters, and which belong together.

    Attributes
    ----------
    table, truth : DataFrame
        Localisations, and emitters with ``frame``, ``x``, ``y`` (px) and, where known, ``z`` (nm), ``photons``,
        ``background``, ``limit_z_nm``.
    pixel_size_nm : float
    rules : ScoreRules
    offset_nm : (float, float, float)
        Median errors of x, y and z.
    found, true : Points
        Both in nm; of localisations with the offset taken out, if the rules say so.
    found_rows, true_rows : ndarray of int, shape (p,)
        Pairs, of those emitters that count.
    counts : ndarray of bool, shape (len(truth),)
        Emitters that count: bright enough, and not at the border.
    false_rows : ndarray of int
        Localisations that belong to no emitter, and count.
    """

    table: pd.DataFrame
    truth: pd.DataFrame
    pixel_size_nm: float
    rules: ScoreRules
    offset_nm: tuple[float, float, float]
    found: Points
    true: Points
    counts: Bool
    inside: Bool
    found_rows: I64
    true_rows: I64
    false_rows: I64

    @property
    def pairs(self) -> pd.DataFrame:
        """The localisations that were paired, with ``true_NAME`` of the emitter and ``error_x``, ... (nm)."""
        pairs = self.table.iloc[self.found_rows].reset_index(drop=True)
        for name in TRUTH_COLUMNS:
            if name in self.truth:
                pairs[f"true_{name}"] = self.truth[name].to_numpy(float)[self.true_rows]
        for axis in "xyz":
            found, true = (getattr(points, f"{axis}_nm") for points in (self.found, self.true))
            if found is not None and true is not None:
                pairs[f"error_{axis}"] = found[self.found_rows] - true[self.true_rows]
        return pairs

    def only(self, kept: Bool) -> Comparison:
        """Return the same comparison of some of the localisations alone; the offset stays."""
        rows = np.flatnonzero(kept)
        part = replace(self, table=self.table.iloc[rows], found=self.found[rows], inside=self.inside[rows])
        return _paired(part)


def compare(
    table: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    pixel_size_nm: float,
    rules: ScoreRules | None = None,
    size_px: tuple[int, int] | None = None,
) -> Comparison:
    """Pair localisations and emitters by the rules.

    Parameters
    ----------
    table, truth : DataFrame
        See `Comparison`.
    pixel_size_nm : float
    rules : ScoreRules, optional
    size_px : (int, int), optional
        Width and height of the image, from whose edges the border counts; as far as the truth reaches, if not given.

    Warns
    -----
    EasyZlocWarning
        z of the table falls where that of the truth rises.
    """
    rules = rules or ScoreRules()
    found, true = _points(table, pixel_size_nm), _points(truth, pixel_size_nm)
    offset = _offset(found, true, rules.lateral_nm)
    if rules.remove_offset:
        found = found.moved(*(-part for part in offset))
    size = size_px or tuple(int(np.ceil(truth[name].max() + 0.5)) if len(truth) else 0 for name in "xy")
    edges_nm = (size[0] * pixel_size_nm, size[1] * pixel_size_nm)
    bright = np.ones(len(truth), bool)
    if "photons" in truth:
        bright = truth["photons"].to_numpy(float) >= rules.faintest_photons
    nothing = np.empty(0, np.int64)
    comparison = Comparison(
        table=table,
        truth=truth,
        pixel_size_nm=pixel_size_nm,
        rules=rules,
        offset_nm=offset,
        found=found,
        true=true,
        counts=bright & _inside(true, edges_nm, rules.border_nm, pixel_size_nm),
        inside=_inside(found, edges_nm, rules.border_nm, pixel_size_nm),
        found_rows=nothing,
        true_rows=nothing,
        false_rows=nothing,
    )
    return _paired(comparison)


def _paired(comparison: Comparison) -> Comparison:
    """Pair with the emitters that count first, and what is left with the others: that is neither found nor false."""
    found, true, rules = comparison.found, comparison.true, comparison.rules
    counted, others = np.flatnonzero(comparison.counts), np.flatnonzero(~comparison.counts)
    found_rows, true_rows = match(found, true[counted], lateral_nm=rules.lateral_nm, axial_nm=rules.axial_nm)
    left = np.setdiff1d(np.arange(len(found)), found_rows)
    of_others, _ = match(found[left], true[others], lateral_nm=rules.lateral_nm, axial_nm=rules.axial_nm)
    false = np.delete(left, of_others)
    false = false[comparison.inside[false]]
    return replace(comparison, found_rows=found_rows, true_rows=counted[true_rows], false_rows=false)


def _points(table: pd.DataFrame, pixel_size_nm: float) -> Points:
    x, y = (table[name].to_numpy(float) * pixel_size_nm for name in "xy")
    z = table["z"].to_numpy(float) if "z" in table else None
    return Points(table["frame"].to_numpy(np.int64), x, y, z)


def _offset(found: Points, true: Points, lateral_nm: float) -> tuple[float, float, float]:
    """Return the median errors of pairs that were made by place alone: z may be off by more than a pair may be."""
    rows, columns = match(found, true, lateral_nm=lateral_nm, axial_nm=None)
    if not len(rows):
        return 0.0, 0.0, 0.0
    x, y = found.x_nm[rows] - true.x_nm[columns], found.y_nm[rows] - true.y_nm[columns]
    if found.z_nm is None or true.z_nm is None:
        return float(np.median(x)), float(np.median(y)), 0.0
    z, true_z = found.z_nm[rows], true.z_nm[columns]
    if len(z) >= MIN_PAIRS and np.ptp(z) > 0 and np.ptp(true_z) > 0 and np.corrcoef(z, true_z)[0, 1] < OPPOSITE:
        warnings.warn(
            "z of the table falls where that of the truth rises: its axis points the other way, so change the sign of "
            "z of one of them and score again",
            EasyZlocWarning,
            stacklevel=4,
        )
    return float(np.median(x)), float(np.median(y)), float(np.median(z - true_z))


def _inside(points: Points, edges_nm: tuple[float, float], border_nm: float, pixel_size_nm: float) -> Bool:
    """Whether points are inside the border; everything is, where there is none."""
    if not border_nm:
        return np.ones(len(points), bool)
    kept = np.ones(len(points), bool)
    for at, edge in zip((points.x_nm, points.y_nm), edges_nm, strict=True):
        from_edge = at + pixel_size_nm / 2
        kept &= (from_edge >= border_nm) & (from_edge <= edge - border_nm)
    return kept
