"""Pictures for reports: one look, whatever other libraries did to matplotlib's settings (Picasso does)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


@contextmanager
def picture(path: Path, width_in: float, height_in: float, **options: Any) -> Iterator[Figure]:
    """Give an empty figure; it is saved to `path` (PNG) when the block ends without an error."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(figsize=(width_in, height_in), layout="constrained", **{"dpi": DPI, **options})
        yield figure
        figure.savefig(path, dpi=figure.dpi, format="png", metadata={"Software": "easyzloc_mm"})
