"""Model cards: every schema version opens and predicts what it did, and broken bundles are refused in words."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.api.model import Model
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.model.card import (
    CARD_FILE,
    NETWORK_FILE,
    PSF_FILE,
    PSF_FILE_3,
    SCHEMA_VERSION,
    ModelCard,
    Recipe,
)
from easyzloc_mm.model.predictor import AMBIGUOUS, Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration, SigmaByZ
from tests.helpers.localize_bench import small_bundle
from tests.helpers.paths import DATA, ROOT

STORES = DATA / "stores" / "v1"
EXPECTED = STORES / "model_expected.npz"
"""What the program of schema version 3 predicted with `version_3`."""


@pytest.fixture(scope="module")
def version_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as version 0.1 wrote it, with a small untrained network and the card of a trained one."""
    folder = tmp_path_factory.mktemp("version_3") / "model"
    shutil.copytree(STORES / "model", folder)
    shutil.copy(STORES / "trained_calibration.json", folder / CARD_FILE)
    return folder


@pytest.mark.parametrize("refine", [True, False], ids=["refined", "network"])
def test_a_bundle_of_version_3_predicts_what_it_did(version_3: Path, refine: bool) -> None:
    with np.load(EXPECTED) as stored:
        expected = dict(stored)
    predictor = Predictor.load(version_3)
    found = predictor.predict(expected["crops"].astype(np.float32), expected["x"], expected["y"], refine=refine)
    kind = "refined" if refine else "network"
    assert np.array_equal(found.z_flag, expected[f"{kind}_z_flag"])
    # A climb ends where the next step would be a small part of the uncertainty; where exactly, rounding decides. From
    # which depths it begins has changed since: this untrained network's doubtful spots may, rarely, end at another one,
    # also by rounding: that differs between processors.
    for name, spread in (("z_nm", "lpz_nm"), ("xy_px", "lpxy_px")):
        wanted, uncertainty = (expected[f"{kind}_{column}"] for column in (name, spread))
        off = np.abs(getattr(found, name) - wanted) / uncertainty
        assert np.array_equal(np.isnan(off), np.isnan(wanted)), name
        same = (off < 0.05) | np.isnan(off)
        assert np.mean(same) >= 0.95, name
        everywhere = same.reshape(len(same), -1).all(axis=1)
        assert (found.z_flag[~everywhere] & AMBIGUOUS).all(), name
        assert np.allclose(getattr(found, spread)[same], uncertainty[same], rtol=0.02, equal_nan=True), spread
    assert predictor.card.digest == str(expected["digest"])


def test_every_value_of_version_3_has_its_place(version_3: Path) -> None:
    old = json.loads((version_3 / CARD_FILE).read_text(encoding="utf-8"))
    card = ModelCard.load(version_3)
    assert card.path == version_3
    assert card.psf_file.name == PSF_FILE_3
    assert card.recipe is Recipe.MATCHED
    assert card.response.electrons_per_adu == old["camera_units"]["electrons_per_adu"]
    assert card.settings is not None
    assert card.settings.model_dump() == old["settings"]
    assert card.accuracy is not None
    # What was a yes is a word now; keys that came later are empty.
    _holds(card.accuracy.model_dump(mode="json"), old["accuracy"] | {"held_out": "by bead"})
    told = card.uncertainty
    assert isinstance(told, MixtureCalibration)
    assert told.network_scale.model_dump(mode="json") == old["sigma_scale"]
    assert told.likelihood_scale.fitted.model_dump(mode="json") == old["refined_scale"]
    assert told.likelihood_scale.pooled.model_dump(mode="json") == old["pooled_scale"]
    before = {"by_image": False}
    assert told.network_ambiguity.model_dump() == old["ambiguity"]["network"] | before
    assert told.likelihood_ambiguity.model_dump() == old["ambiguity"]["refined"] | before
    assert told.residual_limit.model_dump(mode="json") == old["misfit"]
    assert told.embedding.model_dump(mode="json") == old["novelty"]
    assert told.emitters.model_dump(mode="json") == old["domain"]


def _holds(found: Any, wanted: Any) -> None:
    """Check that everything in `wanted` is in `found`."""
    if isinstance(wanted, dict):
        for name, value in wanted.items():
            _holds(found[name], value)
    elif isinstance(wanted, list):
        for one, other in zip(found, wanted, strict=True):
            _holds(one, other)
    else:
        assert found == wanted


