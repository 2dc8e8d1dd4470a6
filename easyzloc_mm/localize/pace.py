"""How many frames a second this computer localises: known before the camera runs, not after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from easyzloc_mm.localize.pipeline import Localizer
from easyzloc_mm.localize.settings import LocalizerSettings, live_workers
from easyzloc_mm.profile import Profile

MOLECULES_PER_MPX = 140
"""200 in a field of 1200x1200 px: as dense as single molecules can be told apart well."""
PHOTONS, BACKGROUND, SIGMA_PX = 2000.0, 40.0, 1.4
FRAMES = 4
MEASURED_S = 2.0


@dataclass(frozen=True)
class Pace:
    """What one core does, and what the live run's processes do together.

    Attributes
    ----------
    frames_per_s : float
        Frames of this camera localised in a second by all processes of a live run.
    spots_per_frame : float
        How dense they were.
    workers : int
        Localising processes of a live run on this computer.
    """

    frames_per_s: float
    spots_per_frame: float
    workers: int


def measure_pace(profile: Profile, model: Path) -> Pace:
    """Localise made-up frames of the profile's camera, dense with molecules, for about two seconds.

    Parameters
    ----------
    profile : Profile
        Its camera and `localize` count.
    model : Path
        Model bundle.
    """
    camera = profile.camera
    rng = np.random.default_rng(0)
    shape = (camera.height_px, camera.width_px)
    light = np.zeros(shape)
    molecules = max(int(MOLECULES_PER_MPX * light.size / 1e6), 1)
    light[rng.integers(8, shape[0] - 8, molecules), rng.integers(8, shape[1] - 8, molecules)] = PHOTONS
    expected = gaussian_filter(light, SIGMA_PX) + BACKGROUND
    units = camera.units
    frames = np.stack([units.baseline_adu + rng.poisson(expected) / units.electrons_per_adu for _ in range(FRAMES)])
    frames = np.clip(frames, 0, 65535).astype(np.uint16)
    localizer = Localizer(LocalizerSettings(model=model, units=units, localize=profile.localize))
    localizer.warm_up()
    threshold, numbers = localizer.threshold(frames), np.arange(FRAMES)
    done, spots, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < MEASURED_S:
        table, _ = localizer.localize(frames, numbers, threshold)
        done, spots = done + FRAMES, spots + len(table)
    workers = live_workers()
    return Pace(workers * done / (time.perf_counter() - start), spots / done, workers)
