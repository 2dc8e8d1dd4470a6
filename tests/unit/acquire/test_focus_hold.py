"""The focus held by the molecules: half an hour in accelerated time, against a stage whose true focus is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.acquire.focus.hold import DISPLACED, REFERENCE_MOLECULES, FocusHold
from easyzloc_mm.acquire.focus.witness import focus_shift
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.metadata import FocusMoveKind
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import F64, Frame, StagePosition

EXPOSURE_S = 0.2
HALF_HOUR = 9_000
PER_FRAME = 25
BLOCK, LATE_BLOCKS, BUFFERED = 8, 2, 3
"""Rows come in blocks, some blocks late; a frame that is handed out was exposed some frames ago."""
FACTOR = 0.8


class Instrument:
    """A stage, a sample that drifts, and molecules on two layers; the true focus is `error_nm`."""

    def __init__(self, drift_nm: F64, *, sign: float = 1.0) -> None:
        self.drift_nm, self.sign = drift_nm, sign
        self.z_um, self.focus_lock = 50.0, None
        self.rng = np.random.default_rng(1)
        self.error_nm = np.zeros(len(drift_nm))
        self.flagged = set[int]()

    def position(self) -> StagePosition:
        return StagePosition(0.0, 0.0, self.z_um)

    def move_z(self, z_um: float) -> float:
        self.z_um = z_um
        return z_um

    def molecules(self, frame: int, z_um: float) -> F64:
        shift = self.drift_nm[frame] + 1000 * FACTOR * self.sign * (z_um - 50.0)
        self.error_nm[frame] = shift
        count = self.rng.poisson(PER_FRAME)
        z = np.where(self.rng.random(count) < 0.5, -60.0, 90.0) + self.rng.normal(0, 45, count) + shift
        return np.where(self.rng.random(count) < 0.05, self.rng.uniform(-700, 700, count), z)  # unflagged outliers

    def run(self, hold: FocusHold) -> None:
        waiting: deque[tuple[int, list[F64]]] = deque()
        block: list[F64] = []

        def camera() -> Iterator[Frame]:
            for frame in range(len(self.drift_nm)):
                yield Frame(frame, np.zeros((1, 1), np.uint16), 0.0)

        was = deque([self.z_um] * BUFFERED)
        for frame in hold.held(camera()):
            was.append(self.z_um)
            block.append(self.molecules(frame.index, was.popleft()))
            if len(block) == BLOCK:
                waiting.append((frame.index + 1 - BLOCK, block))
                block = []
                if len(waiting) > LATE_BLOCKS:
                    marked = hold.mark(rows(*waiting.popleft()))
                    self.flagged.update(marked["frame"][marked["z_flag"] & DISPLACED > 0])
                    hold.see(marked)


def rows(first: int, block: list[F64]) -> pd.DataFrame:
    z = np.concatenate(block)
    frame = np.repeat(np.arange(first, first + len(block)), [len(part) for part in block])
    return pd.DataFrame({"frame": frame, "z": z, "z_flag": np.where(np.abs(z) > 700, 1, 0).astype(np.uint8)})


def profile(**focus: object) -> Profile:
    return load_profile("demo").replace(
        focus={"hold": "molecules", **focus},
        imaging={"exposure_ms": 1000 * EXPOSURE_S},
        localize={"focal_shift_factor": FACTOR},
    )


def hold_of(instrument: Instrument, **focus: object) -> FocusHold:
    return FocusHold(cast(Microscope, instrument), profile(**focus))


def kinds(hold: FocusHold) -> list[FocusMoveKind]:
    return [move.kind for move in hold.moves]


def warming_up(frames: int, drift_nm: float) -> F64:
    """Fast at first, as an instrument drifts that was just switched on."""
    time = np.arange(frames) / frames
    return cast(F64, drift_nm * (1 - np.exp(-3 * time)) / (1 - np.exp(-3)))


def test_two_micrometres_of_drift_in_half_an_hour_leave_the_focus_within_15_nm() -> None:
    instrument = Instrument(warming_up(HALF_HOUR, 2000.0))
    hold = hold_of(instrument)
    instrument.run(hold)
    assert kinds(hold)[:2] == [FocusMoveKind.PROBE, FocusMoveKind.PROBE_END]
    held_from = hold.moves[1].frame + BUFFERED
    assert held_from * EXPOSURE_S < 60
    at_the_start = instrument.error_nm[: REFERENCE_MOLECULES // PER_FRAME].mean()
    error = instrument.error_nm[held_from:] - at_the_start
    assert np.sqrt(np.mean(error**2)) <= 15.0
    assert instrument.z_um == pytest.approx(50.0 - (2.0 - at_the_start / 1000) / FACTOR, abs=0.05)
    # Whoever looks at the table is told of the rows that the test step displaced, all of them.
    displaced = np.flatnonzero(np.abs(instrument.error_nm[:held_from] - at_the_start) > 100)
    assert set(displaced.tolist()) <= instrument.flagged
    assert max(instrument.flagged) < held_from + 20
    corrections = [move for move in hold.moves if move.kind is FocusMoveKind.CORRECTION]
    assert all(move.uncertainty_nm and move.check_nm is not None and not move.doubt for move in corrections)
    steps = np.diff([50.0, *(move.z_um for move in corrections if move.z_um is not None)])
    assert np.abs(steps).max() <= 0.1 / FACTOR + 1e-9


def test_a_stage_with_the_wrong_sign_is_never_followed() -> None:
    instrument = Instrument(warming_up(1500, 200.0), sign=-1.0)
    hold = hold_of(instrument)
    with pytest.warns(EasyZlocWarning) as told:
        instrument.run(hold)
    assert "the stage's sign, or its unit, is wrong" in str(told[0].message)
    assert FocusMoveKind.CORRECTION not in kinds(hold)
    assert instrument.z_um == 50.0  # back from the test step
    assert any("has drifted" in str(warning.message) for warning in told)


def test_the_focus_is_not_taken_beyond_its_range() -> None:
    instrument = Instrument(warming_up(2000, 800.0))
    hold = hold_of(instrument, range_um=0.3)
    with pytest.warns(EasyZlocWarning, match="end of focus.range_um"):
        instrument.run(hold)
    assert min(move.z_um for move in hold.moves if move.z_um is not None) == pytest.approx(49.7)


def test_what_the_two_estimates_disagree_on_corrects_nothing() -> None:
    rng = np.random.default_rng(0)
    layers = rng.normal(0, 40, 2000)
    before = np.concatenate([layers[:1000] - 200, layers[1000:1900] + 200])
    # One layer is gone, nothing has moved.
    bleached = np.concatenate([layers[:300] - 200, layers[1000:1900] + 200])
    estimate = focus_shift(before, bleached)
    assert abs(estimate.check_nm) > 100  # the median is fooled, ...
    assert abs(estimate.shift_nm) < 10  # ... the overlap is not, and two that disagree are not believed
    assert estimate.doubt
    assert focus_shift(before, before[:50]).doubt
    moved = focus_shift(before, rng.permutation(before)[:800] - 37.0)
    assert not moved.doubt
    assert moved.shift_nm == pytest.approx(-37.0, abs=4 * moved.uncertainty_nm)


def test_a_lock_that_is_on_is_not_worked_against() -> None:
    """Its offset is moved where the profile knows the unit; else the drift is only told."""
    drift = warming_up(1500, 300.0)
    for per_unit in (None, -2.0):
        instrument: Any = Instrument(drift)
        lock = SimpleNamespace(is_on=True, at=7.0, offset=lambda: 7.0)

        def set_offset(value: float, instrument: Any = instrument) -> float:
            instrument.z_um = 50.0 - 2.0 * (value - 7.0)
            return float(instrument.z_um)

        lock.set_offset = set_offset
        instrument.focus_lock = lock

        def refuse(_z_um: float) -> float:
            raise InputError("the focus lock is on")

        instrument.move_z = refuse
        known = {} if per_unit is None else {"offset_um_per_unit": per_unit}
        locked = profile().replace(focus_lock={"device": "PFS", **known})
        hold = FocusHold(cast(Microscope, instrument), locked)
        if per_unit is None:
            with pytest.warns(EasyZlocWarning, match="has drifted"):
                instrument.run(hold)
            assert set(kinds(hold)) == {FocusMoveKind.WATCHED}
            assert instrument.z_um == 50.0
        else:
            instrument.run(hold)
            at_the_start = instrument.error_nm[: REFERENCE_MOLECULES // PER_FRAME].mean()
            assert np.sqrt(np.mean((instrument.error_nm[-500:] - at_the_start) ** 2)) <= 15.0


def test_profiles_of_the_earlier_names_are_read() -> None:
    old = load_profile("demo").replace(imaging={"hold_focus_nm": 40.0, "hold_focus_range_um": 1.5})
    assert (old.focus.hold, old.focus.tolerance_nm, old.focus.range_um) == ("molecules", 40.0, 1.5)
