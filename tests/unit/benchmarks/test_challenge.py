"""Data as the SMLM Challenge gives them: a bead stack, a movie in single images, a list of emitters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from easyzloc_mm.benchmarks.accuracy.challenge import bench_challenge
from easyzloc_mm.benchmarks.second_optics.datasets import (
    BeadScan,
    MovieConditions,
    profile_of,
    write_bead_stacks,
    write_movie,
)
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.cli.app import app
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks

SPARSE = MovieConditions(frames=60, per_um2=0.015, apart_px=16)


@pytest.mark.slow
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")  # Keras' and its exporter's
def test_a_data_set_of_the_challenge_is_calibrated_localised_and_scored(tmp_path: Path) -> None:
    microscope = SecondMicroscope()
    profile = profile_of(microscope)
    pixel = profile.optics.pixel_size_nm
    write_bead_stacks(tmp_path / "b.ome.zarr", microscope, BeadScan(fields=1, beads=50), seed=1)
    tifffile.imwrite(tmp_path / "beads.tif", np.asarray(open_bead_stacks(tmp_path / "b.ome.zarr")[0].pixels[:]))
    truth = write_movie(tmp_path / "movie.tif", microscope, SPARSE, 2)
    (tmp_path / "frames").mkdir()
    for number, image in enumerate(tifffile.imread(tmp_path / "movie.tif"), start=1):
        tifffile.imwrite(tmp_path / "frames" / f"frame_{number}.tif", image)
    listed = {"frame": truth["frame"] + 1, "xnano": (truth["x"] + 0.5) * pixel, "ynano": (truth["y"] + 0.5) * pixel,
              "znano": truth["z"], "intensity": truth["photons"]}  # fmt: skip
    pd.DataFrame(listed).to_csv(tmp_path / "activations.csv", index_label="Ground-truth")
    result = bench_challenge(
        tmp_path / "beads.tif", tmp_path / "frames", tmp_path / "activations.csv", pixel_size_nm=pixel, z_step_nm=50.0,
        electrons_per_adu=profile.camera.electrons_per_adu, baseline_adu=profile.camera.baseline_adu, minutes=0.2,
    )  # fmt: skip
    assert result["molecules"] == len(truth)
    assert result["recall"] > 0.6
    assert result["precision"] > 0.7
    assert abs(result["offset_x_nm"]) < pixel / 4, "nm count from the corner of the image"
    assert result["rmse_lateral_nm"] < 100


def test_beads_movie_and_emitters_go_together(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "accuracy", "--movie", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "go together" in str(result.exception)
