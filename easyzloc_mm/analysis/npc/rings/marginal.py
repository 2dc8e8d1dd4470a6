"""Likelihood of many pores under one distribution of depths, whatever the depth of each pore's own middle.

The distribution is given as tables of its logarithm, one for each class of z uncertainty (and for each share of the
upper ring). A pore's likelihood is the mean over all places of its middle: nothing of a pore is fitted, so that
what is fitted to all pores is not biased by their number of localisations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.analysis.npc.rings.data import PoreData
from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F64, I64

REACH_NM = 350.0
"""Localisations farther than this from their pore's median depth say nothing of its rings."""
MIDDLES = 25
"""Places of a pore's middle that are tried, about the likeliest."""
COARSE_NM, COARSE = 4, 31
SPAN_NM = COARSE_NM * (COARSE // 2)
MARGIN = int(REACH_NM) + 2 * SPAN_NM + 2
GRID_NM = np.arange(-MARGIN, MARGIN + 1).astype(np.float64)
"""Depth against the pore's middle, of the tables' columns: every nm."""
CLASS_RATIO = 1.15
"""Of the uncertainties of z of neighbouring classes."""
LEAST_SIGMA_NM = 2.0


@dataclass(frozen=True)
class Sample:
    """Pores as the likelihood takes them.

    Attributes
    ----------
    depth : ndarray, shape (n,)
        Against the pore's median, nm.
    kind : ndarray of int, shape (n,)
        Class of the uncertainty of z.
    begin : ndarray of int, shape (pores + 1,)
        First localisation of each pore.
    sigma_nm : ndarray, shape (classes,)
        Uncertainty of z of each class.
    middle : ndarray, shape (pores,)
        About where the pore's middle lies, against its median, nm.
    stride : ndarray of int, shape (pores,)
        Between the middles that are tried, nm.
    far : int
        Localisations beyond `REACH_NM`, which are left out.
    """

    depth: F64
    kind: I64
    begin: I64
    sigma_nm: F64
    middle: F64
    stride: I64
    far: int

    @property
    def pores(self) -> int:
        """How many there are."""
        return len(self.middle)


def sample_of(data: PoreData) -> Sample:
    """Sort localisations into classes of uncertainty, and leave out those far from every ring."""
    depth = data.z - data.medians()[data.pore()]
    near = np.abs(depth) <= REACH_NM
    kept = data.part(near)
    level = np.log(np.maximum(kept.lpz, LEAST_SIGMA_NM) / LEAST_SIGMA_NM) / np.log(CLASS_RATIO)
    _, kind = np.unique(np.round(level).astype(np.int64), return_inverse=True)
    count = np.bincount(kind)
    sigma = np.sqrt(np.bincount(kind, kept.lpz**2) / count)
    variance = sigma[kind] ** 2 + LEAST_SIGMA_NM**2
    precision = 1 / np.sqrt(np.maximum(np.bincount(kept.pore(), 1 / variance, len(data)), 1e-12))
    # Rings as wide as this again, and not quite resolved: the middle is known about twice less well.
    stride = np.clip(np.rint(1.1 * precision), 1, COARSE_NM).astype(np.int64)
    return Sample(
        depth[near], kind.astype(np.int64), kept.begin, sigma, np.zeros(len(data)), stride, int((~near).sum())
    )


@kernel(fastmath=True)
def _between(at: float) -> tuple[int, float, float]:
    """Return the node of a table before the place `at`, and the weights of it and of the next one."""
    first = int(np.floor(at))
    return first, 1.0 - (at - first), at - first


@kernel(fastmath=True)
def marginals(
    depth: F64, kind: I64, begin: I64, middle: F64, stride: I64, tables: F64, log_weight: F64, posterior: F64
) -> F64:
    """Log-likelihood of each pore; fills the posterior of its nodes and middles.

    Parameters
    ----------
    tables : ndarray, shape (nodes, classes, len(GRID_NM))
        Logarithm of the density of depths.
    log_weight : ndarray, shape (nodes,)
        Of the nodes.
    posterior : ndarray, shape (pores, nodes, middles)
        Filled; sums to 1 for each pore.
    """
    pores, nodes, places = posterior.shape
    result = np.empty(pores)
    for pore in range(pores):
        own = posterior[pore]
        for s in range(nodes):
            own[s, :] = log_weight[s]
        step = stride[pore]
        for i in range(begin[pore], begin[pore + 1]):
            first, left, right = _between(depth[i] - middle[pore] + step * (places // 2) + (tables.shape[2] // 2))
            for s in range(nodes):
                row = tables[s, kind[i]]
                for g in range(places):
                    own[s, g] += left * row[first - g * step] + right * row[first - g * step + 1]
        top = own.max()
        total = 0.0
        for s in range(nodes):
            for g in range(places):
                own[s, g] = np.exp(own[s, g] - top)
                total += own[s, g]
        own /= total
        result[pore] = top + np.log(total * step)
    return result


@kernel(fastmath=True)
def expected_counts(depth: F64, kind: I64, begin: I64, middle: F64, stride: I64, posterior: F64, counts: F64) -> None:
    """Add every localisation to `counts` (as `tables`), where it lies against the middles, by their posterior.

    These are the derivatives of the log-likelihood by the tables' values.
    """
    pores, nodes, places = posterior.shape
    for pore in range(pores):
        step = stride[pore]
        for i in range(begin[pore], begin[pore + 1]):
            first, left, right = _between(depth[i] - middle[pore] + step * (places // 2) + (counts.shape[2] // 2))
            for s in range(nodes):
                row = counts[s, kind[i]]
                for g in range(places):
                    row[first - g * step] += left * posterior[pore, s, g]
                    row[first - g * step + 1] += right * posterior[pore, s, g]


def log_likelihoods(sample: Sample, tables: F64, log_weight: F64, posterior: F64) -> F64:
    """Log-likelihood of each pore (`marginals`)."""
    return np.asarray(
        marginals(sample.depth, sample.kind, sample.begin, sample.middle, sample.stride, tables, log_weight, posterior)
    )


def counts_of(sample: Sample, posterior: F64, classes: int) -> F64:
    """Return the expected counts of depths against the middles (`expected_counts`), as tables are shaped."""
    counts = np.zeros((posterior.shape[1], classes, len(GRID_NM)))
    expected_counts(sample.depth, sample.kind, sample.begin, sample.middle, sample.stride, posterior, counts)
    return counts


def centred(sample: Sample, tables: F64, log_weight: F64) -> Sample:
    """Return the sample with the likeliest middle of each pore, sought on a coarse grid."""
    posterior = np.empty((sample.pores, len(log_weight), COARSE))
    wide = Sample(
        sample.depth, sample.kind, sample.begin, sample.sigma_nm, np.zeros(sample.pores),
        np.full(sample.pores, COARSE_NM, np.int64), sample.far,
    )  # fmt: skip
    log_likelihoods(wide, tables, log_weight, posterior)
    place = COARSE_NM * (np.arange(COARSE) - COARSE // 2)
    middle = posterior.sum(axis=1) @ place
    return Sample(sample.depth, sample.kind, sample.begin, sample.sigma_nm, middle, sample.stride, sample.far)
