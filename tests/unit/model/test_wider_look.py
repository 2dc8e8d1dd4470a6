"""Two depths that look alike in the crop, and differ around it: which is found, and where nothing is looked at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.pipeline import Localizer
from easyzloc_mm.model.bundle import verify_bundle, write_digests
from easyzloc_mm.model.card import PSF_FILE, WIDER_PSF_FILE, ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.psf.bead_psf import PITCH_PX, Z_PITCH_NM, knots_of, point_image
from easyzloc_mm.psf.crop_choice import WIDER_PX
from easyzloc_mm.psf.field_psf import FieldPsf
from tests.helpers.localize_bench import BASELINE, GAIN, small_bundle
from tests.helpers.paths import ROOT

SIZE, FRAMES, DEPTH_NM, PHOTONS = 128, 12, 450.0, 3000.0
PLACES = np.array([(x, y) for x in (24.0, 64.0, 104.0) for y in (24.0, 64.0, 104.0)])


def framed_psf(roi_px: int) -> FieldPsf:
    """A spot that widens to either side of focus alike; above, a square frame lies 9 px around it."""
    z = np.arange(-16, 17) * Z_PITCH_NM
    knot = PITCH_PX * (np.arange(knots_of(roi_px)) - knots_of(roi_px) // 2)
    width = 1.3 + 1.2 * np.abs(z / 1000)
    profile = np.exp(-(knot**2) / (2 * width[:, None] ** 2)) / (np.sqrt(2 * np.pi) * width[:, None])
    away = np.maximum(np.abs(knot[:, None]), np.abs(knot))
    frame = np.where(np.abs(away - 9.4) < 0.7, 1.0, 0.0)
    above = np.clip(z / 400, 0, 1)[:, None, None]
    image = profile[:, :, None] * profile[:, None, :] + 0.003 * above * frame
    return FieldPsf(image[None].astype(np.float32), 0, float(z[0]), Z_PITCH_NM, -1000.0, 1000.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that has the PSF for larger crops, and an older one."""
    made = {}
    for name in ("new", "old"):
        made[name] = small_bundle(tmp_path_factory.mktemp("wider") / name, field=(SIZE, SIZE))
        framed_psf(ROI_PX).save(made[name] / PSF_FILE)
    framed_psf(ROI_PX + WIDER_PX).save(made["new"] / WIDER_PSF_FILE)
    return made


def movie(seed: int, also: NDArray[np.float64] | None = None) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Molecules above and below focus, those of a frame on one side; and their depths."""
    rng = np.random.default_rng(seed)
    table = framed_psf(ROI_PX + WIDER_PX).table((SIZE, SIZE))
    depth = np.where(np.arange(FRAMES) % 2, DEPTH_NM, -DEPTH_NM)
    frames = np.empty((FRAMES, SIZE, SIZE), np.uint16)
    for t in range(FRAMES):
        light = np.full((SIZE, SIZE), 20.0)
        for x, y in PLACES if also is None else np.concatenate([PLACES, also]):
            dx, dy = rng.uniform(-0.4, 0.4, 2)
            part = slice(int(y) - 11, int(y) + 12), slice(int(x) - 11, int(x) + 12)
            light[part] += PHOTONS * np.maximum(point_image(table, 0, float(depth[t]), dx, dy, 11), 0)
        frames[t] = np.clip(rng.poisson(light) / GAIN + BASELINE, 0, 65535)
    return frames, depth


def rows_of(model: Path, frames: NDArray[np.uint16], **settings: object) -> pd.DataFrame:
    card = ModelCard.load(model)
    how = resolved(LocalizeSettings.model_validate(settings), card)
    localizer = Localizer(LocalizerConfig(model, card.response, how))
    return localizer.localize(frames, np.arange(len(frames)), localizer.threshold(frames)).table


def on_the_right_side(table: pd.DataFrame, depth: NDArray[np.float64]) -> float:
    """Share of the molecules at `PLACES` whose z is on their side of focus."""
    middle = (np.abs(table[["x", "y"]].to_numpy()[:, None] - PLACES).max(axis=2) < 1.5).any(axis=1)
    z = table["z"].to_numpy()[middle]
    assert len(z) > 0.95 * FRAMES * len(PLACES)
    return float(np.mean(z * depth[table["frame"].to_numpy()[middle]] > 0))


def test_a_larger_crop_decides_between_depths_that_look_alike(models: dict[str, Path]) -> None:
    frames, depth = movie(1)
    sides = {name: on_the_right_side(rows_of(model, frames, passes=2), depth) for name, model in models.items()}
    assert sides["old"] < 0.7
    # The network of this model is not trained: it holds some for the other side, whatever they look like.
    assert sides["new"] > 0.85


def test_nothing_is_looked_at_in_one_pass_nor_around_neighbours(models: dict[str, Path]) -> None:
    frames, _ = movie(2)
    assert rows_of(models["new"], frames, passes=1).equals(rows_of(models["old"], frames, passes=1))
    frames, depth = movie(3, also=PLACES - np.array([11.0, 0.0]))
    near = {name: on_the_right_side(rows_of(model, frames, passes=2), depth) for name, model in models.items()}
    assert max(near.values()) < 0.75


def test_the_file_is_part_of_the_bundle(models: dict[str, Path], tmp_path: Path) -> None:
    with_it, without = (ModelCard.load(models[name]) for name in ("new", "old"))
    assert with_it.reference.digest != without.reference.digest
    assert without.wider_psf_file is None
    copy = tmp_path / "model"
    shutil.copytree(models["new"], copy)
    write_digests(copy)
    assert not verify_bundle(copy).damaged
    file = copy / WIDER_PSF_FILE
    file.write_bytes(file.read_bytes()[:-9])
    assert any(WIDER_PSF_FILE in one for one in verify_bundle(copy).damage)


def test_light_far_around_that_the_psf_explains_is_found_as_fewer_molecules(models: dict[str, Path]) -> None:
    frames, depth = movie(4)
    above = np.flatnonzero(depth > 0)
    found = {
        name: int(rows_of(model, frames, passes=4)["frame"].isin(above).sum()) / (len(above) * len(PLACES))
        for name, model in models.items()
    }
    # What the first look takes for molecules, before anything is explained, both find.
    assert 1.0 <= found["new"] < found["old"] - 0.1


def test_no_frame_waits_for_a_kernel(models: dict[str, Path], tmp_path: Path) -> None:
    """What lonely and crowded molecules need, in crops of both sizes, is compiled while a localiser warms up.

    So is what a frame with one molecule needs, whose arrays may be of another order in memory.
    """
    also = np.array([(28.0, 26.0), (66.0, 69.0)])
    frames, _ = movie(3, also)
    one = np.random.default_rng(0).poisson(20.0, (SIZE, SIZE)) / GAIN + BASELINE
    one[90:, 90:] = frames[0, 90:, 90:]
    frames[0] = one
    np.save(tmp_path / "frames.npy", frames)
    command = [sys.executable, "-m", "tests.helpers.compiled", str(models["new"]), str(tmp_path / "frames.npy"), "2"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert int(said[0]) > FRAMES * len(PLACES)
    assert said[1:] == []
