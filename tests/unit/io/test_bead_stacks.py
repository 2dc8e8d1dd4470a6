"""Bead stacks on disk: what is written comes back, whatever cuts the writer off; stock tools open it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stack import COLUMNS
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from tests.helpers.paths import DATA, ROOT

CAMERA = {
    "baseline_adu": 100.0,
    "electrons_per_adu": 0.45,
    "read_noise_e": 1.5,
    "width_px": 48,
    "height_px": 40,
}
SHAPE = (40, 48)


def image(fov: int, plane: int) -> np.ndarray:
    return np.random.default_rng([fov, plane]).poisson(200, SHAPE).astype(np.uint16)


def record(plane: int, illumination: str | None = "High") -> PlaneRecord:
    return PlaneRecord(50 + plane * 0.05, 50 + plane * 0.05 + 0.003, 10.0, -4.0, 30.0, illumination, 1000.0 + plane)


def writer(path: Path) -> BeadStackWriter:
    return BeadStackWriter(path, {"name": "t", "camera": CAMERA}, 110.0, 50.0, SHAPE)


def fill(path: Path) -> None:
    with writer(path) as store:
        for fov in range(2):
            store.add_fov(fov, 6)
            for plane in range(6):
                store.write_plane(fov, plane, image(fov, plane), record(plane, ("Low", None)[fov]))


def test_planes_and_readings_come_back(tmp_path: Path) -> None:
    fill(tmp_path / "b.ome.zarr")
    first, second = open_bead_stacks(tmp_path / "b.ome.zarr")
    assert (first.fov, second.fov) == (0, 1)
    expected = np.stack([image(1, plane) for plane in range(6)])
    assert second.pixels.shape == (6, *SHAPE)
    assert np.array_equal(np.asarray(second.pixels), expected)
    assert np.array_equal(second.pixels[-1], expected[-1])
    assert np.array_equal(second.pixels[::-2, 3:9, 5], expected[::-2, 3:9, 5])
    assert np.array_equal(second.pixels[..., 4], expected[..., 4])
    assert list(first.planes.columns) == list(COLUMNS)
    assert first.planes.illumination.tolist() == ["Low"] * 6
    assert second.planes.illumination.tolist() == [None] * 6
    assert np.allclose(first.planes.measured_z_um - first.planes.requested_z_um, 0.003)
    assert first.response is not None
    assert first.response.electrons_per_adu == 0.45
    assert (first.pixel_size_nm, first.z_step_nm) == (110.0, 50.0)


def test_stock_tools_accept_the_store(tmp_path: Path) -> None:
    import yaozarrs
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    path = tmp_path / "b.ome.zarr"
    fill(path)
    yaozarrs.validate_zarr_store(str(path))
    yaozarrs.validate_zarr_store(str(path / "0"))
    location = parse_url(str(path / "1"))
    assert location is not None
    (node,) = list(Reader(location)())
    assert np.array_equal(np.asarray(node.data[0]), np.stack([image(1, plane) for plane in range(6)]))
    assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]


def test_closing_early_cuts_to_complete_planes(tmp_path: Path) -> None:
    path = tmp_path / "b.ome.zarr"
    with writer(path) as store:
        store.add_fov(0, 50)
        for plane in range(3):
            store.write_plane(0, plane, image(0, plane), record(plane))
        store.add_fov(1, 50)
    (stack,) = open_bead_stacks(path)
    assert stack.pixels.shape == (3, *SHAPE)
    assert len(stack.planes) == 3
    import yaozarrs

    yaozarrs.validate_zarr_store(str(path))


KILLED = """
import os, sys
import numpy as np
from pathlib import Path
from tests.unit.io.test_bead_stacks import image, record, writer
store = writer(Path(sys.argv[1]))
store.add_fov(0, 20)
for plane in range(7):
    store.write_plane(0, plane, image(0, plane), record(plane))
