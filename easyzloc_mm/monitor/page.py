"""The page of a run, as a Bokeh document: the picture as it grows, from above and from the side, curves, a frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.monitor.follow import Follower
from easyzloc_mm.monitor.heading import INK, PAPER, QUIET, STYLE, heading
from easyzloc_mm.rendering.raster.colormap import color_table
from easyzloc_mm.typing import F32

if TYPE_CHECKING:
    from bokeh.document import Document

POLL_MS = 1000
REST = 2.0
"""A page rests for so many times as long as it worked: a slow computer keeps its time for the camera and for clicks."""
VIEW_MS = 250
"""Delay after the last movement of the mouse before the enlarged view is drawn."""
LINE, SPOT = "#5aa9e6", "#ffb000"
TEMPLATE = f"{{% block preamble %}}<style>body {{ background: {PAPER}; margin: 10px; }}</style>{{% endblock %}}"
"""Bokeh puts it into its own page."""


def make_page(document: Document, follower: Follower, stop: Callable[[], None] | None = None) -> None:
    """Lay the page out and keep it up to date, once a second.

    Parameters
    ----------
    document : bokeh.document.Document
        One browser tab.
    follower : Follower
        Of the run; this tab's own, since each looks at a part of its choice.
    stop : callable, optional
        Ends the run; with it, the page has a button that does.
    """
    from bokeh.layouts import column, row

    page = _Page(document, follower)
    controls = [page.brightness, *([_stop_button(stop)] if stop is not None else [])]
    document.template = TEMPLATE  # type: ignore[assignment]
    document.title = f"{follower.run.name} - easyZloc"
    document.add_root(
        column(
            page.heading,
            row(*controls),
            row(
                column(page.map, page.section),
                column(page.depths, page.focus, page.counts),
                column(page.photons, page.precision, page.frame),
            ),
            sizing_mode="stretch_width",
        )
    )
    document.add_periodic_callback(page.update, POLL_MS)
    page.update()


class _Page:
    def __init__(self, document: Document, follower: Follower) -> None:
        from bokeh.models import ColumnDataSource, LinearColorMapper
        from bokeh.models.annotations import ColorBar
        from bokeh.models.widgets import Div, Slider

        self._document, self._follower = document, follower
        self._waiting: Any = None
        self._rest_until_s = 0.0
        self.heading = Div(text="", sizing_mode="stretch_width")
        self._image = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._side = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._raw = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._spots = ColumnDataSource({"x": [], "y": []})
        self._histogram = ColumnDataSource({"top": [], "left": [], "right": [], "color": []})
        self._curves = ColumnDataSource({"frame": [], "spots": [], "z": [], "photons": [], "lpz": []})
        self.brightness = Slider(title="brightness", start=0.2, end=8, step=0.2, value=1.0, width=300)
        self.brightness.stylesheets = [f":host {{ color: {INK}; }} .bk-slider-title {{ color: {INK}; }}"]
        self.brightness.on_change("value_throttled", self._lit)

        self.map = _figure(
            "x (um)", "y (um)", 540, 460, tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom",
            match_aspect=True,
        )  # fmt: skip
        self.map.image_rgba(image="image", x="x", y="y", dw="dw", dh="dh", source=self._image)
        self.map.y_range.flipped = True
        colors = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (255 * color_table()).astype(int)]
        low, high = follower.z_range_nm
        self._mapper = LinearColorMapper(palette=colors, low=low, high=high)
        bar = ColorBar(
            color_mapper=self._mapper, title="z (nm)", background_fill_color=PAPER, width=10,
            title_text_color=INK, major_label_text_color=INK,
        )  # fmt: skip
        self.map.add_layout(bar, "right")
        for axis in (self.map.x_range, self.map.y_range):
            for end in ("start", "end"):
                axis.on_change(end, self._moved)

        self.section = _figure("x (um)", "from the side: z (nm)", 540, 170)
        self.section.image_rgba(image="image", x="x", y="y", dw="dw", dh="dh", source=self._side)
        self.section.background_fill_color = "#000000"
        self.depths = _figure("z (nm)", "localisations", 380, 190)
        self.depths.quad(
            top="top", bottom=0, left="left", right="right", color="color", line_color=None, source=self._histogram
        )
        self.focus = _figure("frame", "shift of z (nm)", 380, 190)
        self.focus.line("frame", "z", source=self._curves, color=LINE, line_width=2)
        self.counts = _figure("frame", "per frame", 380, 190)
        self.counts.line("frame", "spots", source=self._curves, color=LINE, line_width=2)
        self.photons = _figure("frame", "photons", 380, 160)
        self.photons.line("frame", "photons", source=self._curves, color=LINE, line_width=2)
        self.precision = _figure("frame", "lpz (nm)", 380, 160)
        self.precision.line("frame", "lpz", source=self._curves, color=LINE, line_width=2)
        self.frame = _figure("newest frame, and what was found", "", 330, 310, match_aspect=True)
        self.frame.image(
            image="image", x="x", y="y", dw="dw", dh="dh", source=self._raw,
            color_mapper=LinearColorMapper(palette="Greys256", low=0, high=1),
        )  # fmt: skip
        self.frame.scatter("x", "y", source=self._spots, size=9, fill_color=None, line_color=SPOT)
        self.frame.y_range.flipped = True
        self.frame.visible = False

    def update(self) -> None:
        """Read what is new and show it, but no sooner than twice the time that the last showing took."""
        begin = time.monotonic()
        if begin < self._rest_until_s:
            return
        self._show()
        self._rest_until_s = time.monotonic() + REST * (time.monotonic() - begin)

    def _show(self) -> None:
        grew = self._follower.poll()
        self.heading.text = STYLE + heading(self._follower)
        if not (grew and self._follower.started):
            return
        self._draw()
        edges, counts = self._follower.depths()
        low, high = self._follower.z_range_nm
        levels = np.clip((edges[:-1] - low) / (high - low) * 255, 0, 255).astype(int)
        self._histogram.data = {
            "top": counts, "left": edges[:-1], "right": edges[1:],
            "color": [self._mapper.palette[level] for level in levels],
        }  # fmt: skip
        curves = self._follower.curves()
        self._curves.data = {
            "frame": curves.frame, "spots": curves.spots, "z": curves.z_nm, "photons": curves.photons,
            "lpz": curves.lpz_nm,
        }  # fmt: skip
        newest = self._follower.last_frame()
        self.frame.visible = newest is not None
        if newest is not None:
            width, height = newest.size_px
            self._raw.data = {"image": [newest.image], "x": [0], "y": [0], "dw": [width], "dh": [height]}
            self._spots.data = {"x": newest.x, "y": newest.y}

    def _draw(self) -> None:
        self._mapper.low, self._mapper.high = self._follower.z_range_nm
        brightness = float(self.brightness.value)
        picture, (left, right, top, bottom) = self._follower.picture(brightness)
        self._image.data = {
            "image": [rgba(picture)],
            "x": [left / 1000], "y": [top / 1000], "dw": [(right - left) / 1000], "dh": [(bottom - top) / 1000],
        }  # fmt: skip
        side, (left, right, top, bottom) = self._follower.section(brightness)
        # Rows of the picture run down, and so does -z; those of Bokeh run up.
        self._side.data = {
            "image": [rgba(side)[::-1]], "x": [left / 1000], "y": [-bottom], "dw": [(right - left) / 1000],
            "dh": [bottom - top],
        }  # fmt: skip

    def _lit(self, _name: str, _old: object, _new: object) -> None:
        if self._follower.started:
            self._draw()

    def _moved(self, _name: str, _old: object, _new: object) -> None:
        # Four numbers change at every step of the mouse wheel: draw once, after the last change.
        if self._waiting is not None:
            self._document.remove_timeout_callback(self._waiting)
        self._waiting = self._document.add_timeout_callback(self._look, VIEW_MS)

    def _look(self) -> None:
        self._waiting = None
        if not self._follower.started:
            return
        left, right, top, bottom = self._follower.field_nm
        x = sorted(1000 * float(end) for end in (self.map.x_range.start, self.map.x_range.end))
        y = sorted(1000 * float(end) for end in (self.map.y_range.start, self.map.y_range.end))
        seen = max(x[0], left), min(x[1], right), max(y[0], top), min(y[1], bottom)
        if seen[0] >= seen[1] or seen[2] >= seen[3]:
            return
        whole = seen == (left, right, top, bottom)
        self._follower.look_at(None if whole else seen)
        self._draw()


def _stop_button(stop: Callable[[], None]) -> Any:
    """Return the button that ends the run gracefully, pressed twice: what came until then is localised and kept."""
    from bokeh.models.widgets import Button

    button = Button(label="stop the run", button_type="warning", width=220)

    def pressed() -> None:
        if button.label == "stop the run":
            button.update(label="press again to stop the run", button_type="danger")
            return
        button.update(label="stopping: what came is kept", disabled=True)
        stop()

    button.on_click(pressed)
    return button


def _figure(x_label: str, y_label: str, width: int, height: int, **options: Any) -> Any:
    from bokeh.plotting import figure

    made = figure(
        width=width, height=height, x_axis_label=x_label, y_axis_label=y_label,
        background_fill_color="#000000" if options.get("match_aspect") else PAPER, border_fill_color=PAPER,
        outline_line_color=None, **{"toolbar_location": None, "tools": "", **options,
                                    **({"toolbar_location": "above"} if "tools" in options else {})},
    )  # fmt: skip
    for axis in made.axis:
        axis.update(
            axis_label_text_color=INK, major_label_text_color=QUIET, axis_line_color=QUIET, major_tick_line_color=QUIET,
            minor_tick_line_color=None, axis_label_text_font_style="normal",
        )  # fmt: skip
    made.grid.visible = not options.get("match_aspect", False)
    made.grid.grid_line_color = "#2a2f3d"
    return made


def rgba(picture: F32) -> NDArray[np.uint32]:
    """Pack RGB, 0 to 1, into what Bokeh draws: one opaque uint32 per pixel."""
    packed = np.full((*picture.shape[:2], 4), 255, np.uint8)
    packed[..., :3] = np.rint(255 * picture)
    return packed.view(np.uint32)[..., 0]
