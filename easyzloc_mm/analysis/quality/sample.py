"""The part of a run's report that says whether the beads' PSF is that of its molecules."""

from __future__ import annotations

import shutil
from pathlib import Path

from easyzloc_mm.io.writing.kinds import SAMPLE_PICTURE
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.report.html import Block, Heading, Paragraph, Picture

CAPTION = (
    "Mean images of molecules by depth, what the beads' PSF expects of the very same molecules, and the difference; "
    "where the sample differs, the same with its own PSF."
)


def sample_blocks(folder: Path, locs: Locs) -> list[Block]:
    """Return the part, and copy its picture into `folder`; nothing for a run that was not held against the beads."""
    metadata = locs.metadata
    if metadata.sample_aberrations is None:
        return []
    says = [metadata.sample_aberrations.in_words()]
    if metadata.sample_widening is not None:
        says.append(metadata.sample_widening.in_words())
    if metadata.refreshed is not None:
        since = metadata.refreshed
        says.append(
            f"rows from frame {since.from_frame} on are by {Path(since.sample.path).name}, made for this sample"
        )
    blocks: list[Block] = [Heading("Sample and beads"), Paragraph("; ".join(says) + ".")]
    for run in origins(locs):
        if (run / SAMPLE_PICTURE).is_file():
            shutil.copyfile(run / SAMPLE_PICTURE, folder / SAMPLE_PICTURE)
            return [*blocks, Picture(SAMPLE_PICTURE, CAPTION)]
    return blocks


def origins(locs: Locs) -> list[Path]:
    """Where a run's picture and images may be: the run itself, and those beside it that it came from."""
    if locs.source is None:
        return []
    refreshed = locs.metadata.refreshed
    names = (locs.metadata.corrected_from, None if refreshed is None else refreshed.run)
    return [locs.source, *(locs.source.with_name(name) for name in names if name is not None)]
