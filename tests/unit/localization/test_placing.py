"""A ring that was detected beside its middle is put where it is; a spot that was detected where it is stays."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.localization.matched.placing import OFF_PX, lonely, placed
from easyzloc_mm.psf.mle import SpotPrior
from easyzloc_mm.typing import F64
from tests.helpers.ring_psf import ring_image, ring_psf

BACKGROUND, SPOTS = 10.0, 40
RANGE_NM = (-900.0, 900.0)


def _placed(z_nm: float, photons: float, beside_px: float) -> tuple[F64, F64]:
    """Distances of the emitters from where they were detected, and from where they are put."""
    rng = np.random.default_rng(3)
    table = ring_psf().table((160, 160))
    angle = rng.uniform(0, 2 * np.pi, SPOTS)
    x, y = beside_px * np.cos(angle), beside_px * np.sin(angle)
    pixel = np.arange(ROI_PX) - ROI_PX // 2
    distance = np.hypot(pixel[None, None, :] - x[:, None, None], pixel[None, :, None] - y[:, None, None])
    light = np.stack([photons * ring_image(one, z_nm) for one in distance]) + BACKGROUND
    crops = rng.poisson(light).astype(np.float32)
    prior = SpotPrior(
        np.zeros(SPOTS), np.zeros(SPOTS), 0.5, np.log(photons), 1.0, np.full(SPOTS, BACKGROUND), np.full(SPOTS, 0.2)
    )
    at_x, at_y = placed(crops, table, np.zeros(SPOTS, np.int64), 1.0, prior, RANGE_NM)
    return np.hypot(x, y), np.hypot(at_x - x, at_y - y)


def test_a_ring_that_was_detected_beside_its_middle_is_put_where_it_is() -> None:
    before, after = _placed(z_nm=600.0, photons=1500.0, beside_px=2.5)
    assert np.median(before) > 2
    assert np.mean(after < 1.0) > 0.9


def test_a_clear_spot_stays_where_it_was_detected() -> None:
    before, after = _placed(z_nm=0.0, photons=3000.0, beside_px=OFF_PX / 3)
    assert np.array_equal(before, after)


def test_only_spots_of_the_same_frame_are_neighbours() -> None:
    frame, x = np.array([0, 0, 0, 1, 1]), np.array([20.0, 25.0, 80.0, 22.0, 90.0])
    alone = lonely(frame, x, np.full(5, 40.0), roi_px=21)
    assert alone.tolist() == [False, False, True, True, True]
    assert not len(lonely(frame[:0], x[:0], x[:0], roi_px=21))
