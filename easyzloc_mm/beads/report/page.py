"""The bead report: which beads were kept and why, what the PSF looks like, and how precisely it gives z."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.beads.report.figures import BACKGROUND, crlb_by_depth, draw_crlb, draw_map, draw_psf, draw_widths
from easyzloc_mm.beads.report.summary import Summary, lateral_shift_nm_per_um, summarize_beads, which_rejected
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.crlb import EmpiricalPsf, empirical_psf
from easyzloc_mm.psf.kind import IN_WORDS as IN_WORDS_OF_KIND
from easyzloc_mm.psf.kind import PsfKind
from easyzloc_mm.psf.metrics import narrowest_nm, sign_ambiguity
from easyzloc_mm.report.html import Block, Heading, Paragraph, Picture, Rows, write_page

BEADS_REPORT = "_report"
"""What the bead report's folder is called, after the name of the data set that it lies beside."""
TYPICAL_PHOTONS = 2000.0
USEFUL_NM = 80.0
SIGN_AMBIGUOUS = 0.05
MEASURED = {
    "edge": "edge",
    "copy": "copy",
    "saturated": "saturated",
    "neighbour": "neighbour_px",
    "faint": "snr",
    "focus outside the stack": "focus_um",
    "axial profile": "axial_misfit",
    "lateral profile": "lateral_misfit",
    "bleaching": "bleaching_per_um",
    "lateral_scatter": "lateral_scatter_px",
    "shape": "residual",
}
"""The measure that stands behind each reason."""
IN_WORDS = {
    "edge": "ROI leaves the image (1: yes)",
    "copy": "the same pixels as another bead's (1: yes)",
    "saturated": "saturated pixels in all planes",
    "neighbour_px": "distance of the nearest other object (px)",
    "snr": "brightest pixel over its noise, in focus",
    "focus_um": "stage position of the focus (um)",
    "axial_misfit": "difference from a smooth single peak along z (part of its height)",
    "lateral_misfit": "difference from a smooth single spot in focus (part of its height)",
    "bleaching_per_um": "change of brightness through the stack, unlike the others' (part per um)",
    "lateral_scatter_px": "sideways motion beyond that of all beads (px)",
    "residual": "difference from the other beads at this place (part of the signal)",
}


def bead_report_folder(beads: Path) -> Path:
    """Folder of the report of a bead data set, beside it."""
    beads = beads if beads.name else beads.absolute()
    return beads.with_name(beads.name.removesuffix(".zarr") + BEADS_REPORT)


def write_bead_report(beads: BeadDataset, folder: Path, summary: Summary | None = None) -> Path:
    """Write ``index.html`` and its pictures.

    Parameters
    ----------
    beads : BeadDataset
    folder : Path
        Made if it does not exist.
    summary : Summary, optional
        Of these beads, where it is known already.

    Returns
    -------
    Path
        The page.
    """
    summary = summary or summarize_beads(beads)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    blocks: list[Block] = []
    try:
        psf = empirical_psf(beads, summary.roi_px)
    except InputError as error:
        psf = None
        blocks.append(Paragraph(str(error)))
    if summary.kind is not None:
        blocks.append(
            Paragraph(f"The PSF is {IN_WORDS_OF_KIND[summary.kind]}. Crops of {summary.roi_px} px hold its light.")
        )
    if psf is not None:
        engineered = summary.kind not in (None, PsfKind.UNMODIFIED)
        blocks += [Paragraph(usable_range(psf, beads, engineered=engineered)), Paragraph(_ambiguity(psf, beads))]
    if beads.response.estimated:
        blocks.append(
            Paragraph(
                f"Camera units were GUESSED (baseline {beads.response.baseline_adu:.0f} ADU, "
                f"{beads.response.electrons_per_adu:.2f} electrons per ADU): photon numbers and precisions on this "
                "page are uncertain. Measure them with `easyzloc-mm camera-calibrate`."
            )
        )
    blocks += [*_verdicts(beads, summary, folder), *_labels(beads, summary, psf), *_stacks(beads, summary)]
    if psf is not None:
        draw_psf(psf, folder / "psf.png")
        draw_widths(psf, folder / "widths.png")
        draw_crlb(psf, beads, folder / "crlb.png")
        blocks += [
            Heading("Image of a point (PSF) of this microscope"),
            Picture(
                "psf.png",
                "Mean image of the beads at the middle of the field: through focus, and cut along x and y (upwards: z "
                "in nm). Each picture is scaled to its own brightest pixel, on a square-root scale; the bar is 500 nm.",
            ),
            Picture("widths.png", "Width of that image against z."),
            Heading("Best possible precision of z"),
            Picture(
                "crlb.png",
                f"Left: best possible precision of z (CRLB) with the measured PSF, at {BACKGROUND:.0f} background "
                "photons per pixel; the band spans the field. No method is more precise. Right: how often even the "
                "best method takes a molecule above focus for one below.",
            ),
        ]
    accepted = int(beads.accepted.sum())
    lead = f"{accepted} of {len(beads)} beads accepted, from {len(set(beads.stack.tolist()))} field(s)."
    if beads.distinct < accepted:
        lead += f" They are {beads.distinct} different beads: some were recorded more than once, and count as one."
    return write_page(folder, "Beads", lead, blocks)


