"""Write a small store of every kind with version 0.1 of the package (commit 70f33ad): tests/data/stores/v1.

In a checkout of that commit (``git worktree add OLD 70f33ad``), after ``easyzloc-mm demo --quick --out DEMO``::

    PYTHONPATH=OLD:OLD/tests python tests/data/stores/make_v1.py DEMO tests/data/stores/v1
"""

# mypy: ignore-errors
# ruff: noqa: I001  it runs with another version of the package

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from easyzloc_mm.acquire.live import run_live
from easyzloc_mm.acquire.scan import Grid, Ledger, ScanPlan
from easyzloc_mm.microscope import connect
from easyzloc_mm.network.bundle import ModelBundle
from easyzloc_mm.profile import CameraUnits
from easyzloc_mm.profile_library import load_profile
from easyzloc_mm.simulator.datasets import simulate_beads
from easyzloc_mm.store.bead_set import read_bead_set, write_bead_set
from easyzloc_mm.store.bead_stack_writer import BeadStackWriter
from easyzloc_mm.store.camera_map import PixelUnits, write_camera_map
from easyzloc_mm.store.drift import read_drift, write_drift
from easyzloc_mm.store.exports import export_table
from easyzloc_mm.store.localizations import LocalizationWriter, read_localizations, update_run
from localize_bench import small_bundle

PROFILE = load_profile("demo").replace(camera={"width_px": 96, "height_px": 80}, connection={"buffer_size_mb": 64})

KEPT = ("x", "y", "roi_x0", "roi_y0", "stack", "region", "accepted")


def live_run(out: Path) -> None:
    """An untrained model, a live run with raw frames, the simulator's records and the status file."""
    small_bundle(out / "model", field=(96, 80))
    with connect(PROFILE) as microscope:
        run_live(microscope, PROFILE, ModelBundle.load(out / "model"), out / "run.zarr", frames=8, keep_raw=True)
    _, facts = read_localizations(out / "run.zarr", rows=0)
    update_run(out / "run.zarr", model={**facts["model"], "path": "model"})  # not this computer's folders


def beads(demo: Path, out: Path) -> None:
    """Bead stacks, and beads of the demonstration: accepted ones and one rejected for each reason."""
    few = PROFILE.replace(
        beads={"z_start_nm": -500, "z_stop_nm": 500, "z_step_nm": 200, "fovs": 2},
        camera={"width_px": 64, "height_px": 56},
    )
    simulate_beads(few, out / "stacks.ome.zarr")
    writer = BeadStackWriter.__new__(BeadStackWriter)
    import zarr

    writer._root = zarr.open_group(out / "stacks.ome.zarr", mode="r+")
    writer.note_fading(0, -0.0125)
    whole = read_bead_set(demo / "calibration" / "beads.zarr")
    first = {reason: whole.reason.index(reason) for reason in dict.fromkeys(whole.reason)}
    chosen = np.array(sorted({*first.values(), *np.flatnonzero(whole.accepted)[:3]}))
    planes = slice(0, None, 10)
    reason = [whole.reason[i] for i in chosen]
    reason[reason.index("shape")] = "wander"
    few_beads = dataclasses.replace(
        whole,
        **{name: getattr(whole, name)[chosen] for name in KEPT},
        rois=whole.rois[chosen, planes], z_nm=whole.z_nm[chosen, planes], light=whole.light[chosen, planes],
        slide_px_per_um=whole.slide_px_per_um[chosen], reason=tuple(reason),
        measures=whole.measures.iloc[chosen].reset_index(drop=True),
    )  # fmt: skip
    write_bead_set(out / "beads.zarr", few_beads)
    print("beads.zarr digest", few_beads.digest())


def tables(demo: Path, out: Path) -> None:
    """A drift-corrected run and its exports."""
    table, facts = read_localizations(demo / "run.undrifted.zarr", rows=300)
    drift, told = read_drift(demo / "run.undrifted.zarr")
    facts["model"]["path"] = "calibration/model"
    told["others"] = {name: {**path, "nm": path["nm"][:10]} for name, path in told["others"].items()}
    with LocalizationWriter(out / "run.undrifted.zarr", facts) as writer:
        writer.append(table)
    write_drift(out / "run.undrifted.zarr", drift.iloc[:40], told)
    for ending, kind in {"hdf5": "picasso", "csv": "thunderstorm", "parquet": "parquet"}.items():
        export_table(out / f"table.{ending}", kind, table, facts)


def others(demo: Path, out: Path) -> None:
    """A camera map, the ledger of a scan, and what a complete training stores."""
    random = np.random.default_rng(2)
    shape = (10, 12)
    maps = PixelUnits(*(random.normal(mean, 0.01 * mean, shape).astype(np.float32) for mean in (100.0, 1.5, 0.45)))
    units = CameraUnits(baseline_adu=100, electrons_per_adu=0.45, read_noise_e=1.5)
    write_camera_map(out / "camera.zarr", maps, {"units": units.model_dump(), "series": 3})
    (out / "scan").mkdir()
    ledger = Ledger(
        out / "scan", ScanPlan(name="t", grid=Grid(first_um=(100, 200), columns=2, rows=2, spacing_um=50)), "ab"
    )
    ledger.note("f000", "done", localizations=12, frames=8)
    ledger.note("f001", "failed", error="the camera stopped")
    shutil.copy(demo / "calibration" / "model" / "calibration.json", out / "trained_calibration.json")


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir()
    live_run(target)
    beads(source, target)
    tables(source, target)
    others(source, target)
    print(json.dumps({"bytes": sum(path.stat().st_size for path in target.rglob("*") if path.is_file())}))
