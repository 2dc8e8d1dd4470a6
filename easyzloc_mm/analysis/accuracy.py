"""Localisations against a known truth (simulations only)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from easyzloc_mm.numerics.statistics import robust_sd

MATCH_NM = 250.0
"""Lateral distance within which a localisation can be that of an emitter (SMLM Challenge 2016)."""
FAINTEST_PHOTONS = 150.0
"""Emitters that give fewer photons in a frame cannot be found; they match nothing."""
TRUTH_COLUMNS = ("x", "y", "z", "photons", "background")


def match_to_truth(table: pd.DataFrame, truth: pd.DataFrame, *, pixel_size_nm: float) -> pd.DataFrame:
    """Pair localisations and emitters of the same frame that are each other's nearest.

    Parameters
    ----------
    table : DataFrame
        Localisations.
    truth : DataFrame
        Columns ``frame``, ``x``, ``y`` (px), ``z`` (nm), ``photons``, ``background``.
    pixel_size_nm : float

    Returns
    -------
    DataFrame
        The matched rows of `table` with ``true_x``, ``true_y``, ``true_z``, ``true_photons``, ``true_background`` and
        the errors ``error_x``, ``error_y``, ``error_z`` (nm).
    """
    truth = truth[truth["photons"] >= FAINTEST_PHOTONS].reset_index(drop=True)
    # Frames lie further apart than any match, so one tree serves all of them.
    gap = (
        10 * MATCH_NM / pixel_size_nm + max(table["y"].max(), truth["y"].max(), 1.0)
        if len(table) and len(truth)
        else 1.0
    )

    def positions(rows: pd.DataFrame) -> np.ndarray:
        return np.stack([rows["x"].to_numpy(float), rows["y"].to_numpy(float) + gap * rows["frame"].to_numpy(float)], 1)

    if not len(table) or not len(truth):
        pairs_table, pairs_truth = np.empty(0, int), np.empty(0, int)
    else:
        found_at, true_at = positions(table), positions(truth)
        distance, nearest = cKDTree(true_at).query(found_at, distance_upper_bound=MATCH_NM / pixel_size_nm)
        _, back = cKDTree(found_at).query(true_at)
        found = np.isfinite(distance)
        found[found] = back[nearest[found]] == np.flatnonzero(found)
        pairs_table, pairs_truth = np.flatnonzero(found), nearest[found]
    matches = table.iloc[pairs_table].reset_index(drop=True)
    for name in TRUTH_COLUMNS:
        matches[f"true_{name}"] = truth[name].to_numpy(float)[pairs_truth]
    for axis in "xy":
        matches[f"error_{axis}"] = (matches[axis].astype(float) - matches[f"true_{axis}"]) * pixel_size_nm
    matches["error_z"] = matches["z"].astype(float) - matches["true_z"]
    return matches


def summarize_matches(matches: pd.DataFrame) -> dict[str, Any]:
    """Errors after one constant offset per axis (the median), which is a convention and is reported.

    Returns
    -------
    dict
        ``rmse_x_nm``, ``rmse_y_nm``, ``rmse_z_nm``, ``robust_z_nm``, ``offset_x_nm``, ``offset_y_nm``,
        ``offset_z_nm``, ``coverage_68``, ``coverage_95`` (share of z errors within 1 and 1.96 ``lpz``); None where
        nothing matched.
    """
    if matches.empty:
        names = [f"{kind}_{axis}_nm" for kind in ("rmse", "offset") for axis in "xyz"]
        return dict.fromkeys([*names, "robust_z_nm", "coverage_68", "coverage_95"])
    result: dict[str, Any] = {}
    for axis in "xyz":
        error = matches[f"error_{axis}"].to_numpy(float)
        offset = float(np.median(error))
        result[f"offset_{axis}_nm"] = offset
        result[f"rmse_{axis}_nm"] = float(np.sqrt(np.mean((error - offset) ** 2)))
    error = np.abs(matches["error_z"].to_numpy(float) - result["offset_z_nm"])
    sigma = matches["lpz"].to_numpy(float)
    result["robust_z_nm"] = robust_sd(error, about=0.0)
    result["coverage_68"] = float((error <= sigma).mean())
    result["coverage_95"] = float((error <= 1.96 * sigma).mean())
    return result
