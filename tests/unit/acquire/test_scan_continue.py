"""A field whose run was killed goes on: its frames are localised and kept, and only what is missing is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.acquire.plans.plan import Resume, ScanField, ScanPlan
from easyzloc_mm.acquire.scans import field as field_of_scan
from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger
from easyzloc_mm.acquire.scans.scan import run_scan
from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import FrameWriter, StoredFrames
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.writing.kinds import LEDGER
from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.live import stream
from easyzloc_mm.localization.offline import movie as offline
from easyzloc_mm.localization.pipeline import run_metadata
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import StagePosition
from tests.helpers.localize_bench import embedded_profile, small_bundle, spots_movie
from tests.helpers.one_process import OneProcess

SHAPE = (64, 96)
PLANNED = 30
MOVIE = spots_movie(PLANNED, SHAPE, spots=3)[0]
PLAN = ScanPlan(
    name="night", frames=PLANNED, light_budget_ms=10_000.0, fields=(ScanField(name="a", position_um=(0.0, 0.0)),)
)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return embedded_profile(load_profile("demo"), SHAPE[1], SHAPE[0])


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=(SHAPE[1], SHAPE[0])))


def killed_run(run: Path, frames: int, profile: Profile, card: ModelCard) -> None:
    """What `kill -9` leaves: frames on disk that nobody has counted, and no row."""
    how = LocalizerConfig(card.path, profile.camera.response, resolved(profile.localize, card, live=True))
    facts = run_metadata(card, how, SHAPE, 110.0, profile=profile.model_dump(mode="json"))
    LocalizationWriter.create(run, facts)
    raw = FrameWriter(run, SHAPE, pixel_size_nm=110.0, expected=PLANNED)
    for number in range(frames):
        raw.append(number, MOVIE[number])


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose localising processes were started; here none is a process."""
    started: list[str] = []

    def pool_of(owner: str) -> Callable[[LocalizerConfig, int], OneProcess]:
        class Noted(OneProcess):
            def start(self) -> None:
                if self._localizer is None:  # it may be started again: nothing happens
                    started.append(owner)
                    super().start()

        return Noted

    monkeypatch.setattr(stream, "Workers", pool_of("scan"))
    monkeypatch.setattr(offline, "Workers", pool_of("part"))
    return started


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, pools: list[str]) -> list[tuple[int, float | None]]:
    """Frames and light that the camera was asked for; each is taken, without a camera."""
    taken: list[tuple[int, float | None]] = []

    def take(_microscope: Any, profile: Profile, _card: Any, out: Path, *, frames: int, **_rest: Any) -> RunReport:
        taken.append((frames, profile.imaging.light_budget_ms))
        with LocalizationWriter.create(
            out, RunMetadata(pixel_size_nm=110.0, height_px=64, width_px=96, complete=True, frames=frames)
        ) as table:
            table.append(pd.DataFrame({name: np.zeros(2 * frames, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)}))
        return RunReport(
            out=out, frames=frames, frames_lost=0, frames_per_s=1.0, localizations=2 * frames, light_ms=10.0 * frames
        )

    monkeypatch.setattr(field_of_scan, "run_live", take)
    return taken


def begin(out: Path, card: ModelCard, frames: int, profile: Profile, plan: ScanPlan = PLAN) -> None:
    out.mkdir()
    Ledger(out, plan, card.digest).note("a", FieldStatus.RUNNING, out / "a.zarr")
    killed_run(out / "a.zarr", frames, profile, card)


def go_on(out: Path, card: ModelCard, profile: Profile, plan: ScanPlan = PLAN) -> dict[str, Any]:
    microscope: Any = SimpleNamespace(
        position=lambda: StagePosition(0.0, 0.0, 50.0),
        lit_ms=lambda: 0.0,
        focus_lock=None,
        check_illumination=lambda _preset: None,
    )
    report = run_scan(microscope, profile, plan, card, out)
    assert report.whole
    return dict(json.loads((out / LEDGER).read_text(encoding="utf-8"))["fields"]["a"])


