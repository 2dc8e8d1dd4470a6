"""How bright beads are, by illumination preset: a lamp that ages, a laser out of its fibre, dirt on the lens."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.passport import LightLevel
from easyzloc_mm.numerics.statistics import robust_sd

MEDIAN_ERROR = 1.25
"""Standard error of a median over that of a mean, of a normal distribution."""
FEWEST = 5
"""Beads of one preset."""


def bead_light(beads: BeadDataset) -> dict[str, LightLevel]:
    """Return the median brightness of the accepted beads in focus, by preset ("" where there is none).

    Presets under which fewer than `FEWEST` beads were taken, and stacks that do not state their exposure, are left out.
    """
    if not {"exposure_ms", "illumination"} <= set(beads.stacks.columns):
        return {}
    exposure_ms = pd.to_numeric(beads.stacks["exposure_ms"], errors="coerce").to_numpy(float)
    preset = beads.stacks["illumination"].fillna("").astype(str).to_numpy()
    frames = np.array([beads.frames_per_plane(bead) for bead in range(len(beads))])
    per_ms = beads.measures["photons"].to_numpy(float) / (exposure_ms[beads.stack] * frames)
    usable = beads.accepted & np.isfinite(per_ms) & (per_ms > 0)
    levels = {}
    for name in np.unique(preset):
        brightness = np.log(per_ms[usable & (preset[beads.stack] == name)])
        if len(brightness) >= FEWEST:
            error = MEDIAN_ERROR * robust_sd(brightness) / float(np.sqrt(len(brightness)))
            levels[str(name)] = LightLevel(
                photons_per_ms=float(np.exp(np.median(brightness))), relative_sd=error, beads=len(brightness)
            )
    return levels


def light_ratio(today: Mapping[str, LightLevel], then: Mapping[str, LightLevel]) -> tuple[float, float] | None:
    """Return today's light over that of then, and its standard error; None without a preset in common."""
    common = sorted(set(today) & set(then))
    if not common:
        return None
    ratio = np.array([np.log(today[name].photons_per_ms / then[name].photons_per_ms) for name in common])
    variance = np.array([today[name].relative_sd ** 2 + then[name].relative_sd ** 2 for name in common])
    weight = 1 / np.maximum(variance, 1e-6)
    mean = float(np.exp(np.sum(weight * ratio) / weight.sum()))
    return mean, mean * float(1 / np.sqrt(weight.sum()))
