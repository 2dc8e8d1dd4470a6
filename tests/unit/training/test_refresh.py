"""A model for a sample: made from the beads' model and the sample's PSF, or the beads' model again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import easyzloc_mm as ez
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.io.sample_aberrations import SampleAberrations
from easyzloc_mm.model.card import KERAS_FILE, NETWORK_FILE, PSF_FILE, WIDER_PSF_FILE, ModelCard
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.psf.crop_choice import WIDER_PX
from easyzloc_mm.psf.field_psf import FieldPsf, SamplePsf
from easyzloc_mm.training.refresh import write_refreshed
from tests.helpers.localize_bench import small_bundle
from tests.helpers.sample_run import BEADS, SAMPLE, one_place, write_sample
from tests.helpers.training import refreshed, training_process, untrained_network


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refresh")
    write_sample(folder, one_place(BEADS), one_place(SAMPLE))
    one_place(BEADS, ROI_PX + WIDER_PX).save(folder / "bead_model" / WIDER_PSF_FILE)
    with training_process() as process:
        process.submit(untrained_network, folder / "bead_model").result()
        arguments = (folder / "bead_model", folder / "sample.zarr", folder / "sample.tif", folder / "new", 20)
        process.submit(refreshed, *arguments).result()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("file", "roi_px"), [(PSF_FILE, ROI_PX), (WIDER_PSF_FILE, ROI_PX + WIDER_PX)])
def test_the_model_is_the_samples(desk: Path, file: str, roi_px: int) -> None:
    """As far as crops reach, and as far as the larger ones do that doubtful depths are looked at in."""
    beads, sample = one_place(BEADS, roi_px), one_place(SAMPLE, roi_px)
    found = FieldPsf.load(desk / "new" / file).coefficients
    z_nm = beads.z_start_nm + beads.z_pitch_nm * np.arange(beads.coefficients.shape[1])
    used = np.abs(z_nm) < 900
    before, after = (values[:, used] - sample.coefficients[:, used] for values in (beads.coefficients, found))
    assert np.sum(after**2) < 0.2 * np.sum(before**2)


@pytest.mark.slow
def test_the_network_is_trained_further_and_what_beads_showed_is_kept(desk: Path) -> None:
    beads, sample = (Predictor.load(desk / name) for name in ("bead_model", "new"))
    crops = np.random.default_rng(0).poisson(50.0, (8, 15, 15)).astype(np.float32)
    place = np.full(8, 60.0)
    assert not np.allclose(beads.raw_output(crops, place, place), sample.raw_output(crops, place, place))
    known, new = beads.card.uncertainty, sample.card.uncertainty
    assert isinstance(known, MixtureCalibration)
    assert isinstance(new, MixtureCalibration)
    # Another level, where this network is worse than the beads'; the shape is what left-out beads showed.
    for before, after in (
        (known.network_scale, new.network_scale),
        (known.likelihood_scale.fitted, new.likelihood_scale.fitted),
        (known.likelihood_scale.pooled, new.likelihood_scale.pooled),
    ):
        assert (after.log_sigma, after.z_nm, after.z_factor) == (before.log_sigma, before.z_nm, before.z_factor)
        assert np.ptp(np.array(after.factor) / np.array(before.factor)) == pytest.approx(0.0, abs=1e-9)
    assert new.emitters == known.emitters
    assert sample.card.z_range_nm == beads.card.z_range_nm


@pytest.mark.slow
def test_the_bundle_says_what_it_is(desk: Path) -> None:
    assert ez.verify(desk / "new").whole
    card = ModelCard.load(desk / "new")
    assert card.accuracy is None
    assert card.refreshed is not None
    assert card.refreshed.differs
    assert card.refreshed.run == "sample.zarr"
    assert card.refreshed.model_digest == ModelCard.load(desk / "bead_model").digest
    with pytest.raises(ez.InputError, match="refreshed before"):
        ez.refresh(desk / "new", desk / "sample.zarr", movie=desk / "sample.tif")


def test_a_sample_like_the_beads_gets_their_model(tmp_path: Path) -> None:
    beads = small_bundle(tmp_path / "beads", field=(64, 64))
    (beads / KERAS_FILE).write_bytes(b"a network")
    card = ModelCard.load(beads)
    same = SampleAberrations(
        run="a", model_digest=card.digest, molecules=900, terms=("coma x",), theta_rad=(0.01,), sd_rad=(0.03,),
        chi2=0.1, p_value=0.8, z_error_nm=1.0, correlation=0.99, differs=False,
    )  # fmt: skip
    other = replace(Predictor(card).psf[0], degree=7)
    write_refreshed(card, SamplePsf(other), same, tmp_path / "same")
    for name in (KERAS_FILE, NETWORK_FILE, PSF_FILE):
        assert (tmp_path / "same" / name).read_bytes() == (beads / name).read_bytes()
    assert ModelCard.load(tmp_path / "same").refreshed == same
    assert ez.verify(tmp_path / "same").whole


def test_a_model_that_cannot_be_trained_further_is_refused(tmp_path: Path) -> None:
    card = ModelCard.load(small_bundle(tmp_path / "beads", field=(64, 64)))
    same = SampleAberrations(
        run="a", model_digest="b", molecules=900, terms=(), theta_rad=(), sd_rad=(),
        chi2=0.1, p_value=0.8, z_error_nm=1.0, correlation=0.99, differs=False,
    )  # fmt: skip
    with pytest.raises(ez.InputError, match="train it by recipe matched"):
        write_refreshed(card, SamplePsf(Predictor(card).psf[0]), same, tmp_path / "new")
    assert not (tmp_path / "new").exists()
