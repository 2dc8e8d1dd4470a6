"""`localize --refresh`: one run of a sample like the beads; two, and a model, of another one."""

from __future__ import annotations

from pathlib import Path

import pytest

import easyzloc_mm as ez
from easyzloc_mm.io.runs.localizations import read_metadata
from easyzloc_mm.model.card import ModelCard
from tests.helpers.localize_bench import small_bundle
from tests.helpers.sample_run import BEADS, SAMPLE, one_place, write_sample
from tests.helpers.training import training_process, untrained_network
from tests.helpers.twice import localized_twice


def test_a_sample_like_the_beads_has_one_run(tmp_path: Path) -> None:
    write_sample(tmp_path, one_place(BEADS), one_place(BEADS))
    localized_twice(tmp_path, "error")
    metadata = read_metadata(tmp_path / "out.zarr")
    assert metadata.sample_aberrations is not None
    assert not metadata.sample_aberrations.differs
    assert metadata.refreshed is None
    assert metadata.sample_widening is None
    assert not list(tmp_path.glob("out.*model*"))
    assert not list(tmp_path.glob("out.unrefreshed*"))
    with pytest.raises(ez.InputError, match="already exists"):
        localized_twice(tmp_path, "error")


def test_a_movie_does_not_state_its_microscope(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bead_model", field=(64, 64))
    (tmp_path / "movie.tif").write_bytes(b"")
    with pytest.raises(ez.InputError, match=r"microscope.*`profile`"):
        localized_twice(tmp_path, "error", movie=tmp_path / "movie.tif", known=False)


@pytest.mark.slow
def test_another_sample_has_two_runs_and_a_model(tmp_path: Path) -> None:
    write_sample(tmp_path, one_place(BEADS), one_place(SAMPLE))
    with training_process() as process:
        process.submit(untrained_network, tmp_path / "bead_model").result()
        process.submit(localized_twice, tmp_path, "error").result()
    beads, sample = (ModelCard.load(tmp_path / name) for name in ("bead_model", "out.model"))
    before, after = (read_metadata(tmp_path / name) for name in ("out.unrefreshed.zarr", "out.zarr"))
    assert before.refreshed is None
    assert before.model == beads.reference
    assert after.model == sample.reference
    assert after.refreshed is not None
    assert (after.refreshed.beads, after.refreshed.sample) == (beads.reference, sample.reference)
    assert (after.refreshed.run, after.refreshed.from_frame) == ("out.unrefreshed.zarr", 0)
    assert after.sample_aberrations == before.sample_aberrations == sample.refreshed
    for name in ("out.unrefreshed.zarr", "out.zarr", "out.model"):
        assert ez.verify(tmp_path / name).whole
    digest = sample.digest
    localized_twice(tmp_path, "resume")
    assert ModelCard.load(tmp_path / "out.model").digest == digest
    assert read_metadata(tmp_path / "out.zarr") == after
