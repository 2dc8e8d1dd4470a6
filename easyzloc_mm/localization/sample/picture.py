"""The molecules of a sample beside the beads' PSF, and beside their own, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from easyzloc_mm.psf.pupil.mean_images import MeanImages
from easyzloc_mm.report.figures import picture

DIFFERENCE_SHARE = 0.25
"""Of the brightest pixel of a depth: the ends of the colours of a difference."""


def draw_sample(path: Path, by_psf: dict[str, MeanImages], title: str) -> None:
    """Draw mean images by depth: of the molecules, what each PSF expects of them, and the difference.

    Parameters
    ----------
    path : Path
        ``NAME.png``, ``.svg`` or ``.pdf``.
    by_psf : dict of str to MeanImages
        By the name of the PSF.
    title : str
    """
    depths = len(next(iter(by_psf.values())).z_nm)
    with picture(path, 1.5 * depths, 4.5 * len(by_psf) + 0.5) as figure:
        figure.suptitle(title, fontsize=8, wrap=True)
        rows = figure.subplots(3 * len(by_psf), depths)
        for number, (name, found) in enumerate(by_psf.items()):
            for column in range(depths):
                _draw(rows[3 * number : 3 * number + 3, column], found, column)
            for axes, label in zip(rows[3 * number :, 0], ("molecules", name, "difference"), strict=False):
                axes.set_ylabel(label, fontsize=7)


def _draw(axes: NDArray[Any], found: MeanImages, depth: int) -> None:
    """Draw the three images of a depth."""
    measured, expected = found.measured[depth], found.expected[depth]
    top = float(measured.max())
    axes[0].imshow(measured, vmin=0.0, vmax=top, cmap="gray")
    axes[1].imshow(expected, vmin=0.0, vmax=top, cmap="gray")
    axes[2].imshow(measured - expected, vmin=-DIFFERENCE_SHARE * top, vmax=DIFFERENCE_SHARE * top, cmap="RdBu_r")
    axes[0].set_title(f"{found.z_nm[depth]:+.0f} nm", fontsize=7)
    axes[2].set_xlabel(f"{found.residual[depth]:.1f} x noise", fontsize=7)
    for one in axes:
        one.set(xticks=[], yticks=[])
