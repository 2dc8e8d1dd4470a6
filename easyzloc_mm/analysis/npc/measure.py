"""Nuclear pores of one table: found, measured, judged, and counted by the paper's rule.

References
----------
.. [1] J. V. Thevathasan et al., "Nuclear pores as versatile reference standards for quantitative superresolution
   microscopy", Nature Methods 16 (2019) 1045, doi:10.1038/s41592-019-0574-9.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.npc.find import RING_RADIUS_NM, Pores, find_pores, pores_at, ring_sizes
from easyzloc_mm.analysis.npc.published import PaperCount, count_by_paper, paper_peaks
from easyzloc_mm.analysis.npc.rings.data import PoreData, pore_data
from easyzloc_mm.analysis.npc.rings.spacing import MIN_PORES, RingSpacing, measure_rings
from easyzloc_mm.analysis.npc.rings.verdicts import Verdicts, judge_pores
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.tables.picasso.picks import read_picks
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.typing import Progress

FALSE_POSITIVES = 0.05
"""Of single pores without rings, at most."""
CHANCE_EXCLUDED = 0.01
"""Where pores are too few to be measured together: how likely chance alone may call as many of them two rings."""
MOST_Z_SCALE_ERROR = 0.5
DEEPEST_NM = 20_000.0
"""From the median depth: no objective sees farther at once."""


@dataclass(frozen=True)
class PoreResult:
    """Pores of one table, and what is known of them.

    Attributes
    ----------
    found : Pores
        Their localisations and centres.
    data : PoreData
        Localisations of those with enough of them to be measured.
    rings : RingSpacing
        Common to all.
    verdicts : Verdicts
        Fit and judgement of each.
    paper : PaperCount
        Successes by the paper's rule.
    """

    found: Pores
    data: PoreData
    rings: RingSpacing
    verdicts: Verdicts
    paper: PaperCount

    @property
    def table(self) -> pd.DataFrame:
        """One row per pore (`pore_table`)."""
        return pore_table(self)

    def as_dict(self) -> dict[str, Any]:
        """Figures for printing.

        Returns
        -------
        dict
            `RingSpacing.as_dict`, and ``pores_found``, ``two_ring_pores``, ``two_ring_share``, ``paper_successes``,
            ``paper_null_successes``, ``paper_p_value``, ``candidates_rejected``, ...
        """
        verdicts, paper, pores = self.verdicts, self.paper, len(self.data)
        spacings = [fit.spacing_nm for fit, two in zip(verdicts.fits, verdicts.two_rings, strict=True) if two]
        return {
            **self.rings.as_dict(),
            "pores_found": len(self.found.centres),
            "two_ring_pores": int(verdicts.two_rings.sum()),
            "two_ring_share": float(verdicts.two_rings.mean()) if pores else None,
            "two_ring_share_by_chance": FALSE_POSITIVES,
            "median_spacing_of_those_nm": float(np.median(spacings)) if spacings else None,
            "paper_successes": paper.successes,
            "paper_share": paper.successes / pores if pores else None,
            "paper_null_successes": paper.null_mean,
            "paper_null_interval": list(paper.null_interval),
            "paper_p_value": paper.p_value,
            "candidates_rejected": self.found.rejected,
            "rings_by_chance": self.found.by_chance,
        }

    @property
    def why_not(self) -> str | None:
        """Why no pores with two rings are reported, in a sentence; None where there are some."""
        if not len(self.found.centres):
            rejected = ", ".join(f"{count} {reason}" for reason, count in self.found.rejected.items())
            return f"no nuclear pores here: no place shows a ring from above ({rejected or 'no candidates'})"
        if self.rings.why is None:
            return None
        some = f"; two rings in {self.verdicts.two_rings.sum()} single ones" if self.verdicts.two_rings.any() else ""
        return f"no ring spacing: {self.rings.why}{some}"


def find_in_locs(
    locs: Locs,
    *,
    picks: Path | None = None,
    by_group: bool = False,
    diameter_nm: float = 2 * RING_RADIUS_NM,
) -> Pores:
    """Find the pores of a table, or take those that a person picked.

    Parameters
    ----------
    locs : Locs
        3D; rows with a `z_flag` are left out.
    picks : Path, optional
        Picks file of Picasso (.yaml) instead of searching.
    by_group : bool
        The table's column ``group`` assigns localisations to pores (Picasso's picked localisations).
    diameter_nm : float
        Of the rings.

    Raises
    ------
    InputError
        The table has no z, or not the column, or the picks cannot be read.
    """
    if not 20 <= diameter_nm <= 1000:
        raise InputError(f"`diameter_nm` {diameter_nm:g}: rings are 20 to 1000 nm wide")
    kept, table, pixel = locs.nm_3d, locs.table, locs.pixel_size_nm
    deep = (kept["z"] - kept["z"].median()).abs() > DEEPEST_NM
    if deep.any():
        warnings.warn(
            f"{locs.name}: {int(deep.sum())} localisations lie more than {DEEPEST_NM / 1000:g} µm from the median "
            "depth, and are left out",
            EasyZlocWarning,
            stacklevel=3,
        )
    if "lpz" not in table:
        kept["lpz"] = 0.0  # not known: all width is the rings' own
    radius = diameter_nm / 2
    if by_group:
        if "group" not in table:
            raise InputError(
                f"{locs.name} has no column 'group': pick regions in Picasso Render, or leave out `by_group`"
            )
        trusted = table["z_flag"] == 0 if "z_flag" in table else pd.Series(True, table.index)
        groups = table.loc[trusted, "group"].to_numpy(np.int64)[~deep.to_numpy()]
        return pores_at(kept[~deep], groups=groups, radius_nm=radius)
    kept = kept[~deep]
    if picks is not None:
        centres, size = read_picks(Path(picks))
        reach = None if size is None else size * pixel / 2
        return pores_at(kept, centres=centres * pixel, reach_nm=reach, radius_nm=radius)
    return find_pores(kept, radius_nm=radius)


def measure_pores(
    found: Pores, *, seed: int = 0, z_scale_error: float = 0.0, progress: Progress | None = None
) -> PoreResult:
    """Measure the rings, judge every pore, and count by the paper's rule.

    Single pores count as two rings only where all pores together show two; or, where these are too few, where more
    single pores do than chance would make.

    Parameters
    ----------
    found : Pores
        As `find_in_locs` or `find_pores` gives them.
    seed : int
        Of the simulated pores without rings.
    z_scale_error : float
        Relative standard error of the scale of z, which the interval of the spacing includes.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        `z_scale_error` is no plausible error.
    """
    if not 0 <= z_scale_error <= MOST_Z_SCALE_ERROR:
        raise InputError(f"`z_scale_error` {z_scale_error:g}: a relative error, 0 to {MOST_Z_SCALE_ERROR:g}")
    report = progress or silent
    data = pore_data(found.table)
    groups = data.groups()
    report(f"counting {len(groups)} pores by the paper's rule", 0.0)
    paper = count_by_paper(groups, seed=seed) if groups else PaperCount(0, 0, 0.0, (0.0, 0.0), 1.0)
    report(f"ring spacing of {len(groups)} pores, beside pores without rings", 0.2)
    study = measure_rings(data, seed=seed, z_scale_error=z_scale_error)
    report(f"judging {len(groups)} pores one by one", 0.6)
    verdicts = judge_pores(data, study.two, seed=seed)
    if not (study.rings.resolved or _beyond_chance(verdicts)):
        verdicts = verdicts.none()
    return PoreResult(found, data, study.rings, verdicts, paper)


def _beyond_chance(verdicts: Verdicts) -> bool:
    """Whether few pores hold more with two rings than chance would make of pores without."""
    pores = len(verdicts.fits)
    chance = float(binom.sf(int(verdicts.two_rings.sum()) - 1, pores, FALSE_POSITIVES))
    return 0 < pores < MIN_PORES and chance < CHANCE_EXCLUDED


def pore_table(result: PoreResult) -> pd.DataFrame:
    """One row per pore that was found, also those with too few believable localisations to be judged."""
    found, data, verdicts = result.found, result.data, result.verdicts
    groups = found.table.groupby("pore")
    sizes = groups.size().reindex(range(len(found.centres)), fill_value=0)
    table = pd.DataFrame(
        {
            "pore": np.arange(len(found.centres)),
            "x_nm": found.centres[:, 0],
            "y_nm": found.centres[:, 1],
            "localizations": sizes.to_numpy(),
            "median_z_nm": groups["z"].median().reindex(range(len(found.centres))).to_numpy(),
        }
    )
    table = table.merge(ring_sizes(found), on="pore", how="left")
    rows = []
    for number, fit in enumerate(verdicts.fits):
        peaks = paper_peaks(data.z[data.rows(number)])
        rows.append(
            {
                "pore": int(data.names[number]),
                "middle_nm": fit.middle_nm,
                "spacing_nm": fit.spacing_nm,
                "spacing_error_nm": fit.errors["spacing"],
                "background_share": fit.background_share,
                "ring_width_nm": fit.width_nm,
                "ring_width_error_nm": fit.errors["width"],
                "lower_ring_width_nm": fit.lower_width_nm,
                "upper_ring_width_nm": fit.upper_width_nm,
                "upper_ring_share": fit.upper_share,
                "upper_ring_share_error": fit.errors["upper_share"],
                "tilt_degrees": fit.tilt_degrees,
                "tilt_error_degrees": float(
                    np.degrees(np.hypot(fit.errors["slope_x"], fit.errors["slope_y"]) / np.sqrt(2))
                ),
                "log_likelihood_ratio": fit.evidence,
                "threshold": verdicts.threshold[number],
                "p_value": verdicts.p_value[number],
                "two_rings": bool(verdicts.two_rings[number]),
                "paper_success": peaks.success,
                "paper_spacing_nm": peaks.spacing_nm,
            }
        )
    columns = rows[0].keys() if rows else ["pore"]
    return table.merge(pd.DataFrame(rows, columns=list(columns)), on="pore", how="left")
