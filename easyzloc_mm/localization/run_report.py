"""What a run gave, for whoever called for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.io.runs.localizations import read_localizations

FLAGGED_PART = 0.6
"""A run of which more carries a flag is nothing to rely on."""


class RunReport(FrozenModel):
    """Frames, losses, rates and rows of a run.

    What does not apply is None: `fits_rejected` and the thresholds where another program found the spots.

    Attributes
    ----------
    out : Path
        The run, ``RUN.zarr``.
    frames, frames_lost : int
        Frames that were received, or that the movie has; and frames that were lost on the way from the camera.
    frames_per_s : float
        Over the whole run, until the last row was written.
    localizations : int
        Rows in the table.
    fits_rejected : int or None
        Spots whose fit failed.
    min_snr : float or None
        Threshold of detection by the PSF, a ratio of signal to noise, as set or found.
    min_net_gradient : float or None
        Threshold of Picasso's detection, ADU, as set or found.
    noise_ratio, noise_applied : float or None
        Variance of the images' noise over what the camera's units say, and the factor that uncertainties and flags
        were made for; None where too few molecules, or no PSF, could tell.
    p95_latency_s : float or None
        From a frame's arrival in MMCore's buffer to its rows being committed, 95th percentile; 0 for movies.
    most_waiting : int or None
        Largest number of frames that waited for localisation; 0 for movies.
    catch_up_s : float or None
        How long localisation went on after the camera had stopped; 0 for movies.
    workers_replaced : int or None
        Localising processes that died and were replaced.
    focus_moves : int or None
        Times that z was moved back to hold the focus; None for movies.
    pauses : int or None
        Times that the run waited for something to come right; None for movies.
    paused_s : float or None
        How long these pauses took; None for movies.
    moving_s : float or None
        How long stages, focus lock and light took before the first frame; None for movies.
    light_ms : float or None
        Time for which the sample was lit, bleaching included; None for movies.
    ended_by : str or None
        Why it came to a clean end before its last frame.
    commit_lag_s : float or None
        Longest time that a frame or a row had been written and was not committed: what a power cut could have taken;
        None for movies.
    whole : bool or None
        What the quick form of `verify` found at the run's end; None where it was not asked.
    flagged : float or None
        Share of the rows that carry a `z_flag`; None where there is no row.
    refreshed : str or None
        What the sample adds to the beads' PSF, where rows were localised with a model that was made for it.
    alarms : tuple of str
        What calls for attention, a sentence each, the gravest first.
    """

    schema_version: Literal[1] = 1
    out: Path
    frames: int
    frames_lost: int
    frames_per_s: float
    localizations: int
    fits_rejected: int | None = None
    min_snr: float | None = None
    min_net_gradient: float | None = None
    noise_ratio: float | None = None
    noise_applied: float | None = None
    p95_latency_s: float | None = None
    most_waiting: int | None = None
    catch_up_s: float | None = None
    workers_replaced: int | None = None
    focus_moves: int | None = None
    pauses: int | None = None
    paused_s: float | None = None
    moving_s: float | None = None
    light_ms: float | None = None
    ended_by: str | None = None
    commit_lag_s: float | None = None
    whole: bool | None = None
    flagged: float | None = None
    refreshed: str | None = None
    alarms: tuple[str, ...] = ()

    def judged(self, stored: Path, seen: Sequence[str] = ()) -> Self:
        """Return the report with `flagged` and `alarms`.

        Parameters
        ----------
        stored : Path
            Where the rows lie, closed.
        seen : sequence of str
            Alarms that were raised while it ran.
        """
        table, _ = read_localizations(stored, columns=["z_flag"])
        flagged = float((table["z_flag"] != 0).mean()) if len(table) else None
        alarms = []
        if flagged is not None and flagged > FLAGGED_PART:
            alarms.append(
                f"{flagged:.0%} of the {len(table)} localisations carry a `z_flag`, and their z cannot be relied on: "
                "the sample is out of focus, or looks unlike the beads that the model was trained on"
            )
        if self.frames_lost:
            alarms.append(f"{self.frames_lost} frames were lost or black: their molecules are not in the table")
        if self.whole is False:
            alarms.append(f"not all of the run is there: `easyzloc-mm verify {self.out}` names what is missing")
        return self.model_copy(update={"flagged": flagged, "alarms": (*alarms, *seen)})

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without those that do not apply."""
        return self.model_dump(exclude_none=True)
