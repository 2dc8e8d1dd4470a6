"""`easyzloc-mm demo`: calibrate, image, correct drift, render, export, score, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyzloc_mm._extras import need
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import check_output, remove
from easyzloc_mm.io.profiles import load_profile
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


def run_demo(
    out: Path, scale: DemoScale, *, if_exists: IfExists = "error", progress: Progress | None = None
) -> dict[str, Any]:
    """Walk the whole way and return the figures (keys: DESIGN, section 5).

    Parameters
    ----------
    out : Path
        Folder for calibration, run, exports and report.
    scale : DemoScale
        `FULL` or `QUICK`.
    """
    from easyzloc_mm.analysis.drift.apply import undrift_run
    from easyzloc_mm.analysis.npc.outputs import npc_run
    from easyzloc_mm.api.calibration import calibrate
    from easyzloc_mm.api.imaging import live
    from easyzloc_mm.demo.report import write_demo_report
    from easyzloc_mm.demo.score import score_run
    from easyzloc_mm.locs.export import export_run
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

    run, corrected = out / "run.zarr", out / "run.undrifted.zarr"
    with connect(profile) as microscope, truth_beside(run):
        imaged = live(microscope, calibration.model, run, progress=step("imaging molecules live")).as_dict()
    step("correcting drift")("estimating", 0.0)
    drift = undrift_run(run, corrected)
    step("nuclear pores")("searching", 0.0)
    pores = npc_run(corrected, out / "npc")
    for name, file_format in (("picasso.hdf5", "picasso"), ("thunderstorm.csv", "thunderstorm"),
                              ("table.parquet", "parquet")):  # fmt: skip
        export_run(corrected, out / f"run_{name}", file_format)
    step("scoring")("against the truth", 0.0)
    score = score_run(run, profile)
    result: dict[str, Any] = {
        "beads_found": len(calibration.beads),
        "beads_accepted": int(calibration.beads.accepted.sum()),
        "training_s": 60 * calibration.training.minutes,
        "frames": imaged["frames"],
        "frames_lost": imaged["frames_lost"],
        "frames_per_s": imaged["frames_per_s"],
        "p95_latency_s": imaged["p95_latency_s"],
        "localizations": imaged["localizations"],
        **score,
        "ring_spacing_nm": pores["ring_spacing_nm"],
        "pores": pores["pores"],
        "out": out,
        "report": out / "report" / "index.html",
    }
    step("report")("drawing", 0.0)
    write_demo_report(out, result, calibration=calibration, drift=drift, pores=pores)
    return result
