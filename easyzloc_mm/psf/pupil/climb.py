"""The climb of molecules' likelihood to the aberrations, and maybe the depth, of their sample: Fisher scoring."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.change import CHANGING, DEPTH_UNIT_NM, PsfChange
from easyzloc_mm.psf.pupil.score import Molecules, score
from easyzloc_mm.typing import F64, I64

CONVERGED_RAD = 0.01
LARGEST_STEP_RAD = 0.25
PRIOR_SD_RAD = 0.5
"""Of each term: what a cover slip, a medium or a collar may do."""
LARGEST_RAD = 3 * PRIOR_SD_RAD
"""Of each term: what is more is no cover slip, medium or collar, but imitates something else, such as a depth on the
wrong side of the glass."""
DEEPEST_NM = 5000.0
"""Where the computed pupil holds: its images are off by 0.026 there (rms, as a part of those of 400 points to a side),
by 0.021 at 2.2 um, and by 0.044, 0.062 and 0.079 at 6, 8 and 10.9 um, where phases change by more from one point to the
next than it can follow."""
SLOPES_HOLD_NM = 150.0
"""Derivatives are computed anew where the depth has moved farther."""


@dataclass(frozen=True)
class DepthPrior:
    """What is known beforehand of how deep molecules lie, above the glass: beyond `DEEPEST_NM` they do not.

    Attributes
    ----------
    mean_nm, sd_nm : float
    """

    mean_nm: float = 0.0
    sd_nm: float = 3000.0

    @classmethod
    def stated(cls, depth_nm: float) -> DepthPrior:
        """Return what a person's statement is worth: a fifth of it, or 200 nm."""
        return cls(depth_nm, max(200.0, depth_nm / 5))


@dataclass(frozen=True)
class Difference:
    """What a sample has and the bead slide had not.

    Attributes
    ----------
    theta_rad : ndarray, shape (len(CHANGING),)
        Aberrations, rad rms.
    depth_nm : float, optional
        Of the molecules above the glass, where it is looked for; negative where z counts against it.
    """

    theta_rad: F64
    depth_nm: float | None = None

    @classmethod
    def at_depth(cls, depth_nm: float) -> Difference:
        """Return a depth without aberrations."""
        return cls(np.zeros(len(CHANGING)), depth_nm)

    @property
    def vector(self) -> F64:
        """In radians, and `DEPTH_UNIT_NM`."""
        depth = [] if self.depth_nm is None else [self.depth_nm / DEPTH_UNIT_NM]
        return np.concatenate([self.theta_rad, depth])

    @property
    def side(self) -> float:
        """Which way z counts depth: 1 or -1."""
        return -1.0 if self.depth_nm is not None and self.depth_nm < 0 else 1.0

    def moved(self, step: F64) -> Difference:
        """Return what lies so far away, within `LARGEST_RAD` and `DEEPEST_NM`; a depth stays on its side."""
        at = self.vector + step
        theta_rad = np.clip(at[: len(CHANGING)], -LARGEST_RAD, LARGEST_RAD)
        if self.depth_nm is None:
            return Difference(theta_rad)
        return Difference(theta_rad, self.side * float(np.clip(self.side * at[-1] * DEPTH_UNIT_NM, 0.0, DEEPEST_NM)))

    def log_prior(self, depth: DepthPrior | None) -> float:
        """Return the logarithm of how probable it is beforehand, up to a constant."""
        expected, known = prior_of(self, depth)
        away = self.vector - expected
        return -float(away @ known @ away) / 2


@dataclass(frozen=True)
class Climbed:
    """Where a climb ended.

    Attributes
    ----------
    found : Difference
    covariance : ndarray, shape (K, K)
        Of its vector, by the molecules' scatter.
    molecules : int
        That count.
    psf : FieldPsf
        With that difference.
    z_error_nm : float
        As in `Estimate`.
    """

    found: Difference
    covariance: F64
    molecules: int
    psf: FieldPsf
    z_error_nm: float


def climb(
    molecules: Molecules,
    change: PsfChange,
    field_size_px: tuple[int, int],
    start: Difference,
    *,
    iterations: int,
    depth: DepthPrior | None = None,
    emitter: I64 | None = None,
) -> Climbed:
    """Return the likeliest difference in reach of a start.

    Parameters
    ----------
    molecules : Molecules
    change : PsfChange
    field_size_px : (int, int)
    start : Difference
    iterations : int
        At most.
    depth : DepthPrior, optional
        Where `start` has a depth.
    emitter : ndarray, shape (n,), optional
        As for `estimate`.
    """
    at, slopes_of = start, start
    expected, known = prior_of(start, depth)
    slopes = change.slopes(at.theta_rad, field_size_px, at.depth_nm)
    now, first_nm = change.changed(at.theta_rad, at.depth_nm or 0.0), molecules.z_nm
    for _ in range(iterations):
        if abs((at.depth_nm or 0.0) - (slopes_of.depth_nm or 0.0)) > SLOPES_HOLD_NM:
            slopes_of, slopes = at, change.slopes(at.theta_rad, field_size_px, at.depth_nm)
        found = score(molecules, now.table(field_size_px), now.place(molecules.x, molecules.y, field_size_px), slopes)
        molecules = replace(molecules, z_nm=found.z_nm)
        step = np.linalg.solve(found.information + known, found.score.sum(axis=0) - known @ (at.vector - expected))
        step *= min(1.0, LARGEST_STEP_RAD / max(float(np.abs(step).max()), 1e-9))
        at = at.moved(step)
        now = change.changed(at.theta_rad, at.depth_nm or 0.0)
        if np.abs(step).max() < CONVERGED_RAD:
            break
    if at.depth_nm is None:
        moved = found.z_bias_nm @ at.vector
        z_error_nm = float(np.sqrt(np.mean((moved - np.median(moved)) ** 2)))
    else:  # a slope does not reach that far
        moved = molecules.z_nm - first_nm
        z_error_nm = robust_sd(moved, about=float(np.median(moved)))
    return Climbed(at, found.covariance(emitter), found.used, now, z_error_nm)


def prior_of(start: Difference, depth: DepthPrior | None) -> tuple[F64, F64]:
    """Return what is expected of a difference's vector, and the inverse of its covariance."""
    expected = np.zeros(len(start.vector))
    known = np.eye(len(expected)) / PRIOR_SD_RAD**2
    if depth is not None and start.depth_nm is not None:
        expected[-1] = start.side * depth.mean_nm / DEPTH_UNIT_NM
        known[-1, -1] = (DEPTH_UNIT_NM / depth.sd_nm) ** 2
    return expected, known
