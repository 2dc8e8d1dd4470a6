"""What the molecules of a movie are like: their photons and background, for training to match."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.camera.blank import blank_images, nothing_shown
from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.localization.detection.gaussian_fit import detect_frames, fit_gaussians
from easyzloc_mm.localization.detection.threshold import automatic_threshold
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.predictor import OUT_OF_DISTRIBUTION, Predictor
from easyzloc_mm.typing import U16

FRAMES = 200
MOST_FRAMES = 16 * FRAMES
BOX_PX = 7
ENOUGH_SPOTS = 100
"""For the ranges of photons and background; a movie that shows fewer in `FRAMES` frames is read on."""
MIN_SPOTS = 10
QUANTILES = (0.02, 0.98)
MARGIN = 1.5
"""Ranges reach so much farther than what the sampled frames show."""


def _molecules(movie: Path, response: CameraResponse) -> Iterator[tuple[U16, pd.DataFrame]]:
    """Yield frames spread over the movie and the fitted spots in them, `FRAMES` and then ever more in between.

    Spots are in effective photons; their `frame` counts within the frames they come with.
    """
    opened = open_movie(movie)
    total, wanted, threshold = opened.shape[0], FRAMES, None
    seen: set[int] = set()
    while len(seen) < total and wanted <= MOST_FRAMES:
        new = sorted(set(np.linspace(0, total - 1, min(wanted, total)).astype(int).tolist()) - seen)
        seen.update(new)
        wanted *= 2
        frames = np.concatenate([opened.read(i, i + 1) for i in new])
        frames = frames[~blank_images(frames)]
        if len(frames):
            threshold = automatic_threshold(frames, BOX_PX) if threshold is None else threshold
            spots = detect_frames(frames, threshold, BOX_PX)
            yield frames, fit_gaussians(frames, spots, BOX_PX, response.effective())[0]
    if threshold is None:
        raise nothing_shown(movie, len(seen))


def emitter_prior(movie: Path, response: CameraResponse) -> EmitterPrior:
    """Photon and background ranges of a movie, from `FRAMES` frames spread over it, or more where molecules are rare.

    Raises
    ------
    InputError
        The movie cannot be read, or shows next to no molecules.
    """
    tables, frames = [], 0
    for images, found in _molecules(movie, response):
        tables.append(found)
        frames += len(images)
        if sum(map(len, tables)) >= ENOUGH_SPOTS:
            break
    table = pd.concat(tables, ignore_index=True)
    seen = f"{len(table)} molecule(s) in {frames} of its {open_movie(movie).shape[0]} frames"
    if len(table) < MIN_SPOTS:
        raise InputError(
            f"`like` {movie} shows {seen}: {MIN_SPOTS} are needed to tell what molecules are like; give a longer "
            "movie, or leave out `like`"
        )
    if len(table) < ENOUGH_SPOTS:
        warnings.warn(
            f"`like` {movie} shows {seen}: their photons and background are known roughly only, and the training "
            "covers wider ranges than it would have to",
            EasyZlocWarning,
            stacklevel=2,
        )
    default = EmitterPrior()
    # The fewer there are, the farther beyond those that were seen others may lie.
    margin = MARGIN * max(1.0, (ENOUGH_SPOTS / len(table)) ** 0.5)
    ranges = {}
    for name, column in (("photons", "photons"), ("background", "bg")):
        photons = response.excess_noise * table[column].to_numpy(float)
        low, high = np.quantile(np.maximum(photons, 1e-3), QUANTILES)
        floor = getattr(default, name)[0] / 3
        # A fitted Gaussian misses the tails of a defocused spot, hence the wider upper margin for photons.
        ranges[name] = (
            float(max(low / margin, floor)),
            float(max(high * margin * (1.5 if name == "photons" else 1), 3 * floor)),
        )
    return EmitterPrior(photons=ranges["photons"], background=ranges["background"])


def domain_gap(movie: Path, model: Predictor, response: CameraResponse) -> float:
    """Share of a movie's spots that look like no training spot (flag 4); 0.001 where movie and training are alike."""
    frames, table = next(_molecules(movie, response))
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    if not len(x):
        return 0.0
    crops = crop_photons(frames, table["frame"].to_numpy(), x, y, response.effective(), model.card.roi_px)
    return float(np.mean(model.predict(crops, x, y).z_flag & OUT_OF_DISTRIBUTION > 0))
