"""Robust statistics that several rooms need."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.typing import AnyFloat

MAD_TO_SD = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


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
