"""Localisations against the simulation's truth, beside what the true optics would allow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from easyzloc_mm.numerics.statistics import median_and_range
from easyzloc_mm.profile.schema import Profile

if TYPE_CHECKING:
    import pandas as pd

    from easyzloc_mm.analysis.scoring.figures import Score

Z_RANGE_NM = 700.0
FAINTEST_PHOTONS = 500.0
"""Molecules that are on for a small part of a frame only are neither missed, nor false where they are found."""
ROI_PX = 15
"""Edge of the images that the limit is of."""
LIMIT_SAMPLE = 10_000
"""Molecules, drawn at random, over which the information limit is averaged (1 % off at most: it varies by half)."""


def score_run(run: Path, profile: Profile) -> tuple[dict[str, Any], Score]:
    """Score the raw (not drift-corrected) localisations of an embedded run.

    The truth holds every emitter's defocus in each frame, drift included, so no drift correction enters. One constant
    offset per axis is removed and reported: where z = 0 lies is a convention.

    Returns
    -------
    figures : dict
        ``recall``, ``precision``, ``jaccard``, ``e3d`` of all localisations and of molecules of `FAINTEST_PHOTONS` and
        more; ``rmse_x_nm``, ``rmse_y_nm``, ``rmse_z_nm`` over unflagged matches with ``|z| < 700`` nm;
        ``limit_x_nm``, ``limit_y_nm``, ``limit_z_nm``: root mean square of the information limits of (a random sample
        of) those same molecules under the true optics, each of the pixels that the frame shows, below which no root
        mean square error can lie; ``median_limit_z_nm``, to which ``robust_z_nm`` compares; ``coverage_68``,
        ``coverage_95`` of ``lpz``; ``bins`` by depth.
    score : Score
        All figures.
    """
    from easyzloc_mm.analysis.scoring.figures import ScoreRules
    from easyzloc_mm.analysis.scoring.run import compare_locs
    from easyzloc_mm.analysis.scoring.score import depth_errors, score
    from easyzloc_mm.io.tables.truth import truth_of_run
    from easyzloc_mm.locs.locs import Locs

    compared = compare_locs(Locs.load(run), truth_of_run(run), ScoreRules(faintest_photons=FAINTEST_PHOTONS))
    found, pairs = score(compared), compared.pairs
    scored = pairs[(pairs["z_flag"] == 0) & (pairs["true_z"].abs() < Z_RANGE_NM)]
    figures: dict[str, Any] = {name: getattr(found, name) for name in ("recall", "precision", "jaccard", "e3d")}
    for axis in "xyz":
        error = scored[f"error_{axis}"].to_numpy(float)
        figures[f"rmse_{axis}_nm"] = float(np.sqrt(np.mean(error**2))) if len(error) else None
        figures[f"offset_{axis}_nm"] = getattr(found, f"offset_{axis}_nm")
    errors = depth_errors(scored)
    figures |= {name: errors.get(name) for name in ("robust_z_nm", "coverage_68", "coverage_95")}
    figures |= _limits(scored, profile)
    figures["matched"] = len(pairs)
    figures["flagged"] = found.flagged
    figures["bins"] = [item.model_dump(mode="json") for item in found.bins]
    return figures, found


def _limits(scored: pd.DataFrame, profile: Profile) -> dict[str, float | None]:
    """Return the information limit of a sample of molecules under the true optics, by axis, and the median of z."""
    from easyzloc_mm.camera.crops import crop_noise
    from easyzloc_mm.psf.crlb import crlb
    from easyzloc_mm.simulator.optics.objective import embedded_optics

    if scored.empty:
        return dict.fromkeys((*(f"limit_{axis}_nm" for axis in "xyz"), "median_limit_z_nm"))
    sample = scored.sample(min(LIMIT_SAMPLE, len(scored)), random_state=0)
    x, y = sample["true_x"].to_numpy(), sample["true_y"].to_numpy()
    images = embedded_optics(profile).psf_with_derivatives(
        x, y, x - np.round(x), y - np.round(y), sample["true_z"].to_numpy(), size=ROI_PX
    )
    camera = profile.camera
    limits = crlb(
        *images,
        sample["true_photons"].to_numpy() / camera.excess_noise,
        sample["true_background"].to_numpy() / camera.excess_noise,
        crop_noise((camera.height_px, camera.width_px), x, y, camera.response.effective(), ROI_PX),
    )
    middle = median_and_range(limits[2])
    return {
        **{f"limit_{axis}_nm": float(np.sqrt(np.nanmean(limit**2))) for axis, limit in zip("xyz", limits, strict=True)},
        "median_limit_z_nm": None if middle is None else middle[0],
    }
