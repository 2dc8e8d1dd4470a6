"""What a scan images: fields on a grid, positions of a list, or named places, and how."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from easyzloc_mm._models import Finite, FrozenModel, NonNegative, Positive, error_sentence
from easyzloc_mm.acquire.plans.focus_plane import FocusPlane
from easyzloc_mm.acquire.plans.rules import BeadCheck, FieldRule, Measure, Then, When
from easyzloc_mm.acquire.plans.travel import short_order
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.places.read import read_places
from easyzloc_mm.io.profiles import read_toml
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.profile.plans import Position
from easyzloc_mm.profile.schema import Profile

MOST_FIELDS = 100_000
"""Of a grid: two years at ten minutes each."""
ONE_KIND = "give exactly one of positions_um, [grid], [[fields]] and positions_file"

TEMPLATE = """\
# A scan plan: which fields are imaged, one live run each. Fill it in, then
#     easyzloc-mm scan --profile my.toml --plan THIS_FILE --model today/model --out scan1
# Stage positions in micrometres, as Micro-Manager shows them. Lines that begin with "# " and a key are optional.

name = "my-scan"
# frames = 20000             # per field; imaging.frames of the profile when absent
# focus_um = 50.0            # stage z of the sample; imaging.focus_um, or where the stage stands, when absent
# focus_points_um = [[0, 0, 41.2], [72000, 0, 43.0], [0, 45000, 40.1]]  # z of every field lies in their plane
# safe_z_um = 30.0           # where z waits while x and y move, for wells; z stays in focus when absent
# order = "travel"           # a short way from the first field on; "given" when absent
# skip = ["H*"]              # names of fields that are left out
# min_spots_per_frame = 2.0  # a field with fewer molecules in its first frames is left; never when absent
# look_frames = 200          # how many frames are looked at for that, and for rules with at = "start"
# light_budget_ms = 300000.0 # longest time for which a field is lit, all calls together
# bleach_ms = 20000.0        # light before the frames of a field, without storing any; counts in the light budget
# bleach_illumination = "High"  # preset for that; the field's when absent
# resume = "repeat"          # a field that was cut off is taken anew; "continue", only what is missing, when absent

# Exactly one of the ways to say where: a grid, positions, named fields, or a list of another program.

[grid]
first_um = [0.0, 0.0]        # corner with the smallest x and y
columns = 3
rows = 2
spacing_um = 130.0           # between neighbours, both ways: not less than a field is wide

# positions_um = [[0.0, 0.0], [250.0, 40.0]]    # above [grid], and without it
# positions_file = "list.pos"                   # likewise: of Micro-Manager, useq-schema, or CSV; beside this file
# device_map = { TIXYDrive = "XY" }             # this microscope's stages by those of the list

# [[fields]]                                    # without [grid]; one block for each field
# name = "A1"                                   # letters, digits, - and _: names the run
# position_um = [0.0, 0.0]
# z_offset_um = 0.0                             # added to the focus: wells are rarely level
# exposure_ms = 50.0                            # of this field, as frames, focus_um and:
# illumination = "High"

# [[rules]]                  # what a field must be like; as many blocks as you like, at the end of the file
# measure = "photons"        # or spots_per_frame, density_per_um2, lpz_nm, flagged, focus_nm, z_drift_nm, xy_drift_nm,
#                            # frames_lost
# at_least = 500.0
# at_most = 20000.0          # one of them, or both
# at = "start"               # in the first look_frames frames; "end", in all of them, when absent
# then = "retry"             # "skip" leaves the field (at the start only); "note" when absent
# retries = 1                # how often it is taken again

