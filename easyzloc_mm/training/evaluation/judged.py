"""What a model makes of beads, emitter by emitter: what figures and reports are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from easyzloc_mm.typing import I64


@dataclass(frozen=True)
class Judged:
    """What a model makes of beads: tables with columns ``z``, ``predicted``, ``sigma``, ``flag``, ``error``, ``bead``.

    Attributes
    ----------
    beads : ndarray
        Indices of the beads.
    emitters, wide : DataFrame
        The beads thinned to the brightness of typical molecules, and of all molecules; with ``limit``, ``photons``,
        ``background``, ``x``, ``y``.
    recorded : DataFrame
        The beads as recorded.
    """

    beads: I64
    emitters: pd.DataFrame
    wide: pd.DataFrame
    recorded: pd.DataFrame
