"""What a live run says about itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.acquire.live import AlarmLog
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.localization.live.status import TOO_DENSE, LiveStatus, StatusMeter
from easyzloc_mm.localization.run_report import RunReport


def spots(frame: int, count: int, *, z: float = 0.0, photons: float = 2000.0, flag: int = 0, step: float = 40.0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(frame)
    table = pd.DataFrame({name: np.ones(count, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)})
    side = int(np.ceil(np.sqrt(count)))
    at = np.arange(count)
    return table.assign(
        frame=np.uint32(frame), x=step * (at % side), y=step * (at // side), z=z + rng.normal(0, 100, count),
        photons=photons, bg=30.0, lpz=25.0, z_flag=np.uint8(flag),
    )  # fmt: skip


def status(meter: StatusMeter, **changes: object) -> LiveStatus:
    told = {"frames": 300, "frames_lost": 0, "localized": 300, "waiting": 0, "oldest_waiting_s": None,
            "localizations": 9, "camera_running": True, **changes}  # fmt: skip
    return meter.status(**told)  # type: ignore[arg-type]


def test_figures_are_those_of_the_last_frames_and_drift_is_against_the_first() -> None:
    meter = StatusMeter(1000, area_um2=400.0)
    for frame in range(40):
        meter.see(spots(frame, 50), frame, 1)
    for frame in range(40, 300):
        meter.see(spots(frame, 20, z=150.0, photons=3000.0), frame, 1)
    now = status(meter, threshold={"min_snr": 5.1})
    assert now.spots_per_frame == pytest.approx(20)
    assert now.density_per_um2 == pytest.approx(0.05)
    assert (now.min_snr, now.min_net_gradient) == (5.1, None)
    assert (now.photons, now.background, now.lpz_nm, now.flagged) == (3000.0, 30.0, 25.0, 0.0)
    assert now.focus_drift_nm == pytest.approx(150.0, abs=15.0)
    assert now.alarms == ()
    assert "focus +1" in now.line()
    assert now.as_dict()["frames_expected"] == 1000


@pytest.mark.parametrize(
    ("seen", "told", "alarm"),
    [
        ({"step": 6.0}, {}, TOO_DENSE),
        ({"photons": 150.0}, {}, "too dim"),
        ({"flag": 1}, {}, "out of focus"),
        ({}, {"frames_lost": 3}, "3 frames dropped"),
        ({}, {"waiting": 400, "oldest_waiting_s": -1e6}, "localisation falls behind"),
    ],
)
def test_alarms(seen: dict[str, float], told: dict[str, object], alarm: str) -> None:
    meter = StatusMeter(1000)
    for frame in range(120):
        meter.see(spots(frame, 30, **seen), frame, 1)  # type: ignore[arg-type]
    now = status(meter, **told)
    assert now.alarms == (alarm,)
    assert now.line().startswith(f"! {alarm.upper()} ! ")


def test_an_alarm_that_lasts_is_told_at_the_end() -> None:
    log, meter = AlarmLog(), StatusMeter(1000)
    calm = status(meter)
    for number in range(10):
        raised = ("too dim", f"{number} frames dropped") if number < 4 else ("too dense",) if number == 9 else ()
        log.see(dataclasses.replace(calm, alarms=raised))
    # The report counts lost frames itself; what was on for a moment stands in the log.
    assert log.sentences() == ("too dim (for 40% of the run)",)


def test_a_run_that_is_mostly_flagged_does_not_look_like_success(tmp_path: Path) -> None:
    rows = pd.DataFrame({name: np.ones(50, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)})
    for flag, alarmed in ((4, True), (0, False)):
        out = tmp_path / f"{flag}.zarr"
        with LocalizationWriter.create(out, RunMetadata(pixel_size_nm=110, height_px=9, width_px=9)) as writer:
            writer.append(rows.assign(z_flag=np.uint8(flag)))
        report = RunReport(out=out, frames=9, frames_lost=2, frames_per_s=1.0, localizations=50).judged(out, ("dim",))
        assert report.flagged == float(alarmed)
        assert any("100% of the 50 localisations" in sentence for sentence in report.alarms) == alarmed
        assert any("2 frames were lost" in sentence for sentence in report.alarms)
        assert report.alarms[-1] == "dim"


def test_an_empty_beginning_says_nothing_wrong() -> None:
    now = status(StatusMeter(100), frames=0, localized=0)
    assert now.alarms == ()
    assert now.focus_drift_nm is None
    assert now.line().startswith("0 frames")
