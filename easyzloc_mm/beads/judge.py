"""Which candidates are beads that can be trusted, and why the others are not."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MIN_NEIGHBOUR_PX = 15.0
"""Edge of the network's crop: a nearer neighbour would be in it."""
MIN_SNR = 10.0
MAX_MISFIT = 0.10
MISFIT_MADS = 5.0


class Reason(StrEnum):
    """Why a candidate was rejected; the first that applies counts."""

    EDGE = "edge"
    """The ROI leaves the image."""
    NEIGHBOUR = "neighbour"
    """Another candidate is nearer than `MIN_NEIGHBOUR_PX`."""
    SATURATED = "saturated"
    """A pixel is at the camera's upper end."""
    FAINT = "faint"
    """Peak over background, in focus, below `MIN_SNR` times its noise."""
    FOCUS = "focus outside the stack"
    SHAPE = "shape"
    """Unlike its neighbours by more than noise explains: a doublet, dirt, or something out of focus nearby."""


def misfit_limit(misfit: NDArray[np.float64]) -> float:
    """Misfit above which a bead is an outlier among its like; never below `MAX_MISFIT`."""
    known = misfit[np.isfinite(misfit)]
    if not len(known):
        return MAX_MISFIT
    middle = float(np.median(known))
    return max(MAX_MISFIT, middle + MISFIT_MADS * 1.4826 * float(np.median(np.abs(known - middle))))


def reasons(measures: pd.DataFrame, *, final: bool) -> tuple[str, ...]:
    """Give every candidate its reason, or the empty string.

    Parameters
    ----------
    measures : DataFrame
        Columns ``edge``, ``neighbour_px``, ``saturated``, ``snr``, ``focus_um`` and, where `final`, ``misfit``.
    """
    verdict = np.full(len(measures), "", dtype=object)

    def reject(where: NDArray[np.bool_], reason: Reason) -> None:
        verdict[where & (verdict == "")] = str(reason)

    reject(measures["edge"].to_numpy() > 0, Reason.EDGE)
    reject(measures["neighbour_px"].to_numpy() < MIN_NEIGHBOUR_PX, Reason.NEIGHBOUR)
    reject(measures["saturated"].to_numpy() > 0, Reason.SATURATED)
    reject(measures["snr"].to_numpy() < MIN_SNR, Reason.FAINT)
    reject(~np.isfinite(measures["focus_um"].to_numpy()), Reason.FOCUS)
    if final:
        misfit = measures["misfit"].to_numpy()
        good = misfit[verdict == ""]
        reject(misfit > misfit_limit(good), Reason.SHAPE)
    return tuple(str(item) for item in verdict)
