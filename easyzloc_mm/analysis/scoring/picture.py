"""Recall and errors by true depth, drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.report.figures import picture
from easyzloc_mm.typing import F64

FOUND_COLOUR, ERROR_COLOUR, BIAS_COLOUR, LIMIT_COLOUR = "#1c2430", "#0072b2", "#009e73", "#d55e00"


def draw_score(score: Score, path: Path) -> None:
    """Draw how many molecules of each depth are found, and how well and how truly their z is known.

    Parameters
    ----------
    score : Score
        With `bins`: of tables and truths in 3D.
    path : Path
        ``NAME.png``.
    """
    middle = np.array([(item.z_from_nm + item.z_to_nm) / 2 for item in score.bins])

    def values(name: str) -> F64:
        return np.array([getattr(item, name) for item in score.bins], float)

    with picture(path, 9.5, 3.8) as figure:
        left, right = figure.subplots(1, 2)
        left.plot(middle, values("recall"), "o-", color=FOUND_COLOUR, label="recall")
        left.plot(middle, values("precision"), "s--", color=FOUND_COLOUR, alpha=0.5, label="precision")
        left.set(xlabel="true z (nm)", ylabel="share of the molecules", ylim=(0, 1.05))
        left.legend()
        right.axhline(0, color="0.6", linewidth=0.8)
        right.plot(middle, values("robust_z_nm"), "o-", color=ERROR_COLOUR, label="error (robust)")
        right.plot(middle, values("bias_nm"), "s-", color=BIAS_COLOUR, label="bias (median error)")
        if not np.isnan(values("limit_z_nm")).all():
            right.plot(middle, values("limit_z_nm"), color=LIMIT_COLOUR, label="information limit")
        right.set(xlabel="true z (nm)", ylabel="nm")
        right.legend()
        for axes in (left, right):
            axes.grid(alpha=0.3)
