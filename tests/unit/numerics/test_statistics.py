"""The robust standard deviation."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.numerics.statistics import robust_sd


def test_outliers_leave_the_robust_deviation_alone() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 20_000)
    assert robust_sd(values) == pytest.approx(2.0, rel=0.03)
    assert robust_sd(values - 5, about=0.0) == pytest.approx(2.0, rel=0.03)
    values[:2000] = 1e6
    assert robust_sd(values) == pytest.approx(2.0, rel=0.2)
