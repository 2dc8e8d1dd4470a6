"""Which beads train and which test: whole regions of whole stacks, so that neither a pixel nor a bead is in two parts.

With few distinct beads none can be spared for a test. They are then taken in turn: each is judged by a network that was
trained on the others (cross-validation by bead); a single one by a network that saw every second of its planes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.accuracy import HeldOut
from easyzloc_mm.typing import F32, I64

HELD_OUT_SHARE = 0.12
"""Of the distinct beads, for validation and for the test each."""
MIN_BEADS = 8
"""Distinct ones, from which on some are held out for a test."""
MIN_GROUPS = 3
MOST_FOLDS = 3
"""Of a cross-validation: each costs a training."""
MAX_HALF_STEP_NM = 250.0
"""Every second plane may lie so far apart: the axial period of a high-NA image is 600 nm and more."""


@dataclass(frozen=True)
class Part:
    """Some beads of a data set, or some of their planes.

    Attributes
    ----------
    beads : BeadDataset
        Planes that are left out have no label.
    chosen : ndarray
        Indices of the beads.
    """

    beads: BeadDataset
    chosen: I64


@dataclass(frozen=True)
class Fold:
    """One turn of a cross-validation: what a network learns from, and what it is judged by."""

    train: Part
    test: Part


@dataclass(frozen=True)
class Split:
    """Indices of beads in a `BeadDataset`.

    Attributes
    ----------
    train, validation, test : ndarray
        The latter two are empty where beads are too few to spare any.
    held_out : HeldOut
        What the model's accuracy is measured on.
    folds : tuple of Fold
        Of the cross-validation, where there is no test.
    """

    train: I64
    validation: I64
    test: I64
    held_out: HeldOut
    folds: tuple[Fold, ...] = ()


def split_beads(beads: BeadDataset, seed: int) -> Split:
    """Return accepted beads, split by groups that share neither a bead nor camera pixels.

    Raises
    ------
    InputError
        No bead is accepted.
    """
    accepted = np.flatnonzero(beads.accepted)
    if not len(accepted):
        raise InputError("the bead data set has no accepted bead to learn from: see its report for the reasons")
    groups = _groups(beads, accepted)
    if beads.distinct < MIN_BEADS or len(groups) < MIN_GROUPS:
        return _few(beads, accepted, groups, seed)
    keys = list(groups)
    np.random.default_rng(seed).shuffle(keys)
    # The largest group trains: on data with one dominant region nothing would be left otherwise.
    keys.sort(key=lambda key: len(groups[key]) > len(accepted) / 3)
    wanted = max(2, round(HELD_OUT_SHARE * beads.distinct))
    held: list[list[int]] = [[], []]
    for part in held:
        while len(np.unique(beads.bead_id[part])) < wanted and len(keys) > 1:
            part += groups[keys.pop(0)]
    train = [index for key in keys for index in groups[key]]
    return Split(_indices(train), _indices(held[0]), _indices(held[1]), HeldOut.BY_BEAD)


def _groups(beads: BeadDataset, accepted: I64) -> dict[tuple[int, int], list[int]]:
    """Return groups of accepted beads that are in one part together, by the stack and region of their first."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index in accepted:
        groups.setdefault((int(beads.stack[index]), int(beads.region[index])), []).append(int(index))
    # A bead that was recorded again joins the groups that it is in.
    first_of: dict[int, tuple[int, int]] = {}
    for key in list(groups):
        target = key
        for bead in {int(beads.bead_id[index]) for index in groups[key]}:
            other = first_of.setdefault(bead, target)
            if other != target:
                groups[other] = sorted(groups[other] + groups.pop(target))
                first_of = {one: other if home == target else home for one, home in first_of.items()}
                target = other
    return groups


def _few(beads: BeadDataset, accepted: I64, groups: dict[tuple[int, int], list[int]], seed: int) -> Split:
    """Return a split that trains on all beads, and how they can be judged in turn."""
    none = np.empty(0, np.int64)
    if len(groups) > 1:
        keys = list(groups)
        np.random.default_rng(seed).shuffle(keys)
        count = min(MOST_FOLDS, len(keys))
        # Large groups first, each to the fold that has the fewest beads.
        members: list[list[int]] = [[] for _ in range(count)]
        for key in sorted(keys, key=lambda key: -len(groups[key])):
            min(members, key=len).extend(groups[key])
        folds = tuple(Fold(Part(beads, np.setdiff1d(accepted, test)), Part(beads, _indices(test))) for test in members)
        return Split(accepted, none, none, HeldOut.BY_BEAD, folds)
    if _half_step_nm(beads, accepted) > MAX_HALF_STEP_NM:
        return Split(accepted, none, none, HeldOut.NONE)
    even, odd = (Part(replace(beads, z_nm=_every_second(beads.z_nm, first)), accepted) for first in (0, 1))
    return Split(accepted, none, none, HeldOut.BY_PLANES, (Fold(even, odd), Fold(odd, even)))


def _half_step_nm(beads: BeadDataset, accepted: I64) -> float:
    labels = beads.z_nm[accepted].astype(float)
    planes = np.isfinite(labels).sum(axis=1)
    return float(np.max(2 * (np.nanmax(labels, axis=1) - np.nanmin(labels, axis=1)) / np.maximum(planes - 1, 1)))


def _every_second(z_nm: F32, first: int) -> F32:
    """Return labels of which every second plane of each bead is left, from its first or second one on."""
    number = np.cumsum(np.isfinite(z_nm), axis=1) - 1
    return np.where(number % 2 == first, z_nm, np.float32(np.nan)).astype(np.float32)


def _indices(part: Iterable[int]) -> I64:
    return np.array(sorted(part), np.int64)