def _verdicts(beads: BeadDataset, summary: Summary, folder: Path) -> list[Block]:
    why = np.array(beads.reason)
    rows: list[tuple[str, ...]] = [("verdict", "beads", "measured (median)", "in these", "in the accepted")]
    names, counts = np.unique(why[~beads.accepted], return_counts=True)
    for name, count in sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1]):
        measure = MEASURED.get(name, "")
        rows.append(
            (
                name.replace("_", " "),
                str(count),
                IN_WORDS.get(measure, ""),
                _typical(beads, measure, why == name),
                _typical(beads, measure, beads.accepted),
            )
        )
    rows.append(("accepted", str(int(beads.accepted.sum())), "", "", ""))
    blocks: list[Block] = [Heading("Kept and rejected"), Rows(rows, header=True)]
    if not beads.field_known:
        lists = [
            f"{name.replace('_', ' ')}: {', '.join(map(str, rows))}" for name, rows in which_rejected(beads).items()
        ]
        blocks.append(Paragraph(f"Rejected ROIs by number, from 0. {'; '.join(lists) or 'None'}."))
    if beads.field_known:
        draw_map(beads, summary.foci, folder / "map.png")
        blocks += [
            Paragraph(
                f"The accepted beads cover {summary.coverage:.0%} of the field (5x5 cells with three different "
                "beads or more)."
            ),
            Picture("map.png", "Where the beads of all fields lie on the sensor, and the focus of the accepted ones."),
        ]
    return blocks


def _typical(beads: BeadDataset, measure: str, which: np.ndarray) -> str:
    if measure not in beads.measures:
        return ""
    values = beads.measures[measure].to_numpy(float)[which]
    values = values[np.isfinite(values)]
    return f"{np.median(values):.3g}" if len(values) else "none"


def _labels(beads: BeadDataset, summary: Summary, psf: EmpiricalPsf | None) -> list[Block]:
    blocks: list[Block] = [Heading("Labels")]
    shape = summary.foci.shape
    if shape is not None:
        blocks.append(
            Paragraph(
                f"The focal surface is tilted by {shape.tilt_mrad:.2f} mrad and sags by {shape.curvature_nm:+.0f} nm "
                f"from the middle to the corners; beads scatter around it by {shape.scatter_nm:.0f} nm (their heights "
                "on the slide). Each bead's z counts from its own focus, so neither tilt nor heights enter the labels; "
                "a model takes the curvature out of the z of molecules."
            )
        )
    repeat = summary.repeat
    blocks.append(
        Paragraph(
            "How well labels repeat from stack to stack was not measured: no three beads are in two stacks."
            if repeat is None
            else f"Labels of {repeat.beads} beads that were recorded in several stacks repeat to {repeat.sd_nm:.1f} nm "
            "(standard deviation of one label)."
        )
    )
    consistency = summary.consistency
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
    blocks.append(Paragraph(_lateral_shift_in_words(beads)))
    return blocks


def _lateral_shift_in_words(beads: BeadDataset) -> str:
    speed, direction = lateral_shift_nm_per_um(beads)
    if speed == 0:
        return "All beads together stay where they are while the stage goes through focus: it rises straight."
    several = beads.field_known and len(beads.stacks) > 1
    return (
        f"While the stage rises, the whole image shifts sideways: {speed:.0f} nm per um of z, towards "
        f"{direction:.0f} degrees (0: right in the image, 90: down){' in the stack where it does most' * several}. "
        "Stages that are not quite straight do that, molecules do not: it has been corrected, and beads are judged by "
        "their motion beyond it."
    )


