"""z for two-dimensional tables, of ours and of other programs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import (
    COLUMNS_2D,
    LocalizationWriter,
    read_localizations,
)
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.complete import read_2d_table
from easyzloc_mm.io.tables.registry import write_table
from easyzloc_mm.localization.detection.gaussian_fit import detect_frames, fit_gaussians
from easyzloc_mm.localization.offline.assign_z import assign_z
from easyzloc_mm.localization.provenance import settings_of
from easyzloc_mm.localization.table_sink import TableSink
from easyzloc_mm.localization.workers.messages import LocalizeBlock, Localized
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.predictor import Predictor
from tests.helpers.known_rows import assert_whole, known_rows
from tests.helpers.localize_bench import small_bundle, spots_movie

SHAPE = (96, 128)
FRAMES = 30
PIXEL_NM = 110.0
METADATA = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=SHAPE[0], width_px=SHAPE[1], frames=FRAMES)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=(SHAPE[1], SHAPE[0])))


@pytest.fixture(scope="module")
def movie() -> NDArray[np.uint16]:
    return spots_movie(FRAMES, SHAPE, seed=12)[0]


@pytest.fixture(scope="module")
def movie_file(movie: NDArray[np.uint16], tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tifffile

    path = tmp_path_factory.mktemp("movie") / "m.tif"
    tifffile.imwrite(path, movie, photometric="minisblack", metadata={"axes": "TYX"})
    return path


@pytest.fixture(scope="module")
def shuffled(movie: NDArray[np.uint16], card: ModelCard) -> pd.DataFrame:
    """A 2D table in an order of its own."""
    table, _ = fit_gaussians(movie, detect_frames(movie, 1200.0, 7), 7, card.response)
    return table.sample(frac=1.0, random_state=3).reset_index(drop=True)


def expected_z(movie: NDArray[np.uint16], table: pd.DataFrame, card: ModelCard) -> Any:
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    return Predictor(card).predict(
        crop_photons(movie, table["frame"].to_numpy(), x, y, card.response, card.roi_px), x, y
    )


def picasso_file(folder: Path, table: pd.DataFrame) -> Path:
    with h5py.File(folder / "locs.hdf5", "w") as file:
        file["locs"] = table.to_records(index=False)
    return folder / "locs.hdf5"


def test_a_picasso_table_gets_its_z_row_by_row(
    movie: NDArray[np.uint16], movie_file: Path, shuffled: pd.DataFrame, card: ModelCard, tmp_path: Path
) -> None:
    source = picasso_file(tmp_path, shuffled)
    report = assign_z(source, movie_file, card, tmp_path / "run.zarr", response=card.response)
    table, facts = read_localizations(tmp_path / "run.zarr")
    assert report.localizations == len(table) == len(shuffled) > 100
    for name in COLUMNS_2D:
        assert np.array_equal(table[name], shuffled[name].astype(table[name].dtype)), name
    wanted = expected_z(movie, shuffled, card)
    assert np.allclose(table["z"], wanted.z_nm, atol=0.01)
    assert np.allclose(table["lpz"], wanted.lpz_nm, atol=0.01)
    assert np.array_equal(table["z_flag"], wanted.z_flag)
    assert facts.table == "locs.hdf5"


def test_picassos_own_file_is_read(movie_file: Path, shuffled: pd.DataFrame, card: ModelCard, tmp_path: Path) -> None:
    write_table(tmp_path / "own.hdf5", shuffled, METADATA)
    read = read_2d_table(tmp_path / "own.hdf5", PIXEL_NM)
    assert len(read) == len(shuffled)
    assert main(["assign-z", str(tmp_path / "own.hdf5"), str(movie_file), "--model", str(card.path), "--out",
                 str(tmp_path / "run.zarr")]) == 0  # fmt: skip
    assert len(read_localizations(tmp_path / "run.zarr")[0]) == len(shuffled)


def test_depth_in_the_sample_is_the_stages_times_a_factor(
    movie: NDArray[np.uint16], movie_file: Path, shuffled: pd.DataFrame, card: ModelCard, tmp_path: Path
) -> None:
    run = tmp_path / "run.zarr"
    assert main(["assign-z", str(picasso_file(tmp_path, shuffled)), str(movie_file), "--model", str(card.path),
                 "--out", str(run), "--focal-shift-factor", "0.8"]) == 0  # fmt: skip
    table, facts = read_localizations(run)
    wanted = expected_z(movie, shuffled, card)
    assert np.allclose(table["z"], 0.8 * wanted.z_nm, atol=0.01)
    assert np.allclose(table["lpz"], 0.8 * wanted.lpz_nm, atol=0.01)
    assert np.array_equal(table["z_flag"], wanted.z_flag)
    assert facts.z_range_nm == pytest.approx([0.8 * depth for depth in card.z_range_nm])
    # A run that is localised again is by its own factor, where no other one is given.
    assert settings_of(movie_file).focal_shift_factor == 1.0
    frames = FrameWriter(run, SHAPE, pixel_size_nm=PIXEL_NM, expected=1)
    frames.append(0, movie[0])
    frames.close()
    assert settings_of(run).focal_shift_factor == facts.focal_shift_factor == 0.8


def test_thunderstorms_frames_nanometres_and_corners(
    movie: NDArray[np.uint16], movie_file: Path, shuffled: pd.DataFrame, card: ModelCard, tmp_path: Path
) -> None:
    # As ThunderSTORM writes it: frames from 1, nm from the corner of the first pixel, one sigma.
    text = pd.DataFrame(
        {
            "id": np.arange(1, len(shuffled) + 1),
            "frame": shuffled["frame"] + 1,
            "x [nm]": (shuffled["x"].astype(float) + 0.5) * PIXEL_NM,
            "y [nm]": (shuffled["y"].astype(float) + 0.5) * PIXEL_NM,
            "sigma [nm]": 143.0,
            "intensity [photon]": shuffled["photons"],
            "offset [photon]": shuffled["bg"],
            "uncertainty [nm]": 11.0,
        }
    )
    text.to_csv(tmp_path / "ts.csv", index=False, quoting=2)
    assign_z(tmp_path / "ts.csv", movie_file, card, tmp_path / "run.zarr", response=card.response)
    table, _ = read_localizations(tmp_path / "run.zarr")
    assert np.array_equal(table["frame"], shuffled["frame"])
    for axis in "xy":
        assert np.allclose(table[axis], shuffled[axis], atol=1e-4)
        assert np.allclose(table[f"s{axis}"], 1.3)
        assert np.allclose(table[f"lp{axis}"], 0.1)
    assert np.allclose(table["photons"], shuffled["photons"])
    assert np.allclose(table["ellipticity"], 0)
    assert np.allclose(table["z"], expected_z(movie, shuffled, card).z_nm, atol=1.0)
    # What `export` writes comes back.
    write_table(tmp_path / "again.csv", shuffled, METADATA)
    again = read_2d_table(tmp_path / "again.csv", PIXEL_NM)
    for name in ("frame", "x", "y", "photons", "sx", "sy"):
        assert np.allclose(again[name], shuffled[name], rtol=1e-5, atol=1e-4), name


def test_a_real_thunderstorm_table_is_read(thunderstorm_table: Path) -> None:
    table = read_2d_table(thunderstorm_table, 100.0)
    raw = pd.read_csv(thunderstorm_table)
    assert len(table) == len(raw)
    assert np.isfinite(table.to_numpy(float)).all()
    frame = next(name for name in raw.columns if "frame" in name)
    assert table["frame"].tolist() == (raw[frame] - 1).astype(int).tolist()


def test_a_real_picasso_table_is_read(picasso_table: Path) -> None:
    table = read_2d_table(picasso_table, 130.0)
    with h5py.File(picasso_table) as file:
        locs = file["locs"][()]
    assert np.array_equal(table["x"], locs["x"])
    assert np.array_equal(table["frame"], locs["frame"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"frame": FRAMES + 4}, "lies beyond the 30 frames"),
        ({"x": 500.0}, "lies outside the 128 x 96 px"),
        ({"y": np.nan}, "no usable y in row 3"),
    ],
)
def test_a_table_that_does_not_fit_its_movie_is_refused(
    change: dict[str, float],
    named: str,
    movie_file: Path,
    shuffled: pd.DataFrame,
    card: ModelCard,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = shuffled.copy()
    for name, value in change.items():
        table.loc[2, name] = value
    source, out = picasso_file(tmp_path, table), tmp_path / "run.zarr"
    arguments = ["assign-z", str(source), str(movie_file), "--model", str(card.path), "--out", str(out)]
    assert main(arguments) == 2
    assert named in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.csv", "id,x\n1,2\n", "has no column frame"),
        ("a.csv", "", "cannot be read"),
        ("a.hdf5", "no hdf5", "cannot be read as HDF5"),
        ("a.txt", "x", "has no column frame, y"),
    ],
)
def test_what_is_no_table_is_named(name: str, content: str, named: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=named):
        read_2d_table(tmp_path / name, 100.0)


def test_an_empty_table_gives_an_empty_run(
    movie_file: Path, shuffled: pd.DataFrame, card: ModelCard, tmp_path: Path
) -> None:
    source = picasso_file(tmp_path, shuffled.iloc[:0])
    report = assign_z(source, movie_file, card, tmp_path / "run.zarr", response=card.response)
    assert report.localizations == 0
    assert len(read_localizations(tmp_path / "run.zarr")[0]) == 0


def test_blocks_are_written_in_order_however_the_workers_finish_them(tmp_path: Path) -> None:
    """With two workers the later block is often done first, and when its frames came is then forgotten."""
    blocks = [LocalizeBlock(number, np.arange(4 * number, 4 * number + 4), Path("m"), 12, 1.0) for number in range(3)]
    came = {frame: time.monotonic() - 5.0 for frame in range(12)}
    with LocalizationWriter.create(tmp_path / "r.zarr", METADATA) as writer:
        sink = TableSink(writer)
        for number in (2, 0, 1):
            sink.take(blocks[number], Localized(known_rows(10 * number, 10), 1), came)
            for frame in blocks[number].frames:
                came.pop(int(frame))
        sink.flush()
        assert (sink.rows, sink.frames, sink.rejected) == (30, 12, 3)
        assert len(sink.latencies) == 12
        assert 5.0 <= sink.p95_latency_s() < 60.0
    assert_whole(read_localizations(tmp_path / "r.zarr")[0])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda t: t.iloc[:0], id="0 rows"),
        pytest.param(lambda t: t.iloc[:1], id="1 row"),
        pytest.param(lambda t: pd.concat([t.iloc[:1]] * 20), id="the same row again and again"),
        pytest.param(lambda t: t[t["frame"] == t["frame"].max()], id="the last frame alone"),
        pytest.param(lambda t: t.iloc[:5][["frame", "x", "y"]], id="only places"),
        pytest.param(lambda t: t.iloc[:5].assign(x=-0.4, y=SHAPE[0] - 0.6), id="in the corner"),
        pytest.param(lambda t: t.iloc[:5].assign(x=-0.9, y=SHAPE[0] - 0.1), id="as far out as Picasso keeps rows"),
    ],
)
def test_tables_of_next_to_nothing_get_their_z(
    make: Any, movie_file: Path, shuffled: pd.DataFrame, card: ModelCard, tmp_path: Path
) -> None:
    table = make(shuffled).reset_index(drop=True)
    source = picasso_file(tmp_path, table)
    report = assign_z(source, movie_file, card, tmp_path / "run.zarr", response=card.response)
    found, _ = read_localizations(tmp_path / "run.zarr")
    assert report.localizations == len(found) == len(table)
    assert found["frame"].tolist() == table["frame"].tolist()
    assert np.isfinite(found.to_numpy(float)).all()


def test_a_table_of_smap_gets_the_same_z(
    movie_file: Path, shuffled: pd.DataFrame, card: ModelCard, tmp_path: Path
) -> None:
    """SMAP counts frames, and the centre of the first pixel, from 1."""
    part = shuffled.iloc[:20].reset_index(drop=True)
    nm = {f"{axis}nm": (part[axis].astype(float) + 1) * PIXEL_NM for axis in "xy"}
    pd.DataFrame({**nm, "frame": part["frame"].astype(int) + 1}).to_csv(tmp_path / "smap.csv", index=False)
    options: dict[str, Any] = {"response": card.response, "pixel_size_nm": PIXEL_NM}
    assign_z(picasso_file(tmp_path, part), movie_file, card, tmp_path / "a.zarr", **options)
    assign_z(tmp_path / "smap.csv", movie_file, card, tmp_path / "b.zarr", **options)
    one, _ = read_localizations(tmp_path / "a.zarr")
    other, _ = read_localizations(tmp_path / "b.zarr")
    assert other["frame"].tolist() == one["frame"].tolist()
    for name in ("x", "y"):
        np.testing.assert_allclose(other[name], one[name], atol=1e-3)
