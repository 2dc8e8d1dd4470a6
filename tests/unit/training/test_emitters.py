"""Simulated emitters, against the exact PSF."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.psf.bead_psf import BeadPsfs, SplinePsf
from easyzloc_mm.training.emitters import simulate_emitters
from tests.helpers.exact_psf import FIELD, exact_table, image_of


@pytest.fixture(scope="module")
def table() -> SplinePsf:
    return exact_table()


def test_drawn_molecules_have_the_mean_and_the_poisson_variance_of_the_exact_blur(table: SplinePsf) -> None:
    narrow = EmitterPrior(
        photons=(2000.0, 2000.001), background=(30.0, 30.001), crop_error_px=(0.0, 0.0), neighbour_share=0.0,
        z_limit_nm=0.01,
    )  # fmt: skip
    drawn = simulate_emitters(BeadPsfs(table, FIELD, True, 1.5), narrow, 4000, 3)
    middle = np.hypot(drawn.x - np.rint(drawn.x), drawn.y - np.rint(drawn.y)) < 0.15
    expected = np.mean(
        [
            2000 * image_of(table, x - round(x), y - round(y), 0.0) + 30
            for x, y in zip(drawn.x[middle], drawn.y[middle], strict=True)
        ],
        axis=0,
    )
    count = middle.sum()
    error = (drawn.crops[middle].mean(axis=0) - expected) / np.sqrt((expected + 1.5**2) / count)
    assert np.abs(error).max() < 5
    border = drawn.crops[:, 0, :]
    assert border.var() == pytest.approx(border.mean() + 1.5**2, rel=0.05)
