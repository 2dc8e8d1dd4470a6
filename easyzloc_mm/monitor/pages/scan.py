"""The page of a scan: a map of its fields with their state and a small picture each; a click opens a field's page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm.acquire.scans.ledger import FieldStatus
from easyzloc_mm.monitor.background import Background
from easyzloc_mm.monitor.follow.scan import ScanFollower, ShownField, places_on_map
from easyzloc_mm.monitor.pages.parts import INK, TEMPLATE, dark_figure, heading_html, rgba, source
from easyzloc_mm.typing import F64

if TYPE_CHECKING:
    from bokeh.document import Document

COLORS = {
    FieldStatus.PENDING: "#4a5164",
    FieldStatus.RUNNING: "#5aa9e6",
    FieldStatus.INTERRUPTED: "#ffb000",
    FieldStatus.FAILED: "#ff6b6b",
    FieldStatus.SKIPPED: "#8d95a8",
    FieldStatus.DONE: "#5fc98f",
}
POOR = "#d9a441"
"""Of a field that is done and breaks a rule of the plan."""
SIDE = 0.86
"""Of a field's square, distances of the map."""
OPEN = """
const chosen = source.selected.indices;
if (chosen.length) {
    const address = new URL(window.location);
    address.searchParams.set("field", source.data.name[chosen[0]]);
    source.selected.indices = [];
    window.open(address, "_blank");
}
"""


@dataclass(frozen=True)
class _Seen:
    heading: str
    fields: list[ShownField] | None


def make_scan_page(document: Document, follower: ScanFollower) -> None:
    """Lay the page out and keep it up to date, once a second.

    Parameters
    ----------
    document : bokeh.document.Document
        One browser tab.
    follower : ScanFollower
        This tab's own.
    """
    from bokeh.layouts import column
    from bokeh.models import CustomJS, HoverTool, TapTool
    from bokeh.models.widgets import Div

    heading = Div(text=heading_html(f"{follower.folder.name}: scan", {}), sizing_mode="stretch_width")
    names = ("name", "x", "y", "side", "top", "place", "color", "state", "why", "light", "found")
    squares = source(*names)
    pictures = source("image", "x", "y", "side")
    made = dark_figure(
        "", "", 1340, 640, match_aspect=True,
        tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom",
    )  # fmt: skip
    made.axis.visible = False
    made.y_range.flipped = True
    made.rect("x", "y", "side", "side", source=squares, fill_color=None, line_color="color", line_width=4)
    made.image_rgba(image="image", x="x", y="y", dw="side", dh="side", source=pictures, anchor="center")
    made.text("x", "top", "name", source=squares, text_color=INK, text_align="center", text_font_size="11px")
    told = [
        (label, f"@{column}")
        for label, column in (
            ("field", "name"), ("stage (µm)", "place"), ("state", "state"), ("", "why"), ("localisations", "found"),
            ("light", "light"),
        )
    ]  # fmt: skip
    made.add_tools(HoverTool(tooltips=told), TapTool())
    squares.selected.js_on_change("indices", CustomJS(args={"source": squares}, code=OPEN))

    def look() -> _Seen:
        grew = follower.poll()
        fields = follower.fields()
        return _Seen(_heading(follower, fields), fields if grew else None)

    def show(seen: _Seen) -> None:
        heading.text = seen.heading
        if seen.fields is None:
            return
        at = places_on_map(np.array([(field.x_um, field.y_um) for field in seen.fields]))
        squares.data = _columns(seen.fields, at)
        drawn = [
            (place, field.thumbnail)
            for place, field in zip(at, seen.fields, strict=True)
            if field.thumbnail is not None
        ]
        pictures.data = {
            "image": [rgba(picture) for _, picture in drawn],
            "x": [place[0] for place, _ in drawn], "y": [place[1] for place, _ in drawn],
            "side": [0.96 * SIDE] * len(drawn),
        }  # fmt: skip

    def complain(trouble: str) -> None:
        heading.text = heading_html(f"{follower.folder.name}: scan", {}, alarms=(trouble,))

    document.template = TEMPLATE  # type: ignore[assignment]
    document.title = f"{follower.folder.name} - easyZloc"
    document.add_root(column(heading, made, sizing_mode="stretch_width"))
    Background(document, complain).keep_up(look, show)


def _heading(follower: ScanFollower, fields: list[ShownField]) -> str:
    counts = Counter(field.state.verdict for field in fields)
    over = sum(field.state.status.is_over for field in fields)
    figures = {"fields": f"{over} of {len(fields)}"}
    figures |= {verdict: str(number) for verdict, number in sorted(counts.items())}
    figures["localisations"] = f"{sum(field.state.localizations or 0 for field in fields):,}"
    figures["frames lost"] = f"{sum(field.state.frames_lost or 0 for field in fields):,}"
    figures["light on the sample"] = f"{sum(field.state.light_ms or 0 for field in fields) / 1000:.0f} s"
    alarms = [f"{field.name}: {field.state.error}" for field in fields if field.state.status is FieldStatus.FAILED]
    now = follower.now()
    if now is not None:
        name, status = now
        figures[f"now: {name}"] = f"{status.frames:,} of {status.frames_expected:,} frames"
        alarms += [f"{name}: {alarm}" for alarm in status.alarms]
    return heading_html(f"{follower.folder.name}: scan", figures, alarms=tuple(alarms))


def _columns(fields: list[ShownField], at: F64) -> dict[str, list[object]]:
    return {
        "name": [field.name for field in fields],
        "x": at[:, 0].tolist(),
        "y": at[:, 1].tolist(),
        "side": [SIDE] * len(fields),
        "top": (at[:, 1] - SIDE / 2).tolist(),
        "place": [f"{field.x_um:.1f}, {field.y_um:.1f}" for field in fields],
        "color": [POOR if field.state.verdict == "poor" else COLORS[field.state.status] for field in fields],
        "state": [field.state.verdict for field in fields],
        "why": ["; ".join(filter(None, (field.state.error, *field.state.reasons))) for field in fields],
        "light": ["" if field.state.light_ms is None else f"{field.state.light_ms / 1000:.0f} s" for field in fields],
        "found": ["" if field.state.localizations is None else f"{field.state.localizations:,}" for field in fields],
    }
