"""The program is killed while it scans: called again it takes what is missing, and nothing twice."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.acquire.scans.ledger import read_ledger
from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import StoredFrames
from easyzloc_mm.io.runs.localizations import read_localizations
from tests.helpers.localize_bench import embedded_profile, small_bundle
from tests.helpers.night import Night, live_through, plate_plan

SIZE, EXPOSURE_MS = (128, 96), 10.0
FEW, MANY = 40, 600
"""Frames of the first field, and of the one in which the program is killed: it lasts for seconds."""


def test_kill_9_of_a_scan_and_going_on(tmp_path: Path) -> None:
    profile = embedded_profile(load_profile("demo"), *SIZE).replace(imaging={"exposure_ms": EXPOSURE_MS})
    plan = plate_plan(MANY, wells=1)
    first, second = plan.fields
    plan = plan.model_copy(update={"fields": (first.model_copy(update={"frames": FEW}), second)})
    night = Night(tmp_path, small_bundle(tmp_path / "model", field=SIZE), profile, plan, {"kill1": 1})
    assert live_through(night) == 2
    folder, content = tmp_path / "scan", read_ledger(tmp_path / "scan")
    states = [content.fields[name] for name in (first.name, second.name)]
    assert [(state.status, state.frames, state.frames_lost) for state in states] == [
        ("done", FEW, 0),
        ("done", MANY, 0),
    ]
    (between,) = content.interruptions
    assert states[0].time_s <= between.since_s < between.since_s + between.seconds <= states[1].time_s
    assert [len(state.parts) for state in states] == [0, 1]  # the first was over, and is not touched
    kept, taken = folder / states[1].parts[0], folder / f"{second.name}.zarr"
    assert StoredFrames(kept).shape[0] + StoredFrames(taken).shape[0] == MANY
    for store in (kept, taken):  # frames that nobody had localised when the program died, too
        table, metadata = read_localizations(store)
        assert metadata.complete
        assert metadata.frames_localized == StoredFrames(store).shape[0]
        assert len(table)
    assert verify(folder).whole
