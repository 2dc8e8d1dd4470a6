"""`bench stacks`, `bench real-sample`: recorded bead planes as faint as molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.beads.build import build_bead_set
from easyzloc_mm.benchmarks.accuracy.real_sample import bench_real_sample
from easyzloc_mm.benchmarks.accuracy.stacks import bench_stacks, thinned_frames
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.localization.sample.check import LEAST_CORRELATION
from easyzloc_mm.profile.schema import Optics
from tests.helpers.lobed_beads import RESPONSE, astigmatic, record, stack_of_planes


def test_thinned_planes_have_the_light_and_the_noise_that_are_stated() -> None:
    drawn = [(x, y, 0.0, 5e4) for x in (30.0, 70.4, 110.0) for y in (30.0, 70.0, 110.3)]
    beads = build_bead_set([stack_of_planes(record(astigmatic, 140, drawn, 1))], RESPONSE, 110.0)
    frames, truth = thinned_frames(beads, (-350.0, 350.0), np.random.default_rng(2))
    assert len(frames) == len(truth) == 12 * len(truth[["bead", "plane"]].drop_duplicates())
    assert truth["z"].between(-350, 350).all()
    electrons = (frames.astype(float) - RESPONSE.baseline_adu) * RESPONSE.electrons_per_adu
    dark = electrons[:, :15, :15].reshape(len(frames), -1)
    variance = truth["background"] + RESPONSE.read_noise_e**2 + RESPONSE.electrons_per_adu**2 / 12
    assert np.mean(dark.mean(axis=1) / truth["background"]) == pytest.approx(1, abs=0.01)
    assert np.mean(dark.var(axis=1) / variance) == pytest.approx(1, abs=0.02)
    light = [
        image[row - 9 : row + 10, column - 9 : column + 10].sum() - 19**2 * level
        for image, row, column, level in zip(
            electrons, truth["y"].round().astype(int), truth["x"].round().astype(int), truth["background"], strict=True
        )
    ]
    assert np.sum(light) / truth["photons"].sum() == pytest.approx(1, abs=0.03)


def test_one_stack_cannot_be_held_out() -> None:
    with pytest.raises(InputError, match="two bead stacks or more"):
        bench_stacks([Path("a.tif")], pixel_size_nm=110.0, z_step_nm=100.0)


def test_one_stack_has_none_to_be_held_against() -> None:
    optics = Optics(na=1.35, immersion_index=1.406, sample_index=1.406, emission_nm=690.0, pixel_size_nm=129.0)
    with pytest.raises(InputError, match="two bead stacks or more"):
        bench_real_sample([Path("a.tif")], optics, z_step_nm=100.0)


@pytest.mark.slow
def test_real_stacks_are_held_against_each_other(shared_data: Path) -> None:
    """Of few beads, one of them bright: their PSF is explained by the optics because it counts for more."""
    stacks = [shared_data / f"real_astigmatic_quadrant_{number}.tif" for number in (1, 2)]
    if not stacks[0].exists():
        pytest.skip("the real quadrants are not beside this checkout")
    optics = Optics(na=1.35, immersion_index=1.406, sample_index=1.406, emission_nm=690.0, pixel_size_nm=129.0)
    with pytest.warns(EasyZlocWarning, match="GUESSED"):
        pairs = bench_real_sample(stacks, optics, z_step_nm=100.0)["pairs"]
    assert [(pair["slide"], pair["sample"]) for pair in pairs] == [
        (stacks[0].name, stacks[1].name), (stacks[1].name, stacks[0].name),
    ]  # fmt: skip
    for pair in pairs:
        assert pair["explained"] > LEAST_CORRELATION
        assert pair["scale"] == pytest.approx(1, abs=0.1)
