"""One reader per table format: what every program writes comes back, other countings are recognised, faults named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm._picasso import picasso
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.complete import read_2d_table
from easyzloc_mm.io.tables.registry import FORMATS, read_table, write_table

ENDINGS = [one.suffixes[0] for one in FORMATS.values()]


def random_table(random: np.random.Generator) -> tuple[pd.DataFrame, RunMetadata]:
    """A table of any size, in any order, 2D or 3D, with or without precision and foreign columns."""
    rows = int(random.choice([1, 2, 17, 400]))
    edge, frames = int(random.integers(8, 2000)), int(random.integers(1, 70_000))
    pixel = float(random.choice([65.0, 97.3, 108.3, 160.0, 1000 / 3]))
    names = ["photons", "bg"]
    if random.random() < 0.8:
        names += ["sx", "sy"]
    if random.random() < 0.8:
        names += ["lpx", "lpy"]
    table = pd.DataFrame({"frame": random.integers(0, frames, rows).astype(np.uint32)})
    for name in ("x", "y"):
        table[name] = random.uniform(0, edge - 1, rows).astype(np.float32)
    for name in names:
        table[name] = np.exp(random.uniform(-6, 9, rows)).astype(np.float32)
    if random.random() < 0.3 and "lpx" in table:
        table["lpy"] = table["lpx"]
    if random.random() < 0.7:
        table["z"] = random.normal(0, 500, rows).astype(np.float32)
        table["lpz"] = random.uniform(1, 200, rows).astype(np.float32)
        table["z_flag"] = random.integers(0, 16, rows).astype(np.uint8)
    if random.random() < 0.5:
        table["group"] = random.integers(-5, 50, rows).astype(np.int32)
    if random.random() < 0.5:
        table["chi square [a.u.]"] = random.normal(0, 1e6, rows)
    if random.random() < 0.3:  # as Picasso's export to ThunderSTORM has them
        table["bkgstd [photon]"] = np.zeros(rows)
        table["id"] = random.permutation(rows)
    metadata = RunMetadata(pixel_size_nm=pixel, width_px=edge, height_px=edge, frames=frames)
    return table, metadata


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("seed", range(12))
def test_every_table_comes_back_from_every_format(tmp_path: Path, ending: str, seed: int) -> None:
    """Same rows in the same order, same columns, the last bit of every value."""
    table, metadata = random_table(np.random.default_rng(seed))
    path = tmp_path / f"t{ending}"
    assert write_table(path, table, metadata) == len(table)
    again, read = read_table(path, pixel_size_nm=metadata.pixel_size_nm)
    assert set(again.columns) == set(table.columns)
    for name in map(str, table.columns):
        wanted = table[name].to_numpy()
        assert np.array_equal(again[name].to_numpy().astype(wanted.dtype), wanted), name
    if ending != ".csv":
        assert (read.width_px, read.frames) == (metadata.width_px, max(metadata.frames, table["frame"].max() + 1))


@pytest.mark.parametrize("ending", ENDINGS)
def test_both_readers_agree(tmp_path: Path, ending: str) -> None:
    """What analyses read and what assign-z reads is the same table, foreign columns and precisions included."""
    table, metadata = random_table(np.random.default_rng(5))
    table = table.assign(lpx=np.float32(0.09), lpy=np.float32(0.18), detections=np.arange(len(table)))
    path = tmp_path / f"t{ending}"
    write_table(path, table, metadata)
    whole, _ = read_table(path, pixel_size_nm=metadata.pixel_size_nm)
    completed = read_2d_table(path, metadata.pixel_size_nm)
    for name in map(str, whole.columns):
        np.testing.assert_allclose(completed[name], whole[name], rtol=1e-6, err_msg=name)
    assert completed["lpx"].iloc[0] == np.float32(0.09)
    assert completed["lpy"].iloc[0] == np.float32(0.18)


def test_columns_that_no_file_could_be_called_are_kept_in_a_run(tmp_path: Path) -> None:
    table, metadata = random_table(np.random.default_rng(3))
    odd = {"S/N": 1.5, "S_N": 2.5, "../up": 3.5, "p:q?": 4.5, "": 5.5}
    write_table(tmp_path / "r.zarr", table.assign(**odd), metadata)
    again, _ = read_table(tmp_path / "r.zarr")
    kept = {name: again[name].iloc[0] for name in again.columns if name not in table}
    assert kept == {"S_N_": 1.5, "S_N": 2.5, "_up": 3.5, "p_q_": 4.5, "_": 5.5}
    assert [path.name for path in tmp_path.iterdir()] == ["r.zarr"]


def thunderstorm_table(rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": np.arange(1, rows + 1),
            "frame": np.sort(random.integers(1, 20, rows)),
            "x [nm]": random.uniform(200, 5000, rows).round(3),
            "y [nm]": random.uniform(200, 5000, rows).round(3),
            "intensity [photon]": random.uniform(300, 5000, rows).round(2),
            "uncertainty_xy [nm]": random.uniform(5, 20, rows).round(4),
        }
    )


def test_frames_counted_from_zero_are_recognised(tmp_path: Path) -> None:
    """Picasso's exporter counts frames and ids from 0 and lengths from the middle of the first pixel."""
    table, metadata = random_table(np.random.default_rng(8))
    table = table.assign(**{name: np.float32(1.5) for name in ("sx", "sy", "lpx", "lpy")})
    table.loc[0, "frame"] = 0
    info = [{"Pixelsize": metadata.pixel_size_nm, "Width": 2000, "Height": 2000, "Frames": 70_000}]
    exporter: Any = picasso("io")
    exporter.export_thunderstorm(str(tmp_path / "p.csv"), table, info)
    with pytest.warns(EasyZlocWarning, match="counts frames from 0"):
        again, _ = read_table(tmp_path / "p.csv", pixel_size_nm=metadata.pixel_size_nm)
    assert again["frame"].tolist() == table["frame"].tolist()
    np.testing.assert_allclose(again["x"], table["x"], atol=1e-4)
    np.testing.assert_allclose(again["y"], table["y"], atol=1e-4)
    # Also where nothing was found in its frame 0: its ids begin at 0.
    exporter.export_thunderstorm(str(tmp_path / "q.csv"), table.assign(frame=table["frame"] + 3), info)
    with pytest.warns(EasyZlocWarning, match="counts frames from 0"):
        later = read_2d_table(tmp_path / "q.csv", metadata.pixel_size_nm)
    assert later["frame"].tolist() == (table["frame"] + 3).tolist()


