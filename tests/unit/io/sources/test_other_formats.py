"""NDTiff, OME-Zarr and Picasso .raw that are not whole: frames keep their place, gaps are counted and said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.io.reading import reading
from tests.helpers.listen import listen
from tests.helpers.odd_images import counts, cut, ndtiff, ome_zarr

FRAMES = 12
MOVIE = counts(FRAMES)


def test_a_frame_of_ndtiff_is_the_value_on_the_axis(tmp_path: Path) -> None:
    values = [1, 2, 3, 5, 8, 9]
    with pytest.warns(EasyZlocWarning, match="6 of 10 images are there, 4 are missing"):
        opened = open_movie(ndtiff(tmp_path / "nd", MOVIE[values], values))
    assert (opened.shape[0], sorted(opened.missing), opened.frames_missing) == (10, [0, 4, 6, 7], 4)
    assert np.array_equal(opened.read(0, 99)[values], MOVIE[values])
    assert not opened.read(6, 8).any()


def test_ndtiff_knows_how_many_frames_were_planned(tmp_path: Path) -> None:
    folder = ndtiff(tmp_path / "nd", MOVIE[:9], range(9), IntendedDimensions={"time": FRAMES})
    with pytest.warns(EasyZlocWarning, match="9 of 12 images are there, 3 are missing"):
        opened = open_movie(folder)
    assert (opened.shape[0], opened.frames_missing) == (9, 3)


def test_ndtiff_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    folder = ndtiff(tmp_path / "nd", MOVIE, range(FRAMES))
    copy = tmp_path / "index"
    shutil.copytree(folder, copy)
    cut(copy / "NDTiff.index", 0.6)
    opened, told = listen(open_movie, copy)
    assert "cut off within an entry" in told
    assert 5 <= opened.shape[0] < FRAMES
    assert opened.frames_missing >= 1
    assert np.array_equal(opened.read(0, 99), MOVIE[: opened.shape[0]])
    cut(folder / "NDTiffStack.tif", 0.6)
    opened, told = listen(open_movie, folder)
    assert f"{opened.shape[0]} of {FRAMES} images are there" in told
    assert opened.shape[0] + opened.frames_missing == FRAMES
    assert np.array_equal(opened.read(0, 99), MOVIE[: opened.shape[0]])


def test_a_file_of_ndtiff_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = ndtiff(tmp_path / "nd", MOVIE, range(FRAMES))
    (folder / "NDTiffStack.tif").rename(folder / "other.tif")
    with pytest.raises(InputError, match=r"lacks its file NDTiffStack\.tif"):
        open_movie(folder)


@pytest.mark.parametrize("values", [[0, 1, 2, 3, 4, 10**9], [-3, -2, -1, 0, 1, 2]])
def test_impossible_frame_numbers_are_refused(values: list[int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no numbers of images"):
        open_movie(ndtiff(tmp_path / "nd", MOVIE[:6], values))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chunks", [(1, 48, 64), (1, 48, 32), (4, 48, 64)])
def test_a_chunk_of_ome_zarr_that_is_missing_is_missing_frames(
    chunks: tuple[int, int, int], version: int, tmp_path: Path
) -> None:
    path = ome_zarr(tmp_path / "m.ome.zarr", MOVIE, chunks=chunks, version=version)
    assert np.array_equal(open_movie(path).read(0, 99), MOVIE)
    for chunk in (1, 4) if chunks[0] == 1 else (1,):
        where = ("c", str(chunk), "0", "0") if version == 3 else (f"{chunk}.0.0",)
        (path / "0").joinpath(*where).unlink()
    lost = {1, 4} if chunks[0] == 1 else {4, 5, 6, 7}
    opened, told = listen(open_movie, path)
    assert f"{FRAMES - len(lost)} of {FRAMES} images are there, {len(lost)} are missing" in told
    assert opened.missing == lost
    there = [frame for frame in range(FRAMES) if frame not in lost]
    assert np.array_equal(opened.read(0, 99)[there], MOVIE[there])
    assert not opened.read(4, 5).any()


def test_a_chunk_of_ome_zarr_that_is_damaged_is_a_missing_frame(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "m.ome.zarr", MOVIE, chunks=(1, 48, 64))
    chunk = path / "0" / "c" / "5" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    read = open_movie(path).read(0, 99)
    assert not read[5].any()
    assert np.array_equal(np.delete(read, 5, 0), np.delete(MOVIE, 5, 0))


def raw(folder: Path, frames: object, content: bytes, **others: object) -> Path:
    facts = {"Frames": frames, "Height": 48, "Width": 64, "Data Type": "uint16", "Byte Order": "<", **others}
    (folder / "m.yaml").write_text("".join(f"{name}: {value}\n" for name, value in facts.items()), encoding="utf-8")
    (folder / "m.raw").write_bytes(content)
    return folder / "m.raw"


@pytest.mark.parametrize(
    ("stated", "there", "missing", "told"),
    [
        (12, 12.0, 0, ""),
        (12, 7.5, 5, "7 of 12 images are there, 5 are missing"),
        (8, 12.0, 0, "states 8 frames and it has 12"),
        (12, 12.5, 0, "longer than its 12 frames by 3072 bytes"),
    ],
)
def test_a_raw_movie_is_held_against_its_size(
    stated: int, there: float, missing: int, told: str, tmp_path: Path
) -> None:
    content = np.concatenate([MOVIE, MOVIE]).astype("<u2").tobytes()
    opened, said = listen(open_movie, raw(tmp_path, stated, content[: int(there * MOVIE[0].nbytes)]))
    assert told in said
    assert bool(told) == bool(said)
    assert (opened.shape[0], opened.frames_missing) == (int(there), missing)
    assert np.array_equal(opened.read(0, 99), MOVIE[: int(there)])


@pytest.mark.parametrize(
    ("frames", "content", "others", "words"),
    [
        (12, b"", {}, "is empty"),
        (12, b"\0" * 100, {}, "cut off before the end of its first frame"),
        (10**9, MOVIE.tobytes(), {}, "room for 12"),
        ("many", MOVIE.tobytes(), {}, "cannot be read as the description"),
        (12, MOVIE.tobytes(), {"Data Type": "uint1024"}, "cannot be read as the description"),
        (12, MOVIE.tobytes(), {"Height": -3}, "64 x -3 px"),
        (12, MOVIE.tobytes(), {"Note": "{a: [1"}, "cannot be read as YAML"),
        (12, MOVIE.tobytes(), {"Data Type": "complex64"}, "complex64"),
    ],
)
def test_a_description_that_is_none_is_one_sentence(
    frames: object, content: bytes, others: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        open_movie(raw(tmp_path, frames, content, **others))


def no_zarr(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text("{ no json", encoding="utf-8")


def no_images(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}', encoding="utf-8")


def no_ndtiff(path: Path) -> None:
    path.mkdir()
    (path / "NDTiff.index").write_bytes(b"\xff" * 50)


def no_chunk(path: Path) -> None:
    shutil.rmtree(ome_zarr(path, MOVIE, chunks=(1, 48, 64)) / "0" / "c")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (no_zarr, "cannot be read as OME-Zarr"),
        (no_images, "cannot be read as OME-Zarr"),
        (no_ndtiff, "index names no image"),
        (no_chunk, "no image that is whole"),
        (lambda path: path.mkdir(), "is a folder but no movie"),
        (lambda path: path.write_text("x"), "is no movie that can be read"),
    ],
)
def test_what_is_no_movie_is_one_sentence(write: object, words: str, tmp_path: Path) -> None:
    write(tmp_path / "m")  # type: ignore[operator]
    with pytest.raises(InputError, match=words):
        open_movie(tmp_path / "m")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (PermissionError(13, "Permission denied"), r"cannot be read \(permission denied\): give yourself the right"),
        (OSError(5, "Input/output error"), "check its disk or network share"),
        (OSError("Unable to open file (file signature not found)"), "cannot be read as HDF5 .*signature.*: save it"),
        (KeyError("locs"), r"cannot be read as HDF5 \(it lacks 'locs'\): save it"),
        (ValueError("first\nsecond " + 300 * "x"), r"cannot be read as HDF5 \(first second x+\.\.\.\): save it"),
    ],
)
def test_what_a_library_raises_becomes_one_sentence(raised: Exception, words: str) -> None:
    with pytest.raises(InputError, match=words) as told, reading(Path("m.hdf5"), "HDF5", cure="save it again"):
        raise raised
    assert "\n" not in str(told.value)


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(AssertionError), reading(Path("m.hdf5"), "HDF5", cure="save it again"):
        raise AssertionError
