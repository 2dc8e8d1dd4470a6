"""Live 3D runs at many fields of view; a scan that was cut off goes on where it stopped."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from easyzloc_mm._models import Finite, Positive
from easyzloc_mm.acquire.live import run_live
from easyzloc_mm.errors import HardwareError, InputError, LocalizerError
from easyzloc_mm.io.atomic import put_file
from easyzloc_mm.io.kinds import LEDGER, Kind
from easyzloc_mm.io.output import check_output, remove
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Position, Profile
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    from easyzloc_mm.model.card import ModelCard

SCHEMA = 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Grid(_Strict):
    """Fields on a grid; `first_um` is the corner with the smallest x and y."""

    first_um: Position
    columns: Annotated[int, Field(ge=1)]
    rows: Annotated[int, Field(ge=1)]
    spacing_um: Positive


class ScanField(_Strict):
    """One named place, for wells and hand-picked cells."""

    name: str
    position_um: Position
    z_offset_um: Finite = 0.0
    """Added to the focus: wells are rarely level."""


class ScanPlan(_Strict):
    """What to image, from a TOML file.

    Exactly one of `positions_um`, `grid` and ``[[fields]]`` is given. x, y and z are stage positions, um.
    """

    name: str
    frames: Annotated[int, Field(ge=1)] | None = None
    """Per field; the profile's imaging.frames when absent."""
    focus_um: Finite | None = None
    """Stage z of the sample; the profile's imaging.focus_um, or where the stage stands, when absent."""
    safe_z_um: Finite | None = None
    """Where z waits while xy moves; without it z stays in focus."""
    positions_um: tuple[Position, ...] = ()
    grid: Grid | None = None
    fields: tuple[ScanField, ...] = ()

    @model_validator(mode="after")
    def _one_kind_of_place(self) -> Self:
        if bool(self.positions_um) + (self.grid is not None) + bool(self.fields) != 1:
            raise ValueError("give exactly one of positions_um, [grid] and [[fields]]")
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError("two [[fields]] have the same name")
        for name in names:
            if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
                raise ValueError(f"fields.name '{name}': use letters, digits, - and _, since it names the run's folder")
        return self

    @classmethod
    def from_file(cls, path: Path) -> ScanPlan:
        """Read and validate a plan.

        Raises
        ------
        InputError
            The file is missing, is no TOML, or a key is unknown or impossible; the message names it.
        """
        try:
            return cls.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputError(f"scan plan {path} does not exist: give the path of a .toml file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise InputError(f"scan plan {path} cannot be read as TOML: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            what = first["msg"].removeprefix("Value error, ")
            raise InputError(f"scan plan {path}: {where + ': ' if where else ''}{what}") from None

    def places(self) -> list[ScanField]:
        """Every field in the order it is visited; grid rows alternate in direction to save travel."""
        if self.fields:
            return list(self.fields)
        if self.grid is None:
            return [ScanField(name=f"field_{i:03d}", position_um=at) for i, at in enumerate(self.positions_um)]
        grid, (x0, y0) = self.grid, self.grid.first_um
        places = []
        for row in range(grid.rows):
            columns = range(grid.columns) if row % 2 == 0 else reversed(range(grid.columns))
            for column in columns:
                at = (x0 + column * grid.spacing_um, y0 + row * grid.spacing_um)
                places.append(ScanField(name=f"row{row:02d}_col{column:02d}", position_um=at))
        return places


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
    """

    out: Path
    fields: int
    done: int
    already_done: int
    frames: int
    frames_lost: int
    localizations: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


class Ledger:
    """The state of every field, on disk after every change; replaced as a whole, so it is never torn."""

    def __init__(self, folder: Path, plan: ScanPlan, model: str) -> None:
        self._path = folder / LEDGER
        identity = {"schema": SCHEMA, "plan": plan.model_dump(mode="json"), "model": model}
        if self._path.exists():
            self._data = self._read()
            for key, value in identity.items():
                if self._data.get(key) != value:
                    raise InputError(
                        f"{self._path} belongs to another {key}: choose another `out`, or "
                        "`if_exists='overwrite'` to start anew"
                    )
        else:
            self._data = {**identity, "fields": {}}
            self._write()

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self._path} cannot be read ({error}): repair it, or `if_exists='overwrite'` to start anew"
            ) from None
        return data if isinstance(data, dict) else {}

    def status(self, name: str) -> str:
        """``pending``, ``running``, ``done`` or ``failed``."""
        return str(self._data["fields"].get(name, {}).get("status", "pending"))

    def note(self, name: str, status: str, **facts: object) -> None:
        """Write down a field's new state."""
        self._data["fields"][name] = {"status": status, "time_s": time.time(), **facts}
        self._write()

    def _write(self) -> None:
        put_file(self._path, json.dumps(self._data, indent=1).encode(), durable=True)


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
    here, places = microscope.position(), plan.places()
    focus_um = next(z for z in (plan.focus_um, profile.imaging.focus_um, here.z_um) if z is not None)
    for place in places:
        profile.limits.check(x_um=place.position_um[0], y_um=place.position_um[1], z_um=focus_um + place.z_offset_um)
    profile.limits.check(z_um=plan.safe_z_um)
    out_dir = Path(out_dir)
    if out_dir.exists() and not (out_dir / LEDGER).exists():
        raise InputError(f"{out_dir} exists and is no scan: choose another `out`")
    check_output(out_dir, Kind.SCAN, if_exists=if_exists, inputs=[card.path], acquires=True)
    if if_exists == "overwrite":
        remove(out_dir)
    out_dir.mkdir(exist_ok=True)
    ledger = Ledger(out_dir, plan, card.digest)
    todo = [place for place in places if ledger.status(place.name) != "done"]
    totals = {"frames": 0, "frames_lost": 0, "localizations": 0}
    failed: list[str] = []
    with live_pool(profile, card) as workers:
        for number, place in enumerate(todo):

            def told(message: str, fraction: float, number: int = number, name: str = place.name) -> None:
                if progress:
                    progress(f"{name}: {message}", (number + fraction) / len(todo))

            run = out_dir / f"{place.name}.zarr"
            _set_aside(run)
            ledger.note(place.name, "running", run=run.name)
            field_profile = profile.replace(
                imaging={
                    "frames": plan.frames or profile.imaging.frames,
                    "start_position_um": place.position_um,
                    "focus_um": focus_um + place.z_offset_um,
                }
            )
            try:
                if plan.safe_z_um is not None:
                    microscope.move_z(plan.safe_z_um)
                with around_run(run):
                    report = run_live(
                        microscope,
                        field_profile,
                        card,
                        run,
                        frames=field_profile.imaging.frames,
                        keep_raw=keep_raw,
                        progress=told,
                        workers=workers,
                    )
            except (HardwareError, LocalizerError) as error:
                ledger.note(place.name, "failed", run=run.name, error=str(error))
                failed.append(f"{place.name}: {error}")
                # Raises when the instrument is gone: then there is no point in going on.
                microscope.position()
                continue
            except BaseException:
                ledger.note(place.name, "interrupted", run=run.name)
                raise
            facts = {key: getattr(report, key) for key in totals}
            totals = {key: totals[key] + facts[key] for key in totals}
            ledger.note(place.name, "done", run=run.name, **facts)
    if failed:
        raise HardwareError(
            f"{len(failed)} of {len(places)} fields failed ({failed[0]}); the others are kept in {out_dir}. "
            "Run the same scan again to repeat only what is missing"
        )
    return ScanReport(
        out=out_dir,
        fields=len(places),
        done=len(todo),
        already_done=len(places) - len(todo),
        seconds=time.monotonic() - start,
        **totals,
    )


def _set_aside(run: Path) -> None:
    """Keep what an unfinished run had written, under another name."""
    if not run.exists():
        return
    number = 1
    while (partial := run.with_name(f"{run.stem}.partial-{number}.zarr")).exists():
        number += 1
    run.rename(partial)
