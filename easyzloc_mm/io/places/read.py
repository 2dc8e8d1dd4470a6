"""Reading a list of places, of whatever format."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.places.micromanager import read_position_list
from easyzloc_mm.io.places.place import Place
from easyzloc_mm.io.places.sequence import read_sequence
from easyzloc_mm.io.places.table import read_table
from easyzloc_mm.profile.schema import Profile

Reader = Callable[[Path, Profile | None, Mapping[str, str]], list[Place]]


def read_places(path: Path, profile: Profile | None = None, device_map: Mapping[str, str] | None = None) -> list[Place]:
    """Read a list of places; names are made unique and fit for folders.

    Parameters
    ----------
    path : Path
        ``.pos`` of Micro-Manager 2 or 1.4, ``.csv`` with columns name, x, y and z (um), or a plan of useq-schema,
        ``.json`` or ``.yaml``.
    profile : Profile, optional
        Its device labels must be those of the list, and its field of view is that of plans which state none.
    device_map : mapping of str to str, optional
        Labels of this microscope by those of the list; "" leaves a device of the list out.

    Raises
    ------
    InputError
        It cannot be read, is empty, or is of another microscope.
    """
    readers: dict[str, Reader] = {".pos": read_position_list, ".csv": read_table, ".txt": read_table}
    readers |= dict.fromkeys((".json", ".yaml", ".yml"), read_sequence)
    path = Path(path)
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is no list of positions: give a {', '.join(sorted(readers))} file")
    places = readers[path.suffix.lower()](path, profile, device_map or {})
    if not places:
        raise InputError(f"{path} has no position: add some, or give another file")
    for number, place in enumerate(places, 1):
        if not all(math.isfinite(value) for value in (place.x_um, place.y_um, place.z_um or 0.0)):
            raise InputError(f"{path}: position {number} ({place.name}) has a coordinate that is no number; correct it")
    return _named(places)


def _named(places: list[Place]) -> list[Place]:
    """Give each place a name that can be a folder's, and no other place has."""
    named: list[Place] = []
    taken: set[str] = set()
    digits = max(3, len(str(len(places))))
    for number, place in enumerate(places):
        stem = re.sub(r"[^\w-]+", "_", place.name, flags=re.ASCII).strip("_") or f"field_{number:0{digits}d}"
        name, again = stem, 2
        while name.lower() in taken:  # Windows does not tell upper from lower case
            name, again = f"{stem}_{again}", again + 1
        taken.add(name.lower())
        named.append(place._replace(name=name))
    return named
