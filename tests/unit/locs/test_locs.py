"""`Locs` and `Run`: from any format and to any, conditions, views in nm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.run import Run


def some_locs(rows: int = 200) -> Locs:
    random = np.random.default_rng(3)
    table = pd.DataFrame({"frame": np.sort(random.integers(0, 90, rows)).astype(np.uint32)})
    for name, low, high in (
        ("x", 0, 60), ("y", 0, 50), ("photons", 300, 9000), ("sx", 1, 3), ("sy", 1, 3), ("bg", 1, 50),
        ("lpx", 0.01, 0.3), ("lpy", 0.01, 0.3), ("ellipticity", 0, 0.5), ("net_gradient", 100, 999),
        ("z", -800, 800), ("lpz", 5, 80),
    ):  # fmt: skip
        table[name] = random.uniform(low, high, rows).astype(np.float32)
    table["z_flag"] = random.integers(0, 3, rows).astype(np.uint8)
    metadata = RunMetadata(pixel_size_nm=110, height_px=64, width_px=64, frames=100, frames_lost=2, complete=True)
    return Locs(table, metadata)


@pytest.mark.parametrize("ending", ["zarr", "hdf5", "parquet", "csv"])
def test_every_format_comes_back(tmp_path: Path, ending: str) -> None:
    locs = some_locs()
    assert locs.save(tmp_path / f"t.{ending}") == len(locs)
    again = Locs.load(tmp_path / f"t.{ending}", pixel_size_nm=110)
    assert len(again) == len(locs)
    assert again.pixel_size_nm == 110
    for name in locs.table:
        np.testing.assert_allclose(again.table[name], locs.table[name], rtol=2e-6, err_msg=str(name))
    with pytest.raises(InputError, match="already exists"):
        locs.save(tmp_path / f"t.{ending}")
    locs.save(tmp_path / f"t.{ending}", if_exists="overwrite")


def test_conditions_add_up_and_are_kept() -> None:
    locs = some_locs()
    chosen = locs.where("lpz < 40").where("z_flag == 0")
    assert len(chosen) == ((locs.table["lpz"] < 40) & (locs.table["z_flag"] == 0)).sum()
    assert chosen.metadata.where == "(lpz < 40) and (z_flag == 0)"
    with pytest.raises(InputError, match="leaves none"):
        locs.where("lpz > 1000")


def test_the_view_in_nm_holds_what_can_be_believed() -> None:
    locs = some_locs()
    believed = locs.table[locs.table["z_flag"] == 0]
    np.testing.assert_allclose(locs.nm["x_nm"], believed["x"].to_numpy(float) * 110)
    np.testing.assert_allclose(locs.nm["lpx_nm"], believed["lpx"].to_numpy(float) * 110)
    assert set(locs.nm) == {"frame", "x_nm", "y_nm", "z", "lpx_nm", "lpy_nm", "lpz"}
    assert locs.frames == 102
    flat = locs.with_table(locs.table.drop(columns=["z", "lpz", "z_flag"]))
    assert "z" not in flat.nm
    with pytest.raises(InputError, match="has no z"):
        _ = flat.nm_3d


def test_a_run_is_opened(tmp_path: Path) -> None:
    locs = some_locs()
    locs.save(tmp_path / "run.zarr")
    run = Run.open(tmp_path / "run.zarr")
    assert run.complete
    assert (run.has_frames, run.status) == (False, None)
    assert run.metadata == locs.metadata
    assert len(run.locs("z_flag == 0")) == (locs.table["z_flag"] == 0).sum()
    with pytest.raises(InputError, match="no raw frames"):
        run.frames()
    with pytest.raises(InputError, match="is no run"):
        Run.open(tmp_path)


def test_metadata_keep_what_they_do_not_know_and_refuse_the_future() -> None:
    old = {"pixel_size_nm": 65, "height_px": 4, "width_px": 5, "objective_serial": "A1"}
    read = RunMetadata.from_stored(old, "r.zarr")
    assert read.extra == {"objective_serial": "A1"}
    assert read.stored()["schema_version"] == RunMetadata.SCHEMA_VERSION
    assert RunMetadata.from_stored(read.stored(), "r.zarr") == read
    assert read.changed(frames=7, shift="night").extra == {"objective_serial": "A1", "shift": "night"}
    with pytest.raises(InputError, match="update easyzloc_mm"):
        RunMetadata.from_stored({**old, "schema_version": RunMetadata.SCHEMA_VERSION + 1}, "r.zarr")
    with pytest.raises(InputError, match=r"metadata of r\.zarr cannot be read: pixel_size_nm"):
        RunMetadata.from_stored({"height_px": 4, "width_px": 5}, "r.zarr")
