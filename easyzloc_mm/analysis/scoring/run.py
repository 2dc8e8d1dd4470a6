"""A run, or a table of any program, against the truth, in the same coordinates."""

from __future__ import annotations

import warnings

import pandas as pd

from easyzloc_mm.analysis.scoring.compare import Comparison, compare
from easyzloc_mm.analysis.scoring.figures import ScoreRules
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.table import local_z_nm


def compare_locs(locs: Locs, truth: pd.DataFrame, rules: ScoreRules | None = None) -> Comparison:
    """Pair localisations and emitters.

    The embedded microscope's truth counts ``z`` from the focus at each place of the field (and names ``sample_z``): the
    focal surface is then put back into the table. Other truths are heights in the sample, as tables are.

    Parameters
    ----------
    locs : Locs
    truth : DataFrame
        As `io.tables.truth.read_truth` gives it.
    rules : ScoreRules, optional

    Warns
    -----
    EasyZlocWarning
        The table does not say where molecules were in single frames: drift was taken out, or rows were merged.
    """
    table, metadata = locs.table, locs.metadata
    if metadata.corrected_by is not None:
        warnings.warn(
            f"{locs.name} is {metadata.corrected_by}, not as it was localised, but the truth is of every single frame: "
            "score the run that it was made from",
            EasyZlocWarning,
            stacklevel=3,
        )
    if "sample_z" in truth and "z" in table:
        table = table.assign(z=local_z_nm(table, metadata))
    size = (metadata.width_px, metadata.height_px)
    return compare(table, truth, pixel_size_nm=metadata.pixel_size_nm, rules=rules, size_px=size)
