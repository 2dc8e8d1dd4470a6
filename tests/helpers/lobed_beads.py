"""Beads drawn from Gaussians, as spots or with lobes that wander with depth: in a field, or as ready-cut ROIs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.beads.stack import COLUMNS, BeadStack, StackPixels
from easyzloc_mm.typing import F64, U16

SIDE, APART_PX = 220, 44.0
STAGE_NM = np.arange(-1200.0, 1201.0, 100.0)
RESPONSE = CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.5)
Image = Callable[[F64, F64, float], F64]


def spot(x: F64, y: F64, wide_px: float, high_px: float) -> F64:
    light = np.exp(-(x**2) / (2 * wide_px**2) - y**2 / (2 * high_px**2))
    return np.asarray(light / (2 * np.pi * wide_px * high_px))


def two_lobes(x: F64, y: F64, angle: float, radius_px: float) -> F64:
    dx, dy = radius_px * np.cos(angle), radius_px * np.sin(angle)
    return 0.5 * (spot(x - dx, y - dy, 1.5, 1.5) + spot(x + dx, y + dy, 1.5, 1.5))


def double_helix(x: F64, y: F64, z_nm: float) -> F64:
    sharp = 1 / (1 + (z_nm / 900) ** 2)
    return sharp * two_lobes(x, y, z_nm / 800, 5.0) + (1 - sharp) * spot(x, y, 6.0, 6.0)


def tetrapod(x: F64, y: F64, z_nm: float) -> F64:
    return two_lobes(x, y, np.pi / 2 if z_nm > 0 else 0.0, 1.0 + abs(z_nm) / 140)


def astigmatic(x: F64, y: F64, z_nm: float) -> F64:
    wide, high = (1.4 * np.sqrt(1 + ((z_nm + foc) / 350) ** 2) for foc in (250.0, -250.0))
    return spot(x, y, wide, high)


def unmodified(x: F64, y: F64, z_nm: float) -> F64:
    width = 1.3 * np.sqrt(1 + (z_nm / 450) ** 2)
    return spot(x, y, width, width)


def extended(x: F64, y: F64, z_nm: float) -> F64:
    width = 1.6 * np.sqrt(1 + (z_nm / 1800) ** 2)
    return spot(x, y, width, width)


def record(image: Image, side_px: int, beads: Sequence[tuple[float, float, float, float]], seed: int) -> U16:
    """Photograph beads (x, y, height in nm, photons) through focus, shape (Z, side, side)."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:side_px, :side_px].astype(float)
    planes = []
    for stage in STAGE_NM:
        mean = np.full((side_px, side_px), 20.0)
        for x, y, z, photons in beads:
            mean += photons * image(column - x, row - y, stage - z)
        planes.append((rng.poisson(mean) + rng.normal(0, 1.5, mean.shape)) / 0.5 + 100)
    return np.clip(np.rint(planes), 0, 65535).astype(np.uint16)


def stack_of_planes(pixels: U16) -> BeadStack:
    """Return planes at `STAGE_NM` as a bead stack."""
    table = pd.DataFrame(0.0, index=range(len(STAGE_NM)), columns=list(COLUMNS))
    table["requested_z_um"] = table["measured_z_um"] = STAGE_NM / 1000
    table["exposure_ms"] = np.nan  # a TIFF does not say
    return BeadStack(0, StackPixels(pixels, len(pixels)), table, 110.0, 100.0, RESPONSE, Path("slide"))


def slide(image: Image, seed: int, *, second: bool = False) -> tuple[BeadStack, F64]:
    """A stack of beads on a loose grid; with `second`, the first one has a neighbour 9 px away."""
    rng = np.random.default_rng(seed)
    ticks = np.arange(APART_PX, SIDE - 30, APART_PX)
    places = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2) + rng.uniform(-3, 3, (len(ticks) ** 2, 2))
    height_nm = rng.uniform(-80, 80, len(places))
    drawn = [(*place, z, rng.uniform(3e4, 6e4)) for place, z in zip(places, height_nm, strict=True)]
    if second:
        drawn.append((places[0, 0] + 7, places[0, 1] + 6, 0.0, 4e4))
    return stack_of_planes(record(image, SIDE, drawn, seed + 1000)), np.column_stack([places, height_nm])


def ready_cut(image: Image, count: int, seed: int, *, size_px: int = 31, doublets: int = 0) -> U16:
    """ROIs of one bead each, within a pixel of the middle; `doublets` of them hold a second one, 11 px away."""
    rng = np.random.default_rng(seed)
    rois = []
    for number in range(count):
        x, y = size_px // 2 + rng.uniform(-1, 1, 2)
        beads = [(x, y, rng.uniform(-80, 80), rng.uniform(3e4, 6e4))]
        if number < doublets:
            angle = rng.uniform(0, 2 * np.pi)
            beads.append((x + 11 * np.cos(angle), y + 11 * np.sin(angle), 0.0, 4e4))
        rois.append(record(image, size_px, beads, seed + number))
    return np.stack(rois)
