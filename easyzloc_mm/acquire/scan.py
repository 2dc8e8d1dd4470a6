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
from easyzloc_mm.acquire.scan_ledger import FieldStatus, Ledger
from easyzloc_mm.acquire.scan_plan import ScanPlan
from easyzloc_mm.acquire.scan_verify import verify_scan
from easyzloc_mm.errors import HardwareError, InputError, LocalizerError
from easyzloc_mm.io.writing.kinds import LEDGER, Kind
from easyzloc_mm.io.writing.output import check_output, free_name, remove
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    from easyzloc_mm.localization.run_report import RunReport
    from easyzloc_mm.model.card import ModelCard

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanReport:
    """What a scan did.

    Attributes
    ----------
    out : Path
        Folder with one ``NAME.zarr`` per field and the ledger `LEDGER`.
    fields, done, already_done : int
        Fields in the plan, finished by this call, and finished before it.
    frames, frames_lost, localizations : int
        Sums over the fields that this call finished.
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

    Called again with the same plan, model and folder it leaves out the fields that are done; what an
    unfinished field had written stays beside its new run as ``NAME.partial-K.zarr``. A field that fails is
    written down and left, as long as the stages still answer.

    Parameters
    ----------
    around_run : callable, optional
        Gives a context that is entered around each field's run; called with the run, ``NAME.zarr``.

    Raises
    ------
    InputError
        A place leaves the profile's limits, or the folder belongs to another scan; nothing has moved.
    HardwareError
        The microscope is gone, or (at the end) some fields failed; finished fields are kept.
    """
    from easyzloc_mm.localization.live.stream import live_pool

    start = time.monotonic()
    fields = _field_profiles(microscope, profile, plan)
    out_dir = _open_folder(Path(out_dir), if_exists, card)
    ledger = Ledger(out_dir, plan, card.digest)
    todo = [name for name in fields if ledger.status(name) is not FieldStatus.DONE]
    settings = {"plan": plan.model_dump(mode="json"), "model": card.path, "profile": profile.model_dump(mode="json")}
    reports: list[RunReport] = []
    failed: list[str] = []
    with run_log("scan", settings, out_dir / LOG), live_pool(profile, card) as workers:
        for number, name in enumerate(todo):

            def image(run: Path, number: int = number, name: str = name) -> RunReport:
                def in_field(message: str, fraction: float) -> None:
                    if progress:
                        progress(f"{name}: {message}", (number + fraction) / len(todo))

                if plan.safe_z_um is not None:
                    microscope.move_z(plan.safe_z_um)
                with around_run(run):
                    return run_live(
                        microscope,
                        fields[name],
                        card,
                        run,
                        frames=fields[name].imaging.frames,
                        keep_raw=keep_raw,
                        progress=in_field,
                        workers=workers,
                    )

            try:
                reports.append(_image_field(name, out_dir / f"{name}.zarr", ledger, image))
            except (HardwareError, LocalizerError) as error:
                failed.append(f"{name}: {error}")
                # Raises when the instrument is gone: then there is no point in going on.
                microscope.position()
        whole = verify_scan(out_dir, quick=True).tell(logger)
    if failed:
        raise HardwareError(
            f"{len(failed)} of {len(fields)} fields failed ({failed[0]}); the others are kept in {out_dir}. "
            "Run the same scan again to repeat only what is missing"
        )
    return ScanReport(
        out=out_dir,
        fields=len(fields),
        done=len(todo),
        already_done=len(fields) - len(todo),
        frames=sum(report.frames for report in reports),
        frames_lost=sum(report.frames_lost for report in reports),
        localizations=sum(report.localizations for report in reports),
        seconds=time.monotonic() - start,
        whole=whole,
    )


def _open_folder(out_dir: Path, if_exists: Literal["resume", "overwrite"], card: ModelCard) -> Path:
    if out_dir.exists() and not (out_dir / LEDGER).exists():
        raise InputError(f"{out_dir} exists and is no scan: choose another `out`")
    check_output(out_dir, Kind.SCAN, if_exists=if_exists, inputs=[card.path], acquires=True)
    if if_exists == "overwrite":
        remove(out_dir)
    out_dir.mkdir(exist_ok=True)
    return out_dir


def _field_profiles(microscope: Microscope, profile: Profile, plan: ScanPlan) -> dict[str, Profile]:
    """Return the profile of each field, by its name and in the order of visits.

    Raises
    ------
    InputError
        A place leaves the limits.
    """
    here, limits = microscope.position(), profile.limits
    focus_um = next(z for z in (plan.focus_um, profile.imaging.focus_um, here.z_um) if z is not None)
    places = plan.places()
    for place in places:
        limits.check(x_um=place.position_um[0], y_um=place.position_um[1], z_um=focus_um + place.z_offset_um)
    limits.check(z_um=plan.safe_z_um)
    return {
        place.name: profile.replace(
            imaging={
                "frames": plan.frames or profile.imaging.frames,
                "start_position_um": place.position_um,
                "focus_um": focus_um + place.z_offset_um,
            }
        )
        for place in places
    }


def _image_field(name: str, run: Path, ledger: Ledger, image: Callable[[Path], RunReport]) -> RunReport:
    """Image one field, and write down what became of it."""
    if run.exists():  # what an unfinished run had written is kept
        run.rename(free_name(run, "partial"))
    ledger.note(name, FieldStatus.RUNNING, run)
    try:
        report = image(run)
    except (HardwareError, LocalizerError) as error:
        ledger.note(name, FieldStatus.FAILED, run, error=str(error))
        raise
    except BaseException:  # Ctrl-C above all
        ledger.note(name, FieldStatus.INTERRUPTED, run)
        raise
    ledger.note(
        name,
        FieldStatus.DONE,
        run,
        frames=report.frames,
        frames_lost=report.frames_lost,
        localizations=report.localizations,
    )
    return report
