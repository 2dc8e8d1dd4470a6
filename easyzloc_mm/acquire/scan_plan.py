"""What a scan images: fields on a grid, a list of positions, or named places."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from easyzloc_mm._models import Finite, FrozenModel, Positive, error_sentence
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.profiles import read_toml
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.profile.plans import Position

TEMPLATE = """\
# A scan plan: which fields are imaged, one live run each. Fill it in, then
#     easyzloc-mm scan --profile my.toml --plan THIS_FILE --model today/model --out scan1
# Stage positions in micrometres, as Micro-Manager shows them. Lines that begin with "# " and a key are optional.

name = "scan"
# frames = 20000             # per field; imaging.frames of the profile when absent
# focus_um = 50.0            # stage z of the sample; imaging.focus_um, or where the stage stands, when absent
# safe_z_um = 30.0           # where z waits while x and y move, for wells; z stays in focus when absent

# Exactly one of the three ways to say where: a grid, a list of positions, or named fields.

[grid]
first_um = [0.0, 0.0]        # corner with the smallest x and y
columns = 3
rows = 2
spacing_um = 130.0           # between neighbours, both ways: not less than a field is wide

# positions_um = [[0.0, 0.0], [250.0, 40.0]]    # above [grid], and without it

# [[fields]]                                    # without [grid]; one block for each field
# name = "A1"                                   # letters, digits, - and _: names the run
# position_um = [0.0, 0.0]
# z_offset_um = 0.0                             # added to the focus: wells are rarely level
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


class ScanField(FrozenModel):
    """One named place, for wells and hand-picked cells."""

    name: str
    position_um: Position
    z_offset_um: Finite = 0.0
    """Added to the focus: wells are rarely level."""


class ScanPlan(FrozenModel):
    """What to image, from a TOML file.

    Exactly one of `positions_um`, `grid` and ``[[fields]]`` is given. x, y and z are stage positions, um.

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
            return cls.model_validate(read_toml(Path(path), "scan plan"))
        except ValidationError as error:
            raise InputError(f"scan plan {path}: {error_sentence(error)}") from None

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
