"""Where a detected emitter is: what the PSF itself says, from several places around the detection.

The ring of a faint emitter far from focus looks, a few pixels beside its middle, much like that of another depth. A
fit that starts there ends there, and the crop that network and fit see is then cut beside the emitter. From a few
places around the detection, in a larger crop, one of the fits ends at the emitter itself, and its evidence says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from easyzloc_mm.localization.matched.crowds.members import tree_of_frames
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.detection_bank import REACH_PX
from easyzloc_mm.psf.kernels.point_image import MAX_AWAY_PX
from easyzloc_mm.psf.mle import SpotPrior, fit_psf, likely_depths
from easyzloc_mm.typing import F32, F64, I64, Bool

AROUND_PX = 2.0
PLACES_PX = ((0.0, 0.0), (AROUND_PX, 0.0), (0.0, AROUND_PX), (-AROUND_PX, 0.0), (0.0, -AROUND_PX))
"""From the detection (x, y), where fits start. Eight places 2.5 px away, or six 3 px away, find hardly more."""
PLACE_SD_PX = 2.0
"""Of an emitter from where a fit starts: loose enough to be left."""
STARTS = 2
"""Depths, of each place."""
OFF_PX = 0.6
"""An emitter that is no farther from its detection stays where it was detected: its fit finds it from there."""


def lonely(frame: I64, x: F64, y: F64, roi_px: int) -> Bool:
    """Return which spots have no other one in their frame whose light a crop of `roi_px` would see."""
    if not len(x):
        return np.zeros(0, bool)
    reach = roi_px / 2 + REACH_PX
    tree = tree_of_frames(frame, x, y, reach)
    return np.asarray(tree.query_ball_point(tree.data, reach, return_length=True) == 1)


def placed(
    crops: F32,
    table: SplinePsf,
    place: I64,
    read_noise_e: float | F32,
    prior: SpotPrior,
    z_range_nm: tuple[float, float],
) -> tuple[F64, F64]:
    """Return where spots lie, x and y from the middle of their crops, pixels.

    Parameters
    ----------
    crops, table, place, read_noise_e
        As for `psf.mle.fit_psf`; the table of larger crops.
    prior : SpotPrior
        Of each spot at its detection.
    z_range_nm : (float, float)
        Depths in which emitters are looked for.
    """
    rows = np.arange(len(crops))
    best, x, y = np.full(len(crops), -np.inf), prior.x_px.copy(), prior.y_px.copy()
    for right, down in PLACES_PX:
        here = replace(prior, x_px=prior.x_px + right, y_px=prior.y_px + down, place_sd_px=PLACE_SD_PX)
        starts = likely_depths(crops, table, place, read_noise_e, here, STARTS)
        fits = fit_psf(crops, table, place, starts, read_noise_e, here)
        inside = fits.started & (fits.z_nm > z_range_nm[0]) & (fits.z_nm < z_range_nm[1])
        inside &= (np.abs(fits.x_px) < MAX_AWAY_PX) & (np.abs(fits.y_px) < MAX_AWAY_PX)
        evidence = np.where(inside, fits.log_evidence, -np.inf)
        chosen = evidence.argmax(axis=1)
        better = evidence[rows, chosen] > best
        best = np.where(better, evidence[rows, chosen], best)
        x, y = (np.where(better, its[rows, chosen], before) for its, before in ((fits.x_px, x), (fits.y_px, y)))
    stays = np.hypot(x - prior.x_px, y - prior.y_px) <= OFF_PX
    return np.where(stays, prior.x_px, x), np.where(stays, prior.y_px, y)
