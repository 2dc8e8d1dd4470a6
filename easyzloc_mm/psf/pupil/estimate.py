"""Which aberrations a sample has and the bead slide had not, by maximum likelihood over its molecules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.change import CHANGING, PsfChange
from easyzloc_mm.psf.pupil.score import Molecules, score
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from easyzloc_mm.typing import F64, I64, Progress

ITERATIONS = 5
CONVERGED_RAD = 0.01
LARGEST_STEP_RAD = 0.25
PRIOR_SD_RAD = 0.5
"""Of each term: what a cover slip, a medium or a collar may do."""
FLOOR_RAD = 0.03
"""Standard deviation, per term, of what the errors of a measured PSF feign: samples under the beads' own optics."""
FALSE_ALARMS = 0.01
"""Share of samples like the beads that are said to differ."""


@dataclass(frozen=True)
class Estimate:
    """Aberrations that molecules show beside those of the beads, in the order of `CHANGING`.

    Attributes
    ----------
    theta_rad, sd_rad : ndarray, shape (K,)
        Value, and standard deviation by the molecules' scatter and `FLOOR_RAD`.
    scatter_rad : ndarray, shape (K,)
        Standard deviation by the scatter alone.
    chi2 : float
        Of no change, with K degrees of freedom.
    molecules : int
        That count.
    psf : FieldPsf
        With these aberrations.
    z_error_nm : float
        Root mean square of what they do to z where the beads' PSF is used, a common offset taken off, to first order:
        a molecule that is then taken for one at another depth comes on top.
    correlation : float
        Of the bead images and those of the retrieved wavefront: how far the optics explain the beads.
    """

    theta_rad: F64
    sd_rad: F64
    scatter_rad: F64
    chi2: float
    molecules: int
    psf: FieldPsf
    z_error_nm: float
    correlation: float

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
    theta = np.zeros(len(CHANGING)) if start_rad is None else start_rad
    known = np.eye(len(CHANGING)) / PRIOR_SD_RAD**2
    slopes = change.slopes(theta, field_size_px)
    now, covariance = change.changed(theta), np.zeros((len(CHANGING), len(CHANGING)))
    count, z_error_nm = 0, 0.0
    for number in range(iterations):
        show("aberrations of the sample", (number + 1) / (iterations + 1))
        found = score(molecules, now.table(field_size_px), now.place(molecules.x, molecules.y, field_size_px), slopes)
        molecules = replace(molecules, z_nm=found.z_nm)
        count, covariance = found.used, found.covariance(emitter)
        step = np.linalg.solve(found.information + known, found.score.sum(axis=0) - known @ theta)
        step *= min(1.0, LARGEST_STEP_RAD / max(float(np.abs(step).max()), 1e-9))
        theta = theta + step
        now = change.changed(theta)
        moved = found.z_bias_nm @ theta
        z_error_nm = float(np.sqrt(np.mean((moved - np.median(moved)) ** 2)))
        if np.abs(step).max() < CONVERGED_RAD:
            break
    total = covariance + FLOOR_RAD**2 * np.eye(len(CHANGING))
    return Estimate(
        theta_rad=theta,
        sd_rad=np.sqrt(np.diag(total)),
        scatter_rad=np.sqrt(np.diag(covariance)),
        chi2=float(theta @ np.linalg.solve(total, theta)),
        molecules=count,
        psf=now,
        z_error_nm=z_error_nm,
        correlation=change.wavefront.correlation,
    )
