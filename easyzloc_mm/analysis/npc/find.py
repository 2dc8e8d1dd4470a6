"""Find nuclear pores from above: rings of known size, empty inside, closed all around.

z does not enter, so that the selection of pores cannot bias what their depths show.

References
----------
.. [1] J. V. Thevathasan et al., "Nuclear pores as versatile reference standards for quantitative superresolution
   microscopy", Nature Methods 16 (2019) 1045, doi:10.1038/s41592-019-0574-9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.ndimage import maximum_filter
from scipy.signal import oaconvolve
from scipy.spatial import cKDTree

from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import F32, F64, I64

RING_RADIUS_NM = 53.5
"""Of Nup96 [1]_; the lengths below go with it."""
REACH = 1.78
"""Localisations within so many radii of the middle belong to the pore."""
EMPTY = 0.52
"""Radii within which a pore is empty, and a filament is not."""
TEMPLATE_WIDTH = 0.35
"""Standard deviation of the template's ring, radii: localisations scatter, and pores are tilted."""
MAP_PIXEL_NM, MAX_MAP_PX = 20.0, 6000
MIN_LOCALIZATIONS = 25
OCTANTS_NEEDED = 7
MIN_ROUNDNESS = 0.4
"""Smaller over larger variance of the localisations in the plane."""
MAX_INSIDE_SHARE = 0.18
"""Of the localisations, in the empty middle."""
ON_RING, MIN_ON_RING = 0.3, 0.7
"""Of the localisations, so many lie within so many radii of the ring; of an even density 0.38."""
SCRAMBLES = 4
"""Tables without rings in which as many places are looked for, to see what chance makes of this density."""
CLUMP_NM = 25.0
"""Localisations so near to each other are of one label, and are moved together."""
SCRAMBLE_REACH = 1.8
"""How far they are moved, at most, radii."""
MOST_BY_CHANCE = 1 / 3
"""Of the rings found, that chance may have made; above that they are not believed."""
FEWEST_STRONG = 20
"""Rings of many localisations, that are believed where weaker ones are not."""
COLUMNS = ("pore", "dx", "dy", "z", "lpz")


@dataclass(frozen=True)
class Pores:
    """Localisations of the pores that were found.

    Attributes
    ----------
    table : DataFrame
        ``pore`` (number), ``dx``, ``dy`` (nm from the middle), ``z``, ``lpz`` (nm).
    centres : ndarray, shape (n, 2)
        x, y, nm.
    rejected : dict of str to int
        Candidates that are no pores, by reason.
    radius_nm : float
        Of the rings that were looked for.
    by_chance : float or None
        Rings found in as dense a table without rings, on average; None where a person picked the pores.
    """

    table: pd.DataFrame
    centres: F64
    rejected: dict[str, int]
    radius_nm: float = RING_RADIUS_NM
    by_chance: float | None = None


def find_pores(table: pd.DataFrame, *, radius_nm: float = RING_RADIUS_NM, seed: int = 0) -> Pores:
    """Find rings seen from above: candidates by a template, then tests of each candidate's localisations.

    The same is done to tables whose labels were moved at random, by about the size of a ring: as dense at every place,
    without rings. Where more than a third as many rings come out of those, only rings of so many localisations are
    believed that chance makes a third of them at most; where there are no 20 such, none.

    Parameters
    ----------
    table : DataFrame
        Columns ``x_nm``, ``y_nm``, ``z``, ``lpz`` of the localisations that can be believed.
    radius_nm : float
        Of the rings.
    seed : int
        Of the random moves.

    Raises
    ------
    InputError
        The localisations spread wider than a map can show rings.
    """
    if len(table) < MIN_LOCALIZATIONS:
        return _gathered(table, [], [], {}, radius_nm)
    place = table[["x_nm", "y_nm"]].to_numpy(float)
    members, centres, rejected = _rings(place, radius_nm)
    by_chance = 0.0
    if members:
        rng = np.random.default_rng(seed)
        chance = [_sizes(_rings(_scrambled(place, radius_nm, rng), radius_nm)[0]) for _ in range(SCRAMBLES)]
        sizes = _sizes(members)
        least, by_chance = _believed_from(sizes, np.concatenate(chance))
        kept = np.flatnonzero(sizes >= least)
        if len(kept) < len(members):
            rejected["no more rings than chance makes"] = len(members) - len(kept)
            members, centres = [members[row] for row in kept], [centres[row] for row in kept]
    return replace(_gathered(table, members, centres, rejected, radius_nm), by_chance=by_chance)


def _sizes(members: list[I64]) -> I64:
    return np.array([len(rows) for rows in members], np.int64)


