"""How deep the molecules of a sample lie in its medium, as far as their images say so.

With depth comes spherical aberration of all orders, and light beyond the critical angle goes. A climb from the glass
may end at aberrations that imitate a depth: climbs from several depths are held against each other, from both sides of
the glass, since spherical aberrations of two orders imitate the other side.

A sample's molecules lie above the glass, which is the positive side unless z counts against depth. Where both sides
explain the molecules equally well within chance, it is the sensible one: where the sample's index is below the
immersion's, the other side is the aberration of a medium that is denser than that.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from easyzloc_mm.numerics.field_polynomial import field_coordinates
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.change import NAMES, PsfChange
from easyzloc_mm.psf.pupil.climb import DEEPEST_NM, Climbed, DepthPrior, Difference, climb
from easyzloc_mm.psf.pupil.score import Molecules, evidence
from easyzloc_mm.typing import F64

AT_GLASS_NM, SEEN_NM = 1.0, 50.0
"""Where a step from the glass begins, and how far it has to go for depths to be looked at."""
TRIED_NM = (300.0, 1200.0, 2500.0)
"""Either way of the stage."""
TRIED_RAD = (-0.3, 0.0, 0.3)
"""Of spherical aberration, with each of them: a collar, or a cover slip's thickness."""
SPHERICAL = np.array([name == "spherical" for name in NAMES], float)
TRIED_WITH = 400
"""Molecules."""
CLIMBED, ITERATIONS = 2, 3
"""Climbs from the best of the tried depths on each side of the glass, and their steps."""
LEAST_SDS = 4.0
"""By which molecules have to be explained better by a depth, in standard errors, for it to be taken."""
LARGEST_GAIN = 20.0
"""Of the logarithm of one molecule's likelihood, that counts: what is more is no single molecule."""

ROUND = ("spherical", "secondary spherical")
ALIKE = (*map(NAMES.index, ROUND), len(NAMES))
"""In a difference's vector: what makes up for each other, so that a climb ends early on the ridge that they make."""
SUMMIT_WITH, SUMMIT_TRIES = 2000, 35
"""Molecules, and differences that are tried, at most, where the summit of the ridge is looked for."""
FIRST_SDS, LAST_SDS = 3.0, 0.5
"""How far apart they are at first and at last, in standard deviations by the scatter of the molecules."""


def likeliest(
    molecules: Molecules, change: PsfChange, field_size_px: tuple[int, int], at_glass: F64, depth: DepthPrior
) -> tuple[Difference, ...]:
    """Return about what explains molecules best, their depth included: where climbs of all of them should start.

    The best on the positive side of the glass, and on the other one; none where a step away from the glass is not what
    they ask for. By some bright molecules near the middle of the field, where only the PSF that beads have
    there has to be changed.

    Parameters
    ----------
    molecules : Molecules
    change : PsfChange
    field_size_px : (int, int)
    at_glass : ndarray, shape (len(CHANGING),)
        Aberrations that explain them best at the glass, rad rms. Depth imitates neither astigmatism nor coma, which are
        taken from there.
    depth : DepthPrior
    """
    middle = change.at_middle
    place = field_coordinates(molecules.x, molecules.y, field_size_px)
    inner = np.argsort(np.abs(place).max(axis=1), kind="stable")[: max(len(molecules) // 2, TRIED_WITH)]
    some = molecules[inner]
    some = some[np.argsort(-some.crops.sum(axis=(1, 2)), kind="stable")[:TRIED_WITH]]

    def climbed(start: Difference, iterations: int) -> Climbed:
        return climb(some, middle, field_size_px, start, iterations=iterations, depth=depth)

    def height(at: Difference, psf: FieldPsf) -> float:
        return float(_evidence(some, psf, field_size_px).sum()) + at.log_prior(depth)

    first = [climbed(Difference(at_glass, side * AT_GLASS_NM), 1).found for side in (1.0, -1.0)]
    if max(abs(step.depth_nm or 0.0) for step in first) < SEEN_NM:
        return ()
    likely = [at for at in (*TRIED_NM, depth.mean_nm) if at and abs(at - depth.mean_nm) <= 2 * depth.sd_nm]
    lateral = np.where([name in ROUND for name in NAMES], 0.0, at_glass)

    def summit_on(side: float) -> Difference:
        starts = [
            Difference(lateral + rad * SPHERICAL, side * min(at, DEEPEST_NM)) for at in likely for rad in TRIED_RAD
        ]
        starts.sort(key=lambda at: -height(at, middle.changed(at.theta_rad, at.depth_nm or 0.0)))
        ends = [climbed(start, ITERATIONS) for start in starts[:CLIMBED]]
        return summit(some, middle, field_size_px, max(ends, key=lambda end: height(end.found, end.psf)), depth)

    return tuple(map(summit_on, (1.0, -1.0)))


def summit(
    molecules: Molecules, change: PsfChange, field_size_px: tuple[int, int], near: Climbed, depth: DepthPrior
) -> Difference:
    """Return the likeliest spherical aberrations and depth, from where a climb has ended near it.

    By a quadratic model of the molecules' evidence in a trust region [1]_; within the bounds of `Difference.moved`.

    Parameters
    ----------
    molecules : Molecules
    change : PsfChange
    field_size_px : (int, int)
    near : Climbed
        With a depth.
    depth : DepthPrior

    References
    ----------
    .. [1] Ragonneau, Model-based derivative-free optimization methods and software, PhD thesis, Hong Kong Polytechnic
       University 2022, https://theses.lib.polyu.edu.hk/handle/200/12294 (COBYQA).
    """
    some = molecules[np.argsort(-molecules.crops.sum(axis=(1, 2)), kind="stable")[:SUMMIT_WITH]]
    first = _evidence(some, near.psf, field_size_px)
    spread, axes = np.linalg.eigh(np.linalg.inv(near.covariance)[np.ix_(ALIKE, ALIKE)])
    axes = axes / np.sqrt(spread)

    def stepped(step: F64) -> Difference:
        by = np.zeros(len(near.found.vector))
        by[list(ALIKE)] = axes @ step
        return near.found.moved(by)

    def loss(step: F64) -> float:
        at = stepped(step)
        psf = change.changed(at.theta_rad, at.depth_nm or 0.0)
        gain = np.clip(_evidence(some, psf, field_size_px) - first, -LARGEST_GAIN, LARGEST_GAIN)
        return -at.log_prior(depth) - float(gain.sum())

    options = {"initial_tr_radius": FIRST_SDS, "final_tr_radius": LAST_SDS, "maxfev": SUMMIT_TRIES}
    return stepped(minimize(loss, np.zeros(len(ALIKE)), method="COBYQA", options=options).x)


def explains_more(
    molecules: Molecules, end: Climbed, than: Climbed, field_size_px: tuple[int, int], depth: DepthPrior
) -> bool:
    """Whether the end of a climb explains molecules better than another one's, by more than chance.

    With how probable each is beforehand.
    """
    gain = _evidence(molecules, end.psf, field_size_px) - _evidence(molecules, than.psf, field_size_px)
    gain = np.clip(gain, -LARGEST_GAIN, LARGEST_GAIN)
    beforehand = end.found.log_prior(depth) - than.found.log_prior(depth)
    return bool(gain.sum() + beforehand > LEAST_SDS * gain.std() * np.sqrt(len(gain)))


def _evidence(molecules: Molecules, psf: FieldPsf, field_size_px: tuple[int, int]) -> F64:
    place = psf.place(molecules.x, molecules.y, field_size_px)
    return evidence(molecules, psf.table(field_size_px), place)
