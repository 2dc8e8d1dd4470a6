"""What is normal over the field is told from distinct beads, however often each was recorded."""

from __future__ import annotations

import numpy as np
import pandas as pd

from easyzloc_mm.beads.quality.judge import FLOORS, Reason, judge


def measured(place: np.ndarray, odd: np.ndarray) -> pd.DataFrame:
    """Beads of one make, but for the width along z of the odd ones."""
    rng, count = np.random.default_rng(6), len(place)
    table = pd.DataFrame({name: 0.01 * rng.random(count) for name in FLOORS} | {"edge": 0.0, "copy": 0.0})
    table = table.assign(saturated=0.0, neighbour_px=np.inf, snr=50.0, focus_um=50.0)
    for name, usual in (("axial_width_nm", 400.0), ("lateral_width_px", 1.3), ("lateral_length_px", 1.5)):
        table[name] = usual * np.exp(0.02 * rng.standard_normal(count))
    table.loc[odd, "axial_width_nm"] *= 2
    return table


def test_a_bead_that_was_recorded_often_is_one_place() -> None:
    places = np.random.default_rng(5).uniform(-0.5, 0.5, (10, 2))
    places[0] = 0.95, 0.95  # by itself in its corner: a surface would run through it
    bead = np.repeat(np.arange(10), 5)
    verdict = np.array(judge(measured(places[bead], bead == 0), places[bead], bead, field_known=True))
    assert (verdict[bead == 0] == Reason.AXIAL).all()
    assert (verdict[bead != 0] == "").all()


def test_what_changes_over_the_field_is_normal_where_enough_beads_show_it() -> None:
    rng = np.random.default_rng(7)
    corners = np.repeat([[-0.9, -0.9], [-0.9, 0.9], [0.9, -0.9], [0.9, 0.9]], 5, axis=0)
    places = np.concatenate([rng.uniform(-0.4, 0.4, (100, 2)), corners + rng.uniform(-0.1, 0.1, corners.shape)])
    table = measured(places, np.zeros(120, bool))
    table["axial_width_nm"] *= np.exp(0.35 * (places**2).sum(axis=1))
    assert judge(table, places, np.arange(120), field_known=True).count("") == 120
    assert judge(table, places, np.arange(120) % 10, field_known=True).count("") == 100
