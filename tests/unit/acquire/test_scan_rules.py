"""What a plan asks of a field: noted, the field left or taken again, its light counted; and beads between fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from easyzloc_mm.acquire.plans.plan import ScanField, ScanPlan
from easyzloc_mm.acquire.plans.rules import FieldRule
from easyzloc_mm.acquire.scans import field as field_of_scan
from easyzloc_mm.acquire.scans.bead_visit import DepthCheck, compare_depths
from easyzloc_mm.acquire.scans.ledger import LedgerContent, read_ledger
from easyzloc_mm.acquire.scans.measures import measure_field
from easyzloc_mm.acquire.scans.scan import ScanReport, forecast_scan, run_scan
from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.errors import HardwareError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter, update_run
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.localization.live import stream
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.workers.messages import FindThreshold, Localized, Outcome, ThresholdFound
from easyzloc_mm.typing import StagePosition

EXPOSURE_MS, PIXEL_NM = 30.0, 100.0


def write_run(run: Path, frames: int, per_frame: int, *, profile: Any = None, **columns: Any) -> int:
    """Write a run with so many rows in each frame; return how many rows it has."""
    about = RunMetadata(
        pixel_size_nm=PIXEL_NM, height_px=10, width_px=1000, frames=frames, complete=True, profile=profile
    )
    number = np.repeat(np.arange(frames, dtype=np.uint32), per_frame)
    rows: dict[str, Any] = {name: np.ones(len(number), np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)}
    rows |= {"z_flag": np.zeros(len(number), np.uint8), **columns, "frame": number}
    with LocalizationWriter.create(run, about) as table:
        table.append(pd.DataFrame(rows), frames_done=frames)
    return len(number)


def test_measures_are_those_of_the_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frames, per_frame = 100, 20
    count = frames * per_frame
    z = 30.0 + 0.8 * np.repeat(np.arange(frames), per_frame) + rng.normal(0, 5, count)
    flag = (rng.random(count) < 0.25).astype(np.uint8)
    z[flag != 0] = 9999.0
    photons, lpz = rng.gamma(3, 300, count), rng.uniform(10, 40, count)
    write_run(tmp_path / "whole.zarr", frames, per_frame, z=z, z_flag=flag, photons=photons, lpz=lpz)
    found = measure_field([tmp_path / "whole.zarr"])
    assert found is not None
    assert found.spots_per_frame == per_frame
    assert found.density_per_um2 == pytest.approx(per_frame / 100)
    assert found.flagged == pytest.approx(flag.mean())
    assert found.photons == pytest.approx(np.median(photons), rel=1e-6)
    assert found.lpz_nm == pytest.approx(np.median(lpz[flag == 0]), rel=1e-6)
    assert found.focus_nm == pytest.approx(np.median(z[flag == 0]), rel=1e-6)
    assert found.z_drift_nm == pytest.approx(0.8 * 80, abs=3.0)
    first = measure_field([tmp_path / "whole.zarr"], 10)
    assert first is not None
    assert first.focus_nm == pytest.approx(np.median(z[: 10 * per_frame][flag[: 10 * per_frame] == 0]), rel=1e-6)
    # In two parts it is the same field.
    half = count // 2
    for name, part in (("a", slice(0, half)), ("b", slice(half, count))):
        columns = {"z": z[part], "z_flag": flag[part], "photons": photons[part], "lpz": lpz[part]}
        write_run(tmp_path / f"{name}.zarr", frames // 2, per_frame, **columns)
    assert measure_field([tmp_path / "a.zarr", tmp_path / "b.zarr"]) == found
    write_run(tmp_path / "few.zarr", 10, 1)
    few = measure_field([tmp_path / "few.zarr"])
    assert few is not None
    assert (few.spots_per_frame, few.photons, few.focus_nm) == (1.0, None, None)
    rule = FieldRule.model_validate({"measure": "photons", "at_least": 500})
    assert rule.broken_by(few) == "too few molecules to tell photons"


def test_a_field_that_moved_sideways_breaks_its_rule(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frames, per_frame, moved_nm = 200, 10, np.array([-48.0, 64.0])
    sites = rng.uniform(10, 80, (300, 2))  # pixels
    which = rng.integers(0, len(sites), frames * per_frame)
    time = np.repeat(np.arange(frames), per_frame) / (frames - 1)
    # From the middle of the first fifth to that of the last are four fifths of the run.
    x, y = (sites[which] + time[:, None] * moved_nm / 0.8 / PIXEL_NM + rng.normal(0, 0.1, (len(which), 2))).T
    write_run(tmp_path / "moved.zarr", frames, per_frame, x=x, y=y)
    found = measure_field([tmp_path / "moved.zarr"])
    assert found is not None
    assert found.xy_drift_nm == pytest.approx(80.0, abs=8.0)
    rule = FieldRule.model_validate({"measure": "xy_drift_nm", "at_most": 50})
    assert re.fullmatch(r"xy_drift_nm is [78]\d(\.\d)?, more than 50", rule.broken_by(found))
    write_run(tmp_path / "never_twice.zarr", frames, per_frame, x=rng.uniform(10, 80, len(x)), y=rng.permutation(y))
    unknown = measure_field([tmp_path / "never_twice.zarr"])
    assert unknown is not None
    assert unknown.xy_drift_nm is None
    assert rule.broken_by(unknown) == "too few molecules come back to their places to tell xy_drift_nm"


def test_rules_that_cannot_be_are_refused_in_words() -> None:
    for wrong, words in (
        ({"measure": "photons"}, "give at_least, at_most or both"),
        ({"measure": "z_drift_nm", "at_most": 5, "at": "start"}, "known at the end only"),
        ({"measure": "photons", "at_least": 5, "then": "skip"}, "a field is left at its start"),
    ):
        with pytest.raises(ValidationError, match=words):
            FieldRule.model_validate(wrong)


class Instrument:
    """A microscope without devices, and runs whose molecules have the photons that are given, one run after another."""

    def __init__(self, photons: list[float]) -> None:
        self.photons, self.asked = photons, list[Any]()
        self.lit, self.z_um, self.xy_um = 0.0, 50.0, (0.0, 0.0)
        self.focus_lock = None
        self.profile = load_profile("demo")

    def lit_ms(self) -> float:
        return self.lit

    def position(self) -> StagePosition:
        return StagePosition(*self.xy_um, self.z_um)

    def move_z(self, z_um: float) -> float:
        self.z_um = z_um
        return z_um

    def move_xy(self, x_um: float, y_um: float) -> tuple[float, float]:
        self.xy_um = (x_um, y_um)
        return self.xy_um

    def check_illumination(self, _preset: str | None) -> None: ...

    def set_illumination(self, _preset: str | None) -> None: ...

    def set_exposure(self, ms: float) -> float:
        return ms

    @contextmanager
    def hold_shutter_open(self) -> Iterator[None]:
        yield

    def expose(self) -> Any:
        """An image that says where the stage was, in place of one of beads."""
        self.lit += EXPOSURE_MS
        return np.full((4, 4), round(1000 * (self.z_um - 40.0)), np.uint16)

    def run(self, _microscope: Any, profile: Any, _card: Any, out: Path, *, end_early: Any, **_rest: Any) -> RunReport:
        """Take a run as `run_live` does; once its first frames are there it looks whether to go on."""
        plan = profile.imaging
        self.asked.append((out.stem, plan.frames, plan.light_budget_ms, plan.bleach_ms))
        photons = self.photons.pop(0)
        stored = profile.model_dump(mode="json")
        rows = write_run(out, plan.frames, 5, profile=stored, photons=np.full(5 * plan.frames, photons))
        why = end_early(SimpleNamespace(localized=plan.frames))
        taken = 20 if why else plan.frames
        light_ms = taken * EXPOSURE_MS + (plan.bleach_ms or 0.0)
        self.lit += light_ms
        update_run(out, light_ms=light_ms, ended_by=why)
        return RunReport(
            out=out, frames=plan.frames, frames_lost=0, frames_per_s=1.0, localizations=rows, light_ms=light_ms,
            moving_s=0.0, paused_s=0.0,
        )  # fmt: skip


RETRY = {"measure": "photons", "at_least": 500, "at": "start", "then": "retry"}
FRAMES = 40


def scanned(
    out: Path, instrument: Instrument, monkeypatch: pytest.MonkeyPatch, **plan: Any
) -> tuple[ScanReport, LedgerContent]:
    fields = tuple(ScanField(name=f"A{i + 1}", position_um=(100.0 * i, 0.0)) for i in range(plan.pop("fields", 1)))
    whole = ScanPlan.model_validate({"name": "n", "frames": FRAMES, "look_frames": 20, "fields": fields, **plan})
    monkeypatch.setattr(field_of_scan, "run_live", instrument.run)
    card: Any = SimpleNamespace(digest="a", path=Path("a"), has_psf=False)
    report = run_scan(instrument, instrument.profile, whole, card, out)  # type: ignore[arg-type]
    assert report.whole
    assert verify(out).whole
    return report, read_ledger(out)


def test_a_field_that_breaks_a_rule_is_taken_again_and_its_light_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instrument = Instrument([300.0, 900.0])
    report, ledger = scanned(
        tmp_path / "scan", instrument, monkeypatch, rules=[RETRY], light_budget_ms=10_000.0, bleach_ms=500.0
    )
    first_ms = 20 * EXPOSURE_MS + 500.0
    # It is bleached only once, and the second attempt has the light that the first left.
    assert instrument.asked == [("A1", FRAMES, 10_000.0, 500.0), ("A1", FRAMES, 10_000.0 - first_ms, None)]
    state = ledger.fields["A1"]
    assert (state.status, state.verdict, state.retries, state.rejected) == ("done", "good", 1, ("A1.rejected-1.zarr",))
    assert state.light_ms == pytest.approx(first_ms + FRAMES * EXPOSURE_MS)
    assert (report.retried, report.poor, report.localizations) == (1, 0, 5 * FRAMES)
    assert state.measures is not None
    assert state.measures.photons == 900.0


def test_a_field_is_taken_again_only_so_often_and_only_with_light_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = Instrument([300.0] * 3)
    report, ledger = scanned(tmp_path / "often", stubborn, monkeypatch, rules=[{**RETRY, "retries": 2}])
    assert len(stubborn.asked) == 3
    assert ledger.fields["A1"].verdict == "poor"
    assert ledger.fields["A1"].reasons == ("photons is 300, less than 500",)
    assert (report.poor, report.retried) == (1, 2)
    # At its end the field breaks the rule too, and no light is left.
    late = {**RETRY, "at": "end"}
    dark = Instrument([300.0])
    _, ledger = scanned(tmp_path / "dark", dark, monkeypatch, rules=[late], light_budget_ms=FRAMES * EXPOSURE_MS)
    assert len(dark.asked) == 1
    assert ledger.fields["A1"].verdict == "poor"


def test_a_field_that_a_rule_leaves_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = Instrument([300.0, 900.0])
    report, ledger = scanned(tmp_path / "scan", instrument, monkeypatch, fields=2, rules=[{**RETRY, "then": "skip"}])
    assert [ledger.fields[name].verdict for name in ("A1", "A2")] == ["skipped", "good"]
    assert ledger.fields["A1"].error == "photons is 300, less than 500"
    assert (report.done, report.skipped) == (1, 1)
    assert scanned(tmp_path / "scan", instrument, monkeypatch, fields=2, rules=[{**RETRY, "then": "skip"}])[
        0
    ].already_done == 2  # fmt: skip
    # The words of plans of earlier versions.
    sparse = Instrument([900.0])
    _, ledger = scanned(tmp_path / "sparse", sparse, monkeypatch, min_spots_per_frame=6.0)
    assert ledger.fields["A1"].error == "spots_per_frame is 5, less than 6"


def test_a_rejection_that_was_cut_off_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if "rejected" in Path(target).name:
            raise Killed
        return rename(self, target)

    instrument, out = Instrument([300.0, 900.0]), tmp_path / "scan"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            scanned(out, instrument, monkeypatch, rules=[RETRY], light_budget_ms=10_000.0)
    _, ledger = scanned(out, instrument, monkeypatch, rules=[RETRY], light_budget_ms=10_000.0)
    state = ledger.fields["A1"]
    assert (state.verdict, state.rejected, state.parts) == ("good", ("A1.rejected-1.zarr",), ())
    assert instrument.asked[1] == ("A1", FRAMES, 10_000.0 - 20 * EXPOSURE_MS, None)


def test_a_forecast_tells_rules_light_and_visits(tmp_path: Path) -> None:
    plan = ScanPlan.model_validate(
        {
            "name": "n", "frames": 100, "positions_um": [(0.0, 0.0)] * 5, "rules": [RETRY], "bleach_ms": 2000.0,
            "bead_check": {"position_um": (0, 0), "focus_um": 50.0, "every_fields": 2},
        }
    )  # fmt: skip
    found = forecast_scan(load_profile("demo"), plan, tmp_path / "scan")
    assert found.rules == ("photons at least 500 at the start, else retry once",)
    assert found.light_s_per_field == pytest.approx(100 * EXPOSURE_MS / 1000 + 2.0)
    assert (found.bead_visits, found.problems) == (4, ())
    deep = plan.model_copy(update={"bead_check": plan.bead_check.model_copy(update={"focus_um": 1.0})})  # type: ignore[union-attr]
    below = forecast_scan(load_profile("demo"), deep, tmp_path / "scan").problems[0]
    assert below.startswith("bead_check: z = -1.400 um")
    dark = plan.model_copy(update={"light_budget_ms": 2000.0})
    no_light = forecast_scan(load_profile("demo"), dark, tmp_path / "scan").problems[0]
    assert "leaves nothing of the light budget" in no_light


def bead_rows(
    stage_nm: np.ndarray[Any, Any], frames: int, scale: float, focus_nm: float, seed: int = 3
) -> pd.DataFrame:
    """Localisations of beads at different heights, with a neighbour's faint ghost, and some flagged ones."""
    rng = np.random.default_rng(seed)
    beads = [(30.0 + 40 * i, 50.0, rng.normal(0, 40)) for i in range(6)]
    rows = []
    for plane, stage in enumerate(stage_nm):
        for frame in range(plane * frames, (plane + 1) * frames):
            for x, y, height in beads:
                z = scale * (stage - focus_nm) + height + rng.normal(0, 4)
                rows.append((frame, x + 0.002 * stage, y, z, 50_000.0, 0))
                rows.append((frame, x + 1.5, y, -z, 900.0, 0))
    rows.append((0, 250.0, 250.0, 0.0, 1e6, 0))  # seen once
    return pd.DataFrame(rows, columns=["frame", "x", "y", "z", "photons", "z_flag"])


