"""The rival of two rings: any distribution of depths with one maximum, on the same kind of background.

Every distribution with one maximum is a mixture of even ones that begin at the maximum [1]_: a slab of any thickness
and softness of its faces, a single ring, a blob, and what is skewed or has heavy tails.

References
----------
.. [1] A. Y. Khinchine, "On unimodal distributions", Izv. Nauchno-Issled. Inst. Mat. Mekh. Tomsk. Univ. 2 (1938) 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.analysis.npc.rings.data import PoreData
from easyzloc_mm.analysis.npc.rings.marginal import (
    MIDDLES,
    Sample,
    centred,
    counts_of,
    log_likelihoods,
)
from easyzloc_mm.analysis.npc.rings.two_rings import (
    BACKGROUND_AT_NM,
    BACKGROUND_ENDS_NM,
    BACKGROUND_SD_NM,
    TINY,
    background_shapes,
    even_shapes,
)
from easyzloc_mm.typing import F64

EDGES_NM = np.array([5.0, 10, 15, 20, 25, 30, 36, 43, 50])
"""Where the even distributions end that are too narrow for the background."""
ENDS_NM = np.concatenate([-EDGES_NM[::-1], EDGES_NM])
WIDTH_NM = 3.0
"""Standard deviation beyond the uncertainty of z: labels are not points."""
ROUNDS, CENTRINGS, ENOUGH = 60, 3, 1e-6
ONE = np.zeros(1)


@dataclass(frozen=True)
class NoGap:
    """The likeliest distribution without a gap.

    Attributes
    ----------
    shares : ndarray, shape (len(ENDS_NM) + len(background_shapes),)
        Of the even distributions that reach from 0 to each of `ENDS_NM`, and of the background's.
    middle_nm : ndarray, shape (pores,)
        Of each pore, against the median of its depths.
    log_likelihood : ndarray, shape (pores,)
    """

    shares: F64
    middle_nm: F64
    log_likelihood: F64

    def drawn(self, data: PoreData, rng: np.random.Generator) -> PoreData:
        """Return the same pores with depths drawn from this distribution."""
        count = len(data.z)
        normal = len(BACKGROUND_AT_NM)
        ends = np.concatenate([ENDS_NM, np.zeros(normal), BACKGROUND_ENDS_NM])
        at = np.concatenate([np.zeros(len(ENDS_NM)), BACKGROUND_AT_NM, np.zeros(len(BACKGROUND_ENDS_NM))])
        wide = np.concatenate(
            [np.full(len(ENDS_NM), WIDTH_NM), np.full(normal, BACKGROUND_SD_NM), np.zeros(len(BACKGROUND_ENDS_NM))]
        )
        shape = rng.choice(len(ends), count, p=self.shares)
        depth = at[shape] + ends[shape] * rng.random(count) + rng.normal(0, 1, count) * wide[shape]
        pore = data.pore()
        depth += (data.medians() + self.middle_nm)[pore] + rng.normal(0, data.lpz)
        return data.with_depths(depth)


def _shapes(sample: Sample) -> F64:
    """Density of every shape in every class of uncertainty, (shapes, classes, depths)."""
    even = even_shapes(ENDS_NM, np.sqrt(WIDTH_NM**2 + sample.sigma_nm**2))
    return np.concatenate([even, background_shapes(sample.sigma_nm)])


def fit_no_gap(sample: Sample, *, start: F64 | None = None) -> NoGap:
    """Fit the likeliest distribution with one maximum by expectation maximisation.

    Parameters
    ----------
    sample : Sample
    start : ndarray, optional
        Shares to begin with, of a similar sample.
    """
    shapes = _shapes(sample)
    shares = np.full(len(shapes), 1 / len(shapes)) if start is None else 0.9 * start + 0.1 / len(shapes)
    posterior = np.empty((sample.pores, 1, MIDDLES))
    value = np.full(sample.pores, -np.inf)
    for _ in range(CENTRINGS):
        density = np.tensordot(shares, shapes, 1)[None] + TINY
        sample = centred(sample, np.log(density), ONE)
        before = -np.inf
        for _ in range(ROUNDS):
            value = log_likelihoods(sample, np.log(density), ONE, posterior)
            if value.sum() - before < ENOUGH * abs(value.sum()):
                break
            before = value.sum()
            counts = counts_of(sample, posterior, len(sample.sigma_nm))
            # Many rounds on the counts, which are cheap, for each over the localisations.
            for _ in range(5):
                shares = shares * np.tensordot(shapes, (counts / density)[0], 2)
                shares = shares / shares.sum()
                density = np.tensordot(shares, shapes, 1)[None] + TINY
    return NoGap(shares, sample.middle, value)
