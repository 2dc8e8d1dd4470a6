"""A night alone, in short: 24 wells with two fields each, and everything that goes wrong in a night.

The share of overhead is that of a computer with a core to spare: on one that others use, too, everything beside the
exposures takes several times as long.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaozarrs

from easyzloc_mm.acquire.scans.ledger import read_ledger
from easyzloc_mm.acquire.scans.results.plate import PLATE
from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.io.images.plates import listed_places
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import StoredFrames
from easyzloc_mm.io.runs.localizations import read_metadata
from tests.helpers.localize_bench import embedded_profile, small_bundle
from tests.helpers.night import TIMES, Night, focus_by_run, light_by_field, live_through, plate_plan

FRAMES, SIZE, EXPOSURE_MS = 1500, (128, 96), 10.0
BUDGET_MS = 1.4 * FRAMES * EXPOSURE_MS
LOCK: dict[str, object] = {"device": "Lock", "settle_ms": 250, "settle_ms_per_mm": 600, "timeout_s": 2.0}
FAULTS = {"kill1": 7, "disk": 12, "kill2": 20, "live": 27, "camera": 33, "kill3": 41}
FOCUS_NM, OVERHEAD = 50.0, 0.05


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_night_takes_every_field_exactly_once(tmp_path: Path) -> None:
    profile = embedded_profile(load_profile("demo"), *SIZE).replace(
        focus_lock=LOCK, imaging={"exposure_ms": EXPOSURE_MS}
    )
    model = small_bundle(tmp_path / "model", field=SIZE)
    night = Night(tmp_path, model, profile, plate_plan(FRAMES, light_budget_ms=BUDGET_MS), FAULTS)
    assert live_through(night) == 5  # four faults end a call
    folder, names = tmp_path / "scan", [place.name for place in night.plan.places()]
    content = read_ledger(folder)
    assert list(content.fields) == names
    for name, state in content.fields.items():
        assert (state.status, state.frames_lost) == ("done", 0), name
        # A busy machine makes fewer frames of the same light than were asked for.
        assert state.frames == FRAMES or "light budget" in (state.ended_by or ""), name
        stores = [folder / store for store in (*state.parts, *((state.run,) if state.run else ()))]
        assert sum(StoredFrames(store).shape[0] for store in stores) == state.frames
    cut_off = [name for name, state in content.fields.items() if state.parts]
    assert len(cut_off) == 3
    # What made the scan wait is told by the run that waited.
    pauses = [pause.reason for name in names for pause in read_metadata(folder / f"{name}.zarr").pauses]
    assert any("the disk has" in reason for reason in pauses)
    assert any("switch Live off" in reason for reason in pauses)
    said = [json.loads(line) for line in (tmp_path / TIMES).read_text(encoding="utf-8").splitlines()]
    assert any("camera 'Camera' is gone" in line.get("error", "") for line in said)
    # The simulator knows where the focus was, and who watched the shutter how long each field was lit.
    assert max(abs(off_nm) for off_nm in focus_by_run(night, content).values()) < FOCUS_NM
    light = light_by_field(night)
    assert light.pop("") == 0.0
    assert max(light.values()) <= BUDGET_MS
    for name in names:  # of a killed run the light is known by its frames alone
        frame_ms = light[name] / (content.fields[name].frames or FRAMES)
        assert content.fields[name].light_ms == pytest.approx(light[name], rel=0.1, abs=30 * frame_ms), name
    yaozarrs.validate_zarr_store(str(folder / PLATE))
    assert len(listed_places(folder / PLATE)) == len(names)
    assert verify(folder).whole
    undisturbed = [content.fields[name] for name in names if name not in cut_off]
    shares = [(state.overhead_s or 0.0) / (state.seconds or 1.0) for state in undisturbed]
    assert np.median(shares) < OVERHEAD
