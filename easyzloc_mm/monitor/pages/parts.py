"""What the pages share: colours, figures, images."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.report.html import in_html
from easyzloc_mm.typing import F32

INK, PAPER, QUIET, WARN = "#e8eaf0", "#11141c", "#8d95a8", "#ff6b6b"
LINE, SPOT = "#5aa9e6", "#ffb000"
TEMPLATE = f"""{{% block preamble %}}<style>
body {{ background: {PAPER}; margin: 8px; }}
body:not(:has(.bk-Column))::before {{ content: "easyZloc: loading"; color: {QUIET}; font: 14px system-ui, sans-serif; }}
</style>{{% endblock %}}"""
"""Bokeh puts it into its own page; it says so until the first figures are there."""
STYLE = f"""
<style>
  .run {{ font: 14px system-ui, sans-serif; color: {INK}; }}
  .run h1 {{ font-size: 18px; margin: 0 0 4px; }}
  .run .figures {{ display: flex; flex-wrap: wrap; gap: 2px 18px; }}
  .run .figure b {{ display: block; font-size: 16px; font-weight: 600; font-variant-numeric: tabular-nums; }}
  .run .figure span {{ color: {QUIET}; }}
  .run .alarm {{ color: {PAPER}; background: {WARN}; border-radius: 4px; padding: 3px 10px; margin: 0 0 4px; }}
  .run .said {{ color: {QUIET}; margin: 0 0 4px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }}
  .run a {{ color: {LINE}; }}
</style>
"""


def heading_html(
    title: str, figures: dict[str, str], *, alarms: tuple[str, ...] = (), said: str = "", link: str = ""
) -> str:
    """Return what stands over a page: alarms first, what it is, what was said last and where, figures by their name."""
    told = "".join(f'<div class="alarm">{in_html(alarm)}</div>' for alarm in alarms if alarm)
    cells = "".join(
        f'<div class="figure"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in figures.items()
    )
    there = f'<a href="{escape(link)}" target="_blank">its page</a> ' if link else ""
    more = f'<div class="said">{there}{in_html(said)}</div>' if said else ""
    return f'{STYLE}<div class="run">{told}<h1>{escape(title)}</h1>{more}<div class="figures">{cells}</div></div>'


def source(*columns: str) -> Any:
    """Return an empty source of data with these columns."""
    from bokeh.models import ColumnDataSource

    return ColumnDataSource({column: [] for column in columns})


def image_source() -> Any:
    """Return the source of an image that is not there yet."""
    return source("image", "x", "y", "dw", "dh")


def one_image(image: NDArray[Any], left: float, bottom: float, width: float, height: float) -> dict[str, list[Any]]:
    """Return the data of one image, in the units of its axes."""
    return {"image": [image], "x": [left], "y": [bottom], "dw": [width], "dh": [height]}


def add_camera_image(figure: Any, image: Any, spots: Any) -> None:
    """Draw a camera image, 0 to 1, and rings around spots, pixels; the first row is on top."""
    from bokeh.models import LinearColorMapper

    figure.image(
        image="image", x="x", y="y", dw="dw", dh="dh", source=image,
        color_mapper=LinearColorMapper(palette="Greys256", low=0, high=1),
    )  # fmt: skip
    figure.scatter("x", "y", source=spots, size=9, fill_color=None, line_color=SPOT)
    figure.y_range.flipped = True


def dark_figure(x_label: str, y_label: str, width: int, height: int, **options: Any) -> Any:
    """Return an empty figure in the pages' colours."""
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
