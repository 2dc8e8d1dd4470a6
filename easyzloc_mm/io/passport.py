"""The passport of an instrument: figures of its beads under the names that facilities use, ``passport.json``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from easyzloc_mm._models import Finite, FrozenModel, NonNegative, Positive
from easyzloc_mm.io.reading import reading
from easyzloc_mm.io.stored import StoredModel

PASSPORT_FILE = "passport.json"


class Grade(StrEnum):
    """How good a figure is; the value is a colour."""

    GREEN = "green"
    YELLOW = "yellow"
    """Usable, but it can be mended."""
    RED = "red"
    """Mend it before imaging."""


class Item(FrozenModel):
    """One figure of an instrument.

    Attributes
    ----------
    name : str
        As microscope-metrics calls it, where it has a name for it.
    meaning : str
        For people.
    value, sd : float, optional
        None where it was not measured; scatter over the beads, or standard error where `meaning` says so.
    unit : str
    grade : Grade, optional
        None where nothing can be said.
    mend : str
        What to do where it is not green, or why it was not measured.
    """

    name: str
    meaning: str
    value: Finite | None
    sd: NonNegative | None = None
    unit: str = ""
    grade: Grade | None = None
    mend: str = ""

    def value_in_words(self) -> str:
        """Return the value with its unit; "-" where it was not measured."""
        return "-" if self.value is None else f"{self.value:.3g} {self.unit}".rstrip()


class LightLevel(FrozenModel):
    """Brightness of beads under one illumination preset.

    Attributes
    ----------
    photons_per_ms : float
        Median over the beads, in focus.
    relative_sd : float
        Standard error of its logarithm.
    beads : int
    """

    photons_per_ms: Positive
    relative_sd: NonNegative
    beads: int


class Passport(StoredModel):
    """What beads say of an instrument on one day.

    Attributes
    ----------
    made : str
        When, ISO 8601.
    instrument : str
        Name of the hardware profile; empty where it is not known.
    training_data : str
        Digest of the bead data set.
    items : tuple of Item
    rejected : dict of str to int
        Reason to count of the candidates that were no usable beads.
    light : dict of str to LightLevel
        By illumination preset.
    lateral_shift_nm_per_um : (float, float)
        Sideways motion of the stage along x and y per um of rising z.
    """

    KIND: ClassVar[str] = "instrument passport"
    SCHEMA_VERSION: ClassVar[int] = 1

    made: str
    instrument: str = ""
    training_data: str = ""
    items: tuple[Item, ...] = ()
    rejected: dict[str, int] = Field(default_factory=dict)
    light: dict[str, LightLevel] = Field(default_factory=dict)
    lateral_shift_nm_per_um: tuple[Finite, Finite] = (0.0, 0.0)

    def in_words(self) -> str:
        """Return how many figures are of which grade, and the first to mend."""
        graded = [item for item in self.items if item.grade is not None]
        counts = ", ".join(f"{sum(item.grade is grade for item in graded)} {grade}" for grade in Grade)
        worst = next((item for grade in (Grade.RED, Grade.YELLOW) for item in graded if item.grade is grade), None)
        return f"{counts}." if worst is None else f"{counts}; first {worst.name}: {worst.mend}."

    def write(self, folder: Path) -> None:
        """Write ``passport.json`` into a folder."""
        text = json.dumps(self.stored(), indent=1, allow_nan=False)
        (folder / PASSPORT_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Passport | None:
        """Return the passport of a folder; None where none lies there, as in bundles of before 0.2.

        Raises
        ------
        InputError
            It is damaged, or of a newer version.
        """
        path = folder / PASSPORT_FILE
        if not path.is_file():
            return None
        with reading(path, "a passport", cure="copy the folder again, or calibrate again"):
            stored = json.loads(path.read_text(encoding="utf-8"))
        return cls.from_stored(stored, path)
