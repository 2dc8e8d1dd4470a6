"""The bead report: which beads were kept and why, what the blur looks like, and how well z can be known with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.beads.limit import MeasuredPsf, measured_psf
from easyzloc_mm.errors import InputError
from easyzloc_mm.store.bead_set import BeadSet
from easyzloc_mm.store.page import Block, Heading, Paragraph, Picture, Rows, write_page
from easyzloc_mm.store.pictures import picture

PHOTONS, BACKGROUND = (1000.0, 2000.0, 5000.0), 50.0
TYPICAL_PHOTONS = 2000.0
USEFUL_NM = 80.0
ACCEPTED_COLOUR, REJECTED_COLOUR = "#0072b2", "#d55e00"


def write_bead_report(beads: BeadSet, folder: Path) -> Path:
    """Write ``index.html`` and its pictures.

    Parameters
    ----------
    beads : BeadSet
    folder : Path
        Made if it does not exist.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    accepted = int(beads.accepted.sum())
    blocks: list[Block] = []
    if beads.units.estimated:
        blocks.append(
            Paragraph(
                f"Camera units were guessed (baseline {beads.units.baseline_adu:.0f} ADU, "
                f"{beads.units.electrons_per_adu:.2f} electrons per ADU): photons below are uncertain."
            )
        )
    counts: dict[str, int] = {}
    for reason in beads.reason:
        counts[reason or "accepted"] = counts.get(reason or "accepted", 0) + 1
    blocks += [
        Heading("Kept and rejected"),
        Rows([("verdict", "beads"), *((name, str(number)) for name, number in sorted(counts.items()))], header=True),
    ]
    if beads.field_known:
        _draw_map(beads, folder / "map.png")
        blocks.append(
            Picture("map.png", "Where the beads of all fields lie on the sensor, and the focus of the accepted ones.")
        )
    try:
        psf = measured_psf(beads)
    except InputError as error:
        blocks.append(Paragraph(str(error)))
    else:
        _draw_psf(psf, folder / "psf.png")
        _draw_limit(psf, beads, folder / "limit.png")
        blocks += [
            Heading("The blur of this microscope"),
            Picture("psf.png", "Mean of the beads at the middle of the field: through focus, and cut along x and y."),
            Heading("How well z can be known"),
            Paragraph(_usable_range(psf, beads)),
            Picture(
                "limit.png",
                f"Information limit of z from the measured blur, at {BACKGROUND:.0f} background photons per pixel; "
                "the band spans the field.",
            ),
        ]
    return write_page(
        folder,
        "Beads",
        f"{accepted} of {len(beads)} beads accepted, from {len(set(beads.stack.tolist()))} field(s).",
        blocks,
    )


def _draw_map(beads: BeadSet, path: Path) -> None:
    with picture(path, 9.5, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        kept = beads.accepted
        left.plot(beads.x[~kept], beads.y[~kept], "x", color=REJECTED_COLOUR, markersize=4, label="rejected")
        left.plot(beads.x[kept], beads.y[kept], "o", color=ACCEPTED_COLOUR, markersize=3.5, label="accepted")
        left.legend(loc="upper right")
        left.set_title("beads on the sensor")
        focus = 1000 * beads.measures["focus_um"].to_numpy()
        # Fields are taken at different stage positions of focus: only the shape within a field is the lens's.
        relative = np.array(
            [focus[i] - np.nanmedian(focus[kept & (beads.stack == beads.stack[i])]) for i in range(len(focus))]
        )
        span = float(np.nanpercentile(np.abs(relative[kept]), 98)) if kept.any() else 1.0
        dots = right.scatter(
            beads.x[kept], beads.y[kept], c=relative[kept], s=14, cmap="coolwarm", vmin=-span, vmax=span
        )
        figure.colorbar(dots, ax=right, label="focus (nm), within its field")
        right.set_title("focus of accepted beads")
        for axes in (left, right):
            axes.set(
                xlim=(0, beads.field_size_px[0]), ylim=(beads.field_size_px[1], 0), xlabel="x (px)", ylabel="y (px)"
            )
            axes.set_aspect("equal")


def _draw_psf(psf: MeasuredPsf, path: Path) -> None:
    middle = psf.halves.mean(axis=0)[len(psf.places) // 2]
    depths = [z for z in (-800, -400, 0, 400, 800) if psf.z_nm[0] <= z <= psf.z_nm[-1]]
    with picture(path, 10, 2.6) as figure:
        axes = figure.subplots(1, len(depths) + 2, width_ratios=[1.0] * len(depths) + [0.8, 0.8])
        for panel, depth in zip(axes, depths, strict=False):
            image = middle[int(np.argmin(np.abs(psf.z_nm - depth)))]
            panel.imshow(np.sqrt(np.maximum(image, 0)), cmap="magma")
            panel.set_title(f"z = {depth} nm", fontsize=9)
        pixel = psf.pixel_size_nm
        half = middle.shape[1] / 2 * pixel
        for panel, cut, name in zip(axes[-2:], (middle[:, 7, :], middle[:, :, 7]), ("xz", "yz"), strict=True):
            panel.imshow(
                np.sqrt(np.maximum(cut, 0)),
                cmap="magma",
                origin="lower",
                extent=(-half, half, psf.z_nm[0], psf.z_nm[-1]),
            )
            panel.set_title(name, fontsize=9)
        for panel in axes:
            panel.set(xticks=[], yticks=[])


def _limits(psf: MeasuredPsf, beads: BeadSet, photons: float) -> np.ndarray:
    """Limit of z by place and depth, shape (places, Z)."""
    shape = len(psf.places), len(psf.z_nm)
    x, y = (np.repeat(psf.places[:, axis], shape[1]) for axis in (0, 1))
    z = np.tile(psf.z_nm, shape[0])
    return psf.limit(x, y, z, photons, BACKGROUND, beads.units.read_noise_e)[2].reshape(shape)


def _draw_limit(psf: MeasuredPsf, beads: BeadSet, path: Path) -> None:
    with picture(path, 7.5, 4) as figure:
        axes = figure.subplots()
        for photons in PHOTONS:
            limits = _limits(psf, beads, photons)
            (line,) = axes.plot(psf.z_nm, np.median(limits, axis=0), label=f"{photons:.0f} photons")
            if len(psf.places) > 1:
                low, high = np.percentile(limits, [10, 90], axis=0)
                axes.fill_between(psf.z_nm, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(ylim=(0, 250), xlabel="z (nm)", ylabel="information limit of z (nm)")
        axes.grid(alpha=0.3)
        axes.legend()


def _usable_range(psf: MeasuredPsf, beads: BeadSet) -> str:
    limit = np.median(_limits(psf, beads, TYPICAL_PHOTONS), axis=0)
    good = limit <= USEFUL_NM
    if not good.any():
        return (
            f"At {TYPICAL_PHOTONS:.0f} photons this microscope cannot tell z to {USEFUL_NM:.0f} nm at any depth: "
            "its blur hardly changes with z. Turning the objective's correction collar helps."
        )
    best = int(np.argmin(np.where(good, limit, np.inf)))
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    typical = float(np.median(limit[low : high + 1]))
    text = (
        f"From {psf.z_nm[low]:+.0f} to {psf.z_nm[high]:+.0f} nm this microscope can tell z to about {typical:.0f} nm "
        f"at {TYPICAL_PHOTONS:.0f} photons"
    )
    if low > 0 or high < len(good) - 1:
        text += f"; outside, it knows z to {USEFUL_NM:.0f} nm at best"
    return text + ". Focus the sample so that it lies in that range."
