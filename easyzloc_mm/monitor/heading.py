"""What stands over the page of a run: alarms, state and figures, as HTML."""

from __future__ import annotations

import shutil
from html import escape

from easyzloc_mm.io.runs.status import RunStatus
from easyzloc_mm.monitor.follow import Follower

INK, PAPER, QUIET, WARN = "#e8eaf0", "#11141c", "#8d95a8", "#ff6b6b"
STYLE = f"""
<style>
  .run {{ font: 14px system-ui, sans-serif; color: {INK}; }}
  .run h1 {{ font-size: 18px; margin: 0 0 6px; }}
  .run .figures {{ display: flex; flex-wrap: wrap; gap: 4px 18px; }}
  .run .figure b {{ display: block; font-size: 17px; font-weight: 600; font-variant-numeric: tabular-nums; }}
  .run .figure span {{ color: {QUIET}; }}
  .run .alarm {{ color: {PAPER}; background: {WARN}; border-radius: 4px; padding: 4px 10px; margin: 0 0 6px; }}
</style>
"""
WORDS = {
    "too dim": "too dim: more excitation light, or a longer exposure",
    "out of focus": "most molecules carry a flag: out of focus, or unlike the beads",
    "localisation falls behind": "localisation falls behind the camera: no frame is lost, it will catch up",
}
"""What to do about an alarm that does not say so itself."""


def heading(follower: Follower) -> str:
    """Name, state and figures of the run, as HTML."""
    status = follower.status()
    name = escape(follower.run.name)
    if status is None:
        state = "recorded" if follower.started else "waiting for the first localisations"
        return f'<div class="run"><h1>{name}: {state}</h1>{_figures({"localisations": f"{follower.rows:,}"})}</div>'
    finished = follower.metadata is not None and bool(follower.metadata.complete)
    state = "imaging" if status.camera_running else "finished" if finished else "catching up with the camera"
    figures = {
        "frames": f"{status.frames:,} of {status.frames_expected:,}",
        "frames/s": f"{status.frames_per_s:.1f}",
        "frames lost": f"{status.frames_lost}",
        "behind": f"{status.lag_s:.1f} s",
        "localisations": f"{status.localizations:,}",
        "per frame": f"{status.spots_per_frame:.0f} ({status.density_per_um2:.2g} per um2)",
        "photons": f"{status.photons:,.0f}",
        "background": f"{status.background:.0f}",
        "z uncertainty": f"{status.lpz_nm:.0f} nm",
        "flagged": f"{status.flagged:.0%}",
    }
    if status.min_snr is not None:
        figures["threshold"] = f"signal to noise {status.min_snr:.1f}"
    elif status.min_net_gradient is not None:
        figures["threshold"] = f"net gradient {status.min_net_gradient:.0f} ADU"
    if status.focus_drift_nm is not None:
        figures["focus"] = f"{status.focus_drift_nm:+.0f} nm"
    figures |= _left(follower, status)
    alarms = "".join(f'<div class="alarm">{escape(WORDS.get(alarm, alarm))}</div>' for alarm in status.alarms)
    return f'<div class="run">{alarms}<h1>{name}: {state}</h1>{_figures(figures)}</div>'


def _left(follower: Follower, status: RunStatus) -> dict[str, str]:
    """Return time and disk that are left, while frames come."""
    if not status.camera_running or not status.frames_per_s:
        return {}
    frames = max(status.frames_expected - status.frames, 0)
    seconds = round(frames / status.frames_per_s)
    left = {"time left": f"{seconds // 60}:{seconds % 60:02d}"}
    if follower.metadata is not None:
        needed = 2 * follower.metadata.width_px * follower.metadata.height_px * frames / 1e9
        free = shutil.disk_usage(follower.run.absolute().parent).free / 1e9
        left["disk free"] = f"{free:.0f} GB (at most {needed:.1f} needed)"
    return left


def _figures(values: dict[str, str]) -> str:
    cells = "".join(f'<div class="figure"><b>{value}</b><span>{name}</span></div>' for name, value in values.items())
    return f'<div class="figures">{cells}</div>'
