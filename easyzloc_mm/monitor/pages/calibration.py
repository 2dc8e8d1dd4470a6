"""The page of a calibration: the newest plane with its beads, focus curves, how far it is, what its log says."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from easyzloc_mm.monitor.background import Background
from easyzloc_mm.monitor.follow.run import ShownFrame
from easyzloc_mm.monitor.follow.stacks import FocusCurve, StacksFollower
from easyzloc_mm.monitor.pages.parts import (
    LINE,
    QUIET,
    TEMPLATE,
    add_camera_image,
    dark_figure,
    heading_html,
    image_source,
    one_image,
    source,
)

if TYPE_CHECKING:
    from bokeh.document import Document

SATURATED = "the newest plane reaches the camera's maximum: lower beads.exposures_ms, or the light"
STEPS = (("beads.zarr", "training"), ("stacks.ome.zarr", "photographing beads, then judging and aligning them"))
"""What is at work when a part of a calibration is there, the last one first."""


@dataclass(frozen=True)
class _Seen:
    heading: str
    log: str
    curves: list[FocusCurve] | None = None
    newest: ShownFrame | None = None


def make_calibration_page(document: Document, follower: StacksFollower) -> None:
    """Lay the page out and keep it up to date, once a second.

    Parameters
    ----------
    document : bokeh.document.Document
        One browser tab.
    follower : StacksFollower
        This tab's own.
    """
    from bokeh.layouts import column, row
    from bokeh.models.widgets import Div

    heading = Div(text=heading_html(follower.name, {}), sizing_mode="stretch_width")
    log = Div(text="", styles={"color": QUIET, "font": "12px ui-monospace, monospace"}, sizing_mode="stretch_width")
    image, spots = image_source(), source("x", "y")
    lines = source("z", "contrast", "color", "width")
    plane = dark_figure("newest plane (px); circles: beads of its field", "", 560, 480, match_aspect=True)
    add_camera_image(plane, image, spots)
    focus = dark_figure("z of the stage (µm)", "contrast of the beads (best of each field: 1)", 700, 480)
    focus.multi_line("z", "contrast", source=lines, line_color="color", line_width="width")

    def look() -> _Seen:
        grew = follower.poll()
        text = "<br>".join(map(escape, follower.log_lines()))
        if not grew:
            return _Seen(_heading(follower), text)
        return _Seen(_heading(follower), text, follower.curves(), follower.newest())

    def show(seen: _Seen) -> None:
        heading.text, log.text = seen.heading, seen.log
        if seen.curves is not None:
            last = len(seen.curves) - 1
            lines.data = {
                "z": [curve.z_um for curve in seen.curves], "contrast": [curve.contrast for curve in seen.curves],
                "color": [LINE if number == last else QUIET for number in range(last + 1)],
                "width": [3 if number == last else 1 for number in range(last + 1)],
            }  # fmt: skip
        if seen.newest is not None:
            image.data = one_image(seen.newest.image, 0, 0, *seen.newest.size_px)
            spots.data = {"x": seen.newest.x, "y": seen.newest.y}

    def complain(trouble: str) -> None:
        heading.text = heading_html(follower.name, {}, alarms=(trouble,))

    document.template = TEMPLATE  # type: ignore[assignment]
    document.title = f"{follower.name} - easyZloc"
    document.add_root(column(heading, row(plane, focus), log, sizing_mode="stretch_width"))
    Background(document, complain).keep_up(look, show)


def _heading(follower: StacksFollower) -> str:
    fovs, planes = follower.planned()
    beads, skipped = follower.beads()
    figures = {
        "fields": f"{len(follower.counts)} of {fovs}" if fovs else f"{len(follower.counts)}",
        "planes": f"{follower.planes:,} of {fovs * planes:,}" if fovs * planes else f"{follower.planes:,}",
        "good beads": f"{beads:,}",
        "places skipped": f"{skipped}",
        "brightest pixel": f"{follower.brightest:.0%} of the camera's range",
    }
    silent_s = follower.since_news_s()
    if silent_s is not None and not _calibrated(follower):
        figures["since the last line below"] = f"{round(silent_s) // 60}:{round(silent_s) % 60:02d}"
    alarms = (SATURATED,) if follower.brightest >= 1 else ()
    return heading_html(f"{follower.name}: {_at_work(follower)}", figures, alarms=alarms)


def _calibrated(follower: StacksFollower) -> bool:
    return follower.calibration is not None and (follower.calibration / "model").is_dir()


def _at_work(follower: StacksFollower) -> str:
    folder = follower.calibration
    if folder is None:
        return "bead stacks"
    if _calibrated(follower):
        return "calibrated"
    return next((words for name, words in STEPS if (folder / name).exists()), "about to begin")
