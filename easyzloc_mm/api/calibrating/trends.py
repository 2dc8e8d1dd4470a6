"""`report FOLDER`: an instrument over days, by the passports of its calibrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from easyzloc_mm.io.writing.kinds import STORES, Kind, kind_of
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.typing import IfExists


def is_folder_of_calibrations(path: str | Path) -> bool:
    """Return whether a path is a folder that is no store: passports are looked for in it."""
    place = Path(path)
    return place.is_dir() and kind_of(place) not in STORES


def trends(folder: str | Path, out: str | Path, *, if_exists: IfExists = "error") -> dict[str, Any]:
    """Put the passports of a folder of calibrations, or of models, side by side, and write a report of them.

    Parameters
    ----------
    folder : path
        With calibrations of several days, at most three folders deep.
    out : path
        Folder of the report: ``index.html``, ``trends.png``, ``trends.json``.
    if_exists : {'error', 'overwrite'}
        What becomes of a report that is there already.

    Returns
    -------
    dict
        ``calibrations``: how many; ``made``: when, the oldest first; ``values``: of each graded figure, day by day,
        None where it was not measured; ``grades``: of the latest.

    Raises
    ------
    InputError
        There are no passports, one is damaged, or `out` exists.
    """
    from easyzloc_mm.passport.trends import find_passports, write_trends

    found = find_passports(Path(folder))
    with whole_or_nothing(Path(out), Kind.REPORT, if_exists=if_exists, inputs=[Path(folder)]) as draft:
        values = write_trends(found, draft)
    latest = found[-1][1]
    return {
        "calibrations": len(found),
        "made": [passport.made for _, passport in found],
        "values": values,
        "grades": {item.name: str(item.grade) for item in latest.items if item.grade is not None},
    }