def test_depths_of_beads_are_held_against_the_stage() -> None:
    stage = np.linspace(-400.0, 400.0, 5)
    true = compare_depths(bead_rows(stage, 3, 1.0, 70.0), stage, 3, 110.0)
    assert true.beads == 6
    assert true.error_nm == pytest.approx(0.0, abs=4.0)
    assert true.scale == pytest.approx(1.0, abs=0.01)
    assert true.focus_nm == pytest.approx(70.0, abs=40.0)
    wrong = compare_depths(bead_rows(stage, 3, 0.8, 70.0), stage, 3, 110.0)
    # A line of slope -0.2 through five planes.
    assert wrong.error_nm == pytest.approx(0.2 * np.sqrt(np.mean(stage**2)), abs=4.0)
    assert wrong.scale == pytest.approx(0.8, abs=0.01)
    few = bead_rows(stage, 3, 1.0, 0.0)
    assert compare_depths(few[few["x"] < 90.0], stage, 3, 110.0) == DepthCheck(2)
    assert compare_depths(few[:0], stage, 3, 110.0) == DepthCheck(0)


class ReadingPool:
    """Localising processes that read the stage off the images of `Instrument`; z is wrong by a factor."""

    def __init__(self, scale: list[float]) -> None:
        self._scale, self._block = scale, None

    def __call__(self, *_arguments: Any) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_what: object) -> None: ...

    def start(self) -> None: ...

    def drop(self) -> None: ...

    def submit(self, block: Any) -> None:
        self._block = block

    def outcomes(self, _patience_s: float) -> Iterator[Outcome]:
        block: Any = self._block
        if isinstance(block, FindThreshold):
            yield Outcome(block, ThresholdFound(5.0))
            return
        stage = block.source[:, 0, 0].astype(float)[::3] - 10_000.0
        yield Outcome(block, Localized(bead_rows(stage, 3, self._scale.pop(0), 0.0), 0))


