"""Figures for reports and papers: one look, whatever other libraries did to matplotlib's settings (Picasso does)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyzloc_mm.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
FORMATS = {".png": "Software", ".svg": "Creator", ".pdf": "Creator"}
"""Endings of figures, and where each format says who made it: the output guard looks for it."""


def check_figure(path: Path) -> Path:
    """Return the path of a figure that is to be drawn.

    Raises
    ------
    InputError
        Its ending is none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: name the figure {', '.join(FORMATS)}")
    return path


@contextmanager
def picture(path: Path, width_in: float, height_in: float, **options: Any) -> Iterator[Figure]:
    """Give an empty figure; it is saved to `path` when the block ends without an error, in the format of its ending.

    Drafts have one more ending behind that of the figure; what ends otherwise is a PNG.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(figsize=(width_in, height_in), layout="constrained", **{"dpi": DPI, **options})
        yield figure
        form = next((suffix[1:] for suffix in path.suffixes[::-1] if suffix in FORMATS), "png")
        figure.savefig(path, dpi=figure.dpi, format=form, metadata={FORMATS[f".{form}"]: "easyzloc_mm, Matplotlib"})
