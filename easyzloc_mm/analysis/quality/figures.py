"""The figures of a run's quality, each by the name that quality tools of the field use."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.analysis.quality.linearity import Linearity, LinearityMap
from easyzloc_mm.analysis.resolution import MIN_ROWS, ResolutionResult
from easyzloc_mm.locs.linking import LinkResult
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.table import believable

PERCENTILES = (5, 25, 50, 75, 95)
FLAGS = {
    1: "outside the calibrated range of z",
    2: "another depth gives nearly the same image",
    4: "unlike any training spot",
    8: "outside the calibrated field",
}
"""Bits of `z_flag`, and why a localisation carries each."""


class Distribution(FrozenModel):
    """Five percentiles of one column of the believable localisations.

    Attributes
    ----------
    p5, p25, median, p75, p95 : float
    """

    p5: float
    p25: float
    median: float
    p75: float
    p95: float

    @classmethod
    def of(cls, values: pd.Series) -> Self | None:
        """Return the distribution; None where there is no value."""
        if values.empty:
            return None
        return cls(**dict(zip(cls.model_fields, map(float, np.percentile(values, PERCENTILES)), strict=True)))


class Interval(FrozenModel):
    """A resolution with its 95 % interval, nm; None where it cannot be determined."""

    nm: float | None
    low_nm: float | None = None
    high_nm: float | None = None


class QualityReport(FrozenModel):
    """What `report` found; None where a table does not hold what a figure needs.

    Attributes
    ----------
    table : str
        What it is of.
    frames, frames_lost, localizations, believed : int
        Believed are those without a flag; all figures but `flags` are of these.
    flags : dict of str to int
        Localisations with each flag, by its meaning; one may carry several.
    photons, background, lpx_nm, lpy_nm, lpz_nm : Distribution
    nena_nm : dict of str to float
        Precision from neighbours in adjacent frames, by axis.
    z_nm : Distribution
    localizations_per_frame, first_tenth_per_frame, last_tenth_per_frame : float
        Over the run, in its first tenth, and in its last.
    localizations_per_um2, nyquist_nm : float
        Density around a typical localisation, and the finest detail that so many can carry.
    drift_nm : dict of str to float
        Peak to peak of what was taken out, by axis; None where nothing was.
    drift_methods : str
    events, on_frames, photons_per_event : int, float, float
        Times that an emitter was on, their mean length in frames, and their median photons.
    frc, fsc : Interval
        Fourier ring correlation in x and y, and Fourier shell correlation, threshold 1/7.
    linearity : Linearity or None
        Whether the picture rises in proportion to the light that the camera saw.
    no_linearity : str or None
        Why that could not be determined.
    model : str
        Digest of the model, if any.
    """

    schema_version: Literal[1] = 1
    table: str
    frames: int
    frames_lost: int
    localizations: int
    believed: int
    flags: dict[str, int]
    photons: Distribution | None
    background: Distribution | None
    lpx_nm: Distribution | None
    lpy_nm: Distribution | None
    lpz_nm: Distribution | None
    nena_nm: dict[str, float]
    z_nm: Distribution | None
    localizations_per_frame: float
    first_tenth_per_frame: float
    last_tenth_per_frame: float
    localizations_per_um2: float | None
    nyquist_nm: float | None
    drift_nm: dict[str, float] | None
    drift_methods: str | None
    events: int | None
    on_frames: float | None
    photons_per_event: float | None
    frc: Interval
    fsc: Interval
    linearity: Linearity | None
    no_linearity: str | None
    model: str | None

    def in_short(self) -> dict[str, Any]:
        """Return the figures for people: of what is spread its middle, and of what was compared the outcome."""
        shown = self.model_dump(mode="json", exclude={"no_linearity"})
        spread = {name: value for name, value in shown.items() if isinstance(value, dict) and "median" in value}
        shown |= {name: value["median"] for name, value in spread.items()}
        return shown | {"linearity": self.linearity.in_words() if self.linearity else self.no_linearity}


def quality(
    locs: Locs, linked: LinkResult | None, resolution: ResolutionResult | None, linear: LinearityMap | str
) -> QualityReport:
    """Return the figures of a table.

    Parameters
    ----------
    locs : Locs
    linked : LinkResult or None
        Its believable rows linked; None for a table without precisions.
    resolution : ResolutionResult or None
        None for a table of fewer than `MIN_ROWS` believable rows.
    linear : LinearityMap or str
        Or why there is none.
    """
    table = believable(locs.table)
    pixel = locs.pixel_size_nm
    drift = locs.drift
    frames = max(locs.frames, 1)
    tenth = max(frames // 10, 1)
    frame = table["frame"].to_numpy(np.int64)

    def column(name: str, scale: float = 1.0) -> Distribution | None:
        return Distribution.of(table[name] * scale) if name in table else None

    return QualityReport(
        table=locs.name,
        frames=locs.frames,
        frames_lost=locs.metadata.frames_lost,
        localizations=len(locs),
        believed=len(table),
        flags=flag_counts(locs),
        photons=column("photons"),
        background=column("bg"),
        lpx_nm=column("lpx", pixel),
        lpy_nm=column("lpy", pixel),
        lpz_nm=column("lpz"),
        z_nm=column("z"),
        nena_nm={a: p.nena_nm for a, p in resolution.axes.items() if p.nena_nm} if resolution else {},
        localizations_per_frame=len(table) / frames,
        first_tenth_per_frame=float((frame < tenth).sum() / tenth),
        last_tenth_per_frame=float((frame >= frames - tenth).sum() / tenth),
        localizations_per_um2=resolution.local_density_per_um2 if resolution else None,
        nyquist_nm=resolution.nyquist_nm if resolution else None,
        drift_nm=drift.range_nm(pixel) if drift else None,
        drift_methods=f"x, y: {drift.record.method_xy}; z: {drift.record.method_z}" if drift else None,
        events=len(linked.locs) if linked else None,
        on_frames=float(linked.locs.table["len"].mean()) if linked and len(linked.locs) else None,
        photons_per_event=float(linked.locs.table["photons"].median())
        if linked and "photons" in linked.locs.table and len(linked.locs)
        else None,
        frc=_interval(resolution, "frc"),
        fsc=_interval(resolution, "fsc"),
        linearity=linear.found if isinstance(linear, LinearityMap) else None,
        no_linearity=linear if isinstance(linear, str) else None,
        model=locs.metadata.model.digest if locs.metadata.model else None,
    )


def flag_counts(locs: Locs) -> dict[str, int]:
    """Return how many rows carry each flag, by its meaning."""
    if "z_flag" not in locs.table:
        return {}
    flags = locs.table["z_flag"].to_numpy(np.int64)
    return {why: int(((flags & bit) != 0).sum()) for bit, why in FLAGS.items()}


def enough(locs: Locs) -> bool:
    """Return whether a table has rows enough for its resolution to be determined."""
    return len(believable(locs.table)) >= MIN_ROWS


def _interval(resolution: ResolutionResult | None, name: str) -> Interval:
    if resolution is None:
        return Interval(nm=None)
    crossed = getattr(resolution, name)
    low, high = crossed.ci_nm or (None, None)
    return Interval(nm=crossed.nm, low_nm=low, high_nm=high)
