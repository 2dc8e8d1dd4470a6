"""Localisations against the simulation's truth, beside what the true optics would allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.profile.schema import Profile

Z_RANGE_NM = 700.0
ROI_PX = 15
LIMIT_SAMPLE = 5000
"""Molecules, drawn at random, over which the information limit is averaged (1 % off at most: it varies by half)."""


def score_run(run: Path, profile: Profile) -> dict[str, Any]:
    """Score the raw (not drift-corrected) localisations of an embedded run.

    The truth holds every emitter's defocus in each frame, drift included, so no drift correction enters. One constant
    offset per axis is removed and reported: where z = 0 lies is a convention.

    Returns
    -------
    dict
        ``rmse_x_nm``, ``rmse_y_nm``, ``rmse_z_nm`` over unflagged matches with ``|z| < 700`` nm; ``limit_x_nm``,
        ``limit_y_nm``, ``limit_z_nm``: root mean square information limit of (a random sample of) those same molecules
        under the true optics; ``coverage_68``, ``coverage_95`` of ``lpz``.
    """
    import pandas as pd

    from easyzloc_mm.analysis.accuracy import match_to_truth, summarize_matches
    from easyzloc_mm.io.runs.ground_truth import read_record
    from easyzloc_mm.io.runs.localizations import read_localizations
    from easyzloc_mm.psf.crlb import crlb
    from easyzloc_mm.simulator.optics.objective import embedded_optics

    table, _ = read_localizations(run)
    truth = read_record(run, "emitters")
    pixel_size_nm = profile.optics.pixel_size_nm
    matches: pd.DataFrame = match_to_truth(table, truth, pixel_size_nm=pixel_size_nm)
    scored = matches[(matches["z_flag"] == 0) & (matches["true_z"].abs() < Z_RANGE_NM)]
    summary = summarize_matches(scored)
    sample = scored.sample(min(LIMIT_SAMPLE, len(scored)), random_state=0)
    x, y = sample["true_x"].to_numpy(), sample["true_y"].to_numpy()
    images = embedded_optics(profile).psf_with_derivatives(
        x, y, x - np.round(x), y - np.round(y), sample["true_z"].to_numpy(), size=ROI_PX
    )
    limits = crlb(
        *images,
        sample["true_photons"].to_numpy(),
        sample["true_background"].to_numpy(),
        profile.camera.read_noise_e,
    )
    for axis, limit in zip("xyz", limits, strict=True):
        summary[f"limit_{axis}_nm"] = float(np.sqrt(np.mean(limit**2)))
    summary["matched"] = len(matches)
    summary["flagged"] = float((matches["z_flag"] != 0).mean())
    return summary
