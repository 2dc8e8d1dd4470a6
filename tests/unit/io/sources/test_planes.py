"""Planes of bead stacks that are missing or black: the others keep their z, whatever the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.rois import read_roi_stacks
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from tests.helpers.listen import listen
from tests.helpers.odd_images import PLAIN, Pixels, counts, cut, ndtiff, ome_set, ome_zarr

PLANES = 14
LOST = (5, 6, 9)
THERE = np.array([plane for plane in range(PLANES) if plane not in LOST])
STACK = counts(PLANES)


def with_black_planes(folder: Path, images: Pixels) -> Path:
    black = images.copy()
    for plane, value in zip(LOST, (0, 100, 65535), strict=True):
        black[plane] = value
    tifffile.imwrite(folder / "b.tif", black, **PLAIN)
    return folder / "b.tif"


def ndtiff_with_gaps(folder: Path, images: Pixels) -> Path:
    # The stage's lowest plane has a number below zero, as in Micro-Manager's own acquisitions.
    return ndtiff(folder / "nd", images[THERE], (THERE - 7).tolist(), axis="z")


def numbered_files(folder: Path, images: Pixels) -> Path:
    for plane in THERE:
        tifffile.imwrite(folder / f"img_ch0_{10 * plane + 3}.tif", images[plane], **PLAIN)
    return folder


def zarr_without_chunks(folder: Path, images: Pixels) -> Path:
    path = ome_zarr(folder / "b.ome.zarr", images, chunks=(1, *images.shape[1:]), axis="z")
    for plane in LOST:
        (path / "0" / "c" / str(plane) / "0" / "0").unlink()
    return path


def own_store(folder: Path, images: Pixels) -> Path:
    camera = {"baseline_adu": 100.0, "electrons_per_adu": 0.45, "read_noise_e": 1.5, "width_px": 64, "height_px": 48}
    with BeadStackWriter(folder / "s.ome.zarr", {"name": "t", "camera": camera}, 110.0, 50.0, (48, 64)) as store:
        store.add_fov(0, PLANES)
        for plane, image in enumerate(images):
            z_um = 50 + 0.05 * plane
            black = np.zeros_like(image) if plane in LOST else image
            store.write_plane(0, plane, black, PlaneRecord(z_um, z_um, 0.0, 0.0, 30.0, None, 1000.0 + plane))
    return folder / "s.ome.zarr"


@pytest.mark.parametrize(
    "write",
    [with_black_planes, ndtiff_with_gaps, numbered_files, zarr_without_chunks, own_store],
    ids=lambda write: write.__name__,
)
def test_planes_keep_their_z(write: Callable[[Path, Pixels], Path], tmp_path: Path) -> None:
    given = {} if write is own_store else {"z_step_nm": 50.0, "pixel_size_nm": 110.0}
    (stack,), told = listen(open_bead_stacks, write(tmp_path, STACK), **given)
    assert str(len(LOST)) in told
    assert stack.planes_lost == len(LOST)
    assert np.array_equal(np.asarray(stack.pixels), STACK[THERE])
    assert np.array_equal(stack.pixels[4:7, 3], STACK[THERE][4:7, 3])
    assert np.array_equal(stack.pixels[-1], STACK[THERE][-1])
    z_um = stack.planes.measured_z_um.to_numpy()
    assert np.allclose(z_um - z_um[0], 0.05 * (THERE - THERE[0]))


def test_planes_of_a_stack_that_was_cut_off_are_counted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "b.tif", STACK, **PLAIN)
    with pytest.warns(EasyZlocWarning, match="8 of 14 images are there, 6 are missing"):
        (stack,) = open_bead_stacks(cut(tmp_path / "b.tif", 0.6), z_step_nm=50, pixel_size_nm=110)
    assert (len(stack.pixels), stack.planes_lost) == (8, 6)


def test_a_stack_in_several_files_names_what_it_lacks(tmp_path: Path) -> None:
    first, second = ome_set(tmp_path, STACK, files=2, axis="Z")
    given = {"z_step_nm": 50.0, "pixel_size_nm": 110.0}
    (stack,) = open_bead_stacks(tmp_path, **given)  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(stack.pixels), STACK)
    first.rename(tmp_path / "gone")
    with pytest.raises(InputError, match=f"{first.name} is missing"):
        open_bead_stacks(second, **given)  # type: ignore[arg-type]


def test_files_that_are_numbered_in_no_clear_way_are_taken_in_their_order(tmp_path: Path) -> None:
    for plane in range(9):
        tifffile.imwrite(tmp_path / f"z{plane}_t{100 - 7 * plane}.tif", STACK[plane], **PLAIN)
    (stack,) = open_bead_stacks(tmp_path, z_step_nm=50, pixel_size_nm=110)
    assert stack.planes_lost == 0
    assert np.array_equal(np.asarray(stack.pixels), STACK[:9])


def test_stacks_written_one_after_another_stay_stacks(tmp_path: Path) -> None:
    images = counts(17)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(images[:8], photometric="minisblack")
        file.write(images[8:16], photometric="minisblack")
        file.write(images[16], photometric="minisblack")
    with pytest.warns(EasyZlocWarning, match="1 images beside the bead stack are left out"):
        first, second = open_bead_stacks(tmp_path / "b.tif", z_step_nm=50, pixel_size_nm=110)
    assert (first.fov, second.fov) == (0, 1)
    assert np.array_equal(np.asarray(second.pixels), images[8:16])


def test_rois_without_some_planes_keep_the_z_of_the_others(tmp_path: Path) -> None:
    rois = counts(4 * PLANES, (21, 21)).reshape(4, PLANES, 21, 21)
    rois[:, list(LOST)] = 0
    rois[2, 1] = 0
    tifffile.imwrite(tmp_path / "r.tif", rois, photometric="minisblack")
    found, told = listen(read_roi_stacks, tmp_path / "r.tif")
    assert "3 planes are black or missing in every ROI" in told
    assert "1 of 4 ROIs lack planes" in told
    assert found.planes.tolist() == THERE.tolist()
    assert np.array_equal(found.pixels, rois[[0, 1, 3]][:, THERE])
