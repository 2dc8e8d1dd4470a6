"""Frame rate that this computer localises at, measured before the camera runs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from easyzloc_mm.localization.config import LocalizerConfig, live_workers, resolved
from easyzloc_mm.localization.pipeline import Localizer
from easyzloc_mm.localization.synthetic import gaussian_frames
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import Detection
from easyzloc_mm.profile.schema import Profile

EMITTERS_PER_MPX = 140
"""200 in a field of 1200x1200 px: about as dense as single molecules can be resolved."""
PHOTONS, BACKGROUND, SIGMA_PX = 2000.0, 40.0, 1.4
FRAMES = 4
MEASURED_S = 2.0
SPARE, ENOUGH = 3.0, 1.5
"""Frames localised per frame of the camera: from which on a second look may be tried, which takes two to three
times the time, and what has to be left with it."""
CAMERA_CORES = 0.4
"""Processor cores that reading, showing and storing the camera's frames take."""


@dataclass(frozen=True)
class Throughput:
    """What the processes of a live run do together.

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


def measure_throughput(profile: Profile, model: Path) -> Throughput:
    """Return the frame rate at which this computer localises frames of the profile's camera, dense with molecules.

    Takes about two seconds.

    Parameters
    ----------
    profile : Profile
        Its camera and `localize` count.
    model : Path
        Model bundle.
    """
    camera = profile.camera
    shape = (camera.height_px, camera.width_px)
    response = camera.response
    molecules = max(int(EMITTERS_PER_MPX * shape[0] * shape[1] / 1e6), 1)
    frames = gaussian_frames(
        shape, FRAMES, molecules, PHOTONS, BACKGROUND, SIGMA_PX,
        baseline_adu=response.baseline_adu, electrons_per_adu=response.electrons_per_adu,
    )  # fmt: skip
    how = resolved(profile.localize, ModelCard.load(model), live=True)
    settings = LocalizerConfig(model=model, response=response, localize=how, camera_map=camera.map)
    localizer = Localizer(settings)
    localizer.warm_up()
    threshold, numbers = localizer.threshold(frames), np.arange(FRAMES)
    done, spots, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < MEASURED_S:
        table = localizer.localize(frames, numbers, threshold).table
        done, spots = done + FRAMES, spots + len(table)
    one_core = done / (time.perf_counter() - start)
    workers = live_workers()
    cores = min(workers, (os.cpu_count() or 1) - CAMERA_CORES)
    return Throughput(cores * one_core, spots / done, workers)


def second_look(profile: Profile, model: Path, once: Throughput) -> float | None:
    """Return the frames localised in a second with two looks, where this computer keeps up with the camera so.

    None where it does not, or where the profile says how often to look, or Picasso finds the molecules.

    Parameters
    ----------
    profile, model
        As of `measure_throughput`.
    once : Throughput
        What that gave.
    """
    camera = 1000 / profile.imaging.exposure_ms
    if profile.localize.passes is not None or once.frames_per_s < SPARE * camera:
        return None
    twice = profile.localize.model_copy(update={"passes": 2})
    if resolved(twice, ModelCard.load(model)).detection is not Detection.PSF:
        return None
    found = measure_throughput(profile.model_copy(update={"localize": twice}), model)
    return found.frames_per_s if found.frames_per_s > ENOUGH * camera else None