CHECK = {"position_um": (-500, 0), "focus_um": 50.0, "every_fields": 2, "max_error_nm": 40.0}


def test_beads_are_visited_between_the_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = Instrument([900.0] * 3)
    monkeypatch.setattr(stream, "live_pool", ReadingPool([1.0, 1.05, 1.0]))
    report, ledger = scanned(tmp_path / "scan", instrument, monkeypatch, fields=3, bead_check=CHECK)
    assert [visit.after_fields for visit in ledger.visits] == [0, 2, 3]
    assert [visit.beads for visit in ledger.visits] == [6, 6, 6]
    assert ledger.visits[1].scale == pytest.approx(1.05, abs=0.01)
    assert ledger.visits[2].focus_moved_nm == pytest.approx(0.0, abs=1.0)
    assert ledger.visits[0].light_ms == 15 * EXPOSURE_MS
    assert report.done == 3
    # The fields' own light is without it.
    assert ledger.fields["A2"].light_ms == FRAMES * EXPOSURE_MS


def test_a_scan_ends_where_z_has_gone_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instrument, out = Instrument([900.0] * 4), tmp_path / "scan"
    monkeypatch.setattr(stream, "live_pool", ReadingPool([1.0, 0.8]))
    with pytest.raises(HardwareError, match=r"z of the beads is off by 5\d nm, more than 40 nm; the scan ends here"):
        scanned(out, instrument, monkeypatch, fields=4, bead_check=CHECK)
    ledger = read_ledger(out)
    assert [state.status for state in ledger.fields.values()] == ["done", "done"]
    assert ledger.visits[-1].trouble is not None
    # Started again it looks again, before any field.
    monkeypatch.setattr(stream, "live_pool", ReadingPool([1.0, 1.0]))
    _, mended = scanned(out, instrument, monkeypatch, fields=4, bead_check=CHECK)
    assert [visit.after_fields for visit in mended.visits] == [0, 2, 2, 4]
    assert "off by" in (out / "report" / "index.html").read_text(encoding="utf-8")
