"""A day at the second microscope: lens, focal surface, lamp and stage changed a little, or too much; and its beads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.benchmarks.second_optics.datasets import (
    BEAD_BACKGROUND,
    BEAD_PHOTONS,
    EXPOSURE_MS,
    FOCUS_UM,
    places_apart,
)
from easyzloc_mm.benchmarks.second_optics.lens import SAMPLES_PER_PIXEL, Lens
from easyzloc_mm.benchmarks.second_optics.microscope import MARGIN_PX, SecondMicroscope, sharpest_nm
from easyzloc_mm.camera.exposure import camera_counts
from easyzloc_mm.io.beads.stack import COLUMNS, BeadStack, StackPixels
from easyzloc_mm.numerics.spline import cubic_b_spline
from easyzloc_mm.typing import F64

FIELDS, BEADS_PER_FIELD, APART_PX = 4, 8, 40.0
Z_LIMIT_NM, Z_STEP_NM = 1000.0, 100.0
"""Of a quick look: 84 planes in all."""


class Day(FrozenModel):
    """What is not as it was when the instrument was calibrated.

    Attributes
    ----------
    kind : str
        What mostly.
    aberrations_rad : dict of str to float
        Added, by the names in `Lens.with_added`.
    curvature_nm : float
        Added height of the focal surface at the corners of the field.
    tilt_nm : (float, float)
        Of the slide: rise to the right edge, and to the lower one.
    light : float
        Of the lamp, over what it was.
    stage_scale : float
        True travel over that which the stage reports.
    """

    kind: str
    aberrations_rad: dict[str, float]
    curvature_nm: float = 0.0
    tilt_nm: tuple[float, float] = (0.0, 0.0)
    light: float = 1.0
    stage_scale: float = 1.0


def bead_stacks(day: Day, microscope: SecondMicroscope, seed: int) -> list[BeadStack]:
    """Photograph some thirty beads, in a few fields and at coarse steps; the PSF is computed at each bead's place.

    Parameters
    ----------
    day : Day
    microscope : SecondMicroscope
        As it was calibrated.
    seed : int
        Of places, brightness and noise.
    """
    rng = np.random.default_rng(seed)
    lens = microscope.lens.with_added(day.aberrations_rad)
    steps = round(Z_LIMIT_NM / Z_STEP_NM)
    stage_nm = Z_STEP_NM * np.arange(-steps, steps + 1)
    size = np.array([microscope.width_px, microscope.height_px])
    stacks = []
    for field in range(FIELDS):
        x, y = places_apart(microscope, BEADS_PER_FIELD, APART_PX, lens.half_px, rng)
        photons = day.light * rng.uniform(*BEAD_PHOTONS, len(x))
        electrons = np.full((len(stage_nm), *size[::-1]), BEAD_BACKGROUND)
        for at_x, at_y, count in zip(x, y, photons, strict=True):
            place = 2 * np.array([at_x, at_y]) / (size - 1) - 1
            height_nm = (
                microscope.field_curvature_nm * np.sum(place**2) / 2
                + day.curvature_nm * np.sum(place**2) / 2
                + np.dot(day.tilt_nm, place)
            )
            z_nm = day.stage_scale * stage_nm - height_nm + sharpest_nm(lens, float(place[0]), float(place[1]))
            left, top = int(np.rint(at_x)) - lens.half_px, int(np.rint(at_y)) - lens.half_px
            side = 2 * lens.half_px + 1
            electrons[:, top : top + side, left : left + side] += count * _images(lens, place, at_x, at_y, z_nm)
        pixels = np.stack([camera_counts(np.maximum(plane, 0), microscope.response, rng) for plane in electrons])
        planes = pd.DataFrame(
            {
                "requested_z_um": FOCUS_UM + stage_nm / 1000,
                "measured_z_um": FOCUS_UM + stage_nm / 1000,
                "x_um": 80.0 * field,
                "y_um": 0.0,
                "exposure_ms": EXPOSURE_MS,
                "illumination": None,
                "time_s": np.arange(len(stage_nm), dtype=float),
            }
        )[list(COLUMNS)]
        stacks.append(
            BeadStack(
                field, StackPixels(pixels, len(pixels)), planes, lens.pixel_size_nm, Z_STEP_NM, microscope.response,
                Path("today"),
            )
        )  # fmt: skip
    return stacks


def _images(lens: Lens, place: F64, x: float, y: float, z_nm: F64) -> F64:
    """Images of one photon of a bead, shape (planes, side, side), around its nearest pixel."""
    half = lens.half_px + MARGIN_PX
    samples = lens.images(float(place[0]), float(place[1]), z_nm, half)
    for axis in (1, 2):
        samples = ndimage.spline_filter1d(samples, 3, axis=axis, mode="mirror")
    knots = np.arange(samples.shape[-1]) - samples.shape[-1] // 2
    pixels = SAMPLES_PER_PIXEL * np.arange(-lens.half_px, lens.half_px + 1)
    rows, columns = (
        cubic_b_spline(pixels[:, None] - SAMPLES_PER_PIXEL * (at - np.rint(at)) - knots[None, :]) for at in (y, x)
    )
    return np.asarray(rows @ samples @ columns.T)
