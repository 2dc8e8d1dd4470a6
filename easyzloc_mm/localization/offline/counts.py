"""Counts of spots that call for a warning: none, more than there can be, more rejected than kept."""

from __future__ import annotations

import warnings
from pathlib import Path

from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.localization.config import LocalizerConfig, threshold_name
from easyzloc_mm.localization.run_report import RunReport

MOST_PER_UM2 = 1.5
"""Spots in a frame per square micrometre: more cannot be told apart, whatever is in the sample."""


def warn_of_counts(report: RunReport, movie: Path, how: LocalizerConfig, metadata: RunMetadata) -> None:
    """Warn where a movie's number of spots says that its units or threshold are wrong.

    Parameters
    ----------
    report : RunReport
        Of the whole run.
    movie : Path
    how : LocalizerConfig
    metadata : RunMetadata
        Of the run: what its frames cover of the sample.
    """
    rejected, found = report.fits_rejected or 0, report.localizations
    name = threshold_name(how.localize)
    camera = f"the camera's baseline ({how.response.baseline_adu:g} ADU) and gain"
    threshold = f"`{name}` ({getattr(report, name) or 0.0:.3g})"
    density = found / max(report.frames, 1) / metadata.area_um2
    if rejected > found:
        text = (
            f"{rejected} of {rejected + found} spots of {movie} had no credible fit: check {camera}, and the detection "
            f"threshold {threshold}"
        )
    elif not found:
        text = f"no molecule was found in the {report.frames} frames of {movie}: check {camera}, or lower {threshold}"
    elif density > MOST_PER_UM2:
        text = (
            f"{density:.1f} spots per square micrometre in a frame of {movie} cannot all be molecules: check {camera} "
            f"(`camera_map` for pixels that differ), or raise {threshold}"
        )
    else:
        return
    warnings.warn(text, EasyZlocWarning, stacklevel=4)
