"""The factor of z that puts the rings of a pore where the literature has them: offered, never applied.

References
----------
.. [1] J. V. Thevathasan et al., "Nuclear pores as versatile reference standards for quantitative superresolution
   microscopy", Nature Methods 16 (2019) 1045, doi:10.1038/s41592-019-0574-9.
.. [2] A. von Appen et al., "In situ structural analysis of the human nuclear pore complex", Nature 526 (2015) 140,
   doi:10.1038/nature15381.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from easyzloc_mm.analysis.npc.rings.spacing import PLAUSIBLE_NM, RingSpacing
from easyzloc_mm.errors import InputError

SPACINGS_NM = {"nup96": 50.0, "nup107": 57.0}
"""Distance of the two rings: Nup96 [1]_, Nup107 [2]_."""
SPACING_ERROR_NM = 1.5
"""Of those, one standard deviation: labels reach some nm beyond the protein, and not the same way in each study."""


def reference_spacing(reference: str) -> tuple[float, float]:
    """Spacing that a name of `SPACINGS_NM` stands for, or that a number states, and its standard error, nm.

    Raises
    ------
    InputError
        It is neither a name nor a plausible number.
    """
    known = SPACINGS_NM.get(reference.lower())
    if known is not None:
        return known, SPACING_ERROR_NM
    try:
        spacing = float(reference)
    except ValueError:
        spacing = float("nan")
    if not PLAUSIBLE_NM[0] <= spacing <= PLAUSIBLE_NM[1]:
        names = ", ".join(SPACINGS_NM)
        raise InputError(
            f"`z_scale` {reference!r}: give {names}, or the distance of your protein's rings, {PLAUSIBLE_NM[0]:.0f} to "
            f"{PLAUSIBLE_NM[1]:.0f} nm"
        )
    return spacing, 0.0


def z_scale(rings: RingSpacing, reference: str, *, focal_shift_factor: float = 1.0) -> dict[str, Any]:
    """Return the factor that z would have to be multiplied by.

    Parameters
    ----------
    rings : RingSpacing
        As measured.
    reference : str
        As for `reference_spacing`.
    focal_shift_factor : float
        That the run's z was already multiplied by.

    Returns
    -------
    dict
        ``z_scale``, ``z_scale_ci`` (95 %, with the reference's own error), ``z_scale_reference_nm``,
        ``suggested_focal_shift_factor``; None where no rings were resolved.

    Raises
    ------
    InputError
        As `reference_spacing`.
    """
    spacing, error = reference_spacing(reference)
    found: dict[str, Any] = {"z_scale": None, "z_scale_ci": None, "z_scale_reference_nm": spacing,
                             "suggested_focal_shift_factor": None}  # fmt: skip
    if rings.spacing_nm is None or rings.ci_nm is None:
        return found
    factor = spacing / rings.spacing_nm
    margin = factor * float(np.hypot((rings.ci_nm[1] - rings.ci_nm[0]) / 2 / rings.spacing_nm, 1.96 * error / spacing))
    return found | {
        "z_scale": factor,
        "z_scale_ci": [factor - margin, factor + margin],
        "suggested_focal_shift_factor": factor * focal_shift_factor,
    }