def test_a_card_comes_back_as_it_was_written(version_3: Path, tmp_path: Path) -> None:
    card = ModelCard.load(version_3)
    shutil.copy(version_3 / NETWORK_FILE, tmp_path)
    shutil.copy(version_3 / PSF_FILE_3, tmp_path / PSF_FILE)
    card.write(tmp_path)
    again = ModelCard.load(tmp_path)
    assert json.loads((tmp_path / CARD_FILE).read_text(encoding="utf-8"))["schema_version"] == SCHEMA_VERSION
    assert again.model_dump() == card.model_dump()
    assert again.path == tmp_path
    assert again.digest != card.digest  # the files differ


def test_a_card_of_the_published_recipe(version_3: Path, tmp_path: Path) -> None:
    old = json.loads((version_3 / CARD_FILE).read_text(encoding="utf-8"))
    for key in ("sigma_scale", "refined_scale", "pooled_scale", "ambiguity", "misfit", "novelty", "domain", "settings"):
        del old[key]
    del old["field_degree"]
    table = {"z_nm": [-500.0, 500.0], "sigma_nm": [40.0, 50.0]}
    (tmp_path / CARD_FILE).write_text(
        json.dumps(old | {"recipe": "paper", "normalisation": "paper", "sigma_by_z": table})
    )
    shutil.copy(version_3 / NETWORK_FILE, tmp_path)
    card = ModelCard.load(tmp_path)
    assert isinstance(card.uncertainty, SigmaByZ)
    assert card.uncertainty.at(np.array([0.0])) == pytest.approx(45.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"pixel_size_nm": -1.0}, "pixel_size_nm"),
        ({"novelty": {"mean": "?"}}, "uncertainty"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bundle_that_cannot_be_read_is_refused(
    version_3: Path, change: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(version_3, folder)
    old = json.loads((version_3 / CARD_FILE).read_text(encoding="utf-8"))
    (folder / CARD_FILE).write_text(json.dumps(old | change))
    with pytest.raises(InputError, match=message):
        ModelCard.load(folder)


def test_an_incomplete_bundle_is_refused(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "model", field=(64, 64))
    (folder / PSF_FILE).unlink()
    with pytest.raises(InputError, match="copied in part"):
        ModelCard.load(folder)
    (folder / NETWORK_FILE).unlink()
    with pytest.raises(InputError, match="no model bundle"):
        ModelCard.load(folder)


def test_a_card_is_held_against_the_profile(version_3: Path) -> None:
    profile = load_profile("demo")
    card = ModelCard.load(version_3, profile)
    with pytest.raises(InputError, match="calibrate this microscope"):
        card.check(profile.replace(optics={"pixel_size_nm": 65.0}))
    with pytest.warns(EasyZlocWarning, match="spots outside are flagged"):
        card.check(profile.replace(camera={"width_px": 256}))


def test_a_card_travels_without_the_network(version_3: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom easyzloc_mm.model.card import ModelCard\n"
        f"card = ModelCard.load(Path({str(version_3)!r}))\nassert card.digest\n"
        "assert not {'onnxruntime', 'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=120)
    card = ModelCard.load(version_3)
    sent = pickle.loads(pickle.dumps(card))
    assert (sent, sent.path, sent.digest) == (card, card.path, card.digest)


def test_a_bundle_whose_parts_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    sound = small_bundle(tmp_path / "model", field=(64, 64))

    def spoilt(name: str) -> Path:
        shutil.copytree(sound, tmp_path / name)
        return tmp_path / name

    turned = spoilt("turned")
    card = json.loads((turned / CARD_FILE).read_text(encoding="utf-8"))
    (turned / CARD_FILE).write_text(json.dumps(card | {"z_range_nm": [900.0, -900.0]}), encoding="utf-8")
    with pytest.raises(InputError, match="does not rise"):
        ModelCard.load(turned)
    empty = spoilt("empty")
    with np.load(empty / PSF_FILE) as stored:
        arrays = dict(stored)
    np.savez(empty / PSF_FILE, **arrays | {"coefficients": np.full_like(arrays["coefficients"], np.nan)})
    with pytest.raises(InputError, match="no numbers"):
        _ = Predictor.load(empty).psf
    other = spoilt("other")
    (other / CARD_FILE).write_text(json.dumps(card | {"roi_px": 17}), encoding="utf-8")  # a network for another size
    crops = np.zeros((1, 17, 17), np.float32)
    with pytest.raises(InputError, match="not images of 17 px"):
        Predictor.load(other).raw_output(crops, np.zeros(1), np.zeros(1))


@pytest.mark.parametrize("part", [NETWORK_FILE, PSF_FILE])
def test_a_damaged_model_is_told_before_anything_is_begun(part: str, tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "model", field=(64, 64))
    Model.load(folder)
    (folder / part).write_bytes((folder / part).read_bytes()[:40])
    with pytest.raises(InputError, match=rf"{part} cannot be read as .*: copy the model's whole folder again"):
        Model.load(folder)
