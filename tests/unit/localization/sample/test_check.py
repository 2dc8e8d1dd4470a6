"""A run held against the beads' PSF: which molecules are used, what is kept and said, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import easyzloc_mm as ez
from easyzloc_mm.io.runs.localizations import read_metadata, update_run
from easyzloc_mm.io.sample_aberrations import SampleAberrations
from easyzloc_mm.localization.sample.check import note_sample
from easyzloc_mm.localization.sample.molecules import sample_molecules
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.psf.pupil.mean_images import mean_images
from tests.helpers.localize_bench import GAIN
from tests.helpers.sample_run import (
    ADDED,
    BEADS,
    FRAMES,
    PER_FRAME,
    PROFILE,
    SAMPLE,
    molecules,
    one_place,
    write_sample,
)

pytestmark = pytest.mark.usefixtures("localised_here")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, one_place(BEADS), one_place(SAMPLE))
    return folder


@pytest.fixture
def run(desk: Path, tmp_path: Path) -> Path:
    """The run again, to be changed."""
    return Path(shutil.copytree(desk / "sample.zarr", tmp_path / "run.zarr"))


def test_another_sample_is_noticed_kept_and_said(desk: Path, run: Path) -> None:
    with pytest.warns(ez.EasyZlocWarning, match="the sample's PSF is not the beads'.*spherical.*`refresh`"):
        note_sample(run, ModelCard.load(desk / "bead_model"), desk / "sample.tif", PROFILE)
    kept = read_metadata(run).sample_aberrations
    assert kept is not None
    assert kept.differs
    assert np.all(np.abs(np.array(kept.theta_rad) - ADDED) < 3 * np.array(kept.sd_rad))
    assert kept.model_digest == ModelCard.load(desk / "bead_model").digest
    assert read_metadata(run).profile == PROFILE.model_dump(mode="json")


def test_localize_looks_where_it_knows_the_microscope(desk: Path, tmp_path: Path) -> None:
    """What it finds depends on the network, which is untrained here; that it looks, and says so, does not."""
    with pytest.warns(ez.EasyZlocWarning, match="the beads'"):
        run = ez.localize(
            desk / "sample.tif",
            desk / "bead_model",
            tmp_path / "run.zarr",
            pixel_size_nm=110,
            profile=PROFILE,
            workers=1,
        )
    assert run.complete
    assert run.metadata.profile == PROFILE.model_dump(mode="json")


def test_a_picture_shows_molecules_beside_both_psfs(desk: Path, tmp_path: Path) -> None:
    movie, drawn = desk / "sample.tif", tmp_path / "sample.png"
    assert ez.refresh(desk / "bead_model", desk / "sample.zarr", movie=movie, picture=drawn).found.differs
    assert drawn.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ez.InputError, match="already exists"):
        ez.refresh(desk / "bead_model", desk / "sample.zarr", movie=movie, picture=drawn)


def test_mean_images_tell_the_right_psf(desk: Path) -> None:
    card = ModelCard.load(desk / "bead_model")
    chosen = sample_molecules(desk / "sample.zarr", card, desk / "sample.tif", most=1000)
    beads, sample = (mean_images(chosen, one_place(lens), card.field_size_px) for lens in (BEADS, SAMPLE))
    assert np.all(np.diff(sample.z_nm) > 0)
    assert sample.residual.max() < beads.residual.max()
    assert sample.measured.sum(axis=(1, 2)) == pytest.approx(sample.expected.sum(axis=(1, 2)), rel=0.05)


def test_crops_are_cut_out_around_their_molecules(desk: Path) -> None:
    card = ModelCard.load(desk / "bead_model")
    chosen = sample_molecules(desk / "sample.zarr", card, desk / "sample.tif", most=100_000)
    assert len(chosen) == FRAMES * PER_FRAME[0] * PER_FRAME[1]
    drawn = molecules(one_place(SAMPLE), len(chosen), seed=1)
    brightest = [np.sort(crops.max(axis=(1, 2))) for crops in (chosen.crops, drawn.crops)]
    assert brightest[0] == pytest.approx(brightest[1], abs=GAIN)  # ADU are whole numbers


def test_flagged_and_crowded_molecules_are_left_out(desk: Path, run: Path) -> None:
    card = ModelCard.load(desk / "bead_model")
    with pytest.raises(ez.InputError, match="unflagged molecules by themselves"):
        sample_molecules(_with_flags(run), card, desk / "sample.tif", most=1000)


def _with_flags(run: Path) -> Path:
    import zarr

    root = zarr.open_group(run, mode="a")
    flags = root["localizations/z_flag"]
    assert isinstance(flags, zarr.Array)
    flags[:] = np.full(flags.shape, 2, np.uint8)
    return run


def test_too_few_molecules_cost_a_run_nothing(desk: Path, run: Path) -> None:
    with pytest.warns(ez.EasyZlocWarning, match="not held against the beads' PSF"):
        note_sample(_with_flags(run), ModelCard.load(desk / "bead_model"), desk / "sample.tif", PROFILE)
    assert read_metadata(run).sample_aberrations is None


def test_what_is_missing_is_named(desk: Path, run: Path) -> None:
    with pytest.raises(ez.InputError, match=r"no raw frames.*`movie`"):
        ez.refresh(desk / "bead_model", run)
    update_run(run, profile=None)
    with pytest.raises(ez.InputError, match=r"microscope.*`profile`"):
        ez.refresh(desk / "bead_model", run, movie=desk / "sample.tif")
    update_run(run, drift_corrected=True, profile=PROFILE.model_dump(mode="json"))
    with pytest.raises(ez.InputError, match="drift-corrected"):
        ez.refresh(desk / "bead_model", run, movie=desk / "sample.tif")


@pytest.mark.slow
def test_other_optics_than_the_beads_are_refused(desk: Path) -> None:
    """Half the aperture: no aberration makes its images those of the beads."""
    other = PROFILE.replace(optics={"na": 0.7})
    with pytest.raises(ez.InputError, match="check na"):
        ez.refresh(desk / "bead_model", desk / "sample.zarr", movie=desk / "sample.tif", profile=other)


def test_a_sentence_for_a_sample_like_the_beads() -> None:
    same = SampleAberrations(
        run="a", model_digest="b", molecules=900, terms=("coma x", "spherical"), theta_rad=(0.0, 0.03),
        sd_rad=(0.03, 0.03), chi2=1.0, p_value=0.6, z_error_nm=1.0, correlation=0.99, differs=False,
    )  # fmt: skip
    assert same.rms_rad == pytest.approx(0.03)
    assert "agree with the beads' PSF" in same.in_words()


def test_a_sentence_warns_of_depth_where_secondary_spherical_aberration_is_found() -> None:
    shallow, deep = (
        SampleAberrations(
            run="a", model_digest="b", molecules=900, terms=("spherical", "secondary spherical"),
            theta_rad=(-0.4, secondary), sd_rad=(0.03, 0.03), chi2=90.0, p_value=1e-9, z_error_nm=80.0,
            correlation=0.99, differs=True,
        )
        for secondary in (0.01, -0.12)
    )  # fmt: skip
    assert "medium" not in shallow.in_words()
    assert "medium of another index" in deep.in_words()


def test_a_sentence_and_an_alarm_tell_a_depth_that_was_found() -> None:
    deep = SampleAberrations(
        run="a", model_digest="b", molecules=900, terms=("spherical", "secondary spherical"), theta_rad=(-0.3, 0.1),
        sd_rad=(0.06, 0.03), chi2=90.0, p_value=1e-9, z_error_nm=80.0, correlation=0.99, differs=True,
        depth_nm=-1240.0, depth_sd_nm=260.0,
    )  # fmt: skip
    assert "900 molecules lie 1.24 +- 0.26 um above the glass" in deep.in_words()
    assert "1.2 um of depth move z by 80 nm" in deep.as_alarm()


def test_a_depth_that_cannot_be_is_refused(desk: Path) -> None:
    for depth_um in (-1.0, 30.0):
        with pytest.raises(ez.InputError, match="`depth_um`"):
            ez.refresh(desk / "bead_model", desk / "sample.zarr", movie=desk / "sample.tif", depth_um=depth_um)
