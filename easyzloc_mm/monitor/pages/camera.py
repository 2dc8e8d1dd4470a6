"""The page of the camera before a run: the newest image, how sharp it is and was, and whether it is too bright."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm.monitor.actions import Deed, Offer, button
from easyzloc_mm.monitor.background import Background
from easyzloc_mm.monitor.follow.camera import LOOK_S, CameraWatch, Sharpness
from easyzloc_mm.monitor.follow.run import ShownFrame
from easyzloc_mm.monitor.pages.parts import (
    LINE,
    QUIET,
    SPOT,
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

LOOK = Offer("look", f"look for {LOOK_S:.0f} s, with light")
DARK = Offer("dark", "light off")
SATURATED = "pixels at the camera's maximum: less light, or a shorter exposure"


@dataclass(frozen=True)
class _Seen:
    heading: str
    number: int
    newest: ShownFrame | None
    measures: tuple[Sharpness, ...]


def camera_deeds(watch: CameraWatch) -> dict[str, Deed]:
    """Return what the page's buttons do."""
    return {LOOK.name: watch.look, DARK.name: watch.end}


def make_camera_page(document: Document, watch: CameraWatch, token: str) -> None:
    """Lay the page out and keep it up to date, once a second.

    Parameters
    ----------
    document : bokeh.document.Document
        One browser tab.
    watch : CameraWatch
        The same for all tabs.
    token : str
        Empty for a tab that may only look at what others ask for.
    """
    from bokeh.layouts import column, row
    from bokeh.models.widgets import Div

    heading = Div(text=_heading(watch), sizing_mode="stretch_width")
    answer = Div(text="", styles={"color": QUIET, "padding": "6px"})
    buttons = [button(offer, answer, token) for offer in (LOOK, DARK)] if token else []
    image, spots = image_source(), source("x", "y")
    curves = source("time", "z", "contrast", "brightest")
    picture = dark_figure("newest image (px)", "", 560, 480, match_aspect=True, tools="pan,wheel_zoom,reset,save")
    add_camera_image(picture, image, spots)
    figures = []
    for x, y, label, across in (
        ("time", "contrast", "contrast (best: 1)", "time (s)"),
        ("z", "contrast", "contrast (best: 1)", "z of the stage (µm)"),
        ("time", "brightest", "brightest px (range: 1)", "time (s)"),
    ):
        made = dark_figure(across, label, 700, 190)
        made.line(x, y, source=curves, color=LINE, line_width=2)
        made.scatter(x, y, source=curves, color=SPOT, size=4)
        figures.append(made)

    shown = 0

    def look() -> _Seen:
        return _Seen(_heading(watch), watch.number, watch.newest(), tuple(watch.measures))

    def show(seen: _Seen) -> None:
        nonlocal shown
        heading.text = seen.heading
        if seen.newest is None or seen.number == shown:
            return
        shown = seen.number
        image.data = one_image(seen.newest.image, 0, 0, *seen.newest.size_px)
        contrast = np.array([one.contrast for one in seen.measures])
        curves.data = {
            "time": [one.time_s for one in seen.measures], "z": [one.z_um for one in seen.measures],
            "contrast": contrast / max(contrast.max(), 1e-12), "brightest": [one.brightest for one in seen.measures],
        }  # fmt: skip

    def complain(trouble: str) -> None:
        heading.text = heading_html(_title(watch), {}, alarms=(trouble,))

    document.template = TEMPLATE  # type: ignore[assignment]
    document.title = f"{watch.profile.name}: camera - easyZloc"
    document.add_root(
        column(heading, row(*buttons, answer), row(picture, column(*figures)), sizing_mode="stretch_width")
    )
    Background(document, complain).keep_up(look, show)


def _title(watch: CameraWatch) -> str:
    return f"{watch.profile.name}: camera {'looking, light on' if watch.looking else 'and light off'}"


def _heading(watch: CameraWatch) -> str:
    plan = watch.profile.imaging
    figures = {"exposure": f"{plan.exposure_ms:g} ms", "light": plan.illumination or "as it is"}
    alarms, measures = [watch.trouble], list(watch.measures)
    if measures:
        last, best = measures[-1], max(measures, key=lambda one: one.contrast)
        figures |= {
            "images": f"{watch.number}",
            "contrast": f"{last.contrast / max(best.contrast, 1e-12):.0%} of the best",
            "z": f"{last.z_um:.3f} µm",
            "sharpest at": f"{best.z_um:.3f} µm",
            "brightest pixel": f"{last.brightest:.0%} of the range",
            "saturated pixels": f"{last.saturated:.2%}",
        }
        if last.saturated:
            alarms.append(SATURATED)
    figures["light on the sample"] = f"{watch.lit_ms / 1000:.1f} s"
    return heading_html(_title(watch), figures, alarms=tuple(alarms))
