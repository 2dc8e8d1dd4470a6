"""`bench density`: beads at random places, of which the judge must take those that are alone."""

from __future__ import annotations

import pytest

from easyzloc_mm.benchmarks.bead_density import bench_density
from easyzloc_mm.benchmarks.second_optics.lens import Lens, Mask
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::easyzloc_mm.errors.EasyZlocWarning")  # of few usable beads
def test_beads_of_a_slide_are_counted_against_its_truth() -> None:
    small = SecondMicroscope(lens=Lens(), width_px=128, height_px=128, field_nodes=2)
    sparse, crowded = bench_density(mask=Mask.NONE, per_um2=(0.06, 0.6), fields=1, microscope=small, seed=2)["slides"]
    # Within 102 x 102 px of 0.11 um.
    assert (sparse["beads"], crowded["beads"]) == (8, 76)
    assert 0 < sparse["accepted"] <= sparse["alone"] < 8
    assert (sparse["accepted_near"], sparse["refused"]) == (0, None)
    assert crowded["alone"] < 8 * sparse["alone"]
    assert crowded["accepted_near"] <= crowded["accepted"] < crowded["alone"]
