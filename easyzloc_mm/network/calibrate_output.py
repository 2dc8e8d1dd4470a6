"""After training: make the uncertainty mean what it says, and learn what a familiar spot looks like."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.network.posterior import COMPONENTS, summarize

Real = NDArray[np.float64]

AMBIGUOUS_ABOVE = 0.02
"""A spot is ambiguous when z is grossly wrong with more than this probability (`Posterior.elsewhere`)."""
SIGMA_BINS = 8
CREDIBLE_SHARE = 0.6827
FAMILIAR_QUANTILE = 0.999
MIN_EIGENVALUE = 1e-6


def calibrate_sigma(raw: NDArray[np.floating], z_nm: NDArray[np.floating]) -> dict[str, Any]:
    """Factor on sigma, by sigma, so that 68.3 % of held-out errors lie within one sigma.

    Returns
    -------
    dict
        ``log_sigma`` and ``factor``, for linear interpolation.
    """
    posterior = summarize(raw[:, : 3 * COMPONENTS])
    sure = posterior.elsewhere <= AMBIGUOUS_ABOVE
    if sure.sum() < SIGMA_BINS:  # a network that was hardly trained is sure of nothing
        sure = np.ones(len(sure), bool)
    sigma = posterior.sigma_nm[sure]
    pull = np.abs(posterior.z_nm[sure] - z_nm[sure]) / sigma
    edges = np.quantile(sigma, np.linspace(0, 1, SIGMA_BINS + 1))
    bins = np.clip(np.searchsorted(edges, sigma, side="right") - 1, 0, SIGMA_BINS - 1)
    kept = [b for b in range(SIGMA_BINS) if np.any(bins == b)]
    return {
        "log_sigma": [float(np.mean(np.log(sigma[bins == b]))) for b in kept],
        "factor": [float(np.quantile(pull[bins == b], CREDIBLE_SHARE)) for b in kept],
    }


def learn_familiarity(train: NDArray[np.floating], held_out: NDArray[np.floating]) -> dict[str, Any]:
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
        "threshold": float(np.quantile(distance, FAMILIAR_QUANTILE)),
    }


def sigma_by_z(predicted_nm: NDArray[np.floating], z_nm: NDArray[np.floating], limit_nm: float) -> dict[str, Any]:
    """Root mean square error by predicted z, for a network that gives no uncertainty (the paper's)."""
    edges = np.linspace(-limit_nm, limit_nm, 11)
    overall = float(np.sqrt(np.mean((predicted_nm - z_nm) ** 2)))
    sigma = []
    for low, high in itertools.pairwise(edges):
        inside = (predicted_nm >= low) & (predicted_nm < high)
        sigma.append(float(np.sqrt(np.mean((predicted_nm - z_nm)[inside] ** 2))) if inside.sum() >= 20 else overall)
    return {"z_nm": ((edges[:-1] + edges[1:]) / 2).tolist(), "sigma_nm": sigma}
