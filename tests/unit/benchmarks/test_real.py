"""`bench accuracy --real`: the turn of Picasso's spline, on beads whose depths are known."""

from __future__ import annotations

import pytest

from easyzloc_mm.beads.build import bead_set_from_rois
from easyzloc_mm.benchmarks.accuracy import real
from tests.helpers.lobed_beads import RESPONSE, astigmatic, ready_cut


@pytest.mark.slow
def test_the_spline_learns_from_the_training_beads_and_is_judged_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "SPLINE_MOLECULES", 200)
    beads = bead_set_from_rois(ready_cut(astigmatic, 10, 11), RESPONSE, 110.0, 100.0)
    whole, near = real.spline_turn(beads, 0, [(-800.0, 800.0), (-400.0, 400.0)])
    # A cylindrical lens tells z of such molecules to 20 to 40 nm near focus; a mirrored z would be off by hundreds.
    assert 10 < near["robust_z_nm"] < 60
    assert near["robust_z_nm"] <= whole["robust_z_nm"] < 150
    for found in (whole, near):
        assert 0.3 < found["coverage_68"] < found["coverage_95"] <= 1
