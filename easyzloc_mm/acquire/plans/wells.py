"""Which well of a plate a field lies in, by its name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from easyzloc_mm.io.images.plates import PlatePlace

WELL = re.compile(r"([A-Z]{1,2})(\d{1,2})(?:[_-].*)?")
"""``B3``, ``B03_2``, ``B3-Site_0``: row and column of the well first."""


def plate_places(names: Sequence[str]) -> dict[str, PlatePlace]:
    """Return the place of each field on a plate; fields that are not all named by wells share the well A1.

    Parameters
    ----------
    names : sequence of str
        Of all fields of a plan, in its order, by which the fields of a well are numbered.
    """
    found = [WELL.fullmatch(name) for name in names]
    taken: Counter[tuple[str, str]] = Counter()
    places = {}
    for name, match in zip(names, found, strict=True):
        well = (match[1], str(int(match[2]))) if match is not None and all(found) else ("A", "1")
        places[name] = PlatePlace(*well, taken[well])
        taken[well] += 1
    return places