def test_thunderstorms_own_counting_is_untouched(tmp_path: Path) -> None:
    source = thunderstorm_table()
    source.to_csv(tmp_path / "t.csv", index=False)
    table, _ = read_table(tmp_path / "t.csv", pixel_size_nm=100)
    assert table["frame"].tolist() == (source["frame"] - 1).tolist()
    np.testing.assert_allclose(table["x"], source["x [nm]"] / 100 - 0.5)
    assert table["frame"].nunique() == source["frame"].nunique()


@pytest.mark.parametrize("identified", [True, False])
def test_frames_from_zero_of_an_unknown_program_are_doubted(tmp_path: Path, identified: bool) -> None:
    """A frame 0 says how frames count; where x and y begin is what the headings mean, and the doubt is said."""
    source = thunderstorm_table()
    source["frame"] -= source["frame"].min()
    columns = source.columns if identified else source.columns.drop("id")
    source[columns].to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(EasyZlocWarning, match="does not say which program wrote it: frames are taken to count from 0"):
        table, metadata = read_table(tmp_path / "t.csv", pixel_size_nm=100)
    assert table["frame"].tolist() == source["frame"].tolist()
    np.testing.assert_allclose(table["x"], source["x [nm]"] / 100 - 0.5)
    assert metadata.counting == "others: frames from 0, centre of the first pixel at 0.5 px"


def test_picassos_export_is_known_without_its_first_rows(tmp_path: Path) -> None:
    """Rows that a person cut away take the zeros with them; the order of the columns and a flat background stay."""
    table, metadata = random_table(np.random.default_rng(8))
    table = table.assign(**{name: np.float32(1.5) for name in ("sx", "sy", "lpx", "lpy")})
    info = [{"Pixelsize": metadata.pixel_size_nm, "Width": 2000, "Height": 2000, "Frames": 70_000}]
    exporter: Any = picasso("io")
    exporter.export_thunderstorm(str(tmp_path / "p.csv"), table, info)
    pd.read_csv(tmp_path / "p.csv").iloc[5:].to_csv(tmp_path / "q.csv", index=False)
    with pytest.warns(EasyZlocWarning, match="counts frames from 0, as Picasso's export does"):
        again, _ = read_table(tmp_path / "q.csv", pixel_size_nm=metadata.pixel_size_nm)
    assert again["frame"].tolist() == table["frame"].iloc[5:].tolist()