def _believed_from(sizes: I64, chance: I64) -> tuple[float, float]:
    """Return from how many localisations on rings are believed, and how many such rings chance makes.

    Of few localisations there are many places in a table, and many of them look like a ring: where all rings together
    are not believed, those of many localisations may be.

    Parameters
    ----------
    sizes, chance : ndarray
        Localisations of each ring of the table, and of each ring of `SCRAMBLES` tables without.
    """
    whole = len(chance) / SCRAMBLES
    if whole <= MOST_BY_CHANCE * len(sizes):
        return 0.0, whole
    for least in np.unique(sizes):
        found, made = int((sizes >= least).sum()), int((chance >= least).sum()) / SCRAMBLES
        if made <= MOST_BY_CHANCE * found and found >= FEWEST_STRONG:
            return float(least), made
    return np.inf, whole


def _scrambled(place: F64, radius_nm: float, rng: np.random.Generator) -> F64:
    """Move every clump of localisations by its own random vector."""
    cell = CLUMP_NM * radius_nm / RING_RADIUS_NM
    index = np.floor((place - place.min(axis=0)) / cell).astype(np.int64)
    _, clump = np.unique(index[:, 0] * (index[:, 1].max() + 1) + index[:, 1], return_inverse=True)
    clumps = int(clump.max()) + 1
    angle = rng.uniform(0, 2 * np.pi, clumps)
    length = SCRAMBLE_REACH * radius_nm * np.sqrt(rng.random(clumps))
    return np.asarray(place + (length * np.stack([np.cos(angle), np.sin(angle)]))[:, clump].T)


def _rings(place: F64, radius_nm: float) -> tuple[list[I64], list[F64], dict[str, int]]:
    """Rows and centres of the rings, and why the other candidates are none."""
    tree = cKDTree(place)
    reach = REACH * radius_nm
    members: list[I64] = []
    centres: list[F64] = []
    rejected: dict[str, int] = {}
    for candidate in _candidates(place, radius_nm):
        centre = centre_ring(place, tree, candidate, radius_nm)
        rows = np.array(tree.query_ball_point(centre, reach), int)
        reason = _fault(place[rows] - centre, radius_nm)
        if reason is None and centres and np.min(np.hypot(*(np.array(centres) - centre).T)) < reach:
            reason = "found twice"
        if reason is not None:
            rejected[reason] = rejected.get(reason, 0) + 1
            continue
        members.append(rows)
        centres.append(centre)
    return members, centres, rejected


def pores_at(
    table: pd.DataFrame,
    *,
    centres: F64 | None = None,
    reach_nm: float | None = None,
    groups: I64 | None = None,
    radius_nm: float = RING_RADIUS_NM,
) -> Pores:
    """Take the pores that a person picked: by their places, or by a number that each localisation carries.

    Parameters
    ----------
    table : DataFrame
        As for `find_pores`.
    centres : ndarray, shape (n, 2), optional
        x, y, nm.
    reach_nm : float, optional
        Radius of a pick; `REACH` radii if not given.
    groups : ndarray of int, shape (len(table),), optional
        Instead of `centres`.
    """
    place = table[["x_nm", "y_nm"]].to_numpy(float)
    rejected: dict[str, int] = {}
    if groups is not None:
        sets = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    else:
        tree = cKDTree(place)
        sets = [
            np.array(tree.query_ball_point(centre, reach_nm or REACH * radius_nm), int)
            for centre in (np.empty((0, 2)) if centres is None else centres)
        ]
    members, middles = [], []
    for rows in sets:
        if len(rows) < 3:
            rejected["too few localisations"] = rejected.get("too few localisations", 0) + 1
            continue
        own = place[rows]
        middle = centre_ring(own, cKDTree(own), np.median(own, axis=0), radius_nm)
        # A pick that holds no ring stays where the person put it.
        members.append(rows)
        middles.append(middle if np.hypot(*(middle - own.mean(axis=0))) < radius_nm else own.mean(axis=0))
    return _gathered(table, members, middles, rejected, radius_nm)


def _gathered(
    table: pd.DataFrame, members: list[I64], centres: list[F64], rejected: dict[str, int], radius_nm: float
) -> Pores:
    parts = []
    for number, (rows, centre) in enumerate(zip(members, centres, strict=True)):
        own = table.iloc[rows]
        values = (
            number, own["x_nm"].to_numpy() - centre[0], own["y_nm"].to_numpy() - centre[1], own["z"].to_numpy(),
            own["lpz"].to_numpy(),
        )  # fmt: skip
        parts.append(pd.DataFrame(dict(zip(COLUMNS, values, strict=True))))
    empty = pd.DataFrame({name: np.empty(0, int if name == "pore" else float) for name in COLUMNS})
    joined = pd.concat(parts, ignore_index=True) if parts else empty
    return Pores(joined, np.array(centres, float).reshape(-1, 2), rejected, radius_nm)


