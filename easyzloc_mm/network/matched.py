"""The default recipe: beads thinned to molecules, drawn anew for every step; a mixture density as output."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.network.architecture import mixture_network
from easyzloc_mm.network.augment import BeadSource, MoleculeDomain, MoleculeStream, draw_molecules
from easyzloc_mm.network.inputs import network_input
from easyzloc_mm.network.posterior import Z_UNIT_NM, mixture_loss

if TYPE_CHECKING:
    import keras

Progress = Callable[[str, float], None]

BATCH = 512
BLOCK = 16 * BATCH
"""Molecules that the drawing thread hands over at once."""
LEARNING_RATE = 2e-3
WARM_UP = 0.03
"""Share of the budget in which the learning rate rises."""
WEIGHT_DECAY = 1e-4
VALIDATION = 8192
CHECKS = 12
"""So often the model is validated; the best one is kept. Checks are rare early on, when none can be the last."""


def fit_matched(
    train: BeadSource,
    validation: BeadSource,
    domain: MoleculeDomain,
    *,
    minutes: float,
    seed: int,
    progress: Progress | None = None,
) -> keras.Model:
    """Train until the time is up; the learning rate follows the clock, so any budget ends on a settled model.

    Parameters
    ----------
    train, validation : BeadSource
        Beads that share no camera pixel.
    domain : MoleculeDomain
        The molecules to be known.
    minutes : float
        Time budget, wall clock.
    seed : int
        Of the weights and of every molecule. The number of steps depends on the machine, so two runs differ.
    """
    import keras

    keras.utils.set_random_seed(seed)
    model = mixture_network()
    optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY, clipnorm=1.0)
    model.compile(optimizer=optimizer, loss=mixture_loss)
    held_out = draw_molecules(validation, domain, VALIDATION, seed + 1)
    check_input = network_input(held_out.crops, held_out.x, held_out.y, validation.field_size_px)
    best, best_loss = model.get_weights(), math.inf
    checks = list(np.linspace(0.45, 1.0, CHECKS))
    with MoleculeStream(train, domain, BLOCK, seed + 2) as stream:
        block = stream.next()
        _step(model, block, 0)  # traces and compiles outside the budget
        start = time.monotonic()
        steps, spent = 1, 0.0
        while spent < 1.0:
            block = stream.next()
            for batch in range(BLOCK // BATCH):
                spent = (time.monotonic() - start) / (60 * minutes)
                if spent >= 1.0:
                    break
                optimizer.learning_rate.assign(learning_rate(spent))
                _step(model, block, batch)
                steps += 1
            if checks and spent >= checks[0]:
                checks = [check for check in checks if check > spent]
                loss = validation_loss(model, check_input, held_out.z_nm)
                if loss < best_loss:
                    best, best_loss = model.get_weights(), loss
                if progress:
                    progress(f"{steps} steps, validation loss {loss:.3f}", min(spent, 1.0))
            elif progress:
                progress(f"{steps} steps of {BATCH} molecules", min(spent, 1.0))
    if validation_loss(model, check_input, held_out.z_nm) > best_loss:
        model.set_weights(best)
    return model


def learning_rate(spent: float) -> float:
    """Rise, then half a cosine down to 1 % of the maximum; `spent` is the share of the budget."""
    if spent < WARM_UP:
        return LEARNING_RATE * max(spent / WARM_UP, 0.01)
    return LEARNING_RATE * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min((spent - WARM_UP) / (1 - WARM_UP), 1.0))))


def _step(model: keras.Model, block: tuple[NDArray[np.float32], ...], batch: int) -> None:
    image, aux, z_nm = (part[batch * BATCH : (batch + 1) * BATCH] for part in block)
    model.train_on_batch([image, aux], z_nm / np.float32(Z_UNIT_NM))


def validation_loss(
    model: keras.Model, inputs: tuple[NDArray[np.float32], NDArray[np.float32]], z_nm: NDArray[np.float32]
) -> float:
    """Mean negative log likelihood of held-out molecules."""
    raw = model.predict_on_batch(list(inputs))
    return float(np.asarray(mixture_loss(z_nm / np.float32(Z_UNIT_NM), raw)))
