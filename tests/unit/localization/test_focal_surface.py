"""Taking the focal surface out of z: what is added, that it is stored and shown, and that it comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import easyzloc_mm as ez
from easyzloc_mm.analysis.scoring.run import compare_locs
from easyzloc_mm.analysis.scoring.score import score
from easyzloc_mm.io.focal_surface import FocalSurface
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.pipeline import Localizer, run_metadata
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.table import local_z_nm
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings, SurfaceRemoval
from tests.helpers.localize_bench import small_bundle, spots_movie

SHAPE = (64, 96)
FACTOR = 0.8
SURFACE = FocalSurface.from_polynomial(
    np.array([5.0, 40.0, 120.0, -70.0, 0.0, 200.0]), 2, (SHAPE[1], SHAPE[0]), scatter_nm=10.0, beads=100
)
FRAMES = spots_movie(4, SHAPE)[0]

pytestmark = pytest.mark.usefixtures("localised_here")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that holds a surface, and one that holds none."""
    folder = tmp_path_factory.mktemp("surface")
    made = {name: small_bundle(folder / name, field=(SHAPE[1], SHAPE[0])) for name in ("new", "old")}
    ModelCard.load(made["new"]).model_copy(update={"focal_surface": SURFACE}).write(made["new"])
    return made


def localized(model: Path, choice: str) -> Locs:
    card = ModelCard.load(model)
    how = LocalizeSettings(focal_surface=SurfaceRemoval(choice), focal_shift_factor=FACTOR)
    config = LocalizerConfig(model, card.response, how)
    localizer = Localizer(config)
    table = localizer.localize(FRAMES, np.arange(len(FRAMES)), localizer.threshold(FRAMES)).table
    return Locs(table, run_metadata(card, config, SHAPE, 110.0, frames=len(FRAMES)))


@pytest.fixture(scope="module")
def runs(models: dict[str, Path]) -> dict[str, Locs]:
    made = {choice: localized(models["new"], choice) for choice in ("curvature", "tilt", "none")}
    return made | {"old": localized(models["old"], "curvature")}


def test_the_surface_is_added_to_z_and_nothing_else(runs: dict[str, Locs]) -> None:
    local = runs["none"].table
    assert len(local) > 10
    for choice, tilt in (("curvature", False), ("tilt", True)):
        table = runs[choice].table
        height = FACTOR * SURFACE.height_nm(local["x"].to_numpy(float), local["y"].to_numpy(float), tilt=tilt)
        assert np.ptp(height) > 50
        assert table["z"].to_numpy(float) - local["z"].to_numpy(float) == pytest.approx(height, abs=1e-3)
        assert table.drop(columns="z").equals(local.drop(columns="z"))


def test_the_local_z_comes_back_from_any_format(runs: dict[str, Locs], tmp_path: Path) -> None:
    local = runs["none"].table["z"].to_numpy(float)
    for choice, locs in runs.items():
        locs.save(tmp_path / f"{choice}.parquet")
        again = ez.load_locs(tmp_path / f"{choice}.parquet")
        assert again.metadata.focal_surface == (None if choice in ("none", "old") else SURFACE)
        assert local_z_nm(again.table, again.metadata) == pytest.approx(local, abs=1e-3)


def test_what_was_done_is_said(runs: dict[str, Locs]) -> None:
    said = {choice: locs.metadata.surface_in_words() for choice, locs in runs.items()}
    assert f"{SURFACE.curvature_nm:.0f} nm over the field taken out" in said["curvature"]
    assert "and tilt" in said["tilt"]
    assert said["none"] == "left in z, as asked"
    assert "the model holds none" in said["old"]


def test_a_movie_is_localised_without_its_curvature_by_default(
    runs: dict[str, Locs], models: dict[str, Path], tmp_path: Path
) -> None:
    movie = tmp_path / "movie.tif"
    tifffile.imwrite(movie, FRAMES, photometric="minisblack")
    run = ez.localize(movie, models["new"], tmp_path / "run.zarr", pixel_size_nm=110.0, workers=1)
    default = ModelCard.load(models["new"]).focal_surface
    assert run.metadata.focal_surface == default == SURFACE
    assert run.metadata.surface_removal is SurfaceRemoval.CURVATURE
    assert "taken out of z" in run.as_dict()["focal_surface"]
    expected = runs["curvature"].table["z"].to_numpy(float) / FACTOR
    assert run.locs().table["z"].to_numpy(float) == pytest.approx(expected, abs=1e-2)
    with pytest.raises(ez.InputError, match="`focal_surface`"):
        ez.localize(movie, models["new"], tmp_path / "other.zarr", pixel_size_nm=110.0, focal_surface="flat")


def test_a_truth_from_the_local_focus_is_compared_with_the_local_z(runs: dict[str, Locs]) -> None:
    truth = runs["none"].table[["frame", "x", "y", "z"]].assign(sample_z=0.0)
    for locs in runs.values():
        assert score(compare_locs(locs, truth)).rmse_axial_nm == pytest.approx(0, abs=1e-3)
    sample = runs["tilt"].table[["frame", "x", "y", "z"]]
    assert score(compare_locs(runs["tilt"], sample)).rmse_axial_nm == pytest.approx(0, abs=1e-3)
    bent = score(compare_locs(runs["none"], sample)).rmse_axial_nm
    assert bent is not None
    assert bent > 10
