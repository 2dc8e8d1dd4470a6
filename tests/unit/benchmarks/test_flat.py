"""Figures of `bench flat` on errors whose surface is known."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.benchmarks.accuracy.flat import residual_surface


def test_the_surface_that_is_left_is_told_from_the_noise_of_molecules() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 999, (2, 6000))
    bend = 12 * ((x / 499.5 - 1) ** 2 - 1 / 3)
    error = 30 + bend + rng.normal(0, 40, len(x))
    error[::50] += 600
    found = residual_surface(x, y, error, (1000, 1000))
    assert found["molecules"] == 6000
    assert found["offset_nm"] == pytest.approx(30, abs=3)
    # 28 terms of noise, and the standard deviation of the parabola over the field.
    noise = 40 * np.sqrt(27 / 6000)
    assert found["noise_nm"] == pytest.approx(noise, rel=0.2)
    assert found["surface_rms_nm"] == pytest.approx(np.hypot(12 * np.sqrt(4 / 45), noise), abs=2)
