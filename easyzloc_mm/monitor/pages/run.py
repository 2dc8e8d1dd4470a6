"""The page of a run, as a Bokeh document: the picture as it grows, from above and from the side, curves, a frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from easyzloc_mm.monitor.actions import Offer
from easyzloc_mm.monitor.background import Background
from easyzloc_mm.monitor.follow.run import Curves, Follower, Phase, ShownFrame
from easyzloc_mm.monitor.pages.heading import heading
from easyzloc_mm.monitor.pages.parts import (
    INK,
    LINE,
    PAPER,
    QUIET,
    TEMPLATE,
    add_camera_image,
    dark_figure,
    image_source,
    one_image,
    rgba,
    source,
)
from easyzloc_mm.rendering.raster.canvas import Extent
from easyzloc_mm.rendering.raster.colormap import color_table
from easyzloc_mm.typing import F32, F64

if TYPE_CHECKING:
    from bokeh.document import Document

VIEW_MS = 250
"""Delay after the last movement of the mouse before the enlarged view is drawn."""


@dataclass(frozen=True)
class Controls:
    """What the page can do beside showing, for tabs that may.

    Attributes
    ----------
    offers : callable
        Given how far the run is, returns the buttons that stand beside the slider then.
    button : callable
        Makes one of them; given it, and where its answer is shown.
    stopping : callable
        Whether the run was asked to stop.
    said : callable
        What a next step says, in one line.
    page : callable
        The address of the page that it opened.
    """

    offers: Callable[[Phase], tuple[Offer, ...]]
    button: Callable[[Offer, Any], Any]
    stopping: Callable[[], bool]
    said: Callable[[], str]
    page: Callable[[], str]


WATCHING = Controls(lambda _phase: (), lambda _offer, _answer: None, bool, str, str)
"""No buttons."""


@dataclass(frozen=True)
class _Views:
    """The pictures from above and from the side."""

    above: F32
    above_nm: Extent
    side: F32
    side_nm: Extent
    z_range_nm: tuple[float, float]


@dataclass(frozen=True)
class _Seen:
    """What was new at a look; None for what was not."""

    heading: str
    offers: tuple[Offer, ...]
    views: _Views | None = None
    depths: tuple[F64, F64] | None = None
    curves: Curves | None = None
    newest: ShownFrame | None = None


def make_page(document: Document, follower: Follower, controls: Controls = WATCHING) -> None:
    """Lay the page out and keep it up to date, once a second.

    Parameters
    ----------
    document : bokeh.document.Document
        One browser tab.
    follower : Follower
        Of the run; this tab's own, since each looks at a part of its choice.
    controls : Controls
        Buttons.
    """
    from bokeh.layouts import column, row

    page = _Page(document, follower, controls)
    document.template = TEMPLATE  # type: ignore[assignment]
    document.title = f"{follower.run.name} - easyZloc"
    document.add_root(
        column(
            page.heading,
            page.row,
            row(
                column(page.map, page.section),
                column(page.depths, page.focus, page.counts),
                column(page.photons, page.precision, page.frame),
            ),
            sizing_mode="stretch_width",
        )
    )
    page.begin()


class _Data:
    """The sources of the figures."""

    def __init__(self) -> None:
        self.image, self.side, self.raw = image_source(), image_source(), image_source()
        self.spots = source("x", "y")
        self.histogram = source("top", "left", "right", "color")
        self.curves = source("frame", "spots", "z", "photons", "lpz")


class _Page:
    focus: Any
    counts: Any
    photons: Any
    precision: Any

    def __init__(self, document: Document, follower: Follower, controls: Controls) -> None:
        from bokeh.layouts import row
        from bokeh.models.widgets import Div, Slider

        self._document, self._follower, self._controls = document, follower, controls
        self._background = Background(document, self._complain)
        self._waiting: Any = None
        self._trouble = ""
        self._offers: tuple[Offer, ...] = ()
        self.answer = Div(text="", styles={"color": QUIET, "padding": "6px"})
        self.heading = Div(text="", sizing_mode="stretch_width")
        self.brightness = Slider(title="brightness", start=0.2, end=8, step=0.2, value=1.0, width=220)
        self.brightness.stylesheets = [f":host {{ color: {INK}; }} .bk-slider-title {{ color: {INK}; }}"]
        self.brightness.on_change("value_throttled", self._lit)
        self.row = row(self.brightness)
        self._data = _Data()
        self._draw_above(*follower.z_range_nm)
        self._draw_curves()
        self.frame = dark_figure("newest frame (px), circles: found", "", 330, 290, match_aspect=True)
        add_camera_image(self.frame, self._data.raw, self._data.spots)
        self.frame.visible = False

    def _draw_above(self, low: float, high: float) -> None:
        from bokeh.models import LinearColorMapper
        from bokeh.models.annotations import ColorBar

        self.map = dark_figure(
            "x (µm)", "y (µm)", 540, 420, tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom",
            match_aspect=True,
        )  # fmt: skip
        self.map.image_rgba(image="image", x="x", y="y", dw="dw", dh="dh", source=self._data.image)
        self.map.y_range.flipped = True
        colors = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (255 * color_table()).astype(int)]
        self._mapper: Any = LinearColorMapper(palette=colors, low=low, high=high)
        bar = ColorBar(
            color_mapper=self._mapper, title="z (nm)", background_fill_color=PAPER, width=10,
            title_text_color=INK, major_label_text_color=INK,
        )  # fmt: skip
        self.map.add_layout(bar, "right")
        for axis in (self.map.x_range, self.map.y_range):
            for end in ("start", "end"):
                axis.on_change(end, self._moved)
        self.section = dark_figure("x (µm)", "side: z (nm)", 540, 150)
        self.section.image_rgba(image="image", x="x", y="y", dw="dw", dh="dh", source=self._data.side)
        self.section.background_fill_color = "#000000"

    def _draw_curves(self) -> None:
        self.depths = dark_figure("z (nm)", "localisations", 380, 180)
        self.depths.quad(
            top="top", bottom=0, left="left", right="right", color="color", line_color=None, source=self._data.histogram
        )
        for name, label, column, height in (
            ("focus", "shift of z (nm)", "z", 180),
            ("counts", "found per frame", "spots", 180),
            ("photons", "photons", "photons", 140),
            ("precision", "lpz (nm)", "lpz", 140),
        ):
            made = dark_figure("frame", label, 380 if height == 180 else 330, height)
            made.line("frame", column, source=self._data.curves, color=LINE, line_width=2)
            made.scatter("frame", column, source=self._data.curves, color=LINE, size=4)  # a single point is no line
            setattr(self, name, made)

    def begin(self) -> None:
        """Show the heading at once, and the rest as it is drawn."""
        self.heading.text = heading(self._follower)
        self._background.keep_up(self._look, self._show)

    def _look(self) -> _Seen:
        """Read what is new, and draw it; in the drawing thread."""
        follower, controls = self._follower, self._controls
        grew = follower.poll()
        text = heading(follower, stopping=controls.stopping(), said=controls.said(), link=controls.page())
        offers = controls.offers(follower.phase())
        if not (grew and follower.started):
            return _Seen(text, offers)
        return _Seen(text, offers, self._views(), follower.depths(), follower.curves(), follower.last_frame())

    def _views(self) -> _Views | None:
        if not self._follower.started:
            return None
        brightness = float(self.brightness.value)
        return _Views(
            *self._follower.picture(brightness), *self._follower.section(brightness), self._follower.z_range_nm
        )

    def _show(self, seen: _Seen) -> None:
        self.heading.text = seen.heading
        if seen.offers != self._offers:
            self._offers, self.answer.text = seen.offers, ""
            buttons = [self._controls.button(offer, self.answer) for offer in seen.offers]
            self.row.children = [self.brightness, *buttons, self.answer]
        if seen.views is not None:
            self._show_views(seen.views)
        if seen.depths is not None:
            self._show_depths(*seen.depths)
        if seen.curves is not None:
            curves = seen.curves
            self._data.curves.data = {
                "frame": curves.frame, "spots": curves.spots, "z": curves.z_nm, "photons": curves.photons,
                "lpz": curves.lpz_nm,
            }  # fmt: skip
        if seen.newest is not None:
            self.frame.visible = True
            self._data.raw.data = one_image(seen.newest.image, 0, 0, *seen.newest.size_px)
            self._data.spots.data = {"x": seen.newest.x, "y": seen.newest.y}

    def _show_depths(self, edges: F64, counts: F64) -> None:
        low, high = self._mapper.low, self._mapper.high
        levels = np.clip((edges[:-1] - low) / (high - low) * 255, 0, 255).astype(int)
        self._data.histogram.data = {
            "top": counts, "left": edges[:-1], "right": edges[1:],
            "color": [self._mapper.palette[level] for level in levels],
        }  # fmt: skip

    def _show_views(self, views: _Views) -> None:
        self._mapper.low, self._mapper.high = views.z_range_nm
        left, right, top, bottom = views.above_nm
        self._data.image.data = one_image(
            rgba(views.above), left / 1000, top / 1000, (right - left) / 1000, (bottom - top) / 1000
        )
        left, right, top, bottom = views.side_nm
        # Rows of the picture run down, and so does -z; those of Bokeh run up.
        self._data.side.data = one_image(
            rgba(views.side)[::-1], left / 1000, -bottom, (right - left) / 1000, bottom - top
        )

    def _complain(self, trouble: str) -> None:
        self.heading.text = heading(self._follower, trouble=trouble)

    def _lit(self, _name: str, _old: object, _new: object) -> None:
        self._background.once(self._views, self._show_views)

    def _moved(self, _name: str, _old: object, _new: object) -> None:
        # Four numbers change at every step of the mouse wheel: draw once, after the last change.
        if self._waiting is not None:
            self._document.remove_timeout_callback(self._waiting)
        self._waiting = self._document.add_timeout_callback(self._look_nearer, VIEW_MS)

    def _look_nearer(self) -> None:
        self._waiting = None
        left, right, top, bottom = self._follower.field_nm
        x = sorted(1000 * float(end) for end in (self.map.x_range.start, self.map.x_range.end))
        y = sorted(1000 * float(end) for end in (self.map.y_range.start, self.map.y_range.end))
        seen = max(x[0], left), min(x[1], right), max(y[0], top), min(y[1], bottom)
        if seen[0] >= seen[1] or seen[2] >= seen[3]:
            return
        whole = seen == (left, right, top, bottom)

        def draw() -> _Views | None:
            self._follower.look_at(None if whole else seen)
            return self._views()

        self._background.once(draw, self._show_views)
