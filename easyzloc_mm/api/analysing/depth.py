"""Depth of a sample whose index is not that of the immersion, on request."""

from __future__ import annotations

import warnings
from pathlib import Path

from easyzloc_mm.api.analysing.analysis import load_locs
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.run import Run
from easyzloc_mm.profile.schema import Profile

GLASS_NM = 500.0
"""Of the focus: deeper, a PSF of beads on glass errs by more than the scale mends."""
DEEPEST_NM = 20_000.0
"""The pupil is sampled for depths up to here."""


def correct_depth(
    locs: Locs | Run | str | Path,
    profile: Profile | str,
    *,
    focus_nm: float,
    into_sample: str = "rising",
) -> Locs:
    """Return the localisations with z and `lpz` in depth of the sample, in place of travel of the stage.

    Oil into water, the focus moves less than the stage, near the glass by another factor than deep in the sample [1]_.
    The scale follows from aperture, indices and wavelength of the profile, and goes with the rows, in the metadata
    (``depth_scale``). It corrects no aberrations: those that a sample adds are what `refresh` measures.

    Parameters
    ----------
    locs : Locs, Run or path
        As they were localised, with a `focal_shift_factor` of 1.
    profile : Profile or str
        The microscope: section `optics`.
    focus_nm : float
        How far the stage stood from where the glass, or beads on it, are in focus; 0 for a focus on the glass.
    into_sample : {'rising', 'falling'}
        Which way the stage moves to take the focus from the glass into the sample.

    Raises
    ------
    InputError
        There is no z, it was multiplied by a factor or corrected before, or `focus_nm` cannot be.

    References
    ----------
    .. [1] S. V. Loginov et al., "Depth-dependent scaling of axial distances in light microscopy", Optica 11, 553
       (2024), doi:10.1364/OPTICA.520595.

    Examples
    --------
    >>> deep = ez.correct_depth("run.zarr", "demo", focus_nm=1000)
    >>> deep.metadata.depth_scale.focus_nm
    1000.0
    """
    from easyzloc_mm.analysis.depth import correct_depth as correct
    from easyzloc_mm.optics.depth import DepthScale, IntoSample

    if not 0 <= focus_nm <= DEEPEST_NM:
        raise InputError(
            f"`focus_nm` ({focus_nm:g}) must lie between 0 and {DEEPEST_NM:g}: give the travel of the stage from the "
            "glass, and its direction as `into_sample`"
        )
    if into_sample not in list(IntoSample):
        raise InputError(f"`into_sample` {into_sample}: choose one of {', '.join(IntoSample)}")
    instrument = load_profile(profile) if isinstance(profile, str) else profile
    known = locs if isinstance(locs, Locs) else load_locs(locs)
    scale = DepthScale.of(instrument.optics, focus_nm, IntoSample(into_sample))
    corrected = correct(known, scale)
    if scale.focus_depth_nm > GLASS_NM and instrument.optics.sample_index != instrument.optics.immersion_index:
        warnings.warn(
            f"the focus lies {scale.focus_depth_nm:.0f} nm deep, where the PSF of beads on glass is not that of the "
            "molecules: their depths are right only where they were localised with a model that `refresh` made of them",
            EasyZlocWarning,
            stacklevel=2,
        )
    return corrected
