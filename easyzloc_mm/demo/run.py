"""`easyzloc-mm demo`: calibrate, image, correct drift, render, export, score, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyzloc_mm._extras import need
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, remove
from easyzloc_mm.typing import IfExists, Progress


@dataclass(frozen=True)
class DemoScale:
    """How much of everything the demonstration does."""

    bead_fovs: int
    bead_z_step_nm: float
    training_minutes: float
    frames: int


FULL = DemoScale(bead_fovs=6, bead_z_step_nm=25.0, training_minutes=5.0, frames=6000)
QUICK = DemoScale(bead_fovs=3, bead_z_step_nm=50.0, training_minutes=1.0, frames=1000)
CORRECTED = ("run.undrifted.zarr", "run_picasso.hdf5", "run_thunderstorm.csv", "run_table.parquet")
"""Drift-corrected localisations, in every format."""


def run_demo(
    out: Path, scale: DemoScale, *, if_exists: IfExists = "error", progress: Progress | None = None
) -> dict[str, Any]:
    """Run the whole workflow and return its figures.

    Parameters
    ----------
    out : Path
        Folder for calibration, run, exports and report.
    scale : DemoScale
        `FULL` or `QUICK`.
    if_exists : {'error', 'overwrite'}
        What becomes of a demonstration that is there already.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    dict
        ``beads_found``, ``beads_accepted``, ``training_s``, ``frames``, ``frames_lost``, ``frames_per_s``,
        ``p95_latency_s``, ``localizations``, the figures of `score_run`, ``ring_spacing_nm``, ``pores``, ``out``,
        ``report``.

    Raises
    ------
    InputError
        The demo devices are not installed, or `out` cannot be written.
    """
    from easyzloc_mm.analysis.npc.outputs import write_pores
    from easyzloc_mm.api.analysing.analysis import find_pores, undrift
    from easyzloc_mm.api.calibrating.calibration import calibrate
    from easyzloc_mm.api.imaging.acquisition import live
    from easyzloc_mm.demo.report import write_demo_report
    from easyzloc_mm.demo.score import score_run
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.simulator.embedded.truth import truth_beside

    def step(name: str) -> Progress:
        return lambda message, fraction: progress(f"{name}: {message}", fraction) if progress else None

    # Before an output is replaced or a folder made.
    need("mm-test-adapters", extra="demo", module="mm_test_adapters")
    out = check_output(Path(out), Kind.DEMO, if_exists=if_exists, acquires=True)
    remove(out)
    out.mkdir()
    profile = load_profile("demo").replace(
        beads={"fovs": scale.bead_fovs, "z_step_nm": scale.bead_z_step_nm}, imaging={"frames": scale.frames}
    )
    calibration = calibrate(profile, out / "calibration", minutes=scale.training_minutes, progress=progress)

    with connect(profile) as microscope, truth_beside(out / "run.zarr"):
        run = live(microscope, calibration.model, out / "run.zarr", progress=step("imaging molecules live"))
    imaged = run.as_dict()
    step("correcting drift")("estimating", 0.0)
    locs = undrift(run)
    for name in CORRECTED:
        locs.save(out / name)
    step("nuclear pores")("searching", 0.0)
    pores = find_pores(locs)
    write_pores(pores, out / "npc")
    step("scoring")("against the truth", 0.0)
    figures, score = score_run(run.path, profile)
    result: dict[str, Any] = {
        "beads_found": len(calibration.beads),
        "beads_accepted": int(calibration.beads.accepted.sum()),
        "training_s": 60 * calibration.training.minutes,
        "frames": imaged["frames"],
        "frames_lost": imaged["frames_lost"],
        "frames_per_s": imaged["frames_per_s"],
        "p95_latency_s": imaged["p95_latency_s"],
        "localizations": imaged["localizations"],
        **figures,
        "ring_spacing_nm": pores.rings.spacing_nm,
        "pores": pores.rings.pores,
        "out": out,
        "report": out / "report" / "index.html",
    }
    step("report")("drawing", 0.0)
    write_demo_report(out, result, calibration=calibration, locs=locs, pores=pores, score=score)
    return result
