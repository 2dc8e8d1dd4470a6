"""A night alone in short: a plate on the embedded microscope, its scan started again whenever something ended it.

The scan runs in a process of its own, so that it can be killed. What the fields are judged by is noted here by others
than the program: the shutter's openings on the way to MMCore, and the simulator's truth of where the focus was.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from easyzloc_mm.acquire.plans.plan import ScanField, ScanPlan
from easyzloc_mm.acquire.scans.ledger import LedgerContent, read_ledger
from easyzloc_mm.acquire.scans.scan import run_scan
from easyzloc_mm.errors import EasyZlocError
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.io.runs.ground_truth import read_record, records_folder
from easyzloc_mm.io.writing.kinds import LEDGER
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.embedded.truth import truth_beside
from tests.helpers.microscope_bench import running_core

WELLS = [f"{row}{column}" for row in "ABCD" for column in range(1, 7)]
FIELDS_PER_WELL = 2
PITCH_UM, FIELD_PITCH_UM, FIRST_UM = 1100.0, 60.0, (2800.0, -2000.0)
TROUBLE_S = 8.0
"""So long the disk is full, and the live view on: longer than to go to a field."""
NEAR_UM = 1.0
ENDS = ("kill1", "kill2", "kill3", "camera")
"""Faults that end a call of the scan; `disk` and `live` only make it wait."""
SHUTTERS, TIMES = "shutter.jsonl", "calls.jsonl"


@dataclass(frozen=True)
class Night:
    """What is scanned, and what goes wrong: each fault with the number of fields that are over when it comes."""

    folder: Path
    model: Path
    profile: Profile
    plan: ScanPlan
    faults: dict[str, int]


def plate_plan(frames: int, wells: int = len(WELLS), **more: Any) -> ScanPlan:
    """The plate: wells some millimetres apart, fields in each close to each other."""
    fields = []
    for number, well in enumerate(WELLS[:wells]):
        row, column = divmod(number, 6)
        for field in range(FIELDS_PER_WELL):
            x, y = FIRST_UM[0] + column * PITCH_UM + field * FIELD_PITCH_UM, FIRST_UM[1] + row * PITCH_UM
            fields.append(ScanField(name=f"{well}_{field}", position_um=(x, y)))
    return ScanPlan(name="night", frames=frames, focus_um=50.0, fields=tuple(fields), **more)


def scan_once(night: Night, faults: dict[str, int]) -> None:
    """Scan until it ends, with what goes wrong meanwhile; what it said is written beside the scan."""
    begin_s = time.time()
    said: dict[str, Any] = {"faults": faults}
    try:
        with connect(night.profile) as microscope:
            said["connected_s"] = time.time() - begin_s
            core = running_core()
            _watch_shutter(core, night.folder / SHUTTERS)
            go_wrong, left = _faults(core), dict(faults)

            @contextmanager
            def around(run: Path) -> Iterator[None]:
                for name in [name for name, at in left.items() if name in go_wrong and _over(night.folder) >= at]:
                    left.pop(name)
                    go_wrong[name]()
                with truth_beside(run):
                    yield

            card = ModelCard.load(night.model)
            report = run_scan(microscope, night.profile, night.plan, card, night.folder / "scan", around_run=around)
            said["report"] = {key: str(value) for key, value in report.as_dict().items()}
    except EasyZlocError as error:
        said["error"] = str(error)
    finally:
        _append(night.folder / TIMES, {**said, "seconds": time.time() - begin_s})


def live_through(night: Night, progress: Callable[[str], None] = lambda _line: None) -> int:
    """Start the scan again until it is done; return how often it was started."""
    left, calls = dict(sorted(night.faults.items(), key=lambda item: item[1])), 0
    while True:
        calls += 1
        now: dict[str, int] = {}
        while left and not set(now) & set(ENDS):
            name = next(iter(left))
            now[name] = left.pop(name)
        process = multiprocessing.get_context("spawn").Process(target=scan_once, args=(night, now))
        process.start()
        for name in now:
            if name.startswith("kill"):
                killed_at_s = _kill(process, night, now[name])
                _append(night.folder / SHUTTERS, {"time_s": killed_at_s, "open": False})
        process.join()
        progress(f"call {calls} ({now}): {_over(night.folder)} fields are over")
        if not left and not set(now) & set(ENDS):
            return calls


def _kill(process: Any, night: Night, at: int) -> float:
    """Kill the process when so many fields are over and the next one has some frames."""
    while process.is_alive():
        if _over(night.folder) >= at and _frames_of_the_newest(night.folder) > 20:
            process.kill()
            return time.time()
        time.sleep(0.05)
    raise AssertionError("the scan ended before it could be killed")


def _frames_of_the_newest(folder: Path) -> int:
    with contextlib.suppress(Exception):
        content = read_ledger(folder / "scan")
        name = next(name for name, state in content.fields.items() if state.status == "running")
        run = folder / "scan" / f"{name}.zarr"
        if holds_frames(run):
            return sum(1 for _ in (run / "frames" / "0" / "c").iterdir())
    return 0


def _over(folder: Path) -> int:
    if not (folder / "scan" / LEDGER).is_file():
        return 0
    return sum(state.status.is_over for state in read_ledger(folder / "scan").fields.values())


def _faults(core: Any) -> dict[str, Callable[[], None]]:
    def full_disk() -> None:
        real, until_s = shutil.disk_usage, time.monotonic() + TROUBLE_S

        def nothing_left(place: Any) -> Any:
            return SimpleNamespace(free=0) if time.monotonic() < until_s else real(place)

        shutil.disk_usage = nothing_left  # type: ignore[assignment]

    def unplugged() -> None:
        def gone(*_arguments: object) -> None:
            raise RuntimeError("camera 'Camera' is gone (error 19)")

        core.start_sequence_acquisition = gone

    def live_view() -> None:
        core.start_continuous_sequence_acquisition(0)
        threading.Timer(TROUBLE_S, core.stop_sequence_acquisition).start()

    return {"disk": full_disk, "camera": unplugged, "live": live_view}


def _watch_shutter(core: Any, log: Path) -> None:
    """Note every opening and closing of the shutter, and where the sample was."""
    switch, devices = core.set_shutter_open, ("XY",)

    def noted(*arguments: Any) -> None:
        where = [core.get_x_position(*devices), core.get_y_position(*devices)]
        _append(log, {"time_s": time.time(), "open": bool(arguments[-1]), "xy_um": where})
        switch(*arguments)

    core.set_shutter_open = noted


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def light_by_field(night: Night) -> dict[str, float]:
    """Time for which the shutter was open over each field, ms; and over none of them, as at the beads, under ``""``."""
    lines = [json.loads(line) for line in (night.folder / SHUTTERS).read_text(encoding="utf-8").splitlines()]
    lit = {place.name: 0.0 for place in night.plan.places()} | {"": 0.0}
    since: tuple[float, str] | None = None
    for line in lines:
        if since is not None:
            lit[since[1]] += 1000 * (line["time_s"] - since[0])
            since = None
        if line["open"]:
            places = night.plan.places()
            here = (place.name for place in places if math.dist(place.position_um, line["xy_um"]) < NEAR_UM)
            since = line["time_s"], next(here, "")
    return lit


def focus_by_run(night: Night, content: LedgerContent) -> dict[str, float]:
    """Where the focus was in each run that has its truth, nm: median over its emitters of z less their height."""
    found = {}
    for state in content.fields.values():
        for store in (*state.parts, *((state.run,) if state.run else ())):
            run = night.folder / "scan" / store
            if records_folder(run).is_dir():  # not of what was killed
                truth = read_record(run, "emitters")
                found[store] = float((truth["z"] - truth["sample_z"]).median())
    return found
