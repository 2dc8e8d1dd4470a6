"""Tables go out to other programs and come back unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm._picasso import picasso
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import read_table, write_table
from easyzloc_mm.locs.export import export_run
from tests.helpers.paths import DATA

FACTS = RunMetadata.model_validate(
    {"pixel_size_nm": 108.3, "width_px": 64, "height_px": 48, "frames": 500, "model": {"digest": "abc"}}
)
ENDINGS = {"hdf5": "picasso", "csv": "thunderstorm", "parquet": "parquet", "zarr": "zarr"}


def some_table(rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({name: rng.uniform(0.01, 40, rows).astype(np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)})
    table["frame"] = np.sort(rng.integers(0, 500, rows)).astype(np.uint32)
    table["z"] = rng.normal(0, 300, rows).astype(np.float32)
    table["z_flag"] = rng.integers(0, 16, rows).astype(np.uint8)
    table["ellipticity"] = rng.uniform(0, 1, rows).astype(np.float32)
    table["group"] = rng.integers(-3, 90, rows).astype(np.int32)
    return table


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Every column of `wanted`, to the last bit of its own type."""
    assert set(wanted.columns) <= set(found.columns)
    for name in wanted:
        assert np.array_equal(found[name].astype(wanted[name].dtype).to_numpy(), wanted[name].to_numpy()), name


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_comes_back_unchanged(tmp_path: Path, ending: str) -> None:
    table = some_table()
    path = tmp_path / f"t.{ending}"
    assert write_table(path, table, FACTS) == len(table)
    again, facts = read_table(path, pixel_size_nm=FACTS.pixel_size_nm)
    assert_same(again, table)
    assert facts.pixel_size_nm == FACTS.pixel_size_nm
    if ending != "csv":
        assert (facts.width_px, facts.height_px, facts.frames) == (64, 48, 500)
        assert dict(again.dtypes) == dict(table.dtypes)


def test_formats_in_a_circle(tmp_path: Path) -> None:
    table, previous = some_table(500), tmp_path / "t.zarr"
    write_table(previous, table, FACTS)
    for ending in ("csv", "parquet", "hdf5"):
        target = tmp_path / f"t.{ending}"
        pixel = FACTS.pixel_size_nm if previous.suffix == ".csv" else None
        export_run(previous, target, ENDINGS[ending], pixel_size_nm=pixel)
        previous = target
    assert_same(read_table(previous)[0], table)


def test_picasso_opens_what_was_written(tmp_path: Path) -> None:
    table = some_table()
    write_table(tmp_path / "t.hdf5", table, FACTS)
    locs, info = picasso("io").load_locs(str(tmp_path / "t.hdf5"))
    assert len(locs) == len(table)
    assert_same(locs, table)
    assert (info[0]["Width"], info[0]["Height"], info[0]["Frames"]) == (64, 48, 500)
    assert picasso("lib").get_from_metadata(info, "Pixelsize") == FACTS.pixel_size_nm


def test_rows_that_picasso_would_drop_are_counted(tmp_path: Path) -> None:
    table = some_table(100)
    table.loc[3, "x"] = 64.0
    table.loc[4, "y"] = -0.2
    write_table(tmp_path / "t.zarr", table, FACTS)
    with pytest.warns(EasyZlocWarning, match=r"2 of 100 rows are not in .*2 outside the image"):
        result = export_run(tmp_path / "t.zarr", tmp_path / "t.hdf5", "picasso")
    assert (result["rows"], result["rows_in_run"], result["left_out_by_format"]) == (98, 100, 2)
    assert len(picasso("io").load_locs(str(tmp_path / "t.hdf5"))[0]) == 98


def test_an_export_counts_what_is_left_out_and_what_is_doubtful(tmp_path: Path) -> None:
    table = some_table(100).assign(z_flag=np.uint8(0), lpx=np.float32(0.1), lpy=np.float32(0.1), photons=100.0)
    table.loc[:9, "z_flag"] = 4
    table.loc[[20, 21], "lpx"] = 3.0
    table.loc[50:, "photons"] = 10.0
    write_table(tmp_path / "t.zarr", table, FACTS)
    result = export_run(tmp_path / "t.zarr", tmp_path / "t.csv", where="photons > 50")
    counts = ("rows_in_run", "left_out_by_where", "left_out_by_format", "rows", "flagged", "poor_fits")
    assert [result[name] for name in counts] == [100, 50, 0, 50, 10, 2]


def test_thunderstorm_units(tmp_path: Path) -> None:
    table = some_table(10)
    write_table(tmp_path / "t.csv", table, FACTS)
    csv = pd.read_csv(tmp_path / "t.csv")
    np.testing.assert_array_equal(csv["frame"], table["frame"].astype(int) + 1)
    np.testing.assert_allclose(csv["x [nm]"], (table["x"].astype(float) + 0.5) * 108.3, rtol=1e-9)
    np.testing.assert_allclose(csv["sigma1 [nm]"], table["sx"].astype(float) * 108.3, rtol=1e-9)
    np.testing.assert_allclose(csv["z [nm]"], table["z"], rtol=1e-6)
    np.testing.assert_allclose(
        csv["uncertainty_xy [nm]"], (table["lpx"].astype(float) + table["lpy"]) / 2 * 108.3, rtol=1e-9
    )


