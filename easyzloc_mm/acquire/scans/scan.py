"""Live 3D runs at many fields of view; a scan that was cut off continues where it stopped."""

from __future__ import annotations

import dataclasses
import logging
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import run_log
from easyzloc_mm.acquire.plans.forecast import ScanForecast, draw_travel, forecast_fields
from easyzloc_mm.acquire.plans.plan import ScanPlan
from easyzloc_mm.acquire.scans.bead_visit import BeadVisitor
from easyzloc_mm.acquire.scans.field import FieldTaker
from easyzloc_mm.acquire.scans.ledger import Ledger, read_ledger
from easyzloc_mm.acquire.scans.results.page import REPORT, write_scan_page
from easyzloc_mm.acquire.scans.results.plate import grow_plate
from easyzloc_mm.acquire.scans.results.verify import verify_scan
from easyzloc_mm.acquire.suspension import GaveUpError
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError, LocalizerError
from easyzloc_mm.io.writing.kinds import LEDGER, Kind
from easyzloc_mm.io.writing.output import check_output, remove
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    from easyzloc_mm.model.card import ModelCard

logger = logging.getLogger(__name__)

MOST_IN_A_ROW = 3
"""So many fields one after another fail, and a scan ends: no other field would fare better."""


@dataclass(frozen=True)
class ScanReport:
    """What a scan did.

    Attributes
    ----------
    out : Path
        Folder with one ``NAME.zarr`` per field and the ledger `LEDGER`.
    fields, done, already_done, skipped : int
        Fields in the plan, finished by this call, finished before it, and left by this call.
    poor, retried : int
        Finished fields that break a rule of the plan, and how often one was taken again for that.
    frames, frames_lost, localizations : int
        Sums over the fields that this call finished.
    light_s : float
        Time for which this call lit the sample.
    seconds, overhead_s : float
        Wall time of this call, and what of it was neither moving, nor waiting in a pause, nor light, nor at the beads.
    whole : bool
        What the quick form of `verify` found at the end.
    page : Path
        Map, pictures and verdicts of the fields.
    """

    out: Path
    fields: int
    done: int
    already_done: int
    frames: int
    frames_lost: int
    localizations: int
    seconds: float
    whole: bool
    page: Path
    skipped: int = 0
    poor: int = 0
    retried: int = 0
    light_s: float = 0.0
    overhead_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


