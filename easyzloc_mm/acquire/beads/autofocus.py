"""Autofocus on beads: by the sharpness of whole images, coarse then fine, always from below."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.acquire.beads.plan import BACKLASH_UM
from easyzloc_mm.beads.detection.detail import spot_contrast
from easyzloc_mm.errors import EasyZlocError
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.profile.schema import Limits
from easyzloc_mm.typing import F64, U16

logger = logging.getLogger(__name__)

COARSE_STEP_UM, FINE_STEP_UM = 0.4, 0.1
FINE_REACH_UM = 0.6
SHIFTS = 3
"""How often the search follows a maximum at its end."""
DISTINCT = 6.0
"""By so many times the scatter of its neighbours the maximum must stand out."""
NOISE_SCATTER = 9.0
"""Relative standard deviation of `spot_contrast` in images of noise, times the root of their pixels (measured)."""


class NoFocusError(EasyZlocError):
    """No plane stands out: there is nothing to focus on."""


@dataclass(frozen=True)
class Focus:
    """Where the bead layer is sharp.

    Attributes
    ----------
    z_um : float
        Stage position, as the stage reports it.
    image : ndarray, shape (height, width), uint16
        The sharpest image seen.
    """

    z_um: float
    image: U16


def find_focus(
    microscope: Microscope,
    limits: Limits,
    around_um: float,
    *,
    reach_um: float,
    settle_s: float,
    progress: Callable[[str], None] | None = None,
) -> Focus:
    """Find the focus of the bead layer.

    A coarse search over `reach_um` to either side, shifted along while its maximum lies at an end, then a fine one
    around the maximum; the vertex of a parabola through the fine search's logarithms is the focus. With a
    `reach_um` of no more than a fine search, the coarse one is left out.

    Parameters
    ----------
    microscope : Microscope
        Over the beads, light and exposure set.
    limits : Limits
        Nothing outside is visited.
    around_um : float
        Where to look.
    reach_um : float
        How far to look to either side.
    settle_s : float
        Wait after each move.
    progress : callable, optional
        Called with a line on what is going on.

    Raises
    ------
    NoFocusError
        No plane is sharper than the others.
    """

    def scan(low: float, high: float, step: float) -> tuple[F64, F64, list[U16]]:
        low, high = max(low, limits.z_min_um), min(high, limits.z_max_um)
        targets = np.linspace(low, high, max(3, round((high - low) / step) + 1))
        # From below, through the drive's play.
        microscope.move_z(max(low - BACKLASH_UM, limits.z_min_um))
        where, images = [], []
        for target in targets:
            microscope.move_z(float(target))
            time.sleep(settle_s)
            where.append(microscope.position().z_um)
            images.append(microscope.expose())
        return np.array(where), np.array([spot_contrast(image) for image in images]), images

    with microscope.hold_shutter_open():
        middle = around_um
        if reach_um > FINE_REACH_UM:
            for _ in range(SHIFTS + 1):
                if progress:
                    progress(f"autofocus around {middle:.1f} um")
                z_um, values, images = scan(middle - reach_um, middle + reach_um, COARSE_STEP_UM)
                best = int(np.argmax(values))
                middle = float(z_um[best])
                at_end = best in (0, len(values) - 1)
                if not at_end or not limits.z_min_um < middle < limits.z_max_um:
                    break
            if at_end or not _distinct(values, images[0].size):
                raise NoFocusError(f"no plane between {z_um[0]:.1f} and {z_um[-1]:.1f} um is sharper than the others")
        for _ in range(SHIFTS):
            z_um, values, images = scan(middle - FINE_REACH_UM, middle + FINE_REACH_UM, FINE_STEP_UM)
            best = int(np.argmax(values))
            middle = float(z_um[best])
            if 0 < best < len(values) - 1:
                break
        if not _distinct(values, images[0].size):
            raise NoFocusError(f"no plane between {z_um[0]:.1f} and {z_um[-1]:.1f} um is sharper than the others")
    focus = Focus(_vertex(z_um, values), images[best])
    logger.info("focus at %.3f um", focus.z_um)
    return focus


def _distinct(values: F64, pixels: int) -> bool:
    """Whether the maximum stands out of the scatter between neighbouring planes, and of that of noise alone."""
    middle = float(np.median(values))
    scatter = robust_sd(np.diff(np.sort(values)[: max(3, len(values) // 2)]), about=0.0)
    return float(values.max()) - middle > DISTINCT * max(scatter, middle * NOISE_SCATTER / math.sqrt(pixels))


def _vertex(z_um: F64, values: F64) -> float:
    best = int(np.argmax(values))
    near = slice(max(0, best - 2), best + 3)
    level = np.log(np.maximum(values[near], 1e-12))
    if len(level) < 3:
        return float(z_um[best])
    a, b, _ = np.polyfit(z_um[near] - z_um[best], level, 2)
    if a >= 0:
        return float(z_um[best])
    return float(z_um[best] + np.clip(-b / (2 * a), -FINE_STEP_UM, FINE_STEP_UM))
