"""The page of a scan: a map of its fields with their state and a small picture each; a click opens a field's page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.acquire.scans.ledger import FieldStatus
from easyzloc_mm.monitor.background import Background
from easyzloc_mm.monitor.follow.scan import ScanFollower, ShownField
from easyzloc_mm.monitor.pages.parts import INK, TEMPLATE, dark_figure, heading_html, rgba, source

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
ALONE_UM = 100.0
"""Side of a field's square where there is no neighbour to say it."""
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
    names = ("name", "x", "y", "side", "left", "bottom", "top", "color", "state", "why", "light", "found")
    squares = source(*names)
    pictures = source("image", "x", "y", "side")
    made = dark_figure(
        "x of the stage (um)", "y of the stage (um)", 1320, 540, match_aspect=True,
        tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom",
    )  # fmt: skip
    made.rect("x", "y", "side", "side", source=squares, fill_color=None, line_color="color", line_width=4)
    made.image_rgba(
        image="image", x="x", y="y", dw="side", dh="side", source=pictures, origin="top_left", anchor="center"
    )
    made.text("x", "top", "name", source=squares, text_color=INK, text_align="center", text_font_size="11px")
    told = [("field", "@name"), ("state", "@state"), ("", "@why"), ("localisations", "@found"), ("light", "@light")]
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
        side = 0.8 * _spacing_um(np.array([(field.x_um, field.y_um) for field in seen.fields]))
        squares.data = _columns(seen.fields, side)
        drawn = [(field, field.thumbnail) for field in seen.fields if field.thumbnail is not None]
        pictures.data = {
            "image": [rgba(picture) for _, picture in drawn],
            "x": [field.x_um for field, _ in drawn], "y": [field.y_um for field, _ in drawn],
            "side": [0.94 * side] * len(drawn),
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


def _columns(fields: list[ShownField], side: float) -> dict[str, list[object]]:
    return {
        "name": [field.name for field in fields],
        "x": [field.x_um for field in fields],
        "y": [field.y_um for field in fields],
        "side": [side] * len(fields),
        "left": [field.x_um - side / 2 for field in fields],
        "bottom": [field.y_um - side / 2 for field in fields],
        "top": [field.y_um + side / 2 for field in fields],
        "color": [POOR if field.state.verdict == "poor" else COLORS[field.state.status] for field in fields],
        "state": [field.state.verdict for field in fields],
        "why": ["; ".join(filter(None, (field.state.error, *field.state.reasons))) for field in fields],
        "light": ["" if field.state.light_ms is None else f"{field.state.light_ms / 1000:.0f} s" for field in fields],
        "found": ["" if field.state.localizations is None else f"{field.state.localizations:,}" for field in fields],
    }


def _spacing_um(places: NDArray[np.float64]) -> float:
    """Return the distance of the nearest two fields, by the larger of x and y."""
    if len(places) < 2:
        return ALONE_UM
    apart = np.abs(places[:, None] - places[None]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = float(apart.min())
    return nearest if 0 < nearest < np.inf else ALONE_UM
