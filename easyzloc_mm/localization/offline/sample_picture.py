"""The molecules of a sample beside the beads' PSF, and beside their own, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    rows = [(name, part, found) for name, found in by_psf.items() for part in ("molecules", "PSF", "difference")]
    depths = len(rows[0][2].z_nm)
    with picture(path, 1.5 * depths, 1.5 * len(rows) + 0.5) as figure:
        figure.suptitle(title, fontsize=8, wrap=True)
        for row, (name, part, found) in zip(figure.subplots(len(rows), depths), rows, strict=True):
            images = {"molecules": found.measured, "PSF": found.expected, "difference": found.measured - found.expected}
            for axes, image, measured, z_nm, residual in zip(
                row, images[part], found.measured, found.z_nm, found.residual, strict=True
            ):
                top = float(np.max(measured))
                low, high = (-DIFFERENCE_SHARE * top, DIFFERENCE_SHARE * top) if part == "difference" else (0.0, top)
                axes.imshow(image, vmin=low, vmax=high, cmap="RdBu_r" if part == "difference" else "gray")
                axes.set(xticks=[], yticks=[])
                if part == "molecules":
                    axes.set_title(f"{z_nm:+.0f} nm", fontsize=7)
                if part == "difference":
                    axes.set_xlabel(f"{residual:.1f} x noise", fontsize=7)
            row[0].set_ylabel(f"{part}\n{name}", fontsize=7)
