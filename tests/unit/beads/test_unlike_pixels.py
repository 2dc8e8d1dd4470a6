"""Beads on a camera whose pixels differ: with its map they are those of a camera whose pixels are alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from easyzloc_mm.api.calibrating.calibration import build_beads
from easyzloc_mm.beads.camera_response import noise_ratio
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.camera_map import CameraMapMetadata, write_camera_map
from easyzloc_mm.typing import U16
from tests.helpers.bead_slides import PIXEL_NM, RESPONSE, photograph, slide

SIZE_PX, STEP_NM = 110, 60.0
BRIGHT_ADU = 16383


def recorded(path: Path, pixels: U16, **units: object) -> BeadDataset:
    tifffile.imwrite(path, pixels)
    return build_beads(path, pixel_size_nm=PIXEL_NM, z_step_nm=STEP_NM, **units)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def chip() -> PixelResponse:
    rng = np.random.default_rng(3)
    shape = (SIZE_PX, SIZE_PX)
    return PixelResponse(
        baseline_adu=(100 + 8 * rng.standard_normal(shape)).astype(np.float32),
        read_noise_e=np.full(shape, 1.5, np.float32),
        electrons_per_adu=np.exp(0.1 * rng.standard_normal(shape)).astype(np.float32),
    )


def test_beads_on_unlike_pixels_are_those_on_like_ones(
    chip: PixelResponse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like = photograph(slide(6, SIZE_PX, np.random.default_rng(1)), SIZE_PX, np.random.default_rng(2))
    counts = (like - RESPONSE.baseline_adu) / chip.electrons_per_adu + chip.baseline_adu
    unlike = np.rint(counts).clip(0, 65535).astype(np.uint16)
    units = CameraMapMetadata(camera_response=RESPONSE)
    write_camera_map(tmp_path / "camera.zarr", chip, units)
    known = recorded(tmp_path / "like.tif", like, **RESPONSE.model_dump(include={"baseline_adu", "electrons_per_adu"}))
    found = recorded(tmp_path / "unlike.tif", unlike, camera_map=tmp_path / "camera.zarr")
    assert found.response == RESPONSE  # as it was measured with the map: nothing is guessed
    assert found.accepted.tolist() == known.accepted.tolist() == [True] * 6
    # Counts were rounded twice, and each count is up to 1.4 electrons.
    assert np.abs(found.rois.astype(int) - known.rois.astype(int)).max() <= 2
    assert found.z_nm == pytest.approx(known.z_nm, abs=1)
    assert np.hypot(found.x - known.x, found.y - known.y).max() < 0.01
    assert noise_ratio(found) == pytest.approx(noise_ratio(known), abs=0.03)
    # Without it the chip's pattern is in the same stack's places and noise.
    with pytest.warns(EasyZlocWarning, match="the noise around the beads"):
        blind = recorded(tmp_path / "unlike.tif", unlike, baseline_adu=100.0, electrons_per_adu=1.0)
    assert np.hypot(blind.x - known.x, blind.y - known.y).max() > 0.02
    call = ["beads", str(tmp_path / "unlike.tif"), "--camera-map", str(tmp_path / "camera.zarr"), "-o"]
    out = tmp_path / "beads.zarr"
    sampling = ["--z-step-nm", "60", "--pixel-size-nm", "110"]
    assert main([*call, str(out), *sampling, "--rois"]) == 2
    assert "--camera-map is for stacks" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "unlike.tif", unlike[:, :, 1:])
    assert main([*call, str(out), *sampling]) == 2
    said = capsys.readouterr().err
    assert "is 109 x 110 px, but the camera map has 110 x 110 px" in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_pixel_at_the_cameras_upper_end_stays_there(chip: PixelResponse, tmp_path: Path) -> None:
    bright = slide(6, SIZE_PX, np.random.default_rng(1))
    bright.photons[0] = 4e5
    like = photograph(bright, SIZE_PX, np.random.default_rng(2))
    full = np.minimum((like - 100.0) / chip.electrons_per_adu + chip.baseline_adu, BRIGHT_ADU).astype(np.uint16)
    write_camera_map(tmp_path / "camera.zarr", chip)
    found = recorded(tmp_path / "bright.tif", full, camera_map=tmp_path / "camera.zarr")
    assert found.response == CameraResponse(
        baseline_adu=float(np.median(chip.baseline_adu)), read_noise_e=1.5,
        electrons_per_adu=float(np.median(chip.electrons_per_adu)),
    )  # fmt: skip
    where = int(np.argmin(np.hypot(found.x - bright.x[0], found.y - bright.y[0])))
    rows, columns = (slice(at[where], at[where] + found.rois.shape[-1]) for at in (found.roi_y0, found.roi_x0))
    clipped = full[:, rows, columns] == BRIGHT_ADU
    assert clipped.any()
    assert ((found.rois[where] == BRIGHT_ADU) == clipped).all()