def _candidates(place: F64, radius_nm: float) -> F64:
    """Positions where a ring-shaped template fits best, best first."""
    low = place.min(axis=0) - 2 * radius_nm
    span = place.max(axis=0) + 2 * radius_nm - low
    pixel = max(MAP_PIXEL_NM * radius_nm / RING_RADIUS_NM, float(span.max()) / MAX_MAP_PX)
    if pixel > EMPTY * radius_nm:
        raise InputError(
            f"the localisations spread over {span.max() / 1e6:.1f} mm, too wide to look for pores: choose a part by "
            "`where`, as in x < 1000"
        )
    shape = np.ceil(span / pixel).astype(int) + 1
    index = ((place - low) / pixel).astype(int)
    counts = np.bincount(index[:, 0] * shape[1] + index[:, 1], minlength=int(shape.prod())).reshape(shape)
    template = _template(radius_nm, pixel)
    response = oaconvolve(counts.astype(np.float32), template, mode="same")
    reach = max(1, int(REACH * radius_nm / pixel))
    peaks = response == maximum_filter(response, 2 * reach + 1)
    # What a whole ring of the least number of localisations would give.
    ring = template[template > 0]
    peaks &= response > 0.5 * MIN_LOCALIZATIONS * float((ring**2).sum() / ring.sum())
    found = np.argwhere(peaks)
    order = np.argsort(response[peaks])[::-1]
    return np.asarray((found[order] + 0.5) * pixel + low)


def _template(radius_nm: float, pixel: float) -> F32:
    """Ring of weight 1, emptied in the middle and around, so that an even density gives 0."""
    half = int(np.ceil(REACH * radius_nm / pixel))
    axis = np.arange(-half, half + 1) * pixel
    distance = np.hypot(axis[:, None], axis)
    ring = np.exp(-0.5 * ((distance - radius_nm) / (TEMPLATE_WIDTH * radius_nm)) ** 2)
    ring[distance > REACH * radius_nm] = 0
    rest = (distance < EMPTY * radius_nm).astype(float)
    return np.asarray(ring / ring.sum() - rest / rest.sum(), np.float32)


def centre_ring(place: F64, tree: cKDTree, start: F64, radius_nm: float) -> F64:
    """Centre of the circle of known radius through the localisations around `start`, by a robust (Cauchy) fit."""
    centre = np.array(start, float)
    scale = radius_nm / RING_RADIUS_NM
    for _ in range(15):
        near = place[tree.query_ball_point(centre, REACH * radius_nm)]
        if len(near) < 3:
            break
        direction, residual, weight = _residuals(near - centre, radius_nm)
        normal = (direction * weight[:, None]).T @ direction + 1e-9 * np.eye(2)
        step = np.linalg.solve(normal, (direction * (weight * residual)[:, None]).sum(axis=0))
        centre += np.clip(step, -20 * scale, 20 * scale)
        if np.hypot(*step) < 0.1 * scale:
            break
    return centre


def _residuals(offset: F64, radius_nm: float) -> tuple[F64, F64, F64]:
    distance = np.maximum(np.hypot(*offset.T), 1e-6)
    residual = distance - radius_nm
    return offset / distance[:, None], residual, 1 / (1 + (residual / (20 * radius_nm / RING_RADIUS_NM)) ** 2)


def ring_sizes(pores: Pores) -> pd.DataFrame:
    """Diameter of every pore, by the circle that fits best, with its error.

    Returns
    -------
    DataFrame
        ``pore``, ``diameter_nm``, ``diameter_error_nm``.
    """
    rows = []
    for number, group in pores.table.groupby("pore"):
        offset, size, error = group[["dx", "dy"]].to_numpy(), pores.radius_nm, np.nan
        shift = np.zeros(2)
        for _ in range(15):
            direction, residual, weight = _residuals(offset - shift, size)
            design = np.column_stack([direction, np.ones(len(residual))])
            normal = (design * weight[:, None]).T @ design + 1e-9 * np.eye(3)
            step = np.linalg.solve(normal, (design * (weight * residual)[:, None]).sum(axis=0))
            shift, size = shift + step[:2], float(np.clip(size + step[2], 0.3 * pores.radius_nm, 3 * pores.radius_nm))
            error = float(np.sqrt(np.linalg.inv(normal)[2, 2] * np.average(residual**2, weights=weight)))
        rows.append((number, 2 * size, 2 * error))
    return pd.DataFrame(rows, columns=["pore", "diameter_nm", "diameter_error_nm"]).astype({"pore": int})


def _fault(offset: F64, radius_nm: float) -> str | None:
    if len(offset) < MIN_LOCALIZATIONS:
        return "too few localisations"
    distance = np.hypot(*offset.T)
    if (distance < EMPTY * radius_nm).mean() > MAX_INSIDE_SHARE:
        return "not empty inside"
    if (np.abs(distance / radius_nm - 1) < ON_RING).mean() < MIN_ON_RING:
        return "no ring"
    octant = np.floor((np.arctan2(offset[:, 1], offset[:, 0]) + np.pi) / (np.pi / 4)).astype(int) % 8
    if (np.bincount(octant, minlength=8) > 0.03 * len(offset)).sum() < OCTANTS_NEEDED:
        return "ring incomplete"
    small, large = np.linalg.eigvalsh(np.cov(offset.T))
    return "elongated" if small < MIN_ROUNDNESS * large else None
