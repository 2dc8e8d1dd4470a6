"""Pixel size and plane distance: every usual spelling of a unit, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.images.movies import open_movie
from tests.helpers.listen import listen
from tests.helpers.odd_images import PLAIN, counts, imagej, ome_xml, ome_zarr, page_by_page

MOVIE = counts(8)
IN_NM = {
    "nm": 1.0, "nanometer": 1.0, "um": 1e3, "µm": 1e3, "\u03bcm": 1e3, "\\u00B5m": 1e3, "micron": 1e3, "microns": 1e3,
    "Micrometer": 1e3, "micrometre": 1e3, "mm": 1e6, "cm": 1e7, "m": 1e9,
}  # fmt: skip


@pytest.mark.parametrize("unit", IN_NM)
def test_a_pixel_of_160_nm_is_that_in_every_unit(unit: str, tmp_path: Path) -> None:
    pixel = 160 / IN_NM[unit]
    path = tmp_path / "m.tif"
    heading = f"ImageJ=1.53t\nimages=8\nslices=8\nunit={unit}\nspacing={50 / IN_NM[unit]!r}\n"
    # As fractions of whole numbers, as ImageJ writes them.
    per_pixel = (1_000_000, round(1_000_000 * pixel)) if pixel > 1 else (round(1_000_000 / pixel), 1_000_000)
    if max(per_pixel) < 2**32:
        page_by_page(path, MOVIE, heading, resolution=(per_pixel, per_pixel), resolutionunit=1)
        assert open_movie(path).pixel_size_nm == pytest.approx(160, rel=1e-3)
        assert open_bead_stacks(path)[0].z_step_nm == pytest.approx(50)
    xml = ome_xml(
        {"Z": 8}, '<TiffData IFD="0" PlaneCount="8"/>',
        pixels=f'PhysicalSizeX="{pixel!r}" PhysicalSizeXUnit="{unit}" PhysicalSizeZ="{50 / IN_NM[unit]!r}" '
        f'PhysicalSizeZUnit="{unit}"', shape=MOVIE.shape[1:],
    )  # fmt: skip
    (stack,) = open_bead_stacks(page_by_page(tmp_path / "m.ome.tif", MOVIE, xml))
    assert (stack.pixel_size_nm, stack.z_step_nm) == pytest.approx((160, 50))


def test_units_of_ome_zarr_are_read(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "m.ome.zarr", MOVIE, chunks=(1, 48, 64), axis="z")
    (stack,) = open_bead_stacks(path)
    assert (stack.pixel_size_nm, stack.z_step_nm) == pytest.approx((110, 50))


def test_pixels_per_centimetre_are_read_and_printers_resolutions_are_not(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cm.tif", MOVIE, resolution=(1e7 / 110,) * 2, resolutionunit="CENTIMETER", **PLAIN)
    tifffile.imwrite(tmp_path / "dpi.tif", MOVIE, resolution=(300, 300), resolutionunit="INCH", **PLAIN)
    tifffile.imwrite(tmp_path / "print.tif", MOVIE, resolution=(118, 118), resolutionunit="CENTIMETER", **PLAIN)
    assert open_movie(tmp_path / "cm.tif").pixel_size_nm == pytest.approx(110, rel=1e-3)
    assert open_movie(tmp_path / "dpi.tif").pixel_size_nm is None
    assert open_movie(tmp_path / "print.tif").pixel_size_nm is None


@pytest.mark.parametrize("unit", ["furlong", "AU"])
def test_a_unit_that_is_none_is_named(unit: str, tmp_path: Path) -> None:
    path = imagej(tmp_path / "m.tif", MOVIE, "images=8", "slices=8", "spacing=0.05", f"unit={unit}")
    opened = open_movie(path)
    assert opened.pixel_size_nm is None
    assert any(unit in unread for unread in opened.sampling.unread)
    with pytest.raises(InputError, match=f"'{unit}', which is no unit"):
        open_bead_stacks(path)
    assert open_bead_stacks(path, z_step_nm=50, pixel_size_nm=110)[0].pixel_size_nm == 110


@pytest.mark.parametrize("unit", ["pixel", "pixels", "inch", ""])
def test_a_heading_without_a_length_states_none(unit: str, tmp_path: Path) -> None:
    opened, told = listen(open_movie, imagej(tmp_path / "m.tif", MOVIE, "images=8", f"unit={unit}"))
    assert (opened.pixel_size_nm, opened.sampling.unread, told) == (None, (), "")


def test_a_sampling_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = imagej(tmp_path / "m.tif", MOVIE, "images=8", "slices=8", "spacing=50", "unit=nm", pixel=0.11)
    with pytest.raises(InputError, match=r"a pixel of 0\.11 nm.*`pixel_size_nm`"):
        open_bead_stacks(path)
    with pytest.raises(InputError, match=r"`pixel_size_nm` states a pixel of 0\.11 nm"):
        open_bead_stacks(path, pixel_size_nm=0.11)
    path = imagej(tmp_path / "z.tif", MOVIE, "images=8", "slices=8", "spacing=50", "unit=um")
    with pytest.raises(InputError, match=r"planes 50000 nm apart.*`z_step_nm`"):
        open_bead_stacks(path)
    assert open_bead_stacks(path, z_step_nm=50)[0].z_step_nm == 50


def test_a_pixel_that_is_not_square_is_said(tmp_path: Path) -> None:
    path = page_by_page(
        tmp_path / "m.tif",
        MOVIE,
        "ImageJ=1.53t\nimages=8\nunit=um\n",
        resolution=(1 / 0.11, 1 / 0.22),
        resolutionunit=1,
    )
    (unread,) = open_movie(path).sampling.unread
    assert "110 x 220 nm" in unread


def test_planes_of_ome_xml_keep_the_readings_of_their_stage(tmp_path: Path) -> None:
    planes = [0, 1, 2, 4, 5, 6, 7, 9]
    blocks = "".join(f'<TiffData IFD="{row}" FirstZ="{z}" PlaneCount="1"/>' for row, z in enumerate(planes))
    readings = [3.0 + 0.05 * z + 0.001 * (z % 2) for z in range(10)]
    blocks += "".join(f'<Plane TheZ="{z}" TheC="0" TheT="0" PositionZ="{um}"/>' for z, um in enumerate(readings))
    xml = ome_xml({"Z": 10}, blocks, pixels='PhysicalSizeX="0.11"', shape=MOVIE.shape[1:])
    with pytest.warns(EasyZlocWarning, match="10 images and 8 are there"):
        (stack,) = open_bead_stacks(page_by_page(tmp_path / "b.ome.tif", MOVIE, xml))
    assert np.allclose(stack.planes.measured_z_um, np.array(readings)[planes])
    assert np.allclose(stack.planes.requested_z_um, np.array(planes) * stack.z_step_nm / 1000)
    assert stack.planes_lost == 2