# [bead_check]               # beads beside the sample that are visited now and then: is z still what the stage says?
# position_um = [-2000.0, 0.0]
# focus_um = 50.0
# every_fields = 8
# range_nm = 400.0           # looked at so far above and below the focus, in so many
# planes = 5
# frames_per_plane = 3
# max_error_nm = 60.0        # the scan ends where z is off by more; it is only told when absent
# exposure_ms = 30.0         # of the profile's [beads] when absent, as:
# illumination = "Medium"
"""
"""What `write_template` writes."""


def write_template(path: Path) -> None:
    """Write a commented plan to fill in.

    Raises
    ------
    InputError
        `path` exists, or its folder does not.
    """
    with whole_or_nothing(Path(path), Kind.PROFILE) as draft:
        draft.write_text(TEMPLATE, encoding="utf-8")


class Grid(FrozenModel):
    """Fields on a grid; `first_um` is the corner with the smallest x and y.

    Examples
    --------
    >>> grid = ez.Grid(first_um=(0.0, 0.0), columns=3, rows=2, spacing_um=130.0)
    >>> ez.ScanPlan(name="mosaic", grid=grid).grid.columns
    3
    """

    first_um: Position
    columns: Annotated[int, Field(ge=1)]
    rows: Annotated[int, Field(ge=1)]
    spacing_um: Positive

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.columns * self.rows > MOST_FIELDS:
            raise ValueError(
                f"{self.columns} columns and {self.rows} rows are more than {MOST_FIELDS:,} fields: correct them"
            )
        return self


class Order(StrEnum):
    """In which order fields are visited."""

    GIVEN = "given"
    TRAVEL = "travel"
    """A short way, from the first field on."""


class Resume(StrEnum):
    """What becomes of a field that was cut off."""

    CONTINUE = "continue"
    """Its frames are localised and kept, and only those that are missing are taken: a sample bleaches."""
    REPEAT = "repeat"
    """It is taken anew; what it had stays beside it."""


class ScanField(FrozenModel):
    """One named place, for wells and hand-picked cells; what it does not say is the plan's, or the profile's."""

    name: str
    position_um: Position
    z_offset_um: Finite = 0.0
    """Added to the focus: wells are rarely level."""
    focus_um: Finite | None = None
    """Stage z of the sample at this place."""
    frames: Annotated[int, Field(ge=1)] | None = None
    exposure_ms: Positive | None = None
    illumination: str | None = None


class ScanPlan(FrozenModel):
    """What to image, from a TOML file, or from a list of positions.

    Exactly one of `positions_um`, `grid`, ``[[fields]]`` and `positions_file` is given; x, y, z in um of the stage.

    Examples
    --------
    >>> plan = ez.ScanPlan(name="wells", fields=[{"name": "A1", "position_um": (0.0, 0.0)}])
    >>> plan.fields[0].name
    'A1'
    """

    name: str
    frames: Annotated[int, Field(ge=1)] | None = None
    """Per field; the profile's imaging.frames when absent."""
    focus_um: Finite | None = None
    """Stage z of the sample; the profile's imaging.focus_um, or where the stage stands, when absent."""
    focus_points_um: tuple[tuple[Finite, Finite, Finite], ...] = ()
    """x, y, z of three points in focus or more: z of every field lies in their plane."""
    safe_z_um: Finite | None = None
    """Where z waits while xy moves; without it z stays in focus."""
    positions_um: tuple[Position, ...] = ()
    grid: Grid | None = None
    fields: tuple[ScanField, ...] = ()
    order: Order = Order.GIVEN
    skip: tuple[str, ...] = ()
    """Names of fields that are left out; ``B*`` is all that begin with B."""
    min_spots_per_frame: NonNegative | None = None
    """A field with fewer molecules in its first `look_frames` frames is left, and counts as skipped."""
    look_frames: Annotated[int, Field(ge=20)] = 200
    rules: tuple[FieldRule, ...] = ()
    """What a field must be like, and what becomes of one that is not."""
    light_budget_ms: Positive | None = None
    """Longest time for which a field is lit, all calls together; the profile's imaging.light_budget_ms when absent."""
    bleach_ms: Positive | None = None
    """Light before the frames of a field, ms; the profile's imaging.bleach_ms when absent."""
    bleach_illumination: str | None = None
    """Preset for that; the profile's imaging.bleach_illumination when absent."""
    bead_check: BeadCheck | None = None
    resume: Resume = Resume.CONTINUE

    @model_validator(mode="after")
    def _one_kind_of_place(self) -> Self:
        if bool(self.positions_um) + (self.grid is not None) + bool(self.fields) != 1:
            raise ValueError(ONE_KIND)
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError("two [[fields]] have the same name")
        for name in names:
            if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
                raise ValueError(f"fields.name '{name}': use letters, digits, - and _, since it names the run's folder")
        if self.focus_points_um:
            try:
                FocusPlane(self.focus_points_um)
            except InputError as error:
                raise ValueError(str(error)) from None
        return self

    @classmethod
    def from_file(cls, path: Path, profile: Profile | None = None) -> ScanPlan:
        """Read and validate a plan.

        Parameters
        ----------
        path : Path
            A TOML plan, or a list of positions (`io.places`): of Micro-Manager, useq-schema, or CSV.
        profile : Profile, optional
            Holds the device labels of a list, and the field of view.

        Raises
        ------
        InputError
            The file is missing or damaged, a key is unknown or impossible (the message names it), or a list is of
            another microscope.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"scan plan {path} does not exist: give a .toml, .pos, .csv, .json or .yaml file")
        if path.suffix.lower() != ".toml":
            return cls(name=path.stem, fields=tuple(_fields(path, profile, {})))
        try:
            stored: dict[str, Any] = read_toml(path, "scan plan")
            listed = _FromList.model_validate({key: stored.pop(key) for key in _FromList.model_fields if key in stored})
            if listed.positions_file is not None:
                if {"fields", "grid", "positions_um"} & set(stored):
                    raise InputError(f"scan plan {path}: {ONE_KIND}")
                stored["fields"] = _fields(path.parent / listed.positions_file, profile, listed.device_map)
            return cls.model_validate(stored)
        except ValidationError as error:
            raise InputError(f"scan plan {path}: {error_sentence(error)}") from None

    @property
    def all_rules(self) -> tuple[FieldRule, ...]:
        """`rules`, and what `min_spots_per_frame` says in short."""
        if self.min_spots_per_frame is None:
            return self.rules
        least = FieldRule(
            measure=Measure.SPOTS_PER_FRAME, at_least=self.min_spots_per_frame, at=When.START, then=Then.SKIP
        )
        return (least, *self.rules)

    def places(self) -> list[ScanField]:
        """Every field that is not left out, in the order it is visited; grid rows alternate in direction."""
        places = [place for place in self._all_places() if not any(fnmatchcase(place.name, name) for name in self.skip)]
        if self.order is Order.TRAVEL and len(places) > 2:
            order = short_order(np.array([place.position_um for place in places]))
            return [places[index] for index in order]
        return places

    def check_skip(self) -> None:
        """Raise `InputError` where `skip` names a field that there is not: one that it means would be imaged."""
        names = [place.name for place in self._all_places()]
        for skipped in self.skip:
            if not any(fnmatchcase(name, skipped) for name in names):
                raise InputError(f"scan plan '{self.name}': no field is called '{skipped}': correct `skip`")

    def focus_at(self, place: ScanField) -> float | None:
        """Return z of a field, um, by itself, the plane or the plan; None where none of them says it."""
        focus_um = self.focus_um if place.focus_um is None else place.focus_um
        if place.focus_um is None and self.focus_points_um:
            focus_um = FocusPlane(self.focus_points_um).z_um(*place.position_um)
        return None if focus_um is None else focus_um + place.z_offset_um

    def _all_places(self) -> list[ScanField]:
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


class _FromList(FrozenModel):
    """The keys of a TOML plan that take its fields from a list; a plan that was read holds the fields."""

    positions_file: Path | None = None
    """Beside the plan."""
    device_map: dict[str, str] = Field(default_factory=dict)
    """Labels of this microscope by those of the list; "" leaves a device out."""


def _fields(path: Path, profile: Profile | None, device_map: dict[str, str]) -> list[ScanField]:
    return [
        ScanField(name=place.name, position_um=(place.x_um, place.y_um), focus_um=place.z_um)
        for place in read_places(path, profile, device_map)
    ]
