"""Every format of a movie gives the same frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
import yaml
from numpy.typing import NDArray

from easyzloc_mm.benchmarks.npc import pore_field
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.io.runs.frames import FrameWriter, StoredFrames
from easyzloc_mm.io.zarr.chunks import ChunkedArray
from tests.helpers.localize_bench import spots_movie
from tests.helpers.movie_files import WRITERS, as_compressed_pages, as_raw, as_run, as_single_images, as_tiff
from tests.helpers.pores import as_locs

SHAPE = (96, 128)
FRAMES = 50


@pytest.fixture(scope="module")
def movie() -> NDArray[np.uint16]:
    return spots_movie(FRAMES, SHAPE, seed=6)[0]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_format_gives_the_same_frames(
    write: Callable[[Path, NDArray[np.uint16]], Path], movie: NDArray[np.uint16], tmp_path: Path
) -> None:
    opened = open_movie(write(tmp_path, movie))
    assert opened.shape == movie.shape
    assert np.array_equal(opened.read(0, FRAMES), movie)
    assert np.array_equal(opened.read(FRAMES - 3, FRAMES + 10), movie[-3:])
    if write not in (as_tiff, as_compressed_pages, as_single_images):
        assert opened.pixel_size_nm == pytest.approx(110.0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i4", "uint32", "float32", ">f8"])
def test_counts_are_counts_in_whatever_type_they_were_saved(
    dtype: str, movie: NDArray[np.uint16], tmp_path: Path
) -> None:
    counts = np.minimum(movie, 255 if dtype == "uint8" else 32767)
    order: Literal[">", "<"] = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(tmp_path / "m.tif", counts.astype(dtype), photometric="minisblack", byteorder=order)
    counts.astype(dtype).tofile(tmp_path / "m.raw")
    info = {"Byte Order": order, "Data Type": np.dtype(dtype).name, "Frames": FRAMES, "Height": SHAPE[0],
            "Width": SHAPE[1]}  # fmt: skip
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    for name in ("m.tif", "m.raw"):
        read = open_movie(tmp_path / name).read(2, 9)
        assert read.dtype == np.uint16
        assert np.array_equal(read, counts[2:9])


@pytest.mark.parametrize("spoiled", [0.5, -1.0, 70000.0, np.nan])
def test_what_are_no_counts_is_refused(spoiled: float, movie: NDArray[np.uint16], tmp_path: Path) -> None:
    frames = movie.astype(np.float32)
    frames[0, 5, 5] = spoiled
    with pytest.raises(InputError, match="no counts from 0 to 65535"):
        open_movie(as_tiff(tmp_path, frames))  # type: ignore[arg-type]


@pytest.mark.parametrize("write", [as_tiff, as_raw], ids=lambda write: write.__name__)
def test_of_a_movie_that_was_cut_off_the_whole_frames_are_read_and_the_others_counted(
    write: Callable[[Path, NDArray[np.uint16]], Path], movie: NDArray[np.uint16], tmp_path: Path
) -> None:
    path, there = write(tmp_path, movie), FRAMES // 2
    path.write_bytes(path.read_bytes()[: int((there + 0.5) * movie[0].nbytes)])
    with pytest.warns(EasyZlocWarning, match=f"{there} of {FRAMES} images are there, {FRAMES - there} are missing"):
        opened = open_movie(path)
    assert (opened.shape[0], opened.frames_missing) == (there, FRAMES - there)
    assert np.array_equal(opened.read(0, FRAMES), movie[:there])


def test_raw_frames_are_ome_zarr(tmp_path: Path, movie: NDArray[np.uint16]) -> None:
    import zarr
    from yaozarrs import validate_zarr_store

    path = as_run(tmp_path, movie)
    validate_zarr_store(str(path / "frames"))
    assert np.array_equal(np.asarray(zarr.open_array(path / "frames/0", mode="r")), movie)


def test_lost_frames_read_as_zeros_and_are_named(tmp_path: Path, movie: NDArray[np.uint16]) -> None:
    writer = FrameWriter(tmp_path / "r.zarr", SHAPE, pixel_size_nm=110.0, expected=4)
    for number in (0, 1, 4, 5):
        writer.append(number, movie[number])
    running = StoredFrames(tmp_path / "r.zarr")  # nothing is committed yet, but every frame is there
    assert running.shape[0] == 6
    assert running.missing == {2, 3}
    writer.close()
    frames = StoredFrames(tmp_path / "r.zarr")
    assert frames.missing == {2, 3}
    read = frames.read(0, 6)
    assert not read[2:4].any()
    assert np.array_equal(read[[0, 1, 4, 5]], movie[[0, 1, 4, 5]])


def test_frames_that_come_while_a_run_is_opened_are_not_taken_for_lost(
    tmp_path: Path, movie: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FrameWriter(tmp_path / "r.zarr", SHAPE, pixel_size_nm=110.0, expected=6)
    for number in (0, 1):
        writer.append(number, movie[number])
    has, coming = ChunkedArray.has, [2, 3, 4]

    def looked_for(image: ChunkedArray, index: Sequence[int]) -> bool:
        there = has(image, index)
        if not there:  # the writer goes on between two looks
            for number in coming:
                writer.append(number, movie[number])
            coming.clear()
        return there

    monkeypatch.setattr(ChunkedArray, "has", looked_for)
    running = StoredFrames(tmp_path / "r.zarr")
    assert coming == []
    assert running.missing == set()
    assert running.shape[0] == 5
    assert np.array_equal(running.take(range(5)), movie[:5])
    writer.close()


def test_a_folder_of_single_images_keeps_the_frames_numbers_and_one_of_movies_is_refused(
    movie: NDArray[np.uint16], tmp_path: Path
) -> None:
    images = as_single_images(tmp_path, movie)
    (images / "frame_8.tif").unlink()
    with pytest.warns(EasyZlocWarning, match="49 of 50 numbered images"):
        opened = open_movie(images)
    assert opened.missing == {7}
    assert np.array_equal(opened.read(8, FRAMES), movie[8:])
    movies = tmp_path / "movies"
    movies.mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(movies / name, movie[:5], photometric="minisblack")
    with pytest.raises(InputError, match="2 TIFF files that are no single images: give one as the movie"):
        open_movie(movies)


def test_a_run_that_kept_no_frames_is_named(tmp_path: Path) -> None:
    as_locs(pore_field("two rings", pores=2, per_pore=20, sigma_z_nm=10)).save(tmp_path / "run.zarr")
    with pytest.raises(InputError, match=r"run\.zarr is a run without raw frames: give the movie"):
        open_movie(tmp_path / "run.zarr")