def run_scan(
    microscope: Microscope,
    profile: Profile,
    plan: ScanPlan,
    card: ModelCard,
    out_dir: Path,
    *,
    keep_raw: bool = True,
    if_exists: Literal["resume", "overwrite"] = "resume",
    progress: Progress | None = None,
    around_run: Callable[[Path], AbstractContextManager[object]] = nullcontext,
) -> ScanReport:
    """Run a live 3D run at every place of `plan`: one store per field, and a ledger.

    Called again with the same plan, model and folder it leaves out the fields that are done. Of a field that was cut
    off the frames are localised and kept as ``NAME.part-K.zarr``, and those that are missing are taken; or, by the
    plan's `resume`, it is taken anew, and what it had stays as ``NAME.partial-K.zarr``. A field that fails is written
    down and left, as long as the stages still answer and no three fail one after another.

    Parameters
    ----------
    around_run : callable, optional
        Gives a context that is entered around each field's run; called with the run, ``NAME.zarr``.

    Raises
    ------
    InputError
        A place leaves the limits, a preset is not there, the disk cannot hold the frames, or the folder belongs
        to another scan; nothing has moved.
    HardwareError
        The microscope is gone, or (at the end) some fields failed; finished fields are kept.
    """
    from easyzloc_mm.localization.live.stream import live_pool

    start = time.monotonic()
    fields = field_profiles(profile, plan, microscope.position().z_um)
    _check(fields, plan, out_dir, keep_raw=False)
    for preset in _presets(fields, plan):
        microscope.check_illumination(preset)
    out_dir = _open_folder(Path(out_dir), if_exists, card)
    ledger = Ledger(out_dir, plan, card.digest)
    todo = [name for name in fields if not ledger.state(name).status.is_over]
    _check({name: fields[name] for name in todo}, plan, out_dir, keep_raw=keep_raw)
    settings = {"plan": plan.model_dump(mode="json"), "model": card.path, "profile": profile.model_dump(mode="json")}
    lit_before_ms = microscope.lit_ms()
    with run_log("scan", settings, out_dir / LOG), live_pool(profile, card) as workers:
        taker = FieldTaker(microscope, plan, card, ledger, workers, keep_raw, around_run)
        check = plan.bead_check
        beads = None if check is None else BeadVisitor(microscope, check, ledger, workers, plan.safe_z_um)
        if todo:
            ledger.note_interruption()
        try:
            with _Pictures(out_dir) as pictures:
                wanted = {name: fields[name] for name in todo}
                failed = _take_all(wanted, out_dir, microscope, taker, beads, pictures, progress)
        finally:
            _show(out_dir)
        whole = verify_scan(out_dir, quick=True).tell(logger)
    if failed:
        left = len(fields) - ledger.over - len(failed)
        not_begun = f", and {left} were not begun" if left else ""
        raise HardwareError(
            f"{len(failed)} of {len(fields)} fields failed ({failed[0]}){not_begun}; the others are kept in {out_dir}. "
            "Run the same scan again to take only what is missing"
        )
    totals = asdict(taker.totals)
    seconds = time.monotonic() - start
    return ScanReport(
        out=out_dir,
        fields=len(fields),
        done=len(todo) - taker.totals.skipped,
        already_done=len(fields) - len(todo),
        seconds=seconds,
        overhead_s=seconds - totals.pop("accounted_s") - (beads.seconds if beads else 0.0),
        whole=whole,
        light_s=(microscope.lit_ms() - lit_before_ms) / 1000,
        page=out_dir / REPORT / "index.html",
        **totals,
    )


def _take_all(
    fields: dict[str, Profile],
    out_dir: Path,
    microscope: Microscope,
    taker: FieldTaker,
    beads: BeadVisitor | None,
    pictures: _Pictures,
    progress: Progress | None,
) -> list[str]:
    """Take fields one after the other, with the beads between them; return which failed, and why."""
    failed: list[str] = []
    in_a_row = 0
    for number, (name, profile) in enumerate(fields.items()):

        def in_field(message: str, fraction: float, number: int = number, name: str = name) -> None:
            if progress:
                progress(f"{name}: {message}", (number + fraction) / len(fields))

        if beads is not None:
            beads.visit_if_due()
        try:
            taker.take(out_dir / f"{name}.zarr", profile, in_field)
        except GaveUpError:
            raise
        except (HardwareError, LocalizerError) as error:
            failed.append(f"{name}: {error}")
            in_a_row += 1
            # Raises when the instrument is gone: then there is no point in going on.
            microscope.position()
            if in_a_row == MOST_IN_A_ROW:
                logger.warning("%d fields in a row have failed: the scan ends", in_a_row)
                break
        else:
            in_a_row = 0
            pictures.draw()
    if beads is not None and fields and not failed:
        beads.visit_if_due(at_end=True)
    return failed


