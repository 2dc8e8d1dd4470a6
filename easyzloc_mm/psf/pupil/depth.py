"""How deep the molecules of a sample lie in its medium, as far as their images say so.

With depth comes spherical aberration of all orders, and light beyond the critical angle goes. A climb from the glass
may end at aberrations that imitate a depth: climbs from several depths are held against each other.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.field_polynomial import field_coordinates
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.change import PsfChange
from easyzloc_mm.psf.pupil.climb import Climbed, DepthPrior, Difference, climb
from easyzloc_mm.psf.pupil.score import Molecules, evidence
from easyzloc_mm.typing import F64

AT_GLASS_NM, SEEN_NM = 1.0, 50.0
"""Where a step from the glass begins, and how far it has to go for depths to be looked at."""
TRIED_NM = (300.0, 1200.0, 2500.0)
"""Either way of the stage."""
TRIED_WITH = 400
"""Molecules."""
CLIMBED, ITERATIONS = 3, 5
"""Climbs from the best of the tried depths, and their steps."""
LEAST_SDS = 4.0
"""By which molecules have to be explained better by a depth, in standard errors, for it to be taken."""
LARGEST_GAIN = 20.0
"""Of the logarithm of one molecule's likelihood, that counts: what is more is no single molecule."""


def likeliest(
    molecules: Molecules, change: PsfChange, field_size_px: tuple[int, int], at_glass: F64, depth: DepthPrior
) -> Difference | None:
    """Return about what explains molecules best, their depth included: where a climb of all of them should start.

    None where a step away from the glass is not what they ask for. By some bright molecules near the middle of the
    field, where only the PSF that beads have there has to be changed.

    Parameters
    ----------
    molecules : Molecules
    change : PsfChange
    field_size_px : (int, int)
    at_glass : ndarray, shape (len(CHANGING),)
        Aberrations that explain them best at the glass, rad rms.
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
        away = (abs(at.depth_nm or 0.0) - depth.mean_nm) / depth.sd_nm
        return float(_evidence(some, psf, field_size_px).sum()) - away**2 / 2

    first = [climbed(Difference(at_glass, side * AT_GLASS_NM), 1).found for side in (1.0, -1.0)]
    if max(abs(step.depth_nm or 0.0) for step in first) < SEEN_NM:
        return None
    likely = [at for at in (*TRIED_NM, depth.mean_nm) if at and abs(at - depth.mean_nm) <= 2 * depth.sd_nm]
    starts = [Difference.at_depth(side * at) for at in likely for side in (1.0, -1.0)]
    starts.sort(key=lambda at: -height(at, middle.changed(at.theta_rad, at.depth_nm or 0.0)))
    ends = [climbed(start, ITERATIONS) for start in starts[:CLIMBED]]
    return max(ends, key=lambda end: height(end.found, end.psf)).found


def explains_more(molecules: Molecules, psf: FieldPsf, than: FieldPsf, field_size_px: tuple[int, int]) -> bool:
    """Whether a PSF explains molecules better than another one does, by more than chance."""
    gain = _evidence(molecules, psf, field_size_px) - _evidence(molecules, than, field_size_px)
    gain = np.clip(gain, -LARGEST_GAIN, LARGEST_GAIN)
    return bool(gain.mean() > LEAST_SDS * gain.std() / np.sqrt(len(gain)))


def _evidence(molecules: Molecules, psf: FieldPsf, field_size_px: tuple[int, int]) -> F64:
    place = psf.place(molecules.x, molecules.y, field_size_px)
    return evidence(molecules, psf.table(field_size_px), place)
