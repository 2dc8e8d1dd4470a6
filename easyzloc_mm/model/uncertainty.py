"""After training: make the uncertainty mean what it says, and learn what a familiar spot looks like."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from easyzloc_mm.model.mixture import OUTLIER_SIGMAS
from easyzloc_mm.typing import F64, AnyFloat

SURE_BELOW = 0.03
"""Uncertainties are scaled on spots whose z is mistaken with less than this probability; the others get a flag."""
COST_SHARE = 0.035
"""Of the good spots: so many may be flagged as ambiguous."""
CAUGHT_SHARE = 0.97
"""Of the mistakes: where so many are flagged for less, less is flagged."""
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.002, 0.2
SIGMA_BINS = 8
Z_BINS = 12
MIN_IN_BIN = 100
CREDIBLE_SHARE = 0.6827
IN_DISTRIBUTION_QUANTILE = 0.999
MIN_EIGENVALUE = 1e-6


def sigma_scale(sigma_nm: F64, predicted_nm: F64, true_nm: F64) -> dict[str, Any]:
    """Factors on sigma so that 68.3 % of held-out errors lie within one sigma, by sigma and then by predicted z.

    Returns
    -------
    dict
        ``log_sigma`` and ``factor``, ``z_nm`` and ``z_factor``: for linear interpolation.
    """
    error = np.abs(predicted_nm - true_nm)
    scale: dict[str, Any] = {"log_sigma": [0.0], "factor": [1.0], "z_nm": [0.0], "z_factor": [1.0]}
    if len(error) < MIN_IN_BIN:
        return scale
    for position, values, factor, bins in (
        ("log_sigma", np.log(sigma_nm), "factor", SIGMA_BINS),
        ("z_nm", predicted_nm, "z_factor", Z_BINS),
    ):
        pull = error / rescale_sigma(sigma_nm, predicted_nm, scale)
        edges = np.quantile(values, np.linspace(0, 1, bins + 1))
        where = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
        kept = [b for b in range(bins) if np.sum(where == b) >= MIN_IN_BIN]
        if kept:
            scale[position] = [float(np.mean(values[where == b])) for b in kept]
            scale[factor] = [float(np.quantile(pull[where == b], CREDIBLE_SHARE)) for b in kept]
    return scale


def rescale_sigma(sigma_nm: F64, z_nm: F64, scale: dict[str, Any]) -> F64:
    """Apply what `sigma_scale` found."""
    by_sigma = np.interp(np.log(sigma_nm), scale["log_sigma"], scale["factor"])
    return np.asarray(sigma_nm * by_sigma * np.interp(z_nm, scale["z_nm"], scale["z_factor"]))


def adjusted(scale: dict[str, Any], pull: F64) -> dict[str, Any]:
    """`scale` times one factor, by what lies within one and within 1.96 uncertainties.

    Errors have longer tails than a Gaussian: one factor cannot put 68.3 % and 95 % right, and this is the middle.

    Parameters
    ----------
    scale : dict
    pull : ndarray
        Absolute errors over rescaled uncertainties.
    """
    if len(pull) < MIN_IN_BIN:
        return scale
    one, two = np.quantile(pull, [CREDIBLE_SHARE, 0.95])
    factor = float(np.sqrt(one * two / 1.96))
    return scale | {"factor": [factor * value for value in scale["factor"]]}


def residual_limit(deviance: F64, photons: F64) -> dict[str, Any]:
    """Deviance that 99.9 % of held-out spots stay below, by photons: bright ones show what the model lacks."""
    light = np.log(photons)
    finite = np.isfinite(light) & np.isfinite(deviance)
    light, deviance = light[finite], deviance[finite]
    edges = np.quantile(light, np.linspace(0, 1, SIGMA_BINS + 1))
    where = np.clip(np.searchsorted(edges, light, side="right") - 1, 0, SIGMA_BINS - 1)
    kept = [b for b in range(SIGMA_BINS) if np.any(where == b)]
    return {
        "log_photons": [float(light[where == b].mean()) for b in kept],
        "deviance": [float(np.quantile(deviance[where == b], IN_DISTRIBUTION_QUANTILE)) for b in kept],
    }


def ambiguity(p_outlier: F64, error_nm: F64, lpz_nm: F64) -> dict[str, float | None]:
    """Find the probability above which a spot is flagged as ambiguous, on held-out spots.

    Parameters
    ----------
    mistaken : ndarray
        Stated probability that z is wrong by more than `OUTLIER_SIGMAS` times `lpz_nm`.
    error_nm, lpz_nm : ndarray

    Returns
    -------
    dict
        ``threshold``, and the trade-off it makes: ``caught``, share of the mistakes that are flagged (None, if there
        is none), ``cost``, share of the others that are.
    """
    outlier = np.abs(error_nm) > OUTLIER_SIGMAS * lpz_nm
    threshold = float(np.quantile(p_outlier[~outlier], 1 - COST_SHARE))
    if outlier.any():
        threshold = max(threshold, float(np.quantile(p_outlier[outlier], 1 - CAUGHT_SHARE)))
    threshold = min(max(threshold, LOWEST_THRESHOLD), HIGHEST_THRESHOLD)
    flagged = p_outlier > threshold
    return {
        "threshold": threshold,
        "caught": float(flagged[outlier].mean()) if outlier.any() else None,
        "cost": float(flagged[~outlier].mean()) if (~outlier).any() else None,
    }


def learn_embedding(train: AnyFloat, held_out: AnyFloat) -> dict[str, Any]:
    """Mean and whitening of training embeddings; threshold at the 99.9th percentile of held-out ones.

    Parameters
    ----------
    train, held_out : ndarray, shape (n, EMBEDDING)
        Last hidden layer.
    """
    mean = train.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((train - mean).T))
    kept = values > MIN_EIGENVALUE * values.max()
    whitening = vectors[:, kept] / np.sqrt(values[kept])
    distance = np.linalg.norm((held_out - mean) @ whitening, axis=1)
    return {
        "mean": mean.tolist(),
        "whitening": whitening.tolist(),
        "threshold": float(np.quantile(distance, IN_DISTRIBUTION_QUANTILE)),
    }


def sigma_by_z(predicted_nm: AnyFloat, z_nm: AnyFloat, limit_nm: float) -> dict[str, Any]:
    """Root mean square error by predicted z, for a network that gives no uncertainty (the paper's)."""
    edges = np.linspace(-limit_nm, limit_nm, 11)
    overall = float(np.sqrt(np.mean((predicted_nm - z_nm) ** 2)))
    sigma = []
    for low, high in itertools.pairwise(edges):
        inside = (predicted_nm >= low) & (predicted_nm < high)
        sigma.append(float(np.sqrt(np.mean((predicted_nm - z_nm)[inside] ** 2))) if inside.sum() >= 20 else overall)
    return {"z_nm": ((edges[:-1] + edges[1:]) / 2).tolist(), "sigma_nm": sigma}
