"""Live 3D runs at many fields of view; a scan that was cut off continues where it stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import run_log
from easyzloc_mm.acquire.live import run_live
from easyzloc_mm.acquire.plans.forecast import ScanForecast, draw_travel, forecast_fields
from easyzloc_mm.acquire.plans.plan import Resume, ScanPlan
from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger
from easyzloc_mm.acquire.scans.parts import kept_parts
from easyzloc_mm.acquire.scans.verify import verify_scan
from easyzloc_mm.acquire.suspension import GaveUpError
from easyzloc_mm.errors import HardwareError, InputError, LocalizerError
from easyzloc_mm.io.writing.kinds import LEDGER, Kind
from easyzloc_mm.io.writing.output import check_output, free_name, remove
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    from easyzloc_mm.localization.live.status import LiveStatus
    from easyzloc_mm.localization.run_report import RunReport
    from easyzloc_mm.localization.workers.protocol import WorkerPool
    from easyzloc_mm.model.card import ModelCard

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanReport:
    """What a scan did.

    Attributes
    ----------
    out : Path
        Folder with one ``NAME.zarr`` per field and the ledger `LEDGER`.
    fields, done, already_done, skipped : int
        Fields in the plan, finished by this call, finished before it, and left by this call for lack of molecules.
    frames, frames_lost, localizations : int
        Sums over the fields that this call finished.
    light_s : float
        Time for which this call lit the sample.
    seconds : float
        Wall time of this call.
    whole : bool
        What the quick form of `verify` found at the end.
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
    skipped: int = 0
    light_s: float = 0.0

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
    down and left, as long as the stages still answer.

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
    for preset in {field.imaging.illumination for field in fields.values()}:
        microscope.check_illumination(preset)
    out_dir = _open_folder(Path(out_dir), if_exists, card)
    ledger = Ledger(out_dir, plan, card.digest)
    todo = [name for name in fields if not ledger.status(name).is_over]
    _check({name: fields[name] for name in todo}, plan, out_dir, keep_raw=keep_raw)
    settings = {"plan": plan.model_dump(mode="json"), "model": card.path, "profile": profile.model_dump(mode="json")}
    failed: list[str] = []
    lit_before_ms = microscope.lit_ms()
    with run_log("scan", settings, out_dir / LOG), live_pool(profile, card) as workers:
        scan = _Scan(microscope, plan, card, out_dir, ledger, workers, keep_raw, around_run)
        for number, name in enumerate(todo):

            def in_field(message: str, fraction: float, number: int = number, name: str = name) -> None:
                if progress:
                    progress(f"{name}: {message}", (number + fraction) / len(todo))

            try:
                scan.image_field(name, fields[name], in_field)
            except GaveUpError:
                raise
            except (HardwareError, LocalizerError) as error:
                failed.append(f"{name}: {error}")
                # Raises when the instrument is gone: then there is no point in going on.
                microscope.position()
        whole = verify_scan(out_dir, quick=True).tell(logger)
    if failed:
        raise HardwareError(
            f"{len(failed)} of {len(fields)} fields failed ({failed[0]}); the others are kept in {out_dir}. "
            "Run the same scan again to take only what is missing"
        )
    return ScanReport(
        out=out_dir,
        fields=len(fields),
        done=len(todo) - scan.skipped,
        already_done=len(fields) - len(todo),
        frames=scan.frames,
        frames_lost=scan.frames_lost,
        localizations=scan.localizations,
        seconds=time.monotonic() - start,
        whole=whole,
        skipped=scan.skipped,
        light_s=(microscope.lit_ms() - lit_before_ms) / 1000,
    )


def forecast_scan(
    profile: Profile, plan: ScanPlan, out_dir: Path, *, keep_raw: bool = True, picture: Path | None = None
) -> ScanForecast:
    """Return what a scan will need: limits, time, room, light. Reaches no device.

    Parameters
    ----------
    picture : Path, optional
        Where a map of the way is drawn, .png; an older one is replaced.
    """
    fields = field_profiles(profile, plan, None)
    found = forecast_fields(fields, out_dir, keep_raw=keep_raw, safe_z_um=plan.safe_z_um)
    if picture is None:
        return found
    return ScanForecast(**{**found.as_dict(), "picture": draw_travel(plan, fields, picture)})


def field_profiles(profile: Profile, plan: ScanPlan, z_um: float | None) -> dict[str, Profile]:
    """Return the profile of each field, by its name and in the order of visits.

    Parameters
    ----------
    z_um : float or None
        Where the stage stands, for plans that say nothing of depth.

    Raises
    ------
    InputError
        The plan leaves out every field, or names a preset without a group.
    """
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
        }
        # Limits are checked for all fields together, with better words.
        imaging = profile.imaging.model_copy(
            update={
                **{key: value for key, value in said.items() if value is not None},
                "start_position_um": place.position_um,
                "focus_um": focus_um,
            }
        )
        if imaging.illumination and not profile.devices.illumination_group:
            preset = imaging.illumination
            raise InputError(f"field {place.name}: the profile has no devices.illumination_group for '{preset}'")
        profiles[place.name] = profile.model_copy(update={"imaging": imaging})
    return profiles


