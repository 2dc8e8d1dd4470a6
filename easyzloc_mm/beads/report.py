"""The bead report: which beads were kept and why, what the blur looks like, and how well z can be known with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.beads.limit import MeasuredPsf, measured_psf
from easyzloc_mm.beads.report_pictures import BACKGROUND, draw_limit, draw_map, draw_psf, draw_widths, limits
from easyzloc_mm.beads.summary import confusion, coverage, field_shape, label_consistency, narrowest_nm
from easyzloc_mm.errors import InputError
from easyzloc_mm.store.bead_set import BeadSet
from easyzloc_mm.store.page import Block, Heading, Paragraph, Picture, Rows, write_page

TYPICAL_PHOTONS = 2000.0
USEFUL_NM = 80.0
CONFUSED = 0.05
MEASURED = {
    "edge": "edge",
    "saturated": "saturated",
    "neighbour": "neighbour_px",
    "faint": "snr",
    "focus outside the stack": "focus_um",
    "axial profile": "axial_misfit",
    "lateral profile": "lateral_misfit",
    "bleaching": "fading_per_um",
    "wander": "wander_px",
    "shape": "misfit",
}
"""The measure that stands behind each reason."""


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
    blocks: list[Block] = []
    try:
        psf = measured_psf(beads)
    except InputError as error:
        psf = None
        blocks.append(Paragraph(str(error)))
    if psf is not None:
        blocks += [Paragraph(usable_range(psf, beads)), Paragraph(_ambiguity(psf, beads))]
    if beads.units.estimated:
        blocks.append(
            Paragraph(
                f"Camera units were GUESSED (baseline {beads.units.baseline_adu:.0f} ADU, "
                f"{beads.units.electrons_per_adu:.2f} electrons per ADU): photon numbers and limits on this page are "
                "uncertain. Measure them with `easyzloc-mm camera-calibrate`."
            )
        )
    blocks += [*_verdicts(beads, folder), *_labels(beads, psf), *_stacks(beads)]
    if psf is not None:
        draw_psf(psf, folder / "psf.png")
        draw_widths(psf, folder / "widths.png")
        draw_limit(psf, beads, folder / "limit.png")
        blocks += [
            Heading("The blur of this microscope"),
            Picture("psf.png", "Mean of the beads at the middle of the field: through focus, and cut along x and y."),
            Picture("widths.png", "Width of that image against z."),
            Heading("How well z can be known"),
            Picture(
                "limit.png",
                f"Left: information limit of z from the measured blur, at {BACKGROUND:.0f} background photons per "
                "pixel; the band spans the field. No method can do better. Right: how often even the best method takes "
                "a molecule above focus for one below.",
            ),
        ]
    accepted = int(beads.accepted.sum())
    lead = f"{accepted} of {len(beads)} beads accepted, from {len(set(beads.stack.tolist()))} field(s)."
    return write_page(folder, "Beads", lead, blocks)


def _verdicts(beads: BeadSet, folder: Path) -> list[Block]:
    why = np.array(beads.reason)
    rows: list[tuple[str, ...]] = [("verdict", "beads", "measured", "in these", "in the accepted")]
    names, counts = np.unique(why[~beads.accepted], return_counts=True)
    for name, count in sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1]):
        measure = MEASURED.get(name, "")
        rows.append(
            (
                name,
                str(count),
                measure.replace("_", " "),
                _typical(beads, measure, why == name),
                _typical(beads, measure, beads.accepted),
            )
        )
    rows.append(("accepted", str(int(beads.accepted.sum())), "", "", ""))
    blocks: list[Block] = [Heading("Kept and rejected"), Rows(rows, header=True)]
    if beads.field_known:
        draw_map(beads, field_shape(beads), folder / "map.png")
        covered = coverage(beads)
        blocks += [
            Paragraph(f"The accepted beads cover {covered:.0%} of the field (5x5 cells with three beads or more)."),
            Picture("map.png", "Where the beads of all fields lie on the sensor, and the focus of the accepted ones."),
        ]
    return blocks


def _typical(beads: BeadSet, measure: str, which: np.ndarray) -> str:
    if measure not in beads.measures:
        return ""
    values = beads.measures[measure].to_numpy(float)[which]
    values = values[np.isfinite(values)]
    return f"{np.median(values):.3g}" if len(values) else "none"


def _labels(beads: BeadSet, psf: MeasuredPsf | None) -> list[Block]:
    blocks: list[Block] = [Heading("Labels")]
    shape = field_shape(beads)
    if shape is not None:
        blocks.append(
            Paragraph(
                f"The focal surface is tilted by {shape.tilt_mrad:.2f} mrad and sags by {shape.curvature_nm:+.0f} nm "
                f"from the middle to the corners; beads scatter around it by {shape.scatter_nm:.0f} nm (their heights "
                "on the slide). Each bead's z counts from its own focus, so neither tilt nor heights enter the labels."
            )
        )
    consistency = label_consistency(beads)
    if consistency is not None:
        blocks.append(
            Paragraph(
                "Labels from every second plane against those from the planes between: one bead's label repeats to "
                f"{consistency[0]:.1f} nm by its sharpness alone and to {consistency[1]:.1f} nm after alignment with "
                "the other beads (standard deviation)."
            )
        )
    if psf is not None:
        narrow = narrowest_nm(psf)
        if np.isfinite(narrow):
            blocks.append(
                Paragraph(
                    f"z = 0 is the sharpest plane. The image is narrowest at {narrow:+.0f} nm: programs that put zero "
                    f"there differ from these labels by {-narrow:+.0f} nm everywhere."
                )
            )
    return blocks if len(blocks) > 1 else []


def _stacks(beads: BeadSet) -> list[Block]:
    if beads.stacks.empty:
        return []
    rows: list[tuple[str, ...]] = [
        ("stack", "planes", "z (um)", "focus (um)", "brightest pixel at (um)", "found", "kept", "light per um")
    ]
    measured = pd.to_numeric(beads.stacks["fading_per_um"]).to_numpy(float)
    for stack, fading in zip(beads.stacks.itertuples(), measured, strict=True):
        rows.append(
            (
                f"{stack.source}, {stack.fov}",
                str(stack.planes),
                f"{stack.z_from_um:.2f} to {stack.z_to_um:.2f}",
                f"{stack.focus_um:.2f}",
                f"{stack.paper_focus_um:.2f}",
                str(stack.found),
                str(stack.accepted),
                f"{fading:+.1%}" if np.isfinite(fading) else "not measured",
            )
        )
    return [Heading("Stacks"), Rows(rows, header=True)]


def usable_range(psf: MeasuredPsf, beads: BeadSet) -> str:
    """Say in one sentence where z can be told, for a person with a sample."""
    limit = np.median(limits(psf, beads, TYPICAL_PHOTONS), axis=0)
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
    outside = []
    if low > 0:
        outside.append(f"below {psf.z_nm[low]:+.0f} nm")
    if high < len(good) - 1:
        outside.append(f"above {psf.z_nm[high]:+.0f} nm")
    if outside:
        text += f"; {' and '.join(outside)} it cannot (worse than {USEFUL_NM:.0f} nm)"
    return text + ". Focus the sample so that it lies in that range."


def _ambiguity(psf: MeasuredPsf, beads: BeadSet) -> str:
    z_nm, chance = confusion(psf, TYPICAL_PHOTONS, BACKGROUND, beads.units.read_noise_e)
    doubtful = z_nm[chance > CONFUSED]
    if not len(doubtful):
        return "Above and below focus look different at every depth."
    if len(doubtful) == len(z_nm):
        return (
            "Above and below focus look alike at every depth: this blur is symmetric, and z can only be told on one "
            "side of focus. Turning the correction collar, or a little astigmatism, mends that."
        )
    return (
        f"Above and below focus are hard to tell apart at {TYPICAL_PHOTONS:.0f} photons nearer to focus than "
        f"{doubtful.max():.0f} nm; there, a wrong sign costs no more than twice the distance from focus."
    )
