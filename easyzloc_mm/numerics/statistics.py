"""Robust statistics that several rooms need."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.typing import AnyFloat

MAD_TO_SD = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


RANGE_QUANTILES = (0.1, 0.9)


def median_and_range(values: AnyFloat) -> tuple[float, tuple[float, float]] | None:
    """Return median, 10th and 90th percentile of the values that are defined; None if more than half are not.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Such as information limits; NaN where they are not defined.
    """
    known = values[np.isfinite(values)]
    if not len(known) or 2 * len(known) < len(values):
        return None
    low, high = np.quantile(known, RANGE_QUANTILES)
    return float(np.median(known)), (float(low), float(high))


def robust_sd(values: AnyFloat, *, about: float | None = None) -> float:
    """Return the standard deviation of normally distributed values of which up to half may be outliers.

    1.4826 times the median absolute deviation.

    Parameters
    ----------
    values : ndarray
        Of any shape; without NaN.
    about : float, optional
        Middle that deviations are taken from; without it, the median of `values`.
    """
    middle = np.median(values) if about is None else about
    return MAD_TO_SD * float(np.median(np.abs(values - middle)))