def _check(fields: dict[str, Profile], plan: ScanPlan, out_dir: Path, *, keep_raw: bool) -> None:
    problems = forecast_fields(fields, out_dir, keep_raw=keep_raw, safe_z_um=plan.safe_z_um).problems
    if problems:
        more = f" ({len(problems) - 1} more problems: see the forecast)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)


def _open_folder(out_dir: Path, if_exists: Literal["resume", "overwrite"], card: ModelCard) -> Path:
    if out_dir.exists() and not (out_dir / LEDGER).exists():
        raise InputError(f"{out_dir} exists and is no scan: choose another `out`")
    check_output(out_dir, Kind.SCAN, if_exists=if_exists, inputs=[card.path], acquires=True)
    if if_exists == "overwrite":
        remove(out_dir)
    out_dir.mkdir(exist_ok=True)
    return out_dir


class _Scan:
    """A scan under way, with what it has counted so far."""

    def __init__(
        self,
        microscope: Microscope,
        plan: ScanPlan,
        card: ModelCard,
        out_dir: Path,
        ledger: Ledger,
        workers: WorkerPool,
        keep_raw: bool,
        around_run: Callable[[Path], AbstractContextManager[object]],
    ) -> None:
        self._microscope, self._plan, self._card, self._out_dir = microscope, plan, card, out_dir
        self._ledger, self._workers, self._keep_raw, self._around_run = ledger, workers, keep_raw, around_run
        self.frames = self.frames_lost = self.localizations = self.skipped = 0

    def image_field(self, name: str, profile: Profile, progress: Progress) -> None:
        """Image one field, or what is missing of it, and write down what became of it."""
        run = self._out_dir / f"{name}.zarr"
        if self._plan.resume is Resume.REPEAT and run.exists():
            run.rename(free_name(run, "partial"))
        kept = kept_parts(run, self._ledger, name, self._card, progress)
        left = profile.imaging.frames - kept.frames
        self._ledger.note(name, FieldStatus.RUNNING, run, parts=kept.names)
        report: RunReport | None = None
        taken: Path | None = None
        sparse = _Sparse(self._plan)
        try:
            if left > 0 and not kept.uses_up(profile.imaging.light_budget_ms):
                report, taken = self._take(run, kept.rest_of(profile, left), left, progress, sparse), run
        except (HardwareError, LocalizerError) as error:
            self._ledger.note(name, FieldStatus.FAILED, run, parts=kept.names, error=str(error))
            raise
        except BaseException:  # Ctrl-C above all
            self._ledger.note(name, FieldStatus.INTERRUPTED, run, parts=kept.names)
            raise
        counts = {
            key: getattr(kept, key) + (getattr(report, key) if report else 0)
            for key in ("frames", "frames_lost", "localizations")
        }
        status = FieldStatus.SKIPPED if sparse.found else FieldStatus.DONE
        lit_ms = report.light_ms if report else None
        self._ledger.note(name, status, taken, parts=kept.names, error=sparse.found, light_ms=lit_ms, **counts)
        self.skipped += status is FieldStatus.SKIPPED
        self.frames += counts["frames"]
        self.frames_lost += counts["frames_lost"]
        self.localizations += counts["localizations"]

    def _take(self, run: Path, profile: Profile, frames: int, progress: Progress, sparse: _Sparse) -> RunReport:
        if self._plan.safe_z_um is not None:
            if self._microscope.focus_lock is not None:
                self._microscope.focus_lock.off()
            self._microscope.move_z(self._plan.safe_z_um)
        with self._around_run(run):
            return run_live(
                self._microscope,
                profile,
                self._card,
                run,
                frames=frames,
                keep_raw=self._keep_raw,
                progress=progress,
                workers=self._workers,
                end_early=sparse.see,
            )


class _Sparse:
    """Ends a field's run early where there are too few molecules, by the plan's rule."""

    def __init__(self, plan: ScanPlan) -> None:
        self._least, self._look = plan.min_spots_per_frame, plan.look_frames
        self._looked = False
        self.found: str | None = None
        """Why the field was left."""

    def see(self, status: LiveStatus) -> str | None:
        """Look once, when enough frames are localised; return why the field is to be left."""
        if self._least is None or self._looked or status.localized < self._look:
            return None
        self._looked = True
        if status.spots_per_frame < self._least:
            seen = f"{status.spots_per_frame:.2g} molecules per frame"
            self.found = f"{seen}, fewer than min_spots_per_frame = {self._least:g}"
        return self.found