def test_the_real_picasso_table(tmp_path: Path, picasso_table: Path) -> None:
    source = picasso_table
    table, facts = read_table(source)
    locs, info = picasso("io").load_locs(str(source))
    assert len(table) == (1_656 if source.parent == DATA else 58_222)
    assert list(table.columns) == list(locs.columns)
    assert "group" in table
    assert_same(table, locs)
    export_run(source, tmp_path / "again.hdf5", "picasso")
    again, more = picasso("io").load_locs(str(tmp_path / "again.hdf5"))
    pd.testing.assert_frame_equal(again, locs, check_exact=True)
    assert more[: len(info)] == info, "Picasso's own history is kept"
    for ending in ("csv", "parquet", "zarr"):
        export_run(source, tmp_path / f"t.{ending}", ENDINGS[ending])
        assert_same(read_table(tmp_path / f"t.{ending}", pixel_size_nm=117.0)[0], table)
    assert facts.frames == 43_510


def test_the_real_thunderstorm_table(tmp_path: Path, thunderstorm_table: Path) -> None:
    source = thunderstorm_table
    export_run(source, tmp_path / "again.csv", "thunderstorm")
    first, again = pd.read_csv(source), pd.read_csv(tmp_path / "again.csv")
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    export_run(source, tmp_path / "t.parquet", "parquet")
    export_run(tmp_path / "t.parquet", tmp_path / "third.csv", "thunderstorm")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "third.csv"), first, check_exact=True)
    # Through the float32 columns of a RUN.zarr: within a float32's own steps, all columns.
    export_run(source, tmp_path / "t.zarr", "zarr")
    export_run(tmp_path / "t.zarr", tmp_path / "fourth.csv", "thunderstorm")
    fourth = pd.read_csv(tmp_path / "fourth.csv")
    assert list(fourth.columns) == list(first.columns)
    np.testing.assert_allclose(fourth.to_numpy(), first.to_numpy(), rtol=1.3e-7, atol=1e-12)


def test_columns_of_other_programs_survive_in_a_run(tmp_path: Path) -> None:
    table = some_table(200)
    table["detections"] = np.arange(200, dtype=np.int64) * 10**12
    with LocalizationWriter.create(tmp_path / "r.zarr", FACTS) as writer:
        writer.append(table)
    again, _ = read_localizations(tmp_path / "r.zarr")
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    some, _ = read_localizations(tmp_path / "r.zarr", first_row=150, rows=20, columns=("z", "frame"))
    assert set(some.columns) == {"z", "frame"}
    np.testing.assert_array_equal(some["z"], table["z"].iloc[150:170])


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("t.csv", "frame,x,y\n1,2,3\n", "x [nm]"),
        ("t.csv", '"frame","x [nm]","y [nm]"\n1,a,3\n', "x [nm]"),
        ("t.csv", "", "cannot be read"),
        ("t.hdf5", "no hdf5", "HDF5"),
        ("t.parquet", "nothing", "Parquet"),
        ("t.xyz", "nothing", ".csv"),
    ],
)
def test_bad_tables_say_what_is_wrong(tmp_path: Path, name: str, content: str, hint: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert name in str(caught.value)
    assert hint in str(caught.value)


def test_a_picasso_table_without_its_yaml(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        file.create_dataset("locs", data=some_table(10).to_records(index=False))
    with pytest.raises(InputError, match=r"t\.yaml"):
        read_table(tmp_path / "t.hdf5")


def test_rows_that_are_not_finite_are_left_out_aloud(tmp_path: Path) -> None:
    table = some_table(20)
    table.loc[5, "z"] = np.nan
    table.to_parquet(tmp_path / "t.parquet", index=False)
    with pytest.warns(EasyZlocWarning, match="1 row"):
        again, _ = read_table(tmp_path / "t.parquet", pixel_size_nm=100.0)
    assert len(again) == 19


def test_a_pixel_size_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "t.hdf5", some_table(10), FACTS)
    with pytest.raises(InputError, match=r"108\.3"):
        read_table(tmp_path / "t.hdf5", pixel_size_nm=65.0)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_table(tmp_path / "t.hdf5", some_table(10), FACTS)
    before = (tmp_path / "t.hdf5").read_bytes()
    with pytest.raises(InputError, match="if_exists='overwrite'"):
        export_run(tmp_path / "t.hdf5", tmp_path / "t.hdf5", "picasso")
    assert (tmp_path / "t.hdf5").read_bytes() == before
