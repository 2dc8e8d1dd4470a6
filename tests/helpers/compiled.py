"""A program for a process of its own: what is compiled by the frames that come after warming up.

Arguments: model bundle, movie (.npy, shape (T, Y, X), uint16), passes. Says the kernels that had to be compiled.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from numba.core.dispatcher import Dispatcher

from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.pipeline import Localizer
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings


def compiled() -> Counter[str]:
    """Return how many kinds of arguments each of our kernels is compiled for."""
    kernels = (item for item in gc.get_objects() if isinstance(item, Dispatcher))
    own = (kernel for kernel in kernels if kernel.py_func.__module__.startswith("easyzloc_mm"))
    return Counter({f"{one.py_func.__module__}.{one.py_func.__name__}": len(one.overloads) for one in own})


if __name__ == "__main__":
    card, frames = ModelCard.load(Path(sys.argv[1])), np.load(sys.argv[2])
    how = resolved(LocalizeSettings(passes=int(sys.argv[3])), card)
    localizer = Localizer(LocalizerConfig(card.path, card.response, how))
    localizer.warm_up()
    before = compiled()
    found = localizer.localize(frames, np.arange(len(frames)), localizer.threshold(frames))
    print(len(found.table), *(compiled() - before))
