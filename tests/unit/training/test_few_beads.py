"""Models from one, three and six beads: what they can say of their accuracy, and that they say it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.beads.build import build_bead_set
from easyzloc_mm.benchmarks.fixtures.embedded import subset
from easyzloc_mm.camera.response import EM_EXCESS
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set, write_bead_set
from easyzloc_mm.model.accuracy import HeldOut
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.training.evaluation import evaluate as evaluation
from easyzloc_mm.training.evaluation.evaluate import evaluate
from tests.helpers.bead_slides import PIXEL_NM, RESPONSE, photograph, slide, stack_of
from tests.helpers.training import briefly_trained, training_process

pytestmark = pytest.mark.slow

SIZE_PX = 140


@pytest.fixture(scope="module")
def six() -> BeadDataset:
    rng = np.random.default_rng(11)
    return build_bead_set([stack_of(photograph(slide(6, SIZE_PX, rng), SIZE_PX, rng), "six.tif")], RESPONSE, PIXEL_NM)


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    with training_process() as pool:
        yield pool


def model_of(process: ProcessPoolExecutor, beads: BeadDataset, folder: Path) -> ModelCard:
    write_bead_set(folder / "beads.zarr", beads)
    process.submit(briefly_trained, folder / "beads.zarr", folder / "model", steps=48).result()
    return ModelCard.load(folder / "model")


def test_three_beads_are_cross_validated(
    six: BeadDataset, process: ProcessPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = model_of(process, subset(six, np.arange(3)), tmp_path)
    accuracy = card.accuracy
    assert accuracy is not None
    assert (accuracy.held_out, accuracy.folds, accuracy.beads, accuracy.distinct_beads) == (HeldOut.BY_BEAD, 3, 3, 3)
    assert (card.beads.train, card.beads.test, card.psf_degree) == (3, 0, 0)
    page = (tmp_path / "model" / "report" / "index.html").read_text(encoding="utf-8")
    assert "cross-validation by bead" in page
    assert "taken as uniform" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beads.zarr", "model"]
    # The model itself has seen these beads, the other three it has not; whatever else stands beside them.
    predictor = Predictor.load(tmp_path / "model")
    monkeypatch.setattr(evaluation, "EMITTERS", 300)
    own = evaluate(predictor, read_bead_set(tmp_path / "beads.zarr"))
    assert (own.held_out, own.folds) == (HeldOut.NONE, 0)
    assert "trained on" in own.summary
    others = evaluate(predictor, six)
    assert (others.held_out, others.beads) == (HeldOut.BY_BEAD, 3)


def test_one_bead_is_tested_by_planes(six: BeadDataset, process: ProcessPoolExecutor, tmp_path: Path) -> None:
    card = model_of(process, subset(six, np.arange(1)), tmp_path)
    accuracy = card.accuracy
    assert accuracy is not None
    assert (accuracy.held_out, accuracy.folds, accuracy.beads) == (HeldOut.BY_PLANES, 2, 1)
    assert "every second plane of the same 1 bead" in accuracy.summary
    assert accuracy.limit_z_nm is not None
    assert json.loads((tmp_path / "model" / "calibration.json").read_text())["accuracy"]["held_out"] == "by planes"


def test_a_model_of_em_gain_is_for_effective_photons_and_speaks_of_photons(
    six: BeadDataset, process: ProcessPoolExecutor, tmp_path: Path
) -> None:
    few = subset(six, np.arange(3))
    response = few.response.replaced(excess_noise=EM_EXCESS)
    # With EM gain the same counts are of twice the noise: the slide's own noise is not what these units say.
    card = model_of(process, replace(few, response=response), tmp_path)
    told, usual = card.uncertainty, EmitterPrior()
    assert card.response == response
    assert isinstance(told, MixtureCalibration)
    assert told.emitters.photons == tuple(photons / EM_EXCESS for photons in usual.photons)
    assert told.emitters.background == tuple(photons / EM_EXCESS for photons in usual.background)
    assert card.accuracy is not None
    # Emitters of 500 to 20,000 photons were judged: counted in effective photons, the brightest would be missing.
    assert all(part.molecules or part.flagged for part in card.accuracy.by_photons)