class _Pictures:
    """Draws the fields that are over while the next one is taken."""

    def __init__(self, out_dir: Path) -> None:
        self._out_dir = out_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._asked: list[Future[None]] = []

    def draw(self) -> None:
        """Have the plate brought up to date."""
        self._asked.append(self._thread.submit(_show, self._out_dir, page=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_what: object) -> None:
        self._thread.shutdown()
        if kind is None:  # else that is the error that counts
            for asked in self._asked:
                asked.result()


def _show(out_dir: Path, *, page: bool = True) -> None:
    """Bring the plate, and the page, up to date; what hinders that does not hinder the scan."""
    try:
        if page:
            write_scan_page(out_dir)
        else:
            grow_plate(out_dir, read_ledger(out_dir))
    except (OSError, InputError) as error:
        warnings.warn(
            f"the pictures of {out_dir} could not be written ({error}): `easyzloc-mm report {out_dir}` makes them",
            EasyZlocWarning,
            stacklevel=2,
        )


def _presets(fields: dict[str, Profile], plan: ScanPlan) -> set[str | None]:
    """Return every preset of light that the scan will ask for."""
    presets = {field.imaging.illumination for field in fields.values()}
    presets |= {field.imaging.bleach_illumination for field in fields.values() if field.imaging.bleach_ms}
    return presets | ({plan.bead_check.illumination} if plan.bead_check else set())


def forecast_scan(
    profile: Profile, plan: ScanPlan, out_dir: Path, *, keep_raw: bool = True, picture: Path | None = None
) -> ScanForecast:
    """Return what a scan will need: limits, time, room, light. Reaches no device.

    Parameters
    ----------
    picture : Path, optional
        Where a map of the way is drawn, .png; an older one is replaced.

    Raises
    ------
    InputError
        `out_dir` is something else than a scan, or the plan leaves out every field.
    """
    _check_folder(out_dir)
    fields = field_profiles(profile, plan, None)
    found = forecast_fields(fields, out_dir, keep_raw=keep_raw, plan=plan)
    if picture is None:
        return found
    return dataclasses.replace(found, picture=draw_travel(plan, fields, picture))


def field_profiles(profile: Profile, plan: ScanPlan, z_um: float | None) -> dict[str, Profile]:
    """Return the profile of each field, by its name and in the order of visits.

    Parameters
    ----------
    z_um : float or None
        Where the stage stands, for plans that say nothing of depth.

    Raises
    ------
    InputError
        The plan leaves out every field, or one that there is not, or names a preset without a group.
    """
    plan.check_skip()
    places = plan.places()
    if not places:
        raise InputError("the plan leaves out all of its fields: correct `skip`")
    profiles = {}
    for place in places:
        focus_um = plan.focus_at(place)
        if focus_um is None:
            below_um = profile.imaging.focus_um if profile.imaging.focus_um is not None else z_um
            focus_um = None if below_um is None else below_um + place.z_offset_um
        said = {
            "frames": place.frames or plan.frames,
            "exposure_ms": place.exposure_ms,
            "illumination": place.illumination,
            "light_budget_ms": plan.light_budget_ms,
            "bleach_ms": plan.bleach_ms,
            "bleach_illumination": plan.bleach_illumination,
        }
        # Limits are checked for all fields together, with better words.
        imaging = profile.imaging.model_copy(
            update={
                **{key: value for key, value in said.items() if value is not None},
                "start_position_um": place.position_um,
                "focus_um": focus_um,
            }
        )
        preset = imaging.illumination or (imaging.bleach_illumination if imaging.bleach_ms else None)
        if preset and not profile.devices.illumination_group:
            raise InputError(f"field {place.name}: the profile has no devices.illumination_group for '{preset}'")
        profiles[place.name] = profile.model_copy(update={"imaging": imaging})
    return profiles


def _check(fields: dict[str, Profile], plan: ScanPlan, out_dir: Path, *, keep_raw: bool) -> None:
    problems = forecast_fields(fields, out_dir, keep_raw=keep_raw, plan=plan).problems
    if problems:
        more = f" ({len(problems) - 1} more problems: see the forecast)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)


def _check_folder(out_dir: Path) -> None:
    if out_dir.exists() and not (out_dir / LEDGER).exists():
        raise InputError(f"{out_dir} exists and is no scan: choose another `out`")


def _open_folder(out_dir: Path, if_exists: Literal["resume", "overwrite"], card: ModelCard) -> Path:
    _check_folder(out_dir)
    check_output(out_dir, Kind.SCAN, if_exists=if_exists, inputs=[card.path], acquires=True)
    if if_exists == "overwrite":
        remove(out_dir)
    out_dir.mkdir(exist_ok=True)
    return out_dir
