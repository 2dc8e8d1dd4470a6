"""How far a sample moved sideways between two times, on simulated tables whose drift is known."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.analysis.drift.displacement import displacement
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, KnownTable, drifting_table
from easyzloc_mm.typing import F64, I64

FRAMES = 1000


def ends(known: KnownTable) -> tuple[tuple[F64, I64], tuple[F64, I64], F64]:
    """Return positions and frames of the first fifth and of the last, and the displacement of their means, nm."""
    table = known.table.sort_values("frame", kind="stable")
    frame, place = table["frame"].to_numpy(np.int64), PIXEL_SIZE_NM * table[["x", "y"]].to_numpy(float)
    first, last = frame < known.frames // 5, frame >= known.frames - known.frames // 5
    path = known.drift_nm[:, :2]
    moved_nm = path[frame[last]].mean(axis=0) - path[frame[first]].mean(axis=0)
    return (place[first], frame[first]), (place[last], frame[last]), moved_nm


@pytest.mark.parametrize(("markers", "drift_nm"), [(0, 0.0), (0, 60.0), (0, 250.0), (4, 120.0)])
def test_the_displacement_is_found(markers: int, drift_nm: float) -> None:
    known = drifting_table(
        seed=41, frames=FRAMES, per_frame=8.0, edge_px=128, drift_nm=(drift_nm, drift_nm, 50.0), markers=markers
    )
    first, last, moved_nm = ends(known)
    found = displacement(*first, *last)
    assert found is not None
    assert np.hypot(*(found - moved_nm)) < max(8.0, 0.15 * np.hypot(*moved_nm))
    assert displacement(*first, *last) == found


def test_molecules_that_do_not_come_back_tell_nothing() -> None:
    first, _, _ = ends(drifting_table(seed=42, frames=FRAMES, per_frame=8.0, edge_px=128))
    _, last, _ = ends(drifting_table(seed=43, frames=FRAMES, per_frame=8.0, edge_px=128))
    assert displacement(*first, *last) is None
    assert displacement(first[0][:40], first[1][:40], first[0][40:80], first[1][40:80]) is None


def test_a_molecule_that_stays_on_counts_once() -> None:
    """Of molecules that are each on for thirty frames every accidental coincidence is there 900 times."""
    rng = np.random.default_rng(44)
    for _ in range(10):
        first, last = (np.repeat(rng.uniform(0, 20_000, (60, 2)), 30, axis=0) for _ in range(2))
        frame = np.tile(np.arange(30), 60)
        order = np.argsort(frame, kind="stable")
        scatter = rng.normal(0, 10, (2, 1800, 2))
        found = displacement((first + scatter[0])[order], frame[order], (last + scatter[1])[order], frame[order])
        assert found is None


def test_along_a_lone_filament_nothing_is_seen() -> None:
    rng = np.random.default_rng(45)

    def seen(count: int) -> F64:
        return np.column_stack([rng.uniform(0, 10_000, count), rng.normal(0, 15, count)])

    frame = np.arange(400) * 10
    assert displacement(seen(400), frame, seen(400), frame) is None
