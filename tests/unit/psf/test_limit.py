"""The information limit from beads: by their light, and not defined where they do not define it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.crlb import EmpiricalPsf, crlb, empirical_psf

RESPONSE = CameraResponse(baseline_adu=100.0, electrons_per_adu=1.0, read_noise_e=1.5)
PIXEL_NM, BACKGROUND, EDGE = 110.0, 20.0, 23
Z_NM = np.arange(-1000.0, 1001.0, 50.0)
DEPTHS_NM = np.array([-500.0, -350.0, -200.0, 200.0, 350.0, 500.0])


def image(x_nm: float, y_nm: float, z_nm: float, edge: int = EDGE) -> np.ndarray:
    """An astigmatic Gaussian in the middle of (edge, edge) pixels, for one photon."""
    pixels = PIXEL_NM * (np.arange(edge) - edge // 2)
    across, down = (
        np.exp(-((pixels - at) ** 2) / (2 * width**2)) * PIXEL_NM / np.sqrt(2 * np.pi * width**2)
        for at, width in ((x_nm, 145 * np.hypot(1, (z_nm - 250) / 450)), (y_nm, 145 * np.hypot(1, (z_nm + 250) / 450)))
    )
    return np.asarray(down[:, None] * across[None])


def beads(photons: np.ndarray) -> BeadDataset:
    rng, count = np.random.default_rng(2), len(photons)
    light = BACKGROUND + photons[:, None, None, None] * np.array([image(0, 0, z) for z in Z_NM])
    middle, nothing = np.full(count, EDGE // 2, float), np.zeros(count, np.int64)
    return BeadDataset(
        rois=(rng.poisson(light) + RESPONSE.baseline_adu).astype(np.uint16),
        z_nm=np.tile(Z_NM, (count, 1)).astype(np.float32), x=middle, y=middle, roi_x0=nothing, roi_y0=nothing,
        stack=nothing, region=np.arange(count), accepted=np.ones(count, bool), reason=("",) * count,
        response=RESPONSE, pixel_size_nm=PIXEL_NM, field_size_px=(EDGE, EDGE), field_known=False,
        measures=pd.DataFrame({"snr": np.full(count, 50.0)}),
    )  # fmt: skip


def truth() -> np.ndarray:
    """The limit of z of molecules of 2000 photons at `DEPTHS_NM`, from the exact images."""
    step = 2.0
    slopes = [
        np.array([(image(*(z * a + step * b)) - image(*(z * a - step * b))) / (2 * step) for z in DEPTHS_NM])
        for a, b in ((np.array([0, 0, 1.0]), np.eye(3)[axis]) for axis in range(3))
    ]
    middle = slice(EDGE // 2 - 7, EDGE // 2 + 8)
    psf = np.array([image(0, 0, z) for z in DEPTHS_NM])
    psf, by_x, by_y, by_z = (part[:, middle, middle] for part in (psf, *slopes))
    return crlb(psf, by_x, by_y, by_z, 2000.0, BACKGROUND, RESPONSE.read_noise_e)[2]


def limit_of(data: BeadDataset) -> np.ndarray:
    none = np.zeros(len(DEPTHS_NM))
    return empirical_psf(data).crlb(none, none, DEPTHS_NM, 2000.0, BACKGROUND, RESPONSE)[2]


def test_dim_beads_beside_bright_ones_leave_the_limit_alone() -> None:
    bright = np.full(8, 40_000.0)
    for photons in (bright, np.concatenate([bright, np.full(40, 400.0)])):
        found = limit_of(beads(photons))
        assert found == pytest.approx(truth(), rel=0.12)


def test_halves_that_are_noise_define_no_limit() -> None:
    rng = np.random.default_rng(3)
    noise = EmpiricalPsf(rng.normal(0, 1e-2, (2, 1, len(Z_NM), 15, 15)), np.zeros((1, 2)), Z_NM, PIXEL_NM)
    none = np.zeros(len(DEPTHS_NM))
    assert np.isnan(noise.crlb(none, none, DEPTHS_NM, 2000.0, BACKGROUND, RESPONSE)[2]).any()
