"""Small bead slides with known truth, photographed by an astigmatic Gaussian PSF: bead stacks in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.beads.stack import COLUMNS, BeadStack, StackPixels
from easyzloc_mm.typing import F64, U16

RESPONSE = CameraResponse(baseline_adu=100.0, electrons_per_adu=1.0, read_noise_e=1.5)
PIXEL_NM = 110.0
Z_NM = np.arange(-960.0, 961.0, 60.0)
MIDDLE_NM = 50_000.0


@dataclass(frozen=True)
class Slide:
    """Beads on a slide, in camera pixels of its own; arrays of shape (n,)."""

    x: F64
    y: F64
    height_nm: F64
    photons: F64


def slide(count: int, size_px: int, rng: np.random.Generator, *, apart_px: float = 26.0) -> Slide:
    """Scatter beads so that none is another's neighbour."""
    places: list[F64] = []
    while len(places) < count:
        place = rng.uniform(14, size_px - 14, 2)
        if all(np.hypot(*(place - other)) >= apart_px for other in places):
            places.append(place)
    x, y = np.array(places).T
    return Slide(x, y, rng.uniform(-80, 80, count), rng.uniform(15_000, 60_000, count))


def photograph(
    what: Slide, size_px: int, rng: np.random.Generator, *, moved_px: tuple[float, float] = (0.0, 0.0)
) -> U16:
    """Return images (planes, size, size) of a slide that was moved."""
    pixels = np.arange(size_px)
    image = np.full((len(Z_NM), size_px, size_px), 20.0)
    for x, y, height, photons in zip(
        what.x + moved_px[0], what.y + moved_px[1], what.height_nm, what.photons, strict=True
    ):
        z = (Z_NM + height)[:, None]
        across, down = (
            np.exp(-((pixels - at) ** 2) / (2 * sigma**2)) / np.sqrt(2 * np.pi * sigma**2)
            for at, sigma in ((x, 1.35 * np.hypot(1, (z - 250) / 450)), (y, 1.25 * np.hypot(1, (z + 250) / 400)))
        )
        image += photons * down[:, :, None] * across[:, None, :]
    electrons = rng.poisson(image) + rng.normal(0, RESPONSE.read_noise_e, image.shape)
    return np.rint(electrons + RESPONSE.baseline_adu).clip(0, 65535).astype(np.uint16)


def stack_of(pixels: U16, name: str) -> BeadStack:
    """Return images as the bead stack of one field."""
    z_um = (MIDDLE_NM + Z_NM) / 1000
    rows = [(z, z, 0.0, 0.0, 30.0, None, float(plane)) for plane, z in enumerate(z_um)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return BeadStack(0, StackPixels(pixels, len(pixels)), table, PIXEL_NM, 60.0, RESPONSE, Path(name))
