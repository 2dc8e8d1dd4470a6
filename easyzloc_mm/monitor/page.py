"""The page of a run, as a Bokeh document: the picture as it grows, how deep, how well, and what needs attention."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.monitor.follow import Follower
from easyzloc_mm.rendering.raster.colormap import color_table
from easyzloc_mm.typing import F32

if TYPE_CHECKING:
    from bokeh.document import Document

POLL_MS = 1000
VIEW_MS = 250
"""Delay after the last movement of the mouse before the enlarged view is drawn."""
INK, PAPER, QUIET, LINE, WARN = "#e8eaf0", "#11141c", "#8d95a8", "#5aa9e6", "#ff6b6b"
TEMPLATE = f"{{% block preamble %}}<style>body {{ background: {PAPER}; margin: 16px; }}</style>{{% endblock %}}"
"""Bokeh puts it into its own page."""
STYLE = f"""
<style>
  .run {{ font: 14px system-ui, sans-serif; color: {INK}; }}
  .run h1 {{ font-size: 20px; margin: 0 0 8px; }}
  .run .figures {{ display: flex; flex-wrap: wrap; gap: 20px; }}
  .run .figure b {{ display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }}
  .run .figure span {{ color: {QUIET}; }}
  .run .alarm {{ color: {PAPER}; background: {WARN}; border-radius: 4px; padding: 2px 8px; margin-right: 6px; }}
</style>
"""


def make_page(document: Document, follower: Follower) -> None:
    """Lay the page out and keep it up to date, once a second.

    Parameters
    ----------
    document : bokeh.document.Document
        One browser tab.
    follower : Follower
        Of the run; this tab's own, since each looks at a part of its choice.
    """
    from bokeh.layouts import column, row

    page = _Page(document, follower)
    document.template = TEMPLATE  # type: ignore[assignment]
    document.title = f"{follower.run.name} - easyZloc"
    document.add_root(
        column(
            page.heading,
            row(page.map, column(page.depths, page.focus, page.counts), column(page.frame)),
            sizing_mode="stretch_width",
        )
    )
    document.add_periodic_callback(page.update, POLL_MS)
    page.update()


class _Page:
    def __init__(self, document: Document, follower: Follower) -> None:
        from bokeh.models import ColumnDataSource, LinearColorMapper
        from bokeh.models.annotations import ColorBar
        from bokeh.models.widgets import Div

        self._document, self._follower = document, follower
        self._waiting: Any = None
        self.heading = Div(text="", sizing_mode="stretch_width")
        self._image = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._raw = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._histogram = ColumnDataSource({"top": [], "left": [], "right": [], "color": []})
        self._curves = ColumnDataSource({"frame": [], "spots": [], "z": [], "photons": []})

        self.map = _figure("x (um)", "y (um)", 720, 720, tools="pan,wheel_zoom,box_zoom,reset,save", match_aspect=True)
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

        self.depths = _figure("z (nm)", "localisations", 420, 220)
        self.depths.quad(
            top="top", bottom=0, left="left", right="right", color="color", line_color=None, source=self._histogram
        )
        self.focus = _figure("frame", "mean z against the start (nm)", 420, 240)
        self.focus.line("frame", "z", source=self._curves, color=LINE, line_width=2)
        self.counts = _figure("frame", "localisations per frame", 420, 220)
        self.counts.line("frame", "spots", source=self._curves, color=LINE, line_width=2)
        self.frame = _figure("newest raw frame", "", 420, 420, match_aspect=True)
        self.frame.image(
            image="image", x="x", y="y", dw="dw", dh="dh", source=self._raw,
            color_mapper=LinearColorMapper(palette="Greys256", low=0, high=1),
        )  # fmt: skip
        self.frame.y_range.flipped = True
        self.frame.visible = False

    def update(self) -> None:
        """Read what is new and show it."""
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
            "frame": curves.frame, "spots": curves.spots, "z": curves.z_nm, "photons": curves.photons
        }  # fmt: skip
        newest = self._follower.last_frame()
        self.frame.visible = newest is not None
        if newest is not None:
            image, (width, height) = newest
            self._raw.data = {"image": [image], "x": [0], "y": [0], "dw": [width], "dh": [height]}

    def _draw(self) -> None:
        self._mapper.low, self._mapper.high = self._follower.z_range_nm
        picture, (left, right, top, bottom) = self._follower.picture()
        self._image.data = {
            "image": [rgba(picture)],
            "x": [left / 1000], "y": [top / 1000], "dw": [(right - left) / 1000], "dh": [(bottom - top) / 1000],
        }  # fmt: skip

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
    alarms = "".join(f'<span class="alarm">{escape(alarm)}</span>' for alarm in status.alarms)
    return f'<div class="run"><h1>{name}: {state} {alarms}</h1>{_figures(figures)}</div>'


def _figures(values: dict[str, str]) -> str:
    cells = "".join(f'<div class="figure"><b>{value}</b><span>{name}</span></div>' for name, value in values.items())
    return f'<div class="figures">{cells}</div>'
