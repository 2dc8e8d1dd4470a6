"""What the molecules of a movie are like: their photons and background, for training to match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.localization.detection.gaussian_fit import detect_frames, fit_gaussians
from easyzloc_mm.localization.detection.threshold import automatic_threshold
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.predictor import OUT_OF_DISTRIBUTION, Predictor
from easyzloc_mm.typing import U16

FRAMES = 200
BOX_PX = 7
MIN_SPOTS = 100
QUANTILES = (0.02, 0.98)
MARGIN = 1.5
"""Ranges reach so much farther than what the sampled frames show."""


def _some_molecules(movie: Path, response: CameraResponse) -> tuple[U16, pd.DataFrame]:
    """Frames spread over the movie, and the fitted spots in them, in effective photons; `frame` counts within them."""
    opened = open_movie(movie)
    chosen = np.unique(np.linspace(0, opened.shape[0] - 1, FRAMES).astype(int))
    frames = np.concatenate([opened.read(int(i), int(i) + 1) for i in chosen])
    frames = frames[~blank_images(frames)]
    if not len(frames):
        raise InputError(f"movie {movie} shows nothing: each of {len(chosen)} frames is black")
    spots = detect_frames(frames, automatic_threshold(frames, BOX_PX), BOX_PX)
    return frames, fit_gaussians(frames, spots, BOX_PX, response.effective())[0]


def emitter_prior(movie: Path, response: CameraResponse) -> EmitterPrior:
    """Photon and background ranges of a movie, from up to `FRAMES` frames spread over it.

    Raises
    ------
    InputError
        The movie cannot be read, or shows too few molecules for a statistic.
    """
    frames, table = _some_molecules(movie, response)
    if len(table) < MIN_SPOTS:
        raise InputError(f"`like` {movie}: only {len(table)} molecules in {len(frames)} frames; {MIN_SPOTS} are needed")
    default = EmitterPrior()
    ranges = {}
    for name, column in (("photons", "photons"), ("background", "bg")):
        photons = response.excess_noise * table[column].to_numpy(float)
        low, high = np.quantile(np.maximum(photons, 1e-3), QUANTILES)
        floor = getattr(default, name)[0] / 3
        # A fitted Gaussian misses the tails of a defocused spot, hence the wider upper margin for photons.
        ranges[name] = (
            float(max(low / MARGIN, floor)),
            float(max(high * MARGIN * (1.5 if name == "photons" else 1), 3 * floor)),
        )
    return EmitterPrior(photons=ranges["photons"], background=ranges["background"])


def domain_gap(movie: Path, model: Predictor, response: CameraResponse) -> float:
    """Share of a movie's spots that look like no training spot (flag 4); 0.001 where movie and training are alike."""
    frames, table = _some_molecules(movie, response)
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    if not len(x):
        return 0.0
    crops = crop_photons(frames, table["frame"].to_numpy(), x, y, response.effective(), model.card.roi_px)
    return float(np.mean(model.predict(crops, x, y).z_flag & OUT_OF_DISTRIBUTION > 0))
