"""Split of beads into training, validation and test: whole regions of whole stacks, so that no pixel is in two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.typing import I64

HELD_OUT_SHARE = 0.12
"""Of the accepted beads, for validation and for the test each."""
MIN_BEADS = 8


@dataclass(frozen=True)
class Split:
    """Indices of beads in a `BeadDataset`."""

    train: I64
    validation: I64
    test: I64


def split_beads(beads: BeadDataset, seed: int) -> Split:
    """Return accepted beads, split by (stack, region) groups.

    Raises
    ------
    InputError
        Too few accepted beads or groups to hold any out.
    """
    accepted = np.flatnonzero(beads.accepted)
    if len(accepted) < MIN_BEADS:
        raise InputError(f"only {len(accepted)} accepted beads: at least {MIN_BEADS} are needed to train and to test")
    groups: dict[tuple[int, int], list[int]] = {}
    for index in accepted:
        groups.setdefault((int(beads.stack[index]), int(beads.region[index])), []).append(int(index))
    if len(groups) < 3:
        raise InputError(
            f"the accepted beads lie in {len(groups)} region(s): at least 3 are needed, so that test pixels are never "
            "training pixels; acquire more fields"
        )
    keys = list(groups)
    np.random.default_rng(seed).shuffle(keys)
    # The largest group trains: on data with one dominant region nothing would be left otherwise.
    keys.sort(key=lambda key: len(groups[key]) > len(accepted) / 3)
    wanted = max(2, round(HELD_OUT_SHARE * len(accepted)))
    held: list[list[int]] = [[], []]
    for part in held:
        while len(part) < wanted and len(keys) > 1:
            part += groups[keys.pop(0)]
    train = [index for key in keys for index in groups[key]]
    return Split(*(np.array(sorted(part), np.int64) for part in (train, held[0], held[1])))
