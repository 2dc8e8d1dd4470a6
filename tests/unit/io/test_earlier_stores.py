"""Every store of an earlier version opens with today's readers, with its values (tests/data/stores)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.acquire.plans.plan import Grid, ScanPlan
from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger
from easyzloc_mm.beads.quality.judge import Reason
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import read_bead_set, write_bead_set
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.beads.writer import BeadStackWriter
from easyzloc_mm.io.camera_map import read_camera_map
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.io.runs.drift import read_drift
from easyzloc_mm.io.runs.ground_truth import read_record
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.run import Run
from easyzloc_mm.profile.schema import Profile

V1 = Path(__file__).parents[2] / "data" / "stores" / "v1"


def test_a_live_run_with_its_frames() -> None:
    run = Run.open(V1 / "run.zarr")
    locs, metadata = run.locs(), run.metadata
    assert len(locs) == 3
    first = locs.table.iloc[0]
    assert (first["frame"], first["z_flag"]) == (5, 2)
    assert first["x"] == np.float32(16.907155990600586)
    assert first["z"] == np.float32(-748.4273681640625)
    assert (metadata.pixel_size_nm, metadata.width_px, metadata.height_px, locs.frames) == (110, 96, 80, 8)
    assert metadata.complete
    assert metadata.camera_response is not None
    assert metadata.camera_response.electrons_per_adu == 0.45
    assert metadata.model is not None
    assert metadata.model.digest.startswith("089a34aa")
    assert metadata.localize is not None
    assert metadata.localize.box_px == 7
    assert metadata.min_net_gradient == pytest.approx(815.4066)
    assert metadata.profile is not None
    assert Profile.model_validate(metadata.profile).name == "demo"
    assert metadata.extra == {}
    frames = run.frames()
    assert frames.shape == (8, 80, 96)
    assert int(frames.read(0, 8).sum()) == 11628365
    assert open_movie(V1 / "run.zarr").pixel_size_nm == pytest.approx(110)
    status = run.status
    assert status is not None
    assert (status.frames, status.localizations) == (8, 3)


def test_the_records_of_the_simulator() -> None:
    emitters, drift = read_record(V1 / "run.zarr", "emitters"), read_record(V1 / "run.zarr", "drift")
    assert emitters.shape == (5, 12)
    assert drift.loc[0, "x"] == pytest.approx(-0.154629, abs=1e-6)


def test_a_drift_corrected_run_and_its_exports() -> None:
    locs = Locs.load(V1 / "run.undrifted.zarr")
    assert len(locs) == 300
    assert locs.metadata.drift_corrected
    assert locs.metadata.corrected_from == "run.zarr"
    drift = read_drift(V1 / "run.undrifted.zarr")
    assert len(drift.table) == 40
    assert drift.table.loc[39, "z"] == pytest.approx(10.657249, abs=1e-6)
    assert drift.record.method_z.startswith("greatest overlap")
    for ending in ("hdf5", "csv", "parquet"):
        again = Locs.load(V1 / f"table.{ending}", pixel_size_nm=110)
        for name in locs.table:
            np.testing.assert_allclose(again.table[name], locs.table[name], rtol=2e-6, atol=1e-4, err_msg=str(name))
    assert Locs.load(V1 / "table.parquet").metadata.camera_response == locs.metadata.camera_response


def test_bead_stacks_and_their_bleaching(tmp_path: Path) -> None:
    first, second = open_bead_stacks(V1 / "stacks.ome.zarr")
    assert (first.fov, first.pixel_size_nm, first.z_step_nm) == (0, 110, 200)
    assert (first.bleaching_per_um, second.bleaching_per_um) == (-0.0125, None)
    assert int(first.pixels[:].sum()) == 8097405
    assert first.planes["measured_z_um"].tolist() == pytest.approx([49.5, 49.7, 49.9, 50.1, 50.3, 50.5])
    assert first.response is not None
    assert first.response.read_noise_e == 1.5
    # An acquisition of that version that was cut off can be resumed, too.
    copy = tmp_path / "s.ome.zarr"
    shutil.copytree(V1 / "stacks.ome.zarr", copy)
    document = json.loads((copy / "zarr.json").read_text(encoding="utf-8"))
    facts = document["attributes"]["easyzloc"]
    facts |= {"planned_planes": 6, "progress": {"start": [0, 0, 50]}}
    (copy / "zarr.json").write_text(json.dumps(document), encoding="utf-8")
    with BeadStackWriter(copy, facts["profile"], 110, 200, (56, 64), if_exists="resume", planned_planes=6) as writer:
        assert writer.planes_done == {0: 6, 1: 6}
        assert writer.progress == {"start": [0, 0, 50]}
        writer.note({"start": [0, 0, 51]})
    assert open_bead_stacks(copy)[0].bleaching_per_um == -0.0125


def test_a_bead_data_set_under_todays_names(tmp_path: Path) -> None:
    beads = read_bead_set(V1 / "beads.zarr")
    assert beads.reason == (
        "", "neighbour", "", "", "lateral profile", "edge", "lateral_scatter", "bleaching", "faint",
    )  # fmt: skip
    assert set(beads.reason) <= {"", *Reason}
    np.testing.assert_allclose(beads.lateral_shift_px_per_um[-1], [0.04081327, -0.05042141], atol=1e-7)
    measures = beads.measures.iloc[0]
    assert measures["bleaching_per_um"] == pytest.approx(-0.0076956858)
    assert measures["lateral_scatter_px"] == pytest.approx(0.0038652932)
    assert measures["residual"] == pytest.approx(0.0159824411)
    stack = beads.stacks.iloc[0]
    assert stack["bleaching_per_um"] == pytest.approx(-0.0047891107)
    assert stack["lateral_shift_x_nm_per_um"] == pytest.approx(5.5878971442)
    # A model knows by this which beads it was trained on.
    assert beads.digest() == "f941925e75fb975bf64f875e85125827aab3afef7383f1cf0aefc2adc7e54bf4"
    write_bead_set(tmp_path / "beads.zarr", beads)
    again = read_bead_set(tmp_path / "beads.zarr")
    assert again.digest() == beads.digest()
    assert again.reason == beads.reason
    pd.testing.assert_frame_equal(again.measures, beads.measures)
    pd.testing.assert_frame_equal(again.stacks, beads.stacks)


def test_a_camera_map() -> None:
    pixels = read_camera_map(V1 / "camera.zarr")
    assert pixels.shape == (10, 12)
    # A run that was made with it is continued only with the same one.
    assert pixels.digest() == "36bdd5c7e7a7126d27d504468d0d94cc1f521d26655facccd8703c918ee26d21"


def test_the_ledger_of_a_scan(tmp_path: Path) -> None:
    shutil.copytree(V1 / "scan", tmp_path / "scan")
    plan = ScanPlan(name="t", grid=Grid(first_um=(100, 200), columns=2, rows=2, spacing_um=50))
    ledger = Ledger(tmp_path / "scan", plan, "ab")
    assert [ledger.state(f"f00{number}").status for number in range(3)] == ["done", "failed", "pending"]
    ledger.note("f002", FieldStatus.RUNNING, tmp_path / "f002.zarr")
    assert Ledger(tmp_path / "scan", plan, "ab").state("f002").status is FieldStatus.RUNNING
    with pytest.raises(InputError, match="belongs to another model"):
        Ledger(tmp_path / "scan", plan, "another")
