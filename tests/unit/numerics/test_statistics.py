"""Robust statistics."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.numerics.statistics import median_and_range, robust_sd


def test_outliers_leave_the_robust_deviation_alone() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 20_000)
    assert robust_sd(values) == pytest.approx(2.0, rel=0.03)
    assert robust_sd(values - 5, about=0.0) == pytest.approx(2.0, rel=0.03)
    values[:2000] = 1e6
    assert robust_sd(values) == pytest.approx(2.0, rel=0.2)


def test_a_median_is_of_what_is_defined_and_of_no_minority() -> None:
    values = np.arange(11.0)
    assert median_and_range(values) == (5.0, (1.0, 9.0))
    # One that is beyond all measure, as a limit that hardly is one: an average would be it alone.
    found = median_and_range(np.append(values, 1e9))
    assert found is not None
    assert (found[0], *found[1]) == pytest.approx((5.5, 1.1, 9.9))
    half = np.concatenate([values, np.full(11, np.nan)])
    assert median_and_range(half) == (5.0, (1.0, 9.0))
    assert median_and_range(np.append(half, np.nan)) is None
    assert median_and_range(np.array([])) is None
