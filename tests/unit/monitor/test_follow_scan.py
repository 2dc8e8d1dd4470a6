"""A scan as its page sees it: places and states as the ledger has them, a picture of what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.acquire.plans.plan import ScanField, ScanPlan
from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger
from easyzloc_mm.io.runs.status import RunStatus, write_status
from easyzloc_mm.monitor.follow.scan import ScanFollower, places_on_map
from tests.helpers.monitored_run import molecules, monitored_run

PLACES = {"A1": (0.0, 0.0), "A2": (9000.0, 0.0), "B1": (0.0, 4500.0), "B2": (9000.0, 4500.0)}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    fields = tuple(ScanField(name=name, position_um=place) for name, place in PLACES.items())
    ledger = Ledger(tmp_path, ScanPlan(name="wells", fields=fields), "digest")
    for name in ("A1", "B1"):
        with monitored_run(tmp_path / f"{name}.zarr") as writer:
            writer.append(molecules(range(20)))
    ledger.note("A1", FieldStatus.DONE, tmp_path / "A1.zarr", frames=20, frames_lost=0, localizations=400)
    ledger.note("A2", FieldStatus.FAILED, tmp_path / "A2.zarr", error="the stage is silent")
    ledger.note("B1", FieldStatus.RUNNING, tmp_path / "B1.zarr")
    return ledger


def test_fields_have_their_place_state_and_picture(ledger: Ledger, tmp_path: Path) -> None:
    follower = ScanFollower(tmp_path)
    while follower.poll():
        pass
    fields = {field.name: field for field in follower.fields()}
    assert {name: (field.x_um, field.y_um) for name, field in fields.items()} == PLACES
    states = {name: str(field.state.status) for name, field in fields.items()}
    assert states == {"A1": "done", "A2": "failed", "B1": "running", "B2": "pending"}
    assert fields["A2"].state.error == "the stage is silent"
    picture = fields["A1"].thumbnail
    assert picture is not None
    row, column = np.unravel_index(np.argmax(picture.max(axis=2)), picture.shape[:2])
    assert ((column + 0.5) / picture.shape[1], (row + 0.5) / picture.shape[0]) == pytest.approx((0.25, 0.25), abs=0.03)
    assert [field.thumbnail for name, field in fields.items() if name != "A1"] == [None] * 3
    ledger.note("B1", FieldStatus.DONE, tmp_path / "B1.zarr", localizations=400)
    assert follower.poll()
    assert next(field for field in follower.fields() if field.name == "B1").thumbnail is not None


def test_the_field_that_is_imaged_is_known(ledger: Ledger, tmp_path: Path) -> None:
    follower = ScanFollower(tmp_path)
    follower.poll()
    assert follower.now() is None  # its run has not reported yet
    write_status(tmp_path / "B1.zarr", RunStatus(frames=7))
    assert follower.now() == ("B1", RunStatus(frames=7))
    assert follower.run_of("B1") == tmp_path / "B1.zarr"
    assert follower.run_of("B2") is None
    assert follower.run_of("../../etc") is None


def test_wells_are_drawn_near_each_other_as_the_stage_has_them() -> None:
    visits = [(row, column, field) for row in range(3) for column in range(4) for field in range(2)]
    wells = np.array([(9000 * column + 60 * field, 9000 * row) for row, column, field in visits])
    jitter = np.random.default_rng(0).uniform(-2, 2, wells.shape)
    at = places_on_map(wells + jitter)
    np.testing.assert_array_equal(at, [(2 * column + field, row) for row, column, field in visits])


def test_places_by_hand_stand_in_the_order_of_visits() -> None:
    places = np.random.default_rng(1).uniform(0, 1000, (20, 2))
    at = places_on_map(places)
    assert len(np.unique(at, axis=0)) == 20
    assert tuple(at[0]) == (0, 0)
    np.testing.assert_array_equal(np.lexsort((at[:, 0], at[:, 1])), np.arange(20))
    assert places_on_map(np.empty((0, 2))).shape == (0, 2)
    assert places_on_map(np.array([[5.0, 5.0]])).tolist() == [[0, 0]]