def _stacks(beads: BeadDataset, summary: Summary) -> list[Block]:
    if beads.stacks.empty:
        return []
    rows: list[tuple[str, ...]] = [
        (
            "stack", "planes", "z (um)", "focus (um)", "brightest pixel at (um)", "found", "kept", "offset (nm)",
            "lateral shift (nm per um)", "bleaching per um",
        )
    ]  # fmt: skip
    foci = summary.foci
    for index, stack in enumerate(beads.stacks.to_dict("records")):
        averaged, bleaching = int(stack["frames_per_plane"]), _number(stack["bleaching_per_um"])
        shift = f"{stack['lateral_shift_x_nm_per_um']:+.0f}, {stack['lateral_shift_y_nm_per_um']:+.0f}"
        offset_error, shift_error = foci.uncertainty_nm[index], _number(stack["lateral_shift_uncertainty_nm_per_um"])
        rows.append(
            (
                f"{stack['source']}, {stack['fov']}",
                f"{stack['planes']}"
                + (f", of {averaged} frames each" if averaged > 1 else "")
                + (f", {lost} missing" if (lost := int(stack.get("planes_lost", 0))) else ""),
                f"{stack['z_from_um']:.2f} to {stack['z_to_um']:.2f}",
                f"{stack['focus_um']:.2f}",
                f"{stack['paper_focus_um']:.2f}",
                str(stack["found"]),
                str(stack["accepted"]),
                f"{foci.offset_nm[index]:+.0f} ± {offset_error:.0f}" if np.isfinite(offset_error) else "too few beads",
                f"{shift} ± {shift_error:.0f}" if np.isfinite(shift_error) else "too few beads",
                f"{bleaching:+.1%}" if np.isfinite(bleaching) else "not measured",
            )
        )
    return [
        Heading("Stacks"),
        Rows(rows, header=True),
        Paragraph(
            "Offset: where the stage stood when the middle of the field was in focus, against the median stack, with "
            "its standard error. All stacks are aligned together, each bead to its own focus, so that offsets do "
            "not enter the labels. Lateral shift: sideways motion of all beads along x and y per um of rising z. "
            "Bleaching: change of brightness per um."
        ),
    ]


def _number(value: object) -> float:
    """Return what a stored table holds as a number, NaN where it holds none."""
    return float("nan") if value is None else float(str(value))


def usable_range(psf: EmpiricalPsf, beads: BeadDataset, *, engineered: bool = False) -> str:
    """Return one sentence on the depths at which z can be measured, for a person with a sample."""
    crlb = np.median(crlb_by_depth(psf, beads, TYPICAL_PHOTONS), axis=0)
    good = crlb <= USEFUL_NM
    if not good.any():
        return (
            f"At {TYPICAL_PHOTONS:.0f} photons this microscope cannot measure z to {USEFUL_NM:.0f} nm at any depth: "
            "its image of a point (PSF) hardly changes with z. "
            + ("Such a mask cannot serve." if engineered else "Turning the objective's correction collar helps.")
        )
    best = int(np.argmin(np.where(good, crlb, np.inf)))
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    typical = float(np.median(crlb[low : high + 1]))
    text = (
        f"From {psf.z_nm[low]:+.0f} to {psf.z_nm[high]:+.0f} nm this microscope can measure z to about {typical:.0f} "
        f"nm at {TYPICAL_PHOTONS:.0f} photons"
    )
    outside = []
    if low > 0:
        outside.append(f"below {psf.z_nm[low]:+.0f} nm")
    if high < len(good) - 1:
        outside.append(f"above {psf.z_nm[high]:+.0f} nm")
    if outside:
        text += f"; {' and '.join(outside)} it cannot (worse than {USEFUL_NM:.0f} nm)"
    return text + ". Focus the sample so that it lies in that range."


def _ambiguity(psf: EmpiricalPsf, beads: BeadDataset) -> str:
    z_nm, chance = sign_ambiguity(psf, TYPICAL_PHOTONS, BACKGROUND, beads.response)
    doubtful = z_nm[chance > SIGN_AMBIGUOUS]
    if not len(doubtful):
        return "Above and below focus look different at every depth."
    if len(doubtful) == len(z_nm):
        return (
            "Above and below focus look alike at every depth: the PSF is symmetric, and z can only be measured on one "
            "side of focus. Turning the correction collar, or a little astigmatism, mends that."
        )
    return (
        f"Above and below focus are hard to tell apart at {TYPICAL_PHOTONS:.0f} photons nearer to focus than "
        f"{doubtful.max():.0f} nm; there, a wrong sign costs no more than twice the distance from focus."
    )
