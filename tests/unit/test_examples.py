"""Every public function has an example, and every example does what it says."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import easyzloc_mm as ez
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, drifting_table
from easyzloc_mm.benchmarks.npc import pore_field
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.locs.locs import Locs
from tests.helpers.localize_bench import small_bundle, spots_movie
from tests.helpers.pores import as_locs
from tests.helpers.sample_run import BEADS, SAMPLE, one_place, write_sample

NO_EXAMPLE = {"Calibration", "Microscope", "__version__"}
"""What a function gives, a protocol, and a string."""
WORKFLOW = ("acquire_beads", "build_beads", "train", "calibrate", "check_calibration", "live", "scan", "refresh")
"""Minutes long together; each goes on from the files of those before it."""


def examples(name: str) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(getattr(ez, name).__doc__ or "", name)


def run_examples(name: str) -> None:
    test = doctest.DocTest(examples(name), {"ez": ez}, name, None, 0, None)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(said)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples start from."""
    folder = tmp_path_factory.mktemp("desk")
    known = drifting_table(frames=400, per_frame=20.0, edge_px=60, drift_nm=(60.0, 60.0, 50.0))
    metadata = RunMetadata(
        pixel_size_nm=PIXEL_SIZE_NM, height_px=known.edge_px, width_px=known.edge_px, frames=known.frames, complete=True
    )
    Locs(known.table, metadata).save(folder / "run.zarr")
    known.table[["frame", "x", "y", "z"]].to_parquet(folder / "truth.parquet")
    as_locs(pore_field("two rings", pores=12, per_pore=60, sigma_z_nm=10)).save(folder / "pores.zarr")
    movie, places = spots_movie(6, (64, 96), spots=4)
    tifffile.imwrite(folder / "movie.tif", movie)
    small_bundle(folder / "model", field=(96, 64))
    spots = pd.DataFrame({"frame": np.repeat(np.arange(6, dtype=np.uint32), 4)})
    spots[["x", "y"]] = places.reshape(-1, 2).astype(np.float32)
    spots = spots.assign(photons=3000.0, sx=1.3, sy=1.3, bg=20.0, lpx=0.1, lpy=0.1, ellipticity=0.0, net_gradient=5e3)
    Locs(spots, RunMetadata(pixel_size_nm=110.0, height_px=64, width_px=96, frames=6)).save(folder / "table.hdf5")
    return folder


@pytest.fixture
def at_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(desk)
    return desk


def public() -> list[str]:
    return [
        name
        for name in ez.__all__
        if name not in NO_EXAMPLE
        and not (isinstance(value := getattr(ez, name), type) and issubclass(value, Exception))
    ]


@pytest.mark.parametrize("name", public())
def test_every_public_name_has_an_example(name: str) -> None:
    assert examples(name)


@pytest.mark.parametrize("name", [name for name in public() if name not in WORKFLOW])
def test_an_example_does_what_it_says(name: str, at_the_desk: Path) -> None:
    run_examples(name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")  # Keras' and its exporter's
# The PSF of the model that `live` and `scan` are given is round, the molecules' is not.
@pytest.mark.filterwarnings("default:the noise in the images:easyzloc_mm.errors.EasyZlocWarning")
def test_the_examples_of_the_whole_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = ez.load_profile("demo")
    small_bundle(
        tmp_path / "demo_model",
        field=(profile.camera.width_px, profile.camera.height_px),
        pixel_nm=profile.optics.pixel_size_nm,
    )
    write_sample(tmp_path, one_place(BEADS), one_place(SAMPLE))
    monkeypatch.chdir(tmp_path)
    for name in WORKFLOW:
        run_examples(name)
