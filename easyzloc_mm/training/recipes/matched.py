"""The default recipe: emitters simulated from measured PSFs, new ones at every step; a mixture density as output.

References
----------
Bishop 1994, Mixture density networks, report NCRG/94/004, Aston University.
Loshchilov and Hutter 2019, Decoupled weight decay regularization, ICLR, doi 10.48550/arXiv.1711.05101.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from easyzloc_mm.model.card import MatchedSettings
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.mixture import Z_UNIT_NM
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.training.emitters import EmitterImages, EmitterStream, simulate_emitters
from easyzloc_mm.training.recipes.architectures import mixture_loss, mixture_network
from easyzloc_mm.training.recipes.budget import Budget
from easyzloc_mm.training.recipes.checkpoint import Checkpoint
from easyzloc_mm.typing import F32, Progress

if TYPE_CHECKING:
    import keras


BLOCK = 8192
"""Emitters that the simulating thread hands over at once."""
WARM_UP = 0.03
"""Share of the budget in which the learning rate rises."""
VALIDATION = 8192
CHECKS = 10
"""Validations in the second half of the budget; the best state is kept."""
FINE_TUNING_RATE = 0.3
"""Learning rate of a network that starts from an earlier one, relative to a fresh one."""


def fit_matched(
    train: BeadPsfs,
    validation: BeadPsfs,
    emitters: EmitterPrior,
    *,
    minutes: float,
    seed: int,
    steps: int | None = None,
    settings: MatchedSettings | None = None,
    start: list[F32] | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    on_check: Callable[[float, float], None] | None = None,
) -> keras.Model:
    """Return a network trained until the budget is spent; the learning rate follows the budget, whatever its length.

    Parameters
    ----------
    train, validation : BeadPsfs
        The modelled PSF, and beads that share no camera pixel with those it was modelled from.
    emitters : EmitterPrior
        The emitters to be localised.
    minutes : float
        Time budget, wall clock.
    seed : int
        Of the weights and of every emitter. How many steps fit into `minutes` depends on the machine, so two runs
        differ.
    steps : int, optional
        Number of steps in place of `minutes`.
    settings : MatchedSettings, optional
    start : list of ndarray, optional
        Weights of an earlier network to start from.
    checkpoint : Checkpoint, optional
        Where the state of training is saved, and found again after a crash.
    on_check : callable, optional
        Called with (share of the budget, validation loss) at every validation.
    """
    import keras

    settings = settings or MatchedSettings()
    keras.utils.set_random_seed(seed)
    model = mixture_network(settings.width, settings.blocks, train.table.roi_px)
    if start is not None:
        model.set_weights(start)
    highest = settings.learning_rate * (FINE_TUNING_RATE if start is not None else 1.0)
    optimizer = keras.optimizers.AdamW(highest, weight_decay=settings.weight_decay, clipnorm=1.0)
    model.compile(optimizer=optimizer, loss=mixture_loss)
    optimizer.build(model.trainable_variables)
    done = checkpoint.restore(model) if checkpoint else 0.0
    held_out = simulate_emitters(validation, emitters, VALIDATION, seed + 1)
    best, best_loss = model.get_weights(), math.inf
    checks = [check for check in np.linspace(0.5, 1.0, CHECKS) if check > done]
    budget = Budget(minutes, steps)
    with EmitterStream(train, settings.training_prior(emitters), BLOCK, seed + 2 + round(1e6 * done)) as stream:
        _step(model, stream.next(), 0, settings.batch)  # traces and compiles outside the budget
        budget.start(done)
        while (spent := budget.spent) < 1.0:
            block = stream.next()
            for batch in range(BLOCK // settings.batch):
                if (spent := budget.spent) >= 1.0:
                    break
                optimizer.learning_rate.assign(highest * rate(spent))
                _step(model, block, batch, settings.batch)
                budget.step()
            spent = budget.spent
            if checkpoint and spent < 1.0:
                checkpoint.save(model, spent)
            if checks and spent >= checks[0]:
                checks = [check for check in checks if check > spent]
                loss = validation_loss(model, validation, held_out)
                if loss < best_loss:
                    best, best_loss = model.get_weights(), loss
                if on_check:
                    on_check(spent, loss)
                if progress:
                    progress(f"{budget.steps} steps, validation loss {loss:.3f}", min(spent, 1.0))
            elif progress:
                progress(f"{budget.steps} steps of {settings.batch} emitters", min(spent, 1.0))
    if validation_loss(model, validation, held_out) > best_loss:
        model.set_weights(best)
    return model


def rate(spent: float) -> float:
    """Return the learning rate relative to its maximum: a rise, then half a cosine, over the share of the budget."""
    if spent < WARM_UP:
        return max(spent / WARM_UP, 0.01)
    return 0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * min((spent - WARM_UP) / (1 - WARM_UP), 1.0)))


def _step(model: keras.Model, block: tuple[F32, ...], batch: int, size: int) -> Any:
    image, aux, z_nm = (part[batch * size : (batch + 1) * size] for part in block)
    return model.train_on_batch([image, aux], z_nm / np.float32(Z_UNIT_NM))


def predict_raw(model: keras.Model, source: BeadPsfs, emitters: EmitterImages) -> F32:
    """Return the network's output for simulated emitters, shape (n, outputs)."""
    return np.asarray(model.predict([*emitters.network_input(source)], batch_size=4096, verbose=0))


def validation_loss(model: keras.Model, source: BeadPsfs, held_out: EmitterImages) -> float:
    """Return the mean negative log likelihood of held-out emitters."""
    import keras

    raw = predict_raw(model, source, held_out)
    loss = mixture_loss(held_out.z_nm / np.float32(Z_UNIT_NM), keras.ops.convert_to_tensor(raw))
    return float(keras.ops.convert_to_numpy(loss))
