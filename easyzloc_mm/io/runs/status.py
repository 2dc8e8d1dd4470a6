"""The state of a live run, beside its table: one small file, replaced as a whole, that a monitor may read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.stored import StoredModel
from easyzloc_mm.io.writing.atomic import put_file

FILE = "status.json"


class RunStatus(StoredModel):
    """State of a live run; figures of spots are those of the last frames."""

    KIND: ClassVar[str] = "run status"
    SCHEMA_VERSION: ClassVar[int] = 1

    frames: int = 0
    """Frames that came."""
    frames_expected: int = 0
    frames_lost: int = 0
    frames_per_s: float = 0.0
    localized: int = 0
    """Frames that are localised."""
    lag_frames: int = 0
    """Frames that wait for it."""
    lag_s: float = 0.0
    localizations: int = 0
    spots_per_frame: float = 0.0
    density_per_um2: float = 0.0
    """Spots of a frame per square micrometre."""
    photons: float = 0.0
    """Median."""
    background: float = 0.0
    """Median, photons per pixel."""
    lpz_nm: float = 0.0
    """Median."""
    flagged: float = 0.0
    """Share of spots with a flag."""
    focus_drift_nm: float | None = None
    """Running mean of z against the run's beginning; None until enough emitters were seen."""
    camera_running: bool = False
    alarms: tuple[str, ...] = ()
    """What calls for attention, one phrase each."""
    min_snr: float | None = None
    """Threshold of detection by the PSF, a ratio of signal to noise."""
    min_net_gradient: float | None = None
    """Threshold of Picasso's detection, ADU."""
    noise_ratio: float | None = None
    """Variance of the images' noise over what the camera's units say; None until enough emitters were seen."""
    stopping: bool = False
    """The run was asked to end: the camera is off, and what lies in its buffer is still taken in."""
    light_ms: float | None = None
    """Time for which the run has lit the sample."""
    light_budget_ms: float | None = None
    """Longest time for which it may."""
    whole: bool | None = None
    """What the quick form of `verify` found at the end of the run; None before."""


def write_status(run: Path, status: RunStatus) -> None:
    """Put the state of `run` in place; does nothing where there is no run yet."""
    if Path(run).is_dir():
        put_file(Path(run) / FILE, json.dumps(status.stored()).encode())


def status_time_s(run: Path) -> float | None:
    """Return when the state of `run` was last written, seconds since 1970: its sign of life; None without one."""
    try:
        return (Path(run) / FILE).stat().st_mtime
    except FileNotFoundError:
        return None


def read_status(run: Path) -> RunStatus | None:
    """Return the last state of `run`; None for one that was never live, or whose state cannot be read."""
    path = Path(run) / FILE
    try:
        return RunStatus.from_stored(dict(json.loads(path.read_text(encoding="utf-8"))), path)
    except (FileNotFoundError, PermissionError, ValueError, InputError):  # not there, or just being replaced
        return None
