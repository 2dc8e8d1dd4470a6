"""Figures of a comparison with the truth: as a whole, and by depth, brightness and crowding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.scoring.compare import Comparison
from easyzloc_mm.analysis.scoring.figures import Counts, DensityScore, DepthScore, PhotonScore, Score
from easyzloc_mm.analysis.scoring.matching import crowding
from easyzloc_mm.locs.table import believable
from easyzloc_mm.numerics.statistics import median_and_range, robust_sd
from easyzloc_mm.typing import F64, AnyFloat, Bool

BIN_NM = 100.0
SLOPE_REACH_NM = 100.0
"""To either side of a bin's middle: within the bin alone a slope would be noise."""
SLOPE_OUTLIER_SDS = 4.0
MIN_FOR_SLOPE = 10
PHOTON_EDGES = (0.0, 250.0, 500.0, 1000.0, 1500.0, 2000.0, 3000.0, 4000.0, 8000.0, 16000.0, np.inf)
CROWD_NM = 1000.0
CROWD_EDGES = (1, 2, 3, 5, 9, 17, 1 << 30)
"""Molecules within `CROWD_NM`, the one itself included."""


def score(comparison: Comparison) -> Score:
    """Return all figures of a comparison."""
    pairs = comparison.pairs
    unflagged = None
    if "z_flag" in comparison.table:
        kept = comparison.only(comparison.table["z_flag"].to_numpy() == 0)
        unflagged = Counts.of(*_numbers(kept), *_challenge_rmse(kept.pairs))
    trusted = believable(pairs)
    x, y, z = comparison.offset_nm
    return Score(
        **dict(Counts.of(*_numbers(comparison), *_challenge_rmse(pairs))),
        **depth_errors(pairs),
        rmse_x_nm=_rms(trusted["error_x"]),
        rmse_y_nm=_rms(trusted["error_y"]),
        offset_x_nm=x,
        offset_y_nm=y,
        offset_z_nm=z if "error_z" in pairs else None,
        unflagged=unflagged,
        bins=_by_depth(comparison, pairs),
        by_photons=_by_photons(comparison, pairs),
        by_density=_by_density(comparison, pairs),
        rules=comparison.rules,
    )


def depth_errors(pairs: pd.DataFrame) -> dict[str, Any]:
    """Return the fields of `DepthErrors` of some pairs (`Comparison.pairs`)."""
    result: dict[str, Any] = {}
    if "z_flag" in pairs and len(pairs):
        result["flagged"] = float((pairs["z_flag"] != 0).mean())
    trusted = believable(pairs)
    if "error_z" not in trusted or trusted.empty:
        return result
    error = trusted["error_z"].to_numpy(float)
    result |= {
        "bias_nm": float(np.median(error)),
        "robust_z_nm": robust_sd(error),
        "rmse_z_nm": _rms(error),
    }
    if "true_limit_z_nm" in trusted:
        limits = trusted["true_limit_z_nm"].to_numpy(float)
        limit = median_and_range(limits)
        if limit is not None:
            result |= {"limit_z_nm": limit[0], "rms_limit_z_nm": _rms(limits[np.isfinite(limits)])}
    if "lpz" in trusted:
        pull = np.abs(error) / np.maximum(trusted["lpz"].to_numpy(float), 1e-9)
        result |= {"coverage_68": float((pull <= 1).mean()), "coverage_95": float((pull <= 1.96).mean())}
    return result


def _numbers(comparison: Comparison) -> tuple[int, int, int]:
    return int(comparison.counts.sum()), len(comparison.found_rows), len(comparison.false_rows)


def _challenge_rmse(pairs: pd.DataFrame) -> tuple[float | None, float | None]:
    """Return the lateral and the axial RMSE of pairs, flagged or not."""
    if pairs.empty:
        return None, None
    lateral = np.sqrt(float(np.mean(pairs["error_x"] ** 2 + pairs["error_y"] ** 2)))
    return float(lateral), _rms(pairs["error_z"]) if "error_z" in pairs else None


def _rms(values: pd.Series | AnyFloat) -> float | None:
    return float(np.sqrt(np.mean(np.asarray(values, float) ** 2))) if len(values) else None


