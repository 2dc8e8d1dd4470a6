"""Figures of the bead report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.beads.report.summary import Foci
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.crlb import EmpiricalPsf
from easyzloc_mm.psf.metrics import sign_ambiguity, widths_nm
from easyzloc_mm.report.figures import picture
from easyzloc_mm.typing import F64

PHOTONS, BACKGROUND = (1000.0, 2000.0, 5000.0), 50.0
ACCEPTED_COLOUR = "#0072b2"
REASON_COLOURS = ("#d55e00", "#cc79a7", "#e69f00", "#009e73", "#56b4e9", "#8c564b", "#7f7f7f", "#000000")


def crlb_by_depth(psf: EmpiricalPsf, beads: BeadDataset, photons: float) -> F64:
    """Return the CRLB of z (nm) by place and depth, shape (places, Z); infinite where the beads do not define it."""
    shape = len(psf.places), len(psf.z_nm)
    x, y = (np.repeat(psf.places[:, axis], shape[1]) for axis in (0, 1))
    z = np.tile(psf.z_nm, shape[0])
    found = psf.crlb(x, y, z, photons, BACKGROUND, beads.response)[2].reshape(shape)
    return np.where(np.isfinite(found), found, np.inf)


def draw_map(beads: BeadDataset, foci: Foci, path: Path) -> None:
    """Draw accepted and rejected beads by reason, and the focus of accepted ones with the fitted surface."""
    width, height = beads.field_size_px
    with picture(path, 11, 4.8) as figure:
        left, right = figure.subplots(1, 2)
        kept, why = beads.accepted, np.array(beads.reason)
        for colour, reason in zip(REASON_COLOURS, dict.fromkeys(sorted(set(why[~kept]))), strict=False):
            those = why == reason
            left.plot(
                beads.x[those], beads.y[those], "x", color=colour, markersize=4, label=f"{reason} ({those.sum()})"
            )
        left.plot(
            beads.x[kept], beads.y[kept], "o", color=ACCEPTED_COLOUR, markersize=3.5, label=f"kept ({kept.sum()})"
        )
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize=8)
        left.set_title("beads of all fields on the sensor")
        focus, shape = foci.relative_nm, foci.shape
        shown = kept & np.isfinite(focus)
        span = float(np.percentile(np.abs(focus[shown]), 98)) if shown.any() else 1.0
        dots = right.scatter(
            beads.x[shown], beads.y[shown], c=focus[shown], s=14, cmap="coolwarm", vmin=-span, vmax=span
        )
        figure.colorbar(dots, ax=right, label="focus of the bead within its field (nm)")
        if shape is not None:
            lines = right.tricontour(beads.x[shown], beads.y[shown], shape.surface_nm[shown], 6, colors="0.3")
            right.clabel(lines, fontsize=7, fmt="%.0f")
        right.set_title("focus; lines: fitted tilt and curvature (nm)")
        for axes in (left, right):
            axes.set(xlim=(0, width), ylim=(height, 0), xlabel="x (px)", ylabel="y (px)")
            axes.set_aspect("equal")


def draw_psf(psf: EmpiricalPsf, path: Path) -> None:
    """Draw the mean PSF in the middle of the field, through focus and cut along x and y."""
    middle = psf.halves.mean(axis=0)[len(psf.places) // 2]
    depths = [z for z in (-800, -400, 0, 400, 800) if psf.z_nm[0] <= z <= psf.z_nm[-1]]
    with picture(path, 11, 2.8) as figure:
        axes = figure.subplots(1, len(depths) + 2, width_ratios=[1.0] * len(depths) + [0.8, 0.8])
        for panel, depth in zip(axes, depths, strict=False):
            image = middle[int(np.argmin(np.abs(psf.z_nm - depth)))]
            panel.imshow(np.sqrt(np.maximum(image, 0)), cmap="magma")
            panel.set_title(f"z = {depth:+d} nm", fontsize=9)
        across = middle.shape[1] // 2
        half = middle.shape[1] / 2 * psf.pixel_size_nm
        for panel, cut, name in zip(axes[-2:], (middle[:, across, :], middle[:, :, across]), ("xz", "yz"), strict=True):
            extent = (-half, half, psf.z_nm[0], psf.z_nm[-1])
            panel.imshow(np.sqrt(np.maximum(cut, 0)), cmap="magma", origin="lower", extent=extent)
            panel.set_title(name, fontsize=9)
        bar = 500 / psf.pixel_size_nm
        axes[0].plot([0.5, 0.5 + bar], [middle.shape[1] - 1.5] * 2, color="white", linewidth=3, solid_capstyle="butt")
        for panel in axes:
            panel.set(xticks=[], yticks=[])
        axes[-2].set_yticks([z for z in (-800, 0, 800) if psf.z_nm[0] <= z <= psf.z_nm[-1]])


def draw_widths(psf: EmpiricalPsf, path: Path) -> None:
    """Draw widths against z."""
    widths = widths_nm(psf)
    with picture(path, 6, 3.2) as figure:
        axes = figure.subplots()
        for axis, name in enumerate("xy"):
            axes.plot(psf.z_nm, widths[:, axis], label=f"along {name}")
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set(xlabel="z (nm)", ylabel="full width at half maximum (nm)")
        axes.grid(alpha=0.3)
        axes.legend()


def draw_crlb(psf: EmpiricalPsf, beads: BeadDataset, path: Path) -> None:
    """Draw the CRLB of z, and the probability to take +z for -z."""
    with picture(path, 11, 3.8) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
        for photons in PHOTONS:
            values = crlb_by_depth(psf, beads, photons)
            (line,) = left.plot(psf.z_nm, np.median(values, axis=0), label=f"{photons:.0f} photons")
            if len(psf.places) > 1:
                low, high = np.percentile(values, [10, 90], axis=0, method="nearest")
                left.fill_between(psf.z_nm, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
            z_nm, chance = sign_ambiguity(psf, photons, BACKGROUND, beads.response)
            right.plot(z_nm, 100 * chance, color=line.get_color())
        left.set(ylim=(0, 250), xlabel="z (nm)", ylabel="best possible z precision, CRLB (nm)")
        right.set(ylim=(0, 50), xlabel="|z| (nm)", ylabel="probability of the wrong sign of z (%)")
        for axes in (left, right):
            axes.grid(alpha=0.3)
        left.legend()
