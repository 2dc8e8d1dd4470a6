"""Which aberrations a sample has and the bead slide had not, by maximum likelihood over its molecules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.change import CHANGING, DEPTH_UNIT_NM, PsfChange
from easyzloc_mm.psf.pupil.climb import DepthPrior, Difference, climb
from easyzloc_mm.psf.pupil.depth import explains_more, likeliest, summit
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from easyzloc_mm.typing import F64, I64, Progress

ITERATIONS = 5
TOWARDS = 2
"""Steps with all molecules before the summit is looked for, where they are deep."""
FLOOR_RAD = 0.03
"""Standard deviation, per term, of what the errors of a measured PSF feign: samples under the beads' own optics."""
DEPTH_FLOOR_NM, DEPTH_ERROR = 50.0, 0.2
"""Likewise, of depth, and as a part of it: spherical aberration imitates depth all but for a ten-thousandth."""
FALSE_ALARMS = 0.01
"""Share of samples like the beads that are said to differ."""


@dataclass(frozen=True)
class Estimate:
    """Aberrations that molecules show beside those of the beads, in the order of `CHANGING`.

    Attributes
    ----------
    theta_rad, sd_rad : ndarray, shape (K,)
        Value, beside what depth makes where that is found, and standard deviation by the molecules' scatter and
        `FLOOR_RAD`.
    scatter_rad : ndarray, shape (K,)
        Standard deviation by the scatter alone.
    chi2 : float
        Of no aberrations, with K degrees of freedom, the molecules being at the glass.
    molecules : int
        That count.
    psf : FieldPsf
        With these aberrations.
    z_error_nm : float
        Root mean square of what they do to z where the beads' PSF is used, a common offset taken off, to first order:
        a molecule that is then taken for one at another depth comes on top.
    change : PsfChange
        By which the beads' PSF becomes `psf`.
    depth_nm, depth_sd_nm : float
        Of the molecules above the glass, where the molecules show it: 0 where not; negative where z counts against it.
    """

    theta_rad: F64
    sd_rad: F64
    scatter_rad: F64
    chi2: float
    molecules: int
    psf: FieldPsf
    z_error_nm: float
    change: PsfChange
    depth_nm: float = 0.0
    depth_sd_nm: float = 0.0

    @property
    def correlation(self) -> float:
        """Of the bead images and those of the retrieved wavefront: how far the optics explain the beads."""
        return self.change.wavefront.correlation

    def applied_to(self, psf: FieldPsf) -> FieldPsf:
        """Return another measurement of the beads' PSF, for crops of another size, with these aberrations."""
        return self.change.on(psf).changed(self.theta_rad, self.depth_nm)

    @property
    def p_value(self) -> float:
        """Return the probability of such molecules, were the sample like the bead slide."""
        return float(chi2.sf(self.chi2, len(self.theta_rad)))

    @property
    def differs(self) -> bool:
        """Return whether the sample's PSF is not the beads', at a rate of false alarms of `FALSE_ALARMS`."""
        return self.p_value < FALSE_ALARMS


def estimate(
    molecules: Molecules,
    psf: FieldPsf,
    optics: Optics,
    field_size_px: tuple[int, int],
    *,
    wavefront: Wavefront | None = None,
    depth: DepthPrior | None = None,
    emitter: I64 | None = None,
    start_rad: F64 | None = None,
    iterations: int = ITERATIONS,
    progress: Progress | None = None,
) -> Estimate:
    """Return the aberrations of a sample.

    Parameters
    ----------
    molecules : Molecules
        Bright and by themselves.
    psf : FieldPsf
        Of the beads.
    optics : Optics
    field_size_px : (int, int)
    wavefront : Wavefront, optional
        Of the beads, where it is known; found without it.
    depth : DepthPrior, optional
        Where the sample differs, molecules may lie in its medium; at the glass, as beads do, without it.
    emitter : ndarray, shape (n,), optional
        Which emitter each image is of, where there are several of one.
    start_rad : ndarray, shape (K,), optional
        Aberrations to start from; none without it.
    iterations : int
        At most; 1: a step from the beads' PSF, which is enough to notice a change.
    progress : callable, optional
        Given (message, fraction).
    """

    def show(message: str, fraction: float) -> None:
        if progress is not None:
            progress(message, fraction)

    if wavefront is None:
        show("finding the wavefront of the beads", 0.0)
        wavefront = retrieve(psf, optics)
    change = PsfChange(psf, wavefront)
    show("aberrations of the sample", 0.3)
    start = Difference(np.zeros(len(CHANGING)) if start_rad is None else start_rad)
    best = climb(molecules, change, field_size_px, start, iterations=iterations, emitter=emitter)
    floor = FLOOR_RAD**2 * np.eye(len(CHANGING))
    theta = best.found.theta_rad
    no_change = float(theta @ np.linalg.solve(best.covariance + floor, theta))
    may_be_deep = optics.sample_index != optics.immersion_index and chi2.sf(no_change, len(CHANGING)) < FALSE_ALARMS
    if depth is not None and may_be_deep:
        show("depth of the sample", 0.6)
        for deep in likeliest(molecules, change, field_size_px, theta, depth):
            show("depth of the sample", 0.8)
            end = climb(molecules, change, field_size_px, deep, iterations=TOWARDS, depth=depth, emitter=emitter)
            top = summit(molecules, change, field_size_px, end, depth)
            end = climb(molecules, change, field_size_px, top, iterations=1, depth=depth, emitter=emitter)
            best = end if explains_more(molecules, end, best, field_size_px, depth) else best
    scatter, depth_nm = np.sqrt(np.diag(best.covariance)), best.found.depth_nm
    depth_sd_nm = 0.0
    if depth_nm is not None:
        depth_sd_nm = float(np.linalg.norm([DEPTH_UNIT_NM * scatter[-1], DEPTH_FLOOR_NM, DEPTH_ERROR * depth_nm]))
    return Estimate(
        theta_rad=best.found.theta_rad,
        sd_rad=np.hypot(scatter, FLOOR_RAD)[: len(CHANGING)],
        scatter_rad=scatter[: len(CHANGING)],
        chi2=no_change,
        molecules=best.molecules,
        psf=best.psf,
        z_error_nm=best.z_error_nm,
        change=change,
        depth_nm=depth_nm or 0.0,
        depth_sd_nm=depth_sd_nm,
    )
