"""How a live run is going: what the terminal shows and the monitor draws, and what calls for attention."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._alarms import with_alarms
from easyzloc_mm.io.runs.metadata import NoiseCheck
from easyzloc_mm.localization.run_report import FLAGGED_PART
from easyzloc_mm.typing import Progress

WINDOW_FRAMES = 100
"""Figures are of the last so many frames."""
REFERENCE_SPOTS = 500
"""The focus that a run began with is the mean z of its first believable molecules."""
DENSE_PART = 0.35
NEIGHBOUR_PX = 10.0
"""Two spots nearer than this disturb each other's crop."""
TOO_DENSE = "too dense: fewer molecules at a time, lower the activation"
DIM_PHOTONS = 400.0
SHOWN_LAG_S = 1.0
LAG_S = 5.0
FEWEST_SPOTS = 50
"""With fewer in the window no verdict is given on them."""
STATUS_S = 0.5


@dataclass(frozen=True)
class LiveStatus:
    """State of a live run.

    Attributes
    ----------
    frames, frames_expected, frames_lost : int
        Frames that came, that were asked for, and that were lost on the way.
    frames_per_s : float
        Rate at which the camera's frames come.
    localized, lag_frames : int
        Frames that are localised, and that wait for it.
    lag_s : float
        How long ago the newest localised frame came, if any wait.
    localizations : int
        Rows so far.
    spots_per_frame, density_per_um2, photons, background, lpz_nm, flagged : float
        Of the last frames: spots in a frame and per square micrometre, medians of photons, background and lpz, part of
        spots with a flag.
    min_snr, min_net_gradient : float or None
        Threshold of detection: by the PSF, a ratio of signal to noise, or Picasso's, ADU.
    focus_drift_nm : float or None
        Running mean of z against the run's beginning; None until enough molecules were seen.
    camera_running : bool
        False once the last frame has come and localisation only catches up.
    alarms : tuple of str
        What calls for attention, one phrase each.
    noise_ratio : float or None
        Variance of the images' noise over what the camera's units say; None until enough molecules were seen.
    stopping : bool
        The run was asked to end: the camera is off, and what lies in its buffer is still taken in.
    """

    frames: int
    frames_expected: int
    frames_lost: int
    frames_per_s: float
    localized: int
    lag_frames: int
    lag_s: float
    localizations: int
    spots_per_frame: float
    density_per_um2: float
    photons: float
    background: float
    lpz_nm: float
    flagged: float
    focus_drift_nm: float | None
    camera_running: bool
    alarms: tuple[str, ...]
    min_snr: float | None = None
    min_net_gradient: float | None = None
    noise_ratio: float | None = None
    stopping: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a monitor."""
        return asdict(self)

    def line(self) -> str:
        """One line for a terminal, alarms first."""
        parts = [f"{self.frames} frames, {self.frames_per_s:.1f}/s, {self.localizations} localisations"]
        if self.spots_per_frame:
            parts.append(
                f"{self.spots_per_frame:.0f} spots/frame ({self.density_per_um2:.2g}/um2), "
                f"{self.photons:.0f} photons, z +-{self.lpz_nm:.0f} nm, "
                f"{self.flagged:.0%} flagged"
            )
        if self.focus_drift_nm is not None:
            parts.append(f"focus {self.focus_drift_nm:+.0f} nm")
        if self.stopping and self.camera_running:
            parts.append("stopping: the camera is off, its last frames are fetched")
        if self.lag_frames and not self.camera_running:
            parts.append(f"catching up, {self.lag_frames} frames to go")
        elif self.lag_s > SHOWN_LAG_S:
            parts.append(f"{self.lag_frames} frames ({self.lag_s:.1f} s) behind")
        return with_alarms(", ".join(parts), self.alarms)


StatusCallback = Callable[[LiveStatus], None]


class StatusMeter:
    """Keeps the figures of the last frames; `see` for every block, `status` when someone looks."""

    def __init__(self, frames_expected: int, area_um2: float = np.inf) -> None:
        self._expected, self._area_um2 = frames_expected, area_um2
        self._window: deque[tuple[int, pd.DataFrame]] = deque()
        self._reference: list[float] = []
        self._reference_z: float | None = None
        self._arrivals: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._drift: float | None = None

    def arrived(self, received_s: float) -> None:
        """Note a frame's arrival."""
        self._arrivals.append(received_s)

    def see(self, rows: pd.DataFrame, _last_frame: int, frames: int) -> None:
        """Note the localisations of a block."""
        self._window.append((frames, rows))
        while len(self._window) > 1 and sum(count for count, _ in self._window) - self._window[0][0] >= WINDOW_FRAMES:
            self._window.popleft()
        if self._reference_z is None:
            self._reference += rows["z"][rows["z_flag"] == 0].tolist()
            if len(self._reference) >= REFERENCE_SPOTS:
                self._reference_z = float(np.mean(self._reference))

    def focus_drift_nm(self) -> float | None:
        """Mean z of the last believable molecules, against the run's first ones."""
        seen = [rows["z"][rows["z_flag"] == 0] for _, rows in self._window]
        if self._reference_z is None or sum(map(len, seen)) < FEWEST_SPOTS:
            return None
        return float(np.mean(np.concatenate(seen))) - self._reference_z

    def status(
        self,
        *,
        frames: int,
        frames_lost: int,
        localized: int,
        waiting: int,
        oldest_waiting_s: float | None,
        localizations: int,
        camera_running: bool,
        stopping: bool = False,
        threshold: Mapping[str, float | None] | None = None,
        noise: NoiseCheck | None = None,
    ) -> LiveStatus:
        """Figures now."""
        counted = sum(count for count, _ in self._window)
        rows = pd.concat([rows for _, rows in self._window]) if self._window else pd.DataFrame()
        spots = len(rows)
        rate = 0.0
        if len(self._arrivals) > 1:
            rate = (len(self._arrivals) - 1) / max(self._arrivals[-1] - self._arrivals[0], 1e-9)
        lag_s = time.monotonic() - oldest_waiting_s if oldest_waiting_s is not None else 0.0
        flagged = float((rows["z_flag"] != 0).mean()) if spots else 0.0
        alarms = []
        if frames_lost:
            alarms.append(f"{frames_lost} frames dropped")
        if lag_s > LAG_S and camera_running:
            alarms.append("localisation falls behind")
        if noise is not None and noise.applied != 1.0:
            alarms.append("noise unlike the camera's units")
        if spots >= FEWEST_SPOTS:
            if crowded_part(rows) > DENSE_PART:
                alarms.append(TOO_DENSE)
            if float(rows["photons"].median()) < DIM_PHOTONS:
                alarms.append("too dim")
            if flagged > FLAGGED_PART:
                alarms.append("out of focus")
        return LiveStatus(
            frames=frames,
            frames_expected=self._expected,
            frames_lost=frames_lost,
            frames_per_s=rate,
            localized=localized,
            lag_frames=waiting,
            lag_s=lag_s,
            localizations=localizations,
            spots_per_frame=spots / counted if counted else 0.0,
            density_per_um2=spots / counted / self._area_um2 if counted else 0.0,
            photons=float(rows["photons"].median()) if spots else 0.0,
            background=float(rows["bg"].median()) if spots else 0.0,
            lpz_nm=float(rows["lpz"].median()) if spots else 0.0,
            flagged=flagged,
            focus_drift_nm=self.focus_drift_nm(),
            camera_running=camera_running,
            alarms=tuple(alarms),
            noise_ratio=None if noise is None else noise.ratio,
            stopping=stopping,
            **(threshold or {}),
        )