def test_rows_without_a_frame_number_are_named(tmp_path: Path) -> None:
    source = thunderstorm_table().astype({"frame": float})
    source.loc[2, "frame"] = np.nan
    source.loc[4, "frame"] = -7
    source.loc[6, "frame"] = 1e12
    source.to_csv(tmp_path / "t.csv", index=False, na_rep="NaN")
    with pytest.warns(EasyZlocWarning, match=r"3 row\(s\).*row 3, 5, 7"):
        table, metadata = read_table(tmp_path / "t.csv", pixel_size_nm=100)
    assert len(table) == len(source) - 3
    assert metadata.frames < 100
    assert table["frame"].dtype == np.uint32
    with pytest.raises(InputError, match="no usable frame in row 3"):
        read_2d_table(tmp_path / "t.csv", 100)


def test_no_column_but_frame_and_position_costs_a_row(tmp_path: Path) -> None:
    source = thunderstorm_table().assign(chi2=np.nan, comment="good", score=1.5)
    source.loc[7, "score"] = np.inf
    source.loc[8, "uncertainty_xy [nm]"] = np.nan
    source.to_csv(tmp_path / "t.csv", index=False, na_rep="NaN")
    with pytest.warns(EasyZlocWarning) as caught:
        table, _ = read_table(tmp_path / "t.csv", pixel_size_nm=100)
    said = " ".join(str(one.message) for one in caught)
    assert "comment hold no numbers" in said
    assert "chi2, score lack finite values and are left out" in said
    assert len(table) == len(source)
    assert not {"chi2", "comment", "score"} & set(table.columns)
    usual = float(np.nanmedian(source["uncertainty_xy [nm]"])) / 100
    assert f"lpx (row 9: {usual:.4g})" in said
    assert table["lpx"].iloc[8] == pytest.approx(usual)


def test_a_depth_that_nobody_has_makes_the_table_flat(tmp_path: Path) -> None:
    source = thunderstorm_table().assign(**{"z [nm]": np.nan})
    source.to_csv(tmp_path / "t.csv", index=False, na_rep="NaN")
    with pytest.warns(EasyZlocWarning, match="no row has a depth"):
        table, _ = read_table(tmp_path / "t.csv", pixel_size_nm=100)
    assert len(table) == len(source)
    assert "z" not in table


@pytest.mark.parametrize("name", ["frame", "x", "y", "z"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 2.0**31])
def test_impossible_values_cost_their_row_in_every_format(tmp_path: Path, name: str, value: float) -> None:
    table, metadata = random_table(np.random.default_rng(4))
    table = table.drop(columns=[n for n in ("z", "lpz", "z_flag") if n in table]).assign(z=1.0).astype({name: float})
    table.loc[3, name] = value
    table.to_parquet(tmp_path / "t.parquet", index=False)
    with pytest.warns(EasyZlocWarning, match=r"1 row\(s\) have no possible .* \(row 4\)"):
        found, again = read_table(tmp_path / "t.parquet", pixel_size_nm=metadata.pixel_size_nm)
    assert len(found) == len(table) - 1
    assert found["frame"].dtype == np.uint32
    assert again.frames <= metadata.frames
    assert again.width_px <= metadata.width_px


def test_a_data_frame_without_numbers_says_what_to_do(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        file.create_group("locs").attrs["pandas_type"] = "frame"
    with pytest.raises(InputError, match=r"saved by pandas .*: save the table as \.csv or \.parquet"):
        read_table(tmp_path / "t.hdf5")


def test_the_state_of_an_unknown_pixel_size(tmp_path: Path) -> None:
    table, _ = random_table(np.random.default_rng(1))
    table.to_parquet(tmp_path / "t.parquet", index=False)
    with pytest.raises(InputError, match="give `pixel_size_nm`"):
        read_table(tmp_path / "t.parquet")


def test_a_file_of_matlab_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    (tmp_path / "cell_sml.mat").write_bytes(b"MATLAB 7.3 MAT-file")
    with pytest.raises(InputError, match=r"saved as \.csv from SMAP"):
        read_table(tmp_path / "cell_sml.mat")
