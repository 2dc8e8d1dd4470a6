"""Linearity of a run: rows that are lost in one place show, an undisturbed run shows nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray

from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.quality.light import Light, light_of
from easyzloc_mm.analysis.quality.linearity import Linearity, LinearityMap, linearity
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.cli.app import main
from easyzloc_mm.io.runs.drift import Drift, DriftRecord
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.locs.locs import Locs

SIDE, FRAMES, MOLECULES, LINES = 128, 300, 6000, 25
BACKGROUND, BASELINE, GAIN, PIXEL_NM = 20.0, 100.0, 0.5, 110.0
REACH = 9
LOST = (32, 80)
"""Columns and rows of the region in which rows are taken away."""


@dataclass(frozen=True)
class Recorded:
    """A movie of molecules on lines, and their rows with the errors that localisation has."""

    movie: NDArray[np.uint16]
    rows: pd.DataFrame

    @property
    def region(self) -> pd.Series:
        return self.rows["x"].between(*LOST) & self.rows["y"].between(*LOST)

    def write(self, folder: Path, rows: pd.DataFrame | None = None, drift: Drift | None = None) -> Path:
        """Write ``movie.tif`` and ``run.zarr``."""
        tifffile.imwrite(folder / "movie.tif", self.movie)
        response = CameraResponse(baseline_adu=BASELINE, electrons_per_adu=GAIN, read_noise_e=1.5)
        metadata = RunMetadata(
            pixel_size_nm=PIXEL_NM, width_px=SIDE, height_px=SIDE, frames=FRAMES, camera_response=response,
            movie="movie.tif", drift_corrected=drift is not None,
        )  # fmt: skip
        Locs(self.rows if rows is None else rows, metadata, drift=drift).save(folder / "run.zarr")
        return folder / "run.zarr"


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """Spots with wings that no Gaussian has, of several widths, on a background with a step and a bead on it."""
    rng = np.random.default_rng(17)
    begin, end = rng.uniform(0, SIDE, (2, LINES, 2))
    line = rng.integers(0, LINES, MOLECULES)
    place = begin[line] + (end - begin)[line] * rng.uniform(0, 1, (MOLECULES, 1))
    frame = np.sort(rng.integers(0, FRAMES, MOLECULES))
    photons, width = 300 + rng.exponential(1500, MOLECULES), rng.uniform(1.2, 2.2, MOLECULES)
    axis = np.linspace(-1, 1, SIDE)
    even = np.full((SIDE, SIDE), BACKGROUND) * (1 - 0.3 * (axis[:, None] ** 2 + axis**2) / 2)
    even[:, : SIDE // 2 - 3] += 4  # a step, and a thing that never blinks, in a square with molecules
    even[56:60, 88:92] += 30
    light = np.pad(np.repeat(even[None], FRAMES, axis=0), ((0, 0), (REACH, REACH), (REACH, REACH)))
    step = np.arange(-REACH, REACH + 1)
    for t, (x, y), n, s in zip(frame, place, photons, width, strict=True):
        column, row = round(x), round(y)
        spot = np.zeros((len(step), len(step)))
        for part, sigma in ((0.8, s), (0.2, 2 * s)):
            across, down = (np.exp(-((step + near - at) ** 2) / (2 * sigma**2)) for near, at in ((column, x), (row, y)))
            spot += part * np.outer(down, across) / (2 * np.pi * sigma**2)
        light[t, row : row + len(step), column : column + len(step)] += n * spot
    inside = light[:, REACH:-REACH, REACH:-REACH]
    counts = rng.poisson(inside) / GAIN + BASELINE + rng.normal(0, 3, inside.shape)
    x, y = (place + rng.normal(0, 0.1, place.shape)).T
    given = {"bg": BACKGROUND, "lpx": 0.1, "lpy": 0.1, "ellipticity": 0.0, "net_gradient": 1.0, "lpz": 20.0}
    rows = pd.DataFrame({"frame": frame.astype(np.uint32), "x": x, "y": y, "z_flag": np.uint8(0)}).assign(
        z=500 * (width - 1.7) + rng.normal(0, 20, MOLECULES),
        photons=photons * rng.normal(1, 0.08, MOLECULES), sx=width * rng.normal(1.1, 0.1, MOLECULES),
        sy=width * rng.normal(1.1, 0.1, MOLECULES), **given,
    )  # fmt: skip
    return Recorded(np.rint(counts).clip(0, 65535).astype(np.uint16), rows[rows[["x", "y"]].max(axis=1) < SIDE - 1])


def compared(run: Path, movie: Path | None = None) -> Linearity:
    light = light_of(Locs.load(run), movie, silent)
    assert isinstance(light, Light), light
    result = linearity(light)
    assert isinstance(result, LinearityMap), result
    return result.found


def test_an_undisturbed_run_is_linear(recorded: Recorded, tmp_path: Path) -> None:
    found = compared(recorded.write(tmp_path))
    assert found.squares >= 20
    assert found.squares_short == found.squares_over == len(found.off) == 0
    assert found.share == found.share_flagged_too == pytest.approx(1, abs=0.1)
    assert found.correlation > 0.9
    assert all(part == pytest.approx(1, abs=0.15) for part in found.over_run)


def test_half_of_the_molecules_of_one_region_are_missed(recorded: Recorded, tmp_path: Path) -> None:
    lost = recorded.region & (np.random.default_rng(3).random(len(recorded.rows)) < 0.5)
    found = compared(recorded.write(tmp_path, recorded.rows[~lost]))
    assert found.squares_short >= 4
    assert found.squares_over == 0
    low, high = (edge * PIXEL_NM / 1000 for edge in LOST)
    assert all(low < square.x_um < high and low < square.y_um < high for square in found.off)
    assert np.median([square.share for square in found.off]) == pytest.approx(0.5, abs=0.12)
    assert "does not rise in proportion" in found.in_words()


def test_light_of_flagged_rows_is_told_from_light_of_no_row(recorded: Recorded, tmp_path: Path) -> None:
    every_third = (np.arange(len(recorded.rows)) % 3 == 0).astype(np.uint8)
    found = compared(recorded.write(tmp_path, recorded.rows.assign(z_flag=every_third)))
    assert found.share == pytest.approx(found.share_flagged_too * 2 / 3, abs=0.07)
    assert found.share_flagged_too == pytest.approx(1, abs=0.1)


def test_molecules_that_are_counted_twice_show_too(recorded: Recorded, tmp_path: Path) -> None:
    rows = pd.concat([recorded.rows, recorded.rows[recorded.region]]).sort_values("frame", ignore_index=True)
    found = compared(recorded.write(tmp_path, rows))
    assert found.squares_over >= 6
    assert found.squares_short == 0
    assert np.median([square.share for square in found.off]) > 1.5


def test_positions_are_compared_as_they_were_recorded(recorded: Recorded, tmp_path: Path) -> None:
    """Drift of six pixels: taken out of the rows, it is in the images still."""
    path = pd.DataFrame({"frame": np.arange(FRAMES), "x": np.linspace(-3, 3, FRAMES), "y": 0.0, "z": 0.0})
    moved = recorded.rows.assign(x=recorded.rows["x"] - path["x"].to_numpy()[recorded.rows["frame"]])
    found = compared(recorded.write(tmp_path, moved, Drift(path, DriftRecord())))
    assert found.squares_short == found.squares_over == 0
    assert found.correlation > 0.9


def test_the_page_says_it_and_what_is_missing_where_it_cannot(recorded: Recorded, tmp_path: Path) -> None:
    run = recorded.write(tmp_path, recorded.rows[::8])  # few: their resolution is not looked for
    elsewhere = (tmp_path / "movie.tif").rename(tmp_path / "other.tif")
    out = tmp_path / "page"
    for more, words in (
        ([], "Not determined: its raw images"),
        (["--movie", str(elsewhere), "--overwrite"], "of the light in localisations without a flag"),
    ):
        assert main(["report", str(run), "--out", str(out), *more]) == 0
        assert words in (out / "index.html").read_text(encoding="utf-8")
        stored = json.loads((out / "report.json").read_text(encoding="utf-8"))
        assert (stored["linearity"] is None) == (stored["no_linearity"] is not None) == (not more)
    assert (out / "linearity.png").is_file()
    tifffile.imwrite(tmp_path / "small.tif", recorded.movie[:, :64])
    assert main(["report", str(run), "--out", str(tmp_path / "no"), "--movie", str(tmp_path / "small.tif")]) == 2
    assert not (tmp_path / "no").exists()
