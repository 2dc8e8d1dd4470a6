"""Training, bundle and evaluation on beads of the embedded optics."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from easyzloc_mm.benchmarks.fixtures.embedded import EmbeddedBeads, EmitterMaker, embedded_beads
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import write_bead_set
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.localization.offline.in_frames import evaluate_in_frames
from easyzloc_mm.model.card import MatchedSettings, ModelCard
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.mixture import posterior_of
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.training.evaluation import evaluate as evaluation
from easyzloc_mm.training.evaluation.evaluate import evaluate
from easyzloc_mm.training.recipes.budget import Budget
from easyzloc_mm.training.search import read_settings, tune
from easyzloc_mm.training.split import split_beads
from easyzloc_mm.training.train import train
from tests.helpers.paths import DATA
from tests.helpers.training import (
    EMITTERS,
    interrupted_training,
    outputs_of_keras_and_onnx,
    trained,
    training_process,
)


@pytest.fixture(scope="module")
def beads() -> EmbeddedBeads:
    profile = load_profile("demo").replace(beads={"z_step_nm": 50.0})
    return embedded_beads(profile, 70, 1)


@pytest.fixture(scope="module")
def stored(beads: EmbeddedBeads, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("beads") / "beads.zarr"
    write_bead_set(path, beads.train)
    return path


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    with training_process() as pool:
        yield pool


@pytest.fixture(scope="module")
def model(process: ProcessPoolExecutor, stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("network") / "model"
    process.submit(trained, stored, out, steps=300, seed=3).result()
    return out


def test_split_shares_no_region(beads: EmbeddedBeads) -> None:
    split = split_beads(beads.train, 0)
    keys = [
        {(int(beads.train.stack[i]), int(beads.train.region[i])) for i in part}
        for part in (split.train, split.validation, split.test)
    ]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(keys, 2))
    assert sum(map(len, (split.train, split.validation, split.test))) == beads.train.accepted.sum()


def _check_on_the_exact_optics(beads: EmbeddedBeads, model: Path) -> None:
    maker = EmitterMaker(load_profile("demo"), beads.true_x, beads.true_y, 600, 600.0, 2)
    molecules = maker.light((4000, 6000), (10, 30), 1)
    said = Predictor.load(model).predict(molecules.crops, molecules.x, molecules.y)
    error = said.z_nm - molecules.z_nm
    good = said.z_flag == 0
    # The training was short; always answering 0 would give 300 nm.
    assert np.median(np.abs(error)) < 60
    assert np.median(np.abs(error[good])) < 4 * np.median(molecules.limit_nm[good])
    assert np.mean(np.abs(error[good]) < 2.5 * said.lpz_nm[good]) > 0.9


def test_molecules_of_the_exact_optics_get_their_z(beads: EmbeddedBeads, model: Path) -> None:
    _check_on_the_exact_optics(beads, model)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_train_the_same_network(
    backend: str, beads: EmbeddedBeads, stored: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    command = [sys.executable, "-m", "easyzloc_mm", "train", str(stored), "--out", "model", "--steps", "300"]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "model" / "calibration.json").read_text())["keras_backend"] == backend
    _check_on_the_exact_optics(beads, tmp_path / "model")


def test_strange_spots_are_flagged(model: Path) -> None:
    predictor = Predictor.load(model)
    rng = np.random.default_rng(0)
    stripes = rng.poisson(np.where(np.arange(15) % 2, 400.0, 10.0) * np.ones((50, 15, 15))).astype(np.float32)
    place = np.full(50, 256.0)
    assert np.mean(predictor.predict(stripes, place, place).z_flag & 4 > 0) > 0.9
    outside = predictor.predict(stripes, place + 1000, place)
    assert np.all(outside.z_flag & 8)
    assert np.isfinite(outside.z_nm).all()
    assert np.isfinite(outside.lpz_nm).all()


@pytest.mark.parametrize("source", ["beads of the repository", "beads beside the checkout"])
def test_onnx_says_what_keras_says_on_real_beads(
    process: ProcessPoolExecutor, model: Path, source: str, request: pytest.FixtureRequest
) -> None:
    if source == "beads of the repository":
        planes = tifffile.imread(DATA / "real_unmodified_bead_1.tif")
        crops = 0.52 * (planes[:, 8:23, 8:23].astype(np.float32) - 104.2)
    else:
        shared_data = request.getfixturevalue("shared_data")
        rois = tifffile.imread(shared_data / "real_astigmatic_bead_rois_94.tif")[:, 5:36:3, 8:23, 8:23]
        crops = 0.45 * (rois.reshape(-1, 15, 15).astype(np.float32) - 190)
    keras, onnx = process.submit(outputs_of_keras_and_onnx, model, crops).result()
    # Some ten layers of sums of up to 320 products, added up in another order: each rounds by less than 320 half units
    # in the last place of its largest sum, in practice by the root of that. However well it was trained.
    rounding = 10 * np.sqrt(320) * np.finfo(np.float32).eps
    scale = np.abs(keras).max(axis=1, keepdims=True)
    assert np.max(np.abs(keras - onnx) / scale) < rounding
    narrow = posterior_of(keras).sigma_nm < 50
    assert narrow.any()
    assert np.max(np.abs(posterior_of(keras).z_nm - posterior_of(onnx).z_nm)[narrow]) < 0.1


def test_held_out_beads_are_searched_in_frames(beads: EmbeddedBeads, model: Path, tmp_path: Path) -> None:
    card = ModelCard.load(model)
    found = evaluate_in_frames(card, beads.train, emitters=150)
    assert found.molecules >= 150
    in_focus = [item for item in found.bins if -200 <= item.z_from_nm < 200]
    assert sum(item.found for item in in_focus) > 0.9 * sum(item.molecules for item in in_focus)
    # By chance it would lie anywhere within 250 nm: 177 nm off, root mean square.
    assert found.rmse_lateral_nm is not None
    assert found.rmse_lateral_nm < 60
    response, (width, height) = beads.train.response, beads.train.field_size_px
    haze = np.random.default_rng(0).poisson(20000.0, (2, height, width)) / response.electrons_per_adu
    tifffile.imwrite(tmp_path / "haze.tif", (haze + response.baseline_adu).astype(np.uint16))
    hidden = evaluate_in_frames(card, beads.train, emitters=150, background=tmp_path / "haze.tif")
    assert hidden.recall is not None
    assert found.recall is not None
    assert hidden.recall < found.recall / 2
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((2, 64, 64), np.uint16))
    with pytest.raises(InputError, match="`background` of the same field"):
        evaluate_in_frames(card, beads.train, background=tmp_path / "small.tif")


def test_evaluation_uses_held_out_beads_and_stands_in_the_bundle(
    beads: EmbeddedBeads, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "EMITTERS", EMITTERS)
    result = evaluate(Predictor.load(model), beads.train)
    stored = ModelCard.load(model).accuracy
    assert stored is not None
    assert result.held_out
    assert result.beads == len(split_beads(beads.train, 3).test)
    assert result.rmse_z_nm == pytest.approx(stored.rmse_z_nm, rel=1e-6)
    assert result.rmse_z_nm is not None
    assert result.limit_z_nm is not None
    assert result.rmse_z_nm > 0.8 * result.limit_z_nm
    # What carries a flag is wrong far more often than what does not; few of the good ones carry one.
    assert result.mistakes_flagged is not None
    assert result.good_flagged is not None
    assert result.mistakes_flagged > 3 * result.good_flagged
    assert result.good_flagged < 0.15
    assert (model / "report" / "index.html").is_file()
    with pytest.raises(InputError, match="nm per pixel"):
        evaluate(Predictor.load(model), replace(beads.train, pixel_size_nm=65.0))


@pytest.mark.slow
def test_an_earlier_model_is_trained_further(
    process: ProcessPoolExecutor, stored: Path, model: Path, tmp_path: Path
) -> None:
    wrong_by_nm = []
    for name, start in (("fresh", None), ("further", model)):
        process.submit(trained, stored, tmp_path / name, steps=30, seed=3, start_from=start).result()
        accuracy = ModelCard.load(tmp_path / name).accuracy
        assert accuracy is not None
        assert accuracy.rmse_with_flagged_z_nm is not None
        wrong_by_nm.append(accuracy.rmse_with_flagged_z_nm)
    assert wrong_by_nm[1] < wrong_by_nm[0]
    with pytest.raises(InputError, match="leave out `settings`"):
        process.submit(
            trained, stored, tmp_path / "wider", start_from=model, settings=MatchedSettings(width=64)
        ).result()


def test_an_interrupted_training_goes_on(process: ProcessPoolExecutor, stored: Path, tmp_path: Path) -> None:
    before = process.submit(interrupted_training, stored, tmp_path / "m", steps=96, stop_at=0.5).result()
    assert before[-1] < 1.0
    assert [path.name for path in tmp_path.iterdir()] == [".m.training.npz"]
    after = process.submit(interrupted_training, stored, tmp_path / "m", steps=96, stop_at=2.0).result()
    assert after[0] > 0.3
    assert after[-1] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(("minutes", "steps"), [(0.0, None), (1.0, 0)])
def test_a_training_without_a_budget_is_refused(minutes: float, steps: int | None) -> None:
    with pytest.raises(InputError, match="`minutes`"):
        Budget(minutes, steps)


def test_a_wrong_recipe_is_refused(beads: EmbeddedBeads, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use matched or paper"):
        train(beads.train, tmp_path / "m", recipe="magic")
    assert not list(tmp_path.iterdir())


def test_a_search_is_taken_up_where_it_stopped(process: ProcessPoolExecutor, stored: Path, tmp_path: Path) -> None:
    def search(trials: int, emitters: EmitterPrior | None = None) -> dict[str, Any]:
        study = tmp_path / "study"
        return process.submit(tune, stored, study, trials=trials, steps=10, emitters=emitters).result()

    assert search(1)["trials"] == 1
    result = search(2)
    assert result["trials"] == 2
    settings = read_settings(tmp_path / "study")
    assert settings.model_dump() == result["best"]
    prior = settings.training_prior(EmitterPrior())
    assert (prior.bad_fit_share, prior.neighbour_share) == (settings.bad_fit_share, settings.neighbour_share)
    with pytest.raises(InputError, match="study of other molecules"):
        search(3, EmitterPrior(photons=(500.0, 900.0)))
    with pytest.raises(InputError, match="no finished search"):
        read_settings(tmp_path)
