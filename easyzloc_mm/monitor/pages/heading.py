"""What stands over the page of a run: alarms, state and figures, as HTML."""

from __future__ import annotations

import shutil

from easyzloc_mm.io.runs.status import RunStatus
from easyzloc_mm.monitor.follow.run import Follower, Phase
from easyzloc_mm.monitor.pages.parts import heading_html

WORDS = {
    "too dim": "too dim: more excitation light, or a longer exposure",
    "out of focus": "most molecules carry a flag: out of focus, or unlike the beads",
    "localisation falls behind": "localisation falls behind the camera: no frame is lost, it will catch up",
}
"""What to do about an alarm that does not say so itself."""


def heading(follower: Follower, *, stopping: bool = False, said: str = "", link: str = "", trouble: str = "") -> str:
    """Name, state and figures of the run, as HTML.

    Parameters
    ----------
    follower : Follower
    stopping : bool
        Whether its stop button was pressed.
    said : str
        What a next step says, in one line.
    link : str
        Address of the page that it opened.
    trouble : str
        Why the run cannot be read.
    """
    status, phase = follower.status(), follower.phase()
    asked = stopping or (status is not None and status.stopping)
    state = "stopping, its last frames are fetched" if asked and phase is Phase.IMAGING else phase
    title = f"{follower.run.name}: {state}"
    alarms = (trouble, *([_how_to_finish(follower)] if phase is Phase.CUT_OFF else []))
    if status is None:
        return heading_html(title, {"localisations": f"{follower.rows:,}"}, alarms=alarms, said=said, link=link)
    alarms += tuple(WORDS.get(alarm, alarm) for alarm in status.alarms)
    return heading_html(title, _figures(follower, status, phase), alarms=alarms, said=said, link=link)


def _how_to_finish(follower: Follower) -> str:
    known = follower.metadata.model if follower.metadata is not None else None
    model, run = "MODEL" if known is None else known.path, follower.run
    command = f"easyzloc-mm localize {run} --model {model} --out {run} --resume"
    return f"this run was cut off before its end: `{command}` finishes it"


def _figures(follower: Follower, status: RunStatus, phase: Phase) -> dict[str, str]:
    figures = {
        "frames": f"{status.frames:,} of {status.frames_expected:,}",
        "frames/s": f"{status.frames_per_s:.1f}",
        "frames lost": f"{status.frames_lost}",
    }
    if phase.at_work:
        figures["behind"] = f"{status.lag_frames} frames, {status.lag_s:.1f} s"
    figures |= {
        "localisations": f"{status.localizations:,}",
        "per frame": f"{status.spots_per_frame:.0f} ({status.density_per_um2:.2g} per µm²)",
        "photons": f"{status.photons:,.0f}",
        "background": f"{status.background:.0f} photons/px",
        "z uncertainty": f"{status.lpz_nm:.0f} nm",
        "flagged": f"{status.flagged:.0%}",
    }
    if status.min_snr is not None:
        figures["threshold"] = f"signal to noise {status.min_snr:.1f}"
    elif status.min_net_gradient is not None:
        figures["threshold"] = f"net gradient {status.min_net_gradient:.0f} ADU"
    if status.focus_drift_nm is not None:
        figures["focus"] = f"{status.focus_drift_nm:+.0f} nm"
    if status.light_ms is not None:
        of = "" if status.light_budget_ms is None else f" of {status.light_budget_ms / 1000:.0f}"
        figures["light on the sample"] = f"{status.light_ms / 1000:.1f}{of} s"
    return figures | _left(follower, status, phase)


def _left(follower: Follower, status: RunStatus, phase: Phase) -> dict[str, str]:
    """Return time and disk that are left, while frames come."""
    if phase is not Phase.IMAGING or not status.frames_per_s:
        return {}
    frames = max(status.frames_expected - status.frames, 0)
    seconds = round(frames / status.frames_per_s)
    left = {"time left": f"{seconds // 60}:{seconds % 60:02d}"}
    if follower.metadata is not None:
        needed = 2 * follower.metadata.width_px * follower.metadata.height_px * frames / 1e9
        free = shutil.disk_usage(follower.run.absolute().parent).free / 1e9
        left["disk free"] = f"{free:.0f} GB (at most {needed:.1f} needed)"
    return left