store._files.put(*store._images[0].encoded((7, 0, 0), image(0, 7)[None]))  # pixels are there, the row is not
store.add_fov(1, 20)
os._exit(9)
"""


def test_a_killed_writer_leaves_its_complete_planes(tmp_path: Path) -> None:
    path = tmp_path / "b.ome.zarr"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, check=False)
    assert done.returncode == 9
    (stack,) = open_bead_stacks(path)
    assert np.array_equal(np.asarray(stack.pixels), np.stack([image(0, plane) for plane in range(7)]))
    assert stack.planes.time_s.tolist() == [1000.0 + plane for plane in range(7)]


def test_a_store_with_no_plane_says_so(tmp_path: Path) -> None:
    with writer(tmp_path / "b.ome.zarr") as store:
        store.add_fov(0, 5)
    with pytest.raises(InputError, match="no complete plane"):
        open_bead_stacks(tmp_path / "b.ome.zarr")


def test_an_existing_store_is_kept(tmp_path: Path) -> None:
    fill(tmp_path / "b.ome.zarr")
    with pytest.raises(InputError, match="already exists"):
        writer(tmp_path / "b.ome.zarr")


def test_ome_tiff_says_its_own_sampling(tmp_path: Path) -> None:
    pixels = np.stack([image(0, plane) for plane in range(8)])
    z_um = [12.0 - 0.05 * plane + 0.002 * (plane % 2) for plane in range(8)]
    metadata = {
        "axes": "ZYX", "PhysicalSizeX": 0.108, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.108,
        "PhysicalSizeZ": 50.0, "PhysicalSizeZUnit": "nm",
        "Plane": {"PositionZ": z_um, "PositionZUnit": ["µm"] * 8},
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "b.ome.tif", pixels, metadata=metadata)
    (stack,) = open_bead_stacks(tmp_path / "b.ome.tif")
    assert np.array_equal(np.asarray(stack.pixels), pixels)
    assert (stack.pixel_size_nm, stack.z_step_nm) == pytest.approx((108.0, 50.0))
    assert np.allclose(stack.planes.measured_z_um, z_um)
    (told,) = open_bead_stacks(tmp_path / "b.ome.tif", z_step_nm=25.0)
    assert np.allclose(np.diff(told.planes.measured_z_um), 0.025)
    assert told.response is None


def test_imagej_tiff_says_its_own_sampling(tmp_path: Path) -> None:
    pixels = np.stack([image(0, plane) for plane in range(8)])
    tifffile.imwrite(
        tmp_path / "b.tif", pixels, imagej=True, resolution=(1 / 0.11, 1 / 0.11),
        metadata={"axes": "ZYX", "spacing": 0.05, "unit": "um"},
    )  # fmt: skip
    (stack,) = open_bead_stacks(tmp_path / "b.tif")
    assert (stack.pixel_size_nm, stack.z_step_nm) == pytest.approx((110.0, 50.0), rel=1e-4)


def test_a_real_tiff_stack_opens_once_it_has_its_sampling() -> None:
    source = DATA / "real_unmodified_bead_1.tif"
    with pytest.raises(InputError, match=r"`z_step_nm`|`pixel_size_nm`"):
        open_bead_stacks(source)
    (stack,) = open_bead_stacks(source, z_step_nm=100.0, pixel_size_nm=65.0)
    assert stack.pixels.shape == (51, 31, 31)
    # The data's README: brightest slice 20, values 129..28452.
    assert int(np.asarray(stack.pixels).max(axis=(1, 2)).argmax()) == 20
    assert (np.asarray(stack.pixels).min(), np.asarray(stack.pixels).max()) == (129, 28452)


def test_bad_sources_are_one_clear_sentence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "flat.tif", image(0, 0))
    tifffile.imwrite(tmp_path / "few.tif", np.stack([image(0, 0)] * 3), photometric="minisblack")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((9, *SHAPE), np.float32), photometric="minisblack")
    tifffile.imwrite(tmp_path / "rois.tif", np.zeros((4, 9, 31, 31), np.uint16), photometric="minisblack")
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    cases = {
        tmp_path / "missing.ome.zarr": "do not exist",
        tmp_path / "flat.tif": "axes YX",
        tmp_path / "few.tif": r"3 plane\(s\), a bead stack needs 8",
        tmp_path / "float.tif": "float32",
        tmp_path / "text.tif": "cannot be read as TIFF",
        tmp_path / "folder": "holds no bead stacks",
        tmp_path / "notes.txt": "holds no bead stacks",
        tmp_path / "rois.tif": "instead of z, y, x",
    }
    for source, words in cases.items():
        with pytest.raises(InputError, match=words):
            open_bead_stacks(source, z_step_nm=50.0, pixel_size_nm=110.0)


def test_a_folder_of_tiff_stacks_is_opened_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        pixels = np.stack([image(number, plane) for plane in range(9)])
        tifffile.imwrite(tmp_path / f"stack {number}.tif", pixels, photometric="minisblack")
    stacks = open_bead_stacks(tmp_path, z_step_nm=50.0, pixel_size_nm=110.0)
    assert [stack.source.name for stack in stacks] == ["stack 1.tif", "stack 2.tif", "stack 10.tif"]
    assert np.array_equal(stacks[2].pixels[4], image(10, 4))


def test_a_folder_of_single_planes_is_one_stack(tmp_path: Path) -> None:
    for plane in range(12):
        tifffile.imwrite(tmp_path / f"img_{plane}.tif", image(0, plane))
    (stack,) = open_bead_stacks(tmp_path, z_step_nm=50.0, pixel_size_nm=110.0)
    assert np.array_equal(np.asarray(stack.pixels), np.stack([image(0, plane) for plane in range(12)]))
    assert np.allclose(np.diff(stack.planes.measured_z_um), 0.05)
    tifffile.imwrite(tmp_path / "img_12.tif", image(0, 0)[:10])
    with pytest.raises(InputError, match="differ in size"):
        open_bead_stacks(tmp_path, z_step_nm=50.0, pixel_size_nm=110.0)


def test_one_data_set_in_several_files_is_opened_once(tmp_path: Path) -> None:
    pixels = np.stack([image(0, plane) for plane in range(8)])
    uuid = "urn:uuid:00000000-0000-4000-8000-00000000000"
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z % 4}" PlaneCount="1"><UUID FileName="s_{z // 4}.ome.tif">{uuid}{z // 4}</UUID>'
        "</TiffData>"
        for z in range(8)
    )
    for part in range(2):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuid}{part}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            'SizeX="48" SizeY="40" SizeZ="8" SizeC="1" SizeT="1" PhysicalSizeX="0.1" PhysicalSizeZ="0.05">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            tmp_path / f"s_{part}.ome.tif", pixels[4 * part : 4 * part + 4], description=xml, metadata=None,
            photometric="minisblack",
        )  # fmt: skip
    (stack,) = open_bead_stacks(tmp_path)
    assert np.array_equal(np.asarray(stack.pixels), pixels)
    assert (stack.pixel_size_nm, stack.z_step_nm) == pytest.approx((100.0, 50.0))


def test_ndtiff_gives_one_stack_per_position_with_its_readings(tmp_path: Path) -> None:
    from ndstorage import NDTiffDataset

    data = NDTiffDataset(str(tmp_path), name="beads", summary_metadata={"z-step_um": 0.05}, writable=True)
    for position in range(2):
        for plane in range(9):
            z_um = 50 + 0.05 * plane + 0.002 * (plane % 2)
            notes = {"ZPosition_um_Intended": z_um, "PixelSizeUm": 0.11}
            data.put_image({"position": position, "z": plane}, image(position, plane), notes)
    data.finish()
    data.close()
    (folder,) = tmp_path.iterdir()
    first, second = open_bead_stacks(folder)
    assert np.array_equal(np.asarray(second.pixels), np.stack([image(1, plane) for plane in range(9)]))
    assert (first.pixel_size_nm, first.z_step_nm) == pytest.approx((110.0, 50.0))
    assert first.planes.measured_z_um[1] == pytest.approx(50.052)
    (told, _) = open_bead_stacks(folder, z_step_nm=25.0)
    assert np.allclose(np.diff(told.planes.measured_z_um), 0.025)


def test_picasso_raw_and_foreign_zarr_are_stacks_once_they_have_their_sampling(tmp_path: Path) -> None:
    import zarr

    pixels = np.stack([image(0, plane) for plane in range(9)])
    pixels.astype("<u2").tofile(tmp_path / "b.raw")
    (tmp_path / "b.yaml").write_text(
        "Frames: 9\nHeight: 40\nWidth: 48\nData Type: uint16\nByte Order: <\nPixelsize: 120\n"
    )
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [0.05, 0.12, 0.12]}]
    scales = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    group = zarr.create_group(tmp_path / "b.ome.zarr", attributes={"ome": {"version": "0.5", "multiscales": scales}})
    group.create_array("0", shape=pixels.shape, dtype="uint16")[...] = pixels
    with pytest.raises(InputError, match="`z_step_nm`"):
        open_bead_stacks(tmp_path / "b.raw")
    for name, given in (("b.raw", 50.0), ("b.ome.zarr", None)):
        (stack,) = open_bead_stacks(tmp_path / name, z_step_nm=given)
        assert stack.z_step_nm == pytest.approx(50)
        assert np.array_equal(np.asarray(stack.pixels), pixels)
        assert stack.pixel_size_nm == pytest.approx(120)
