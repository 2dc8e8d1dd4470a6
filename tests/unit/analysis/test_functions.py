"""The front door's analysis: functions of tables that leave their input as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import easyzloc_mm as ez
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, drifting_table
from easyzloc_mm.benchmarks.npc import pore_field
from easyzloc_mm.io.runs.metadata import RunMetadata
from tests.helpers.pores import as_locs


@pytest.fixture(scope="module")
def locs() -> ez.Locs:
    known = drifting_table(frames=400, per_frame=20, edge_px=60, drift_nm=(60.0, 60.0, 50.0), seed=5)
    edge = known.edge_px
    metadata = RunMetadata(pixel_size_nm=PIXEL_SIZE_NM, frames=known.frames, height_px=edge, width_px=edge)
    return ez.Locs(known.table, metadata)


def test_undrift_keeps_the_drift_through_a_store(locs: ez.Locs, tmp_path: Path) -> None:
    before = locs.table.copy()
    corrected = ez.undrift(locs, method="aim", z_method="paper")
    pd.testing.assert_frame_equal(locs.table, before)
    assert corrected.metadata.drift_corrected
    assert corrected.drift is not None
    assert np.ptp(corrected.drift.table["x"]) > 0
    corrected.save(tmp_path / "r.zarr")
    again = ez.load_locs(tmp_path / "r.zarr")
    assert again.drift is not None
    pd.testing.assert_frame_equal(again.drift.table, corrected.drift.table, check_dtype=False)
    assert again.drift.record == corrected.drift.record
    with pytest.raises(ez.InputError, match="already"):
        ez.undrift(again)


def test_link_render_and_resolution(locs: ez.Locs) -> None:
    linked = ez.link(locs)
    assert len(linked) < len(locs)
    assert linked.table["n"].sum() == len(locs)
    assert linked.metadata.linked is not None
    image = ez.render(locs, view="xz", render_pixel_nm=20.0)
    assert image.image.shape[2] == 3
    assert image.image.max() > 0.5
    assert image.render_pixel_nm == 20.0
    found = ez.resolution(locs)
    assert found.axes["x"].median_nm == pytest.approx(10, rel=0.2)
    assert found.frc.nm is None or found.frc.nm > 10


def test_an_image_is_saved_as_it_is(locs: ez.Locs, tmp_path: Path) -> None:
    image = ez.render(locs, render_pixel_nm=50.0)
    path = image.save(tmp_path / "image.png")
    with Image.open(path) as stored:
        np.testing.assert_allclose(np.asarray(stored) / 255, image.image, atol=1 / 255)
    with pytest.raises(ez.InputError):
        image.save(path)
    with pytest.raises(ez.InputError, match="name the image"):
        image.save(tmp_path / "image.jpg")


def test_find_pores() -> None:
    found = ez.find_pores(as_locs(pore_field("two rings", pores=30, per_pore=90, sigma_z_nm=10, seed=1)))
    assert found.rings.spacing_nm == pytest.approx(50, abs=4)
    assert len(found.table) == len(found.found.centres) > 20