def test_what_is_there_is_localised_and_the_rest_is_taken(
    tmp_path: Path, card: ModelCard, profile: Profile, asked: list[tuple[int, float | None]], pools: list[str]
) -> None:
    out = tmp_path / "scan"
    begin(out, card, 12, profile)
    field = go_on(out, card, profile)
    assert pools == ["scan"]  # those that the scan needs anyway
    # 12 frames of 10 ms have lit the sample already.
    assert asked == [(18, 10_000.0 - 120.0)]
    assert (field["status"], field["run"], field["parts"]) == ("done", "a.zarr", ["a.part-1.zarr"])
    part = out / "a.part-1.zarr"
    assert np.array_equal(StoredFrames(part).read(0, 12), MOVIE[:12])
    table, metadata = read_localizations(part)
    assert metadata.complete
    assert len(np.unique(table["frame"])) == 12
    assert (field["frames"], field["localizations"]) == (30, 36 + len(table))
    assert verify(out).whole
    # Killed again, in what was left: nothing is taken twice.
    ledger = Ledger(out, PLAN, card.digest)
    ledger.note("a", FieldStatus.RUNNING, out / "a.zarr", parts=ledger.state("a").parts)
    (out / "a.zarr").rename(out / "elsewhere")
    killed_run(out / "a.zarr", 5, profile, card)
    field = go_on(out, card, profile)
    assert asked[1:] == [(13, 10_000.0 - 170.0)]
    assert (field["frames"], field["parts"]) == (30, ["a.part-1.zarr", "a.part-2.zarr"])


def test_a_run_that_was_killed_at_its_end_needs_no_camera(
    tmp_path: Path, card: ModelCard, profile: Profile, asked: list[tuple[int, float | None]]
) -> None:
    begin(tmp_path / "scan", card, PLANNED, profile)
    field = go_on(tmp_path / "scan", card, profile)
    assert asked == []
    assert (field["status"], field["frames"], field["parts"]) == ("done", PLANNED, ["a.part-1.zarr"])
    assert "run" not in field


def test_a_plan_may_ask_for_the_field_anew(
    tmp_path: Path, card: ModelCard, profile: Profile, asked: list[tuple[int, float | None]]
) -> None:
    plan = PLAN.model_copy(update={"resume": Resume.REPEAT})
    begin(tmp_path / "scan", card, 3, profile, plan)
    field = go_on(tmp_path / "scan", card, profile, plan)
    # What the three frames of 10 ms lit is gone from the budget.
    assert asked == [(PLANNED, 10_000.0 - 30.0)]
    assert "parts" not in field
    assert StoredFrames(tmp_path / "scan" / "a.partial-1.zarr").shape[0] == 3


def test_a_run_without_a_frame_is_put_beside(
    tmp_path: Path, card: ModelCard, profile: Profile, asked: list[tuple[int, float | None]]
) -> None:
    begin(tmp_path / "scan", card, 0, profile)
    field = go_on(tmp_path / "scan", card, profile)
    assert [frames for frames, _ in asked] == [PLANNED]
    assert "parts" not in field
    assert (tmp_path / "scan" / "a.partial-1.zarr").is_dir()


def test_a_run_begun_with_other_settings_is_ended_with_them(
    tmp_path: Path, card: ModelCard, profile: Profile, asked: list[tuple[int, float | None]], pools: list[str]
) -> None:
    begin(tmp_path / "scan", card, 12, profile)
    begun = read_localizations(tmp_path / "scan" / "a.zarr")[1].localize
    field = go_on(tmp_path / "scan", card, profile.replace(localize={"min_snr": 9.0}))
    assert (field["status"], field["parts"]) == ("done", ["a.part-1.zarr"])
    assert read_localizations(tmp_path / "scan" / "a.part-1.zarr")[1].localize == begun
    assert "part" in pools
