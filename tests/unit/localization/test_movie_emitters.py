"""What the molecules of a movie are like, from many, from rare and from few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.images.movie_writer import write_ome_tiff_movie
from easyzloc_mm.localization.offline.movie_emitters import FRAMES, emitter_prior
from tests.helpers.localize_bench import BASELINE, GAIN, spots_movie

RESPONSE = CameraResponse(baseline_adu=BASELINE, electrons_per_adu=GAIN, read_noise_e=1.5)
SHAPE, PHOTONS, BACKGROUND = (64, 80), 3000.0, 20.0


def written(folder: Path, frames: NDArray[np.uint16]) -> Path:
    movie = folder / f"{len(frames)}.tif"
    write_ome_tiff_movie(movie, iter(frames), frames.shape, pixel_size_nm=110.0, interval_ms=30.0)
    return movie


def test_few_molecules_are_said_and_the_ranges_are_wider(tmp_path: Path) -> None:
    frames = spots_movie(60, SHAPE, spots=4, seed=3)[0]
    many = emitter_prior(written(tmp_path, frames), RESPONSE)  # a warning would be an error
    with pytest.warns(EasyZlocWarning, match=r"shows \d+ molecule\(s\) in 6 of its 6 frames: .* known roughly only"):
        few = emitter_prior(written(tmp_path, frames[:6]), RESPONSE)
    for told in (many, few):
        assert told.photons[0] < PHOTONS < told.photons[1]
        assert told.background[0] < BACKGROUND < told.background[1]
    assert few.photons[1] / few.photons[0] > many.photons[1] / many.photons[0]
    assert few.background[1] / few.background[0] > many.background[1] / many.background[0]
    with pytest.raises(InputError, match=r"`like` .*1\.tif shows .*give a longer movie, or leave out `like`"):
        emitter_prior(written(tmp_path, frames[:1]), RESPONSE)


def test_where_molecules_are_rare_more_frames_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    dark = (rng.poisson(BACKGROUND, (3 * FRAMES, 32, 32)) / GAIN + BASELINE).astype(np.uint16)
    # In every fourth frame one: the first frames that are looked at show too few.
    dark[::4] = spots_movie(len(dark[::4]), (32, 32), spots=1, seed=5)[0]
    told = emitter_prior(written(tmp_path, dark), RESPONSE)  # a warning would be an error
    assert told.photons[0] < PHOTONS < told.photons[1]
