"""Pairs of localisations and emitters by the rules of the SMLM Challenge 2016: the one matching of the package.

In each frame as many pairs are made as possible, and of all ways to do so the one with the smallest sum of squared
distances (Hungarian method [1]_); no pair is further apart than 250 nm laterally and 500 nm axially [2]_.

References
----------
.. [1] H. W. Kuhn, "The Hungarian method for the assignment problem", Nav. Res. Logist. Q. 2, 83-97 (1955),
   doi:10.1002/nav.3800020109.
.. [2] D. Sage et al., "Super-resolution fight club: assessment of 2D and 3D single-molecule localization microscopy
   software", Nat. Methods 16, 387-395 (2019), doi:10.1038/s41592-019-0364-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from easyzloc_mm.typing import F64, I64, Bool

LATERAL_NM, AXIAL_NM = 250.0, 500.0
APART = 4.0
"""Between frames that are laid side by side, in units of the largest distance that is asked for."""


@dataclass(frozen=True)
class Points:
    """Places in frames: of localisations, or of emitters.

    Attributes
    ----------
    frame : ndarray of int, shape (n,)
    x_nm, y_nm : ndarray, shape (n,)
    z_nm : ndarray, shape (n,), optional
        None where only two dimensions are known.
    """

    frame: I64
    x_nm: F64
    y_nm: F64
    z_nm: F64 | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, chosen: Bool | I64) -> Points:
        z_nm = None if self.z_nm is None else self.z_nm[chosen]
        return Points(self.frame[chosen], self.x_nm[chosen], self.y_nm[chosen], z_nm)

    def moved(self, x_nm: float, y_nm: float, z_nm: float) -> Points:
        """Return the points, all moved alike."""
        z = None if self.z_nm is None else self.z_nm + z_nm
        return Points(self.frame, self.x_nm + x_nm, self.y_nm + y_nm, z)


def match(
    found: Points, true: Points, *, lateral_nm: float = LATERAL_NM, axial_nm: float | None = AXIAL_NM
) -> tuple[I64, I64]:
    """Pair localisations and emitters of the same frame.

    Parameters
    ----------
    found, true : Points
    lateral_nm : float
        Largest lateral distance of a pair.
    axial_nm : float, optional
        Largest axial distance; None, or either without z, pairs in two dimensions.

    Returns
    -------
    found_rows, true_rows : ndarray of int
        Rows of each pair, in the order of the localisations.
    """
    nothing = np.empty(0, np.int64)
    if not len(found) or not len(true):
        return nothing, nothing
    at_found, at_true = side_by_side(found, true, lateral_nm)
    near = cKDTree(at_found).sparse_distance_matrix(cKDTree(at_true), lateral_nm, output_type="coo_matrix")
    rows, columns = near.row.astype(np.int64), near.col.astype(np.int64)
    cost = (near.data / lateral_nm) ** 2
    if axial_nm is not None and found.z_nm is not None and true.z_nm is not None:
        axial = np.abs(found.z_nm[rows] - true.z_nm[columns]) / axial_nm
        kept = axial <= 1
        rows, columns, cost = rows[kept], columns[kept], cost[kept] + axial[kept] ** 2
    chosen = _cheapest(rows, columns, cost, len(found), len(true))
    order = np.argsort(rows[chosen], kind="stable")
    return rows[chosen][order], columns[chosen][order]


def crowding(at: Points, of: Points, radius_nm: float) -> I64:
    """Return how many of the points `of` lie within `radius_nm` of each of the points `at`, in the same frame."""
    if not len(at) or not len(of):
        return np.zeros(len(at), np.int64)
    places, others = side_by_side(at, of, radius_nm)
    return np.asarray(cKDTree(others).query_ball_point(places, radius_nm, return_length=True), np.int64)


def side_by_side(first: Points, second: Points, reach_nm: float) -> tuple[F64, F64]:
    """Return places (n, 2) with the frames side by side, so far apart that nothing reaches from one to the next."""
    low = min(first.x_nm.min(), second.x_nm.min())
    width = max(first.x_nm.max(), second.x_nm.max()) - low + APART * reach_nm
    frames = np.unique(np.concatenate([first.frame, second.frame]))

    def places(points: Points) -> F64:
        return np.stack([points.x_nm - low + width * np.searchsorted(frames, points.frame), points.y_nm], axis=1)

    return places(first), places(second)


def _cheapest(rows: I64, columns: I64, cost: F64, found: int, true: int) -> NDArray[np.intp]:
    """Return which of the possible pairs to keep: as many as can be, at the lowest sum of costs (each at most 2)."""
    if not len(rows):
        return np.empty(0, np.intp)
    size = found + true
    graph = coo_array((np.ones(len(rows), np.int8), (rows, found + columns)), shape=(size, size))
    _, cluster = connected_components(graph, directed=False)
    group = cluster[rows]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    chosen: list[NDArray[np.intp]] = []
    for pairs in np.split(order, starts[1:]):
        if len(pairs) == 1:
            chosen.append(pairs)
            continue
        own_rows, at_row = np.unique(rows[pairs], return_inverse=True)
        own_columns, at_column = np.unique(columns[pairs], return_inverse=True)
        # A pair that is not possible costs more than any number of possible ones.
        never = 4.0 * (1 + min(len(own_rows), len(own_columns)))
        matrix = np.full((len(own_rows), len(own_columns)), never)
        index = np.full(matrix.shape, -1, np.intp)
        matrix[at_row, at_column], index[at_row, at_column] = cost[pairs], pairs
        picked = index[linear_sum_assignment(matrix)]
        chosen.append(picked[picked >= 0])
    return np.concatenate(chosen)
