"""From bead stacks to a bead data set: `beads`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from easyzloc_mm.cli.options import CameraMapOption, PartialOption, RoiOption
from easyzloc_mm.cli.output import ExcessNoiseOption, JsonFlag, OverwriteFlag, existing, finish
from easyzloc_mm.cli.progress import progress_display


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(beads)


def beads(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Bead stacks: OME-Zarr, TIFF, a folder of TIFFs, NDTiff; or ROI stacks with --rois."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Bead data set to write, beads.zarr.")],
    rois: Annotated[bool, typer.Option("--rois", help="The sources are ready-cut ROIs, (N,Z,Y,X).")] = False,
    pixel_size_nm: Annotated[float | None, typer.Option("--pixel-size-nm", help="Where the file does not say.")] = None,
    z_step_nm: Annotated[float | None, typer.Option("--z-step-nm", help="Where the file does not say.")] = None,
    baseline_adu: Annotated[float | None, typer.Option("--baseline-adu", help="Camera offset, ADU.")] = None,
    electrons_per_adu: Annotated[float | None, typer.Option("--electrons-per-adu", help="Camera gain.")] = None,
    excess_noise: ExcessNoiseOption = None,
    camera_map: CameraMapOption = None,
    roi_px: RoiOption = None,
    partial: PartialOption = False,
    rules: Annotated[
        str, typer.Option("--rules", help="Who judges and labels: default, or paper (the published rules).")
    ] = "default",
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder of the HTML report; NAME_report beside --out by default.")
    ] = None,
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Find, judge, align and label beads: stacks to a bead data set."""
    from easyzloc_mm.api.calibrating.calibration import build_beads
    from easyzloc_mm.beads.build import count_reasons
    from easyzloc_mm.beads.camera_response import noise_ratio
    from easyzloc_mm.beads.report.page import bead_report_folder
    from easyzloc_mm.beads.report.summary import offsets_in_words, summarize_beads, summary_figures, which_rejected

    page = report or bead_report_folder(out)
    with progress_display() as show:
        bead_set = build_beads(
            sources,
            out,
            report=page,
            rois=rois,
            pixel_size_nm=pixel_size_nm,
            z_step_nm=z_step_nm,
            baseline_adu=baseline_adu,
            electrons_per_adu=electrons_per_adu,
            excess_noise=excess_noise,
            camera_map=camera_map,
            roi_px=roi_px,
            partial=partial,
            rules=rules,
            if_exists=existing(overwrite),
            progress=show,
        )
    summary = summarize_beads(bead_set)
    figures = summary_figures(bead_set, summary)
    more: dict[str, object] = {}
    if rois and as_json:
        more = {"rejected_rois": which_rejected(bead_set)}
    elif rois:
        more = {f"ROIs: {why}": ", ".join(map(str, rows)) for why, rows in which_rejected(bead_set).items()}
    elif not as_json:
        more = {"stack_offsets": offsets_in_words(figures["stacks"])}
    finish(
        {
            "out": out,
            "found": len(bead_set.accepted),
            "accepted": int(bead_set.accepted.sum()),
            "distinct": bead_set.distinct,
            "rejected": count_reasons(bead_set),
            "regions": len(set(bead_set.region[bead_set.accepted].tolist())),
            "units_estimated": bead_set.response.estimated,
            "noise_ratio": noise_ratio(bead_set),
            **figures,
            **more,
            "report": page / "index.html",
        },
        as_json=as_json,
        title="beads",
    )
