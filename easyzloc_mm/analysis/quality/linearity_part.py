"""The part of a run's report that says whether the picture rises in proportion to the light."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from easyzloc_mm.analysis.quality.linearity import SQUARE_PX, Linearity, LinearityMap
from easyzloc_mm.report.figures import picture
from easyzloc_mm.report.html import Block, Heading, Paragraph, Picture, Rows
from easyzloc_mm.typing import F64

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "linearity"
CAPTION = (
    "Light above its surroundings: what the camera saw; what the localisations account for, on the same scale; and its "
    "share in each square, over the field's (framed: less or more than chance explains; grey: too little light)."
)
LIMITS = (
    "What changes from part to part of the run is compared, in the same frames, blurred by one spot's width (after "
    "SQUIRREL, Culley et al. 2018, doi:10.1038/nmeth.4605). It shows where light is missing from the picture: where "
    "molecules lie too dense or too deep, are too dim to be found, or carry flags. It says nothing of molecules that "
    "never shone or never blinked, of detail finer than a spot, or of z."
)


def linearity_blocks(folder: Path, found: Linearity | None, why_not: str | None, ending: str) -> list[Block]:
    """Return the part of the page; its figure lies in `folder` where there is one."""
    if found is None:
        return [Heading("Linearity"), Paragraph(f"Not determined: {why_not}.")]
    rows = [
        ("share of the light in localisations without a flag", f"{found.share:.0%}"),
        ("in all localisations", f"{found.share_flagged_too:.0%}"),
        ("correlation of the two images", f"{found.correlation:.3f}"),
        (
            "in the first, in the last tenth of the run, over the whole",
            f"{found.over_run[0]:.2f}, {found.over_run[-1]:.2f}",
        ),
        (f"squares of {found.square_um:.1f} µm with light enough", f"{found.squares}"),
        ("of them hold less of the light than the others", f"{found.squares_short}"),
        ("of them hold more of it", f"{found.squares_over}"),
    ]
    blocks: list[Block] = [Heading("Linearity"), Paragraph(found.in_words()), Rows(rows)]
    if found.off:
        blocks.append(Rows([
            ("farthest off: x (µm)", "y (µm)", "share of the light, over the field's", "standard deviation"),
            *((f"{one.x_um:.1f}", f"{one.y_um:.1f}", f"{one.share:.2f}", f"{one.deviation:.2f}") for one in found.off),
        ], header=True))  # fmt: skip
    return [*blocks, Picture(f"{NAME}{ending}", CAPTION), Paragraph(LIMITS)]


def draw_linearity(path: Path, compared: LinearityMap) -> None:
    """Draw what was seen, what was localised, and the share of each square."""
    height, width = compared.seen.shape
    with picture(path, 12.5, 0.6 + 3.0 * min(max(height / width, 0.4), 1.6)) as figure:
        left, middle, right = figure.subplots(1, 3)
        # Of both, what rises above its surroundings.
        raised = [image - gaussian_filter(image, SQUARE_PX) for image in (compared.seen, compared.localized)]
        top = float(np.percentile(raised[0], 99.8))
        for axes, title, image in zip((left, middle), ("seen by the camera", "localised"), raised, strict=True):
            drawn = axes.imshow(image, vmin=0, vmax=max(top, 1e-9), cmap="inferno")
            axes.set_title(title, fontsize=9)
            figure.colorbar(drawn, ax=axes, shrink=0.7, label="photons per pixel and frame")
        _draw_share(right, compared)


def _draw_share(axes: Axes, compared: LinearityMap) -> None:
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.patches import Rectangle

    rows, columns = compared.share.shape
    height, width = compared.seen.shape
    left, top = ((size - count * SQUARE_PX) // 2 - 0.5 for size, count in ((width, columns), (height, rows)))
    extent = (left, left + columns * SQUARE_PX, top + rows * SQUARE_PX, top)
    axes.set_facecolor("0.85")
    share: F64 = np.clip(compared.share, 0, 2)
    drawn = axes.imshow(share, norm=TwoSlopeNorm(1, 0, 2), cmap="RdBu_r", extent=extent)
    for row, column in zip(*np.nonzero(compared.off), strict=True):
        corner = (left + column * SQUARE_PX, top + row * SQUARE_PX)
        axes.add_patch(Rectangle(corner, SQUARE_PX, SQUARE_PX, fill=False, edgecolor="black", linewidth=1.6))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_title("share of the light, over the field's", fontsize=9)
    axes.figure.colorbar(drawn, ax=axes, shrink=0.7)
