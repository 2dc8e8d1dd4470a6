"""Bayesian search of the network's sizes, rates and training images, by Optuna; resumable, its state is a SQLite file.

References
----------
Akiba et al. 2019, Optuna: a next-generation hyperparameter optimization framework, KDD,
doi 10.1145/3292500.3330701.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from easyzloc_mm._extras import need
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import read_bead_set
from easyzloc_mm.model.card import MatchedSettings
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.crop_choice import crop_px
from easyzloc_mm.psf.field_psf import FieldPsf, field_source
from easyzloc_mm.training.recipes.matched import fit_matched
from easyzloc_mm.training.split import split_beads
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    import optuna


STUDY = "easyzloc"
DATABASE = "study.db"
BEST = "best.json"
WIDTHS = (128, 192, 256, 320, 448)
BATCHES = (256, 512, 1024)
BAD_FIT_SHARES, NEIGHBOUR_SHARES = (0.1, 0.8), (0.0, 0.3)
NOT_BEFORE = 0.6
"""Share of a trial's budget before which it is not pruned."""


def tune(
    beads: Path,
    out: Path,
    *,
    trials: int = 30,
    minutes: float = 2.0,
    steps: int | None = None,
    workers: int = 1,
    seed: int = 0,
    emitters: EmitterPrior | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Search until the study has `trials` trials; an existing study is continued.

    Objective: negative log likelihood of held-out beads (of the training's own, where beads are too few to spare any)
    thinned to the brightness of single molecules.

    Parameters
    ----------
    beads : Path
        ``beads.zarr``.
    out : Path
        Folder of the study: ``study.db`` and ``best.json``.
    trials : int
        Finished or pruned ones, over all calls.
    minutes : float
        Training time of a trial.
    steps : int, optional
        Steps of a trial in place of `minutes`.
    workers : int
        Processes that train at the same time.
    seed : int
        Of the split and the networks.
    emitters : EmitterPrior, optional
        The emitters that the model is trained for; broad defaults without it.

    Returns
    -------
    dict
        ``best`` (as `MatchedSettings`), ``loss``, ``trials``, ``out``.

    Raises
    ------
    InputError
        The beads cannot be read, or `out` is no study of these beads and emitters.
    """
    out, emitters = Path(out), emitters or EmitterPrior()
    need("optuna", extra="tune")
    subject = {"beads": read_bead_set(beads).digest(), "molecules": emitters.model_dump(mode="json")}
    out.mkdir(parents=True, exist_ok=True)
    study = _study(out, seed, create=True)
    for name, value in subject.items():
        if study.user_attrs.get(name, value) != value:
            raise InputError(f"{out} is a study of other {name}: choose another `out`")
        study.set_user_attr(name, value)
    if workers <= 1:
        _work(str(beads), str(out), trials, (minutes, steps), seed, emitters, progress)
    else:
        context = multiprocessing.get_context("spawn")
        pool = [
            context.Process(
                target=_work, args=(str(beads), str(out), trials, (minutes, steps), seed + 1000 * i, emitters)
            )
            for i in range(workers)
        ]
        for process in pool:
            process.start()
        for process in pool:
            process.join()
        if any(process.exitcode for process in pool):
            raise RuntimeError("a worker of the search failed; what was found so far is kept")
    study = _study(out, seed)
    best = MatchedSettings().model_dump() | study.best_params
    (out / BEST).write_text(json.dumps({"settings": best, "loss": study.best_value}, indent=1), encoding="utf-8")
    return {"best": best, "loss": study.best_value, "trials": len(_finished(study)), "out": out}


def read_settings(study: Path) -> MatchedSettings:
    """Return the settings that `tune` found.

    Raises
    ------
    InputError
        There are none.
    """
    try:
        found = json.loads((Path(study) / BEST).read_text(encoding="utf-8"))
        return MatchedSettings(**found["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{study} holds no finished search: give the `out` of `tune`") from None


def _study(out: Path, seed: int, *, create: bool = False) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
    storage = f"sqlite:///{(out / DATABASE).absolute().as_posix()}"
    if create:
        return optuna.create_study(
            study_name=STUDY, storage=storage, sampler=sampler, pruner=pruner, load_if_exists=True
        )
    return optuna.load_study(study_name=STUDY, storage=storage, sampler=sampler, pruner=pruner)


def _finished(study: optuna.Study) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _work(
    beads: str,
    out: str,
    trials: int,
    budget: tuple[float, int | None],
    seed: int,
    emitters: EmitterPrior,
    progress: Progress | None = None,
) -> None:
    import optuna

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data = read_bead_set(Path(beads))
    study = _study(Path(out), seed)
    split = split_beads(data, 0)
    edge_px = crop_px(data)
    source = BeadPsfs.from_beads(data, split.train, edge_px)
    everywhere = field_source(source, FieldPsf.measure(source))
    # Of too few beads none can be spared: they are drawn anew, with other noise.
    unseen = split.validation if len(split.validation) else split.train
    validation = BeadPsfs.from_beads(data, unseen, edge_px)

    def objective(trial: optuna.Trial) -> float:
        settings = MatchedSettings(
            width=trial.suggest_categorical("width", WIDTHS),
            blocks=trial.suggest_int("blocks", 1, 5),
            learning_rate=trial.suggest_float("learning_rate", 3e-4, 6e-3, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            batch=trial.suggest_categorical("batch", BATCHES),
            bad_fit_share=trial.suggest_float("bad_fit_share", *BAD_FIT_SHARES),
            neighbour_share=trial.suggest_float("neighbour_share", *NEIGHBOUR_SHARES),
        )
        losses: list[float] = []

        def check(spent: float, loss: float) -> None:
            losses.append(loss)
            trial.report(loss, len(losses))
            if spent >= NOT_BEFORE and trial.should_prune():
                raise optuna.TrialPruned

        def show(message: str, share: float) -> None:
            if progress:
                progress(f"trial {trial.number + 1}: {message}", min((len(_finished(study)) + share) / trials, 1.0))

        fit_matched(
            everywhere, validation, emitters,
            minutes=budget[0], steps=budget[1], seed=seed, settings=settings, progress=show, on_check=check,
        )  # fmt: skip
        return float(np.min(losses))

    while len(_finished(study)) < trials:
        study.optimize(objective, n_trials=1)
