"""Whether a plate of pictures is whole."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images.plates import listed_places
from easyzloc_mm.io.verify.arrays import check_array, check_nodes
from easyzloc_mm.io.verify.report import Findings, VerifyReport
from easyzloc_mm.io.writing.kinds import Kind


def verify_plate(path: Path, *, quick: bool = False) -> VerifyReport:
    """Read a plate back: its metadata, and every level of each picture that it lists."""
    findings = Findings(path, quick)
    try:
        places = listed_places(path)
    except InputError as error:
        findings.damage("plate", str(error))
        return findings.report(Kind.PLATE)
    check_nodes(findings, {place.row for place in places})
    for place in places:
        image = path / place.path
        levels = sorted(level.parent for level in image.glob("*/zarr.json"))
        if not levels:
            findings.damage(image, "is missing")
        for level in levels:
            check_array(findings, level, all_there=True)
    findings.counts["pictures"] = len(places)
    return findings.report(Kind.PLATE)