def crowded_part(rows: pd.DataFrame) -> float:
    """Part of the last frame's spots that have another one too near."""
    from scipy.spatial import cKDTree

    last = rows[rows["frame"] == rows["frame"].max()]
    if len(last) < 2:
        return 0.0
    places = last[["x", "y"]].to_numpy(float)
    nearest = cKDTree(places).query(places, k=2)[0][:, 1]
    return float((nearest < NEIGHBOUR_PX).mean())


class StatusReporter:
    """Calls `progress` and `on_status` (`LiveOptions`) with the state of the run, about twice a second."""

    def __init__(self, progress: Progress | None, on_status: StatusCallback | None) -> None:
        self._progress, self._on_status = progress, on_status
        self._next_s = 0.0

    def report(self, status_now: Callable[[], LiveStatus], *, at_once: bool = False) -> None:
        """Report, if it is time or `at_once` is set."""
        if self._progress is None and self._on_status is None:
            return
        if time.monotonic() < self._next_s and not at_once:
            return
        self._next_s = time.monotonic() + STATUS_S
        status = status_now()
        if self._on_status:
            self._on_status(status)
        if self._progress:
            done = status.frames if status.camera_running else status.localized
            self._progress(f"live: {status.line()}", min(done / max(status.frames_expected, 1), 1.0))