def _part(pairs: pd.DataFrame, molecules: Bool, paired: Bool, false: Bool) -> dict[str, Any]:
    """Return the figures of a part of the molecules, of their pairs and of the false localisations."""
    own = pairs[paired]
    counts = Counts.of(int(molecules.sum()), len(own), int(false.sum()), *_challenge_rmse(own))
    return {**dict(counts), **depth_errors(own)}


def _ranges(values: F64, edges: F64) -> Iterator[tuple[float, float]]:
    """Neighbouring edges, from the one below the smallest value to the one above the largest."""
    if not len(values):
        return
    first = max(int(np.searchsorted(edges, values.min(), side="right")) - 1, 0)
    last = int(np.searchsorted(edges, values.max(), side="right"))
    for low, high in itertools.pairwise(edges[first : last + 1]):
        yield float(low), float(high)


def _within(false: F64, true: F64) -> F64:
    """Return what false localisations state; what lies beyond the truth counts at its end."""
    return np.clip(false, true.min(), true.max()) if len(true) else false


def _between(values: F64, low: float, high: float) -> Bool:
    return np.asarray((values >= low) & (values < high))


def _by_depth(comparison: Comparison, pairs: pd.DataFrame) -> tuple[DepthScore, ...]:
    if comparison.true.z_nm is None or comparison.found.z_nm is None:
        return ()
    true, false = comparison.true.z_nm[comparison.counts], comparison.found.z_nm[comparison.false_rows]
    if not len(true):
        return ()
    false = _within(false, true)
    low, high = np.floor(true.min() / BIN_NM), np.floor(true.max() / BIN_NM) + 1
    of_pairs = pairs["true_z"].to_numpy(float)
    bins = []
    for start, stop in itertools.pairwise(BIN_NM * np.arange(low, high + 1)):
        figures = _part(pairs, *(_between(values, start, stop) for values in (true, of_pairs, false)))
        slope = _slope(believable(pairs), (start + stop) / 2)
        bins.append(DepthScore(z_from_nm=float(start), z_to_nm=float(stop), slope=slope, **figures))
    return tuple(bins)


def _slope(pairs: pd.DataFrame, middle_nm: float) -> float | None:
    """Slope of z over true depth around `middle_nm`, without outliers (a wrong sign of z would tilt the line)."""
    true, error = pairs["true_z"].to_numpy(float), pairs["error_z"].to_numpy(float)
    near = np.abs(true - middle_nm) <= SLOPE_REACH_NM
    true, error = true[near], error[near]
    if len(true) < MIN_FOR_SLOPE:
        return None
    kept = np.abs(error - np.median(error)) <= SLOPE_OUTLIER_SDS * max(robust_sd(error), 1e-9)
    if np.ptp(true[kept]) == 0:
        return None
    return 1 + float(np.polyfit(true[kept], error[kept], 1)[0])


def _by_photons(comparison: Comparison, pairs: pd.DataFrame) -> tuple[PhotonScore, ...]:
    if "photons" not in comparison.truth:
        return ()
    true = comparison.truth["photons"].to_numpy(float)[comparison.counts]
    false = np.full(len(comparison.false_rows), np.nan)
    if "photons" in comparison.table:
        false = _within(comparison.table["photons"].to_numpy(float)[comparison.false_rows], true)
    of_pairs = pairs["true_photons"].to_numpy(float)
    return tuple(
        PhotonScore(
            photons_from=low,
            photons_to=high if np.isfinite(high) else float(true.max()),
            **_part(pairs, *(_between(values, low, high) for values in (true, of_pairs, false))),
        )
        for low, high in _ranges(true, np.array(PHOTON_EDGES))
    )


def _by_density(comparison: Comparison, pairs: pd.DataFrame) -> tuple[DensityScore, ...]:
    around = crowding(comparison.true, comparison.true, CROWD_NM)
    around_false = 1 + crowding(comparison.found[comparison.false_rows], comparison.true, CROWD_NM)
    true, of_pairs = around[comparison.counts].astype(float), around[comparison.true_rows].astype(float)
    parts = (true, of_pairs, _within(around_false.astype(float), true))
    per_um2 = 1 / (np.pi * (CROWD_NM / 1000) ** 2)
    return tuple(
        DensityScore(
            per_um2_from=low * per_um2,
            per_um2_to=min(high - 1, int(around.max())) * per_um2,
            **_part(pairs, *(_between(values, low, high) for values in parts)),
        )
        for low, high in _ranges(true, np.array(CROWD_EDGES, float))
    )
