"""Beads that are in a data set more than once: copies of one recording, and slides that were photographed again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from easyzloc_mm.beads.detection.candidates import Candidates
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.numerics.recurrence import Common, find_recurrence

MOST_NAMED = 4
"""Stacks of a sentence; of more, the number is said."""


def mark_recurring(candidates: Candidates, names: Sequence[str]) -> Candidates:
    """Return the candidates, those marked that were recorded or given more than once; a warning says which.

    Parameters
    ----------
    candidates : Candidates
    names : sequence of str
        Of the stacks that they are from.
    """
    x, y = candidates.x, candidates.y
    centres = np.stack([x - candidates.x0, y - candidates.y0], axis=1)
    found = find_recurrence(
        candidates.stack, x, y, candidates.rois, centres, candidates.field_size_px, field_known=candidates.field_known
    )
    # Where the ROI of one leaves the image, a whole copy stands for it.
    order = np.lexsort((np.arange(len(x)), candidates.edge, found.copy))
    _, first = np.unique(found.copy[order], return_index=True)
    copy = np.ones(len(x), bool)
    copy[order[first]] = False
    for sentence in in_words(found.common, names, int(copy.sum())):
        warnings.warn(sentence, EasyZlocWarning, stacklevel=3)
    return replace(candidates, bead_id=found.identity, copy=copy)


def in_words(common: Sequence[Common], names: Sequence[str], copies: int) -> list[str]:
    """Return what was found, at most a sentence for copies and one for new recordings."""
    sentences = []
    same = [pair for pair in common if pair.copies]
    if same:
        sentences.append(
            f"{_list(same, names)} hold the same images, in whole or in part: {copies} bead(s) are copies, which tell "
            "nothing new and are left out; give each recording once"
        )
    elif copies:
        sentences.append(
            f"{copies} of the ROIs are copies of others, which tell nothing new and are left out; give each bead once"
        )
    again = [pair for pair in common if pair.points > pair.copies]
    if again:
        sentences.append(
            f"{_list(again, names)} show the same beads, up to {max(pair.points - pair.copies for pair in again)} of "
            "them: each counts as one bead, and never trains a model that it tests; for more beads, photograph other "
            "places of the slide"
        )
    return sentences


def _list(pairs: Sequence[Common], names: Sequence[str]) -> str:
    which = sorted({index for pair in pairs for index in (pair.first, pair.second)})
    if len(which) > MOST_NAMED:
        return f"{len(which)} stacks, among them {names[which[0]]} and {names[which[1]]},"
    return f"{', '.join(names[index] for index in which[:-1])} and {names[which[-1]]}"
