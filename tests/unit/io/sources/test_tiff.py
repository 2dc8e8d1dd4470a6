"""TIFF of every layout: whole, cut anywhere, with headings that are wrong, and with pages that are no frames."""

from __future__ import annotations

import os
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.images.movies import open_movie
from tests.helpers.listen import listen
from tests.helpers.odd_images import (
    LAYOUTS,
    PLAIN,
    Pixels,
    counts,
    cut,
    imagej,
    imagej_in_one_piece,
    micro_manager,
    ome_set,
    ome_xml,
    page_by_page,
)

FRAMES = 12
MOVIE = counts(FRAMES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_file_of_any_layout_is_read_without_a_word(layout: str, tmp_path: Path) -> None:
    opened = open_movie(LAYOUTS[layout](tmp_path / "m.tif", MOVIE))
    assert (opened.shape, opened.frames_missing) == (MOVIE.shape, 0)
    assert np.array_equal(opened.read(0, FRAMES), MOVIE)
    assert np.array_equal(opened.read(5, 7), MOVIE[5:7])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_that_was_cut_anywhere_gives_what_is_whole_and_says_so(layout: str, tmp_path: Path) -> None:
    path = LAYOUTS[layout](tmp_path / "m.tif", MOVIE)
    whole = path.read_bytes()
    read = []
    for size in np.linspace(0, len(whole) - 1, 24).astype(int):
        path.write_bytes(whole[:size])
        try:
            opened, told = listen(open_movie, path)
        except InputError:
            continue
        assert not opened.frames_missing or str(opened.shape[0] - len(opened.missing)) in told
        frames = opened.read(0, FRAMES)
        there = [place for place in range(len(frames)) if place not in opened.missing]
        assert np.array_equal(frames[there], MOVIE[there])
        # Nothing to say where all frames are there, and what was cut off stood behind them.
        assert opened.frames_missing > 0 or len(there) == FRAMES
        read.append(len(there))
    assert sorted(read) == read  # more bytes, more frames
    if layout not in ("deflate", "LZW"):  # small files, of which a part of one frame is much
        assert max(read) >= FRAMES - 2
        assert min(read) <= 2


@pytest.mark.parametrize(
    ("facts", "missing", "told"),
    [
        (("images=6", "frames=6"), 0, "states 6 images and it has 12: all are read"),
        (("images=20", "frames=20"), 8, "states 20 images and it has 12: 8 count as missing"),
        (("images=12", "frames=20"), 0, "states 20 images and it has 12"),
        (("images=1000000000", "frames=1000000000"), 0, "states 1000000000 images and it has 12"),
    ],
)
def test_an_imagej_heading_that_is_wrong_is_held_against_the_pages(
    facts: tuple[str, ...], missing: int, told: str, tmp_path: Path
) -> None:
    with pytest.warns(EasyZlocWarning, match=told):
        opened = open_movie(imagej(tmp_path / "m.tif", MOVIE, *facts))
    assert (opened.shape[0], opened.frames_missing) == (FRAMES, missing)
    assert np.array_equal(opened.read(0, FRAMES), MOVIE)


def test_an_imagej_heading_is_held_against_the_size_on_disk(tmp_path: Path) -> None:
    with pytest.warns(EasyZlocWarning, match="states 6 images and it has 12: all are read"):
        opened = open_movie(imagej_in_one_piece(tmp_path / "half.tif", MOVIE, stated=6))
    assert np.array_equal(opened.read(0, FRAMES), MOVIE)
    with pytest.warns(EasyZlocWarning, match="7 of 12 images are there, 5 are missing"):
        opened = open_movie(cut(imagej_in_one_piece(tmp_path / "cut.tif", MOVIE), 0.63))
    assert (opened.shape[0], opened.frames_missing) == (7, 5)


@pytest.mark.parametrize("facts", [("images=12", "channels=2", "frames=6"), ("images=14", "channels=2", "frames=7")])
def test_two_channels_are_no_movie(facts: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one channel"):
        open_movie(imagej(tmp_path / "m.tif", MOVIE, *facts))


def test_pages_of_another_size_or_kind_are_left_out_and_named(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(np.zeros((20, 20, 3), np.uint8), photometric="rgb", metadata=None)
        for number, frame in enumerate(MOVIE):
            file.write(frame, metadata=None)
            if number == 4:
                file.write(frame[::2, ::2].copy(), metadata=None)
    with pytest.warns(EasyZlocWarning, match=r"page 1 \(20 x 20 px\), page 7 \(32 x 24 px\) of its 14 pages"):
        opened = open_movie(tmp_path / "m.tif")
    assert np.array_equal(opened.read(0, FRAMES), MOVIE)


def test_arrays_written_one_after_another_are_one_movie(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(MOVIE[:7], photometric="minisblack")
        file.write(MOVIE[7:], photometric="minisblack")
    with pytest.warns(EasyZlocWarning, match="2 series"):
        opened = open_movie(tmp_path / "m.tif")
    assert np.array_equal(opened.read(0, FRAMES), MOVIE)
    assert np.array_equal(opened.read(5, 9), MOVIE[5:9])


def test_ome_xml_is_held_against_the_pages(tmp_path: Path) -> None:
    for stated, missing in ((20, 8), (8, 0)):
        xml = ome_xml({"T": stated}, f'<TiffData IFD="0" PlaneCount="{stated}"/>')
        with pytest.warns(EasyZlocWarning, match=f"states {stated} images"):
            opened = open_movie(page_by_page(tmp_path / "m.ome.tif", MOVIE, xml))
        assert (opened.shape[0], opened.frames_missing) == (FRAMES, missing)
        assert np.array_equal(opened.read(0, FRAMES), MOVIE)


def test_planes_of_ome_xml_keep_their_place(tmp_path: Path) -> None:
    frames = [t for t in range(FRAMES) if t not in (2, 3, 9)]
    planes = "".join(f'<TiffData IFD="{row}" FirstT="{t}" PlaneCount="1"/>' for row, t in enumerate(frames))
    with pytest.warns(EasyZlocWarning, match="9 are there"):
        opened = open_movie(page_by_page(tmp_path / "m.ome.tif", MOVIE[frames], ome_xml({"T": FRAMES}, planes)))
    assert opened.missing == {2, 3, 9}
    assert np.array_equal(opened.read(0, FRAMES)[frames], MOVIE[frames])
    assert not opened.read(2, 4).any()


def test_damaged_ome_xml_is_said_and_the_pages_are_read(tmp_path: Path) -> None:
    xml = ome_xml({"T": FRAMES}, '<TiffData IFD="0" PlaneCount="12"/>')
    for damaged in (xml[:-8], xml.replace("<Pixels", "<<Pixels"), xml.replace('SizeT="12"', 'SizeT="1e9"')):
        with pytest.warns(EasyZlocWarning, match="OME-XML is damaged"):
            opened = open_movie(page_by_page(tmp_path / "m.ome.tif", MOVIE, damaged))
        assert np.array_equal(opened.read(0, FRAMES), MOVIE)


def test_a_set_of_files_is_opened_by_any_of_them_and_names_what_it_lacks(tmp_path: Path) -> None:
    first, second, third = ome_set(tmp_path, MOVIE, files=3)
    for path in (first, second, third):
        assert np.array_equal(open_movie(path).read(0, FRAMES), MOVIE)
    second.rename(tmp_path / "elsewhere.tif")
    with pytest.raises(InputError, match=f"{second.name} is missing: put it back beside it, or .*`partial`"):
        open_movie(first)
    opened, told = listen(open_movie, first, partial=True)
    assert second.name in told
    assert "12 images and 8 are there" in told
    assert opened.missing == {4, 5, 6, 7}
    assert np.array_equal(opened.read(8, 12), MOVIE[8:])
    first.rename(tmp_path / "gone.tif")
    with pytest.raises(InputError, match=f"{first.name} is missing"):
        open_movie(third)
    opened, told = listen(open_movie, third, partial=True)
    assert first.name in told
    assert np.array_equal(opened.read(0, FRAMES), MOVIE[8:])


def test_a_part_that_was_cut_off_is_named(tmp_path: Path) -> None:
    first, second = ome_set(tmp_path, MOVIE, files=2)
    with pytest.warns(EasyZlocWarning, match=f"{second.name} was cut off: 9 of 12 images are there, 3 are missing"):
        opened = open_movie(cut(second, 0.6).parent / first.name)
    assert np.array_equal(opened.read(0, FRAMES), MOVIE[:9])


def test_ome_xml_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    frames = [1, 0, *range(2, FRAMES)]
    planes = "".join(
        f'<TiffData IFD="{row}" FirstT="{t}" PlaneCount="1"><UUID FileName="m.ome.tif">urn:uuid:1</UUID></TiffData>'
        for row, t in enumerate(frames)
    )
    only = '<OME><BinaryOnly MetadataFile="m.companion.ome" UUID="urn:uuid:2"/></OME>'
    path = page_by_page(tmp_path / "m.ome.tif", MOVIE[frames], f'<?xml version="1.0"?>{only}')
    with pytest.raises(InputError, match=r"m\.companion\.ome is missing"):
        open_movie(path)
    xml = ome_xml({"T": FRAMES}, planes, shape=MOVIE.shape[1:])
    (tmp_path / "m.companion.ome").write_text(xml, encoding="utf-8")
    assert np.array_equal(open_movie(path).read(0, FRAMES), MOVIE)


def test_one_file_that_was_renamed_is_whole(tmp_path: Path) -> None:
    (path,) = ome_set(tmp_path, MOVIE, files=1)
    content = path.read_bytes()
    for uuid in ("urn:uuid:0", ""):
        renamed = tmp_path / f"renamed{len(uuid)}.ome.tif"
        renamed.write_bytes(content.replace(b'UUID="urn:uuid:0"', f'UUID="{uuid}"'.encode().ljust(17)))
        assert np.array_equal(open_movie(renamed).read(0, FRAMES), MOVIE)  # the other file lies beside it, too
        path.unlink(missing_ok=True)
        assert np.array_equal(open_movie(renamed).read(0, FRAMES), MOVIE)


def test_micro_managers_index_gives_frames_their_place_across_files(tmp_path: Path) -> None:
    frames = [0, 1, 2, 4, 5, 7]
    micro_manager(tmp_path / "run_MMStack.tif", MOVIE[frames[:3]], frames[:3], planned=10)
    second = micro_manager(tmp_path / "run_MMStack_1.tif", MOVIE[frames[3:5]], frames[3:5], planned=10)
    micro_manager(tmp_path / "run_MMStack_2.tif", MOVIE[frames[5:]], frames[5:], planned=10)
    with pytest.warns(EasyZlocWarning, match="6 of 10 images are there, 4 are missing"):
        opened = open_movie(tmp_path / "run_MMStack.tif")
    assert (sorted(opened.missing), opened.shape[0], opened.frames_missing) == ([3, 6], 8, 4)
    assert np.array_equal(opened.read(0, 8)[frames], MOVIE[frames])
    second.unlink()
    with pytest.raises(InputError, match=r"run_MMStack_1\.tif is missing"):
        open_movie(tmp_path / "run_MMStack.tif")
    opened, told = listen(open_movie, tmp_path / "run_MMStack.tif", partial=True)
    assert "run_MMStack_1.tif is missing" in told
    assert "4 of 10 images are there" in told
    assert opened.frames_missing == 6


def test_a_frame_that_cannot_be_decoded_is_a_missing_one(tmp_path: Path) -> None:
    path = LAYOUTS["deflate"](tmp_path / "m.tif", MOVIE)
    with tifffile.TiffFile(path) as file:
        at, length = file.pages[4].dataoffsets[0], file.pages[4].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[at : at + length] = bytes(length)
    path.write_bytes(data)
    read = open_movie(path).read(0, FRAMES)
    assert not read[4].any()
    assert np.array_equal(np.delete(read, 4, 0), np.delete(MOVIE, 4, 0))


@pytest.mark.parametrize("name", ["m.tif", "m.stk"])
def test_planes_of_metamorph_lie_behind_the_only_page(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    tifffile.imwrite(path, MOVIE[0], extratags=[(33629, 4, FRAMES, tuple(range(FRAMES)), True)], **PLAIN)
    path.write_bytes(path.read_bytes() + MOVIE[1:].tobytes())
    assert np.array_equal(open_movie(path).read(0, FRAMES), MOVIE)
    with pytest.warns(EasyZlocWarning, match="7 of 12 images are there, 5 are missing"):
        open_movie(cut(path, 0.64))


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="the package is installed")
def test_a_compression_that_needs_a_package_more_is_said_before_any_work(tmp_path: Path) -> None:
    path = LAYOUTS["contiguous"](tmp_path / "m.tif", MOVIE)
    jpeg = struct.pack("<HHIHH", 259, 3, 1, 7, 0)
    path.write_bytes(path.read_bytes().replace(struct.pack("<HHIHH", 259, 3, 1, 1, 0), jpeg))
    with pytest.raises(InputError, match="pip install imagecodecs"):
        open_movie(path)


def test_a_chain_of_directories_that_runs_in_a_circle_ends(tmp_path: Path) -> None:
    path = LAYOUTS["contiguous"](tmp_path / "m.tif", MOVIE)
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
    data = bytearray(path.read_bytes())
    at = offsets[-1] + 2 + 12 * struct.unpack_from("<H", data, offsets[-1])[0]
    struct.pack_into("<I", data, at, offsets[3])
    path.write_bytes(data)
    assert np.array_equal(open_movie(path).read(0, FRAMES), MOVIE)


def colours(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((5, 48, 64, 3), np.uint8), photometric="rgb")


def two_axes(path: Path) -> None:
    tifffile.imwrite(path, np.stack([MOVIE, MOVIE]), metadata={"axes": "CTYX"}, photometric="minisblack")


def two_positions(path: Path) -> None:
    tifffile.imwrite(path, np.stack([MOVIE, MOVIE]), metadata={"axes": "TYX"}, ome=True, photometric="minisblack")


def positions(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(MOVIE, photometric="minisblack", metadata={"axes": "TYX"})
        file.write(MOVIE, photometric="minisblack", metadata={"axes": "TYX"})


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("no image"), "cannot be read as TIFF"),
        (lambda path: path.write_bytes(b"II*\0\x08\0\0\0" + bytes(8)), "cut off before its first image"),
        (lambda path: path.write_bytes(b"II+\0\x08\0\0\0" + b"\xff" * 8), "cut off before its first image"),
        (colours, "colour"),
        (two_axes, "one channel"),
        (positions, "2 positions or images"),
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder but no movie"),
        (lambda path: path.symlink_to(path), "does not exist"),
    ],
)
def test_what_is_no_movie_is_one_sentence(write: object, words: str, tmp_path: Path) -> None:
    write(tmp_path / "m.tif")  # type: ignore[operator]
    with pytest.raises(InputError, match=words):
        open_movie(tmp_path / "m.tif")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may read everything")
def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = LAYOUTS["contiguous"](tmp_path / "m.tif", MOVIE)
    path.chmod(0)
    with pytest.raises(InputError, match="give yourself the right"):
        open_movie(path)


def test_black_frames_are_seen_in_whatever_value(tmp_path: Path) -> None:
    from easyzloc_mm.camera.blank import blank_images

    images: Pixels = MOVIE.copy()
    images[2], images[5] = 0, 100
    images[7] = 7
    images[7, -1, -1] = 8
    tifffile.imwrite(tmp_path / "m.tif", images, **PLAIN)
    assert np.flatnonzero(blank_images(open_movie(tmp_path / "m.tif").read(0, FRAMES))).tolist() == [2, 5]
