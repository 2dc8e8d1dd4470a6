"""Training: a bead data set in, a model out."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from easyzloc_mm._models import FrozenModel
from easyzloc_mm._version import installed
from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.model.accuracy import EvaluationResult, HeldOut
from easyzloc_mm.model.bundle import write_digests
from easyzloc_mm.model.card import (
    PSF_FILE,
    WIDER_PSF_FILE,
    BeadCounts,
    MatchedSettings,
    ModelCard,
    Recipe,
)
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration, SigmaByZ
from easyzloc_mm.psf.bead_psf import BeadPsfs, z_range_of_beads
from easyzloc_mm.psf.bead_zero import foci_by_psf
from easyzloc_mm.psf.crlb import empirical_psf
from easyzloc_mm.psf.crop_choice import crop_px, wider_px
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.focal_surface import measure_focal_surface
from easyzloc_mm.psf.kind import kind_of_beads
from easyzloc_mm.training.evaluation.evaluate import evaluate, joined, judge, result_of
from easyzloc_mm.training.export import check_export, export_network, keras_backend, load_network
from easyzloc_mm.training.recipes.checkpoint import Checkpoint
from easyzloc_mm.training.recipes.learners import (
    Z_RANGE_NM,
    Allowance,
    Fitted,
    Learner,
    MatchedLearner,
    PaperLearner,
    checkpoint_beside,
)
from easyzloc_mm.training.split import Part, Split, split_beads
from easyzloc_mm.typing import F32, IfExists, Progress

logger = logging.getLogger(__name__)

EDGE_NM = 50.0
"""Left free between the ends of the stacks and the calibrated range."""
FINAL_SHARE = 0.5
"""Of the budget, for the model's own network, where others have to be trained to judge it."""
CHECKED_BEADS = 24
"""On images of about so many the exported network is held against the trained one."""
InFrames = Callable[[ModelCard, BeadDataset], Score]
"""Judges the model in a folder by the whole pipeline."""
WritePassport = Callable[[ModelCard, BeadDataset, Path], None]
Uncertainty = MixtureCalibration | SigmaByZ
PACKAGES = ("easyzloc-mm", "keras", "tensorflow", "numpy", "onnxruntime", "picassosr")


class TrainReport(FrozenModel):
    """What training made.

    Attributes
    ----------
    minutes : float
        Wall time of the optimisation.
    rmse_z_nm : float, optional
        Of held-out beads thinned to the brightness of single molecules, unflagged; None where all carry a flag.
    limit_z_nm : float, optional
        Information limit (CRLB) of those, their median.
    held_out : HeldOut
        Whether the network that was judged had seen these beads: see `folds`.
    folds : int
        Networks of a cross-validation that the figures are from; 0 where they are of the model itself.
    measured_on, remark : str
        What the figures were measured on, in words; and what to make of a limit above the error, if it is.
    recipe : Recipe
    train_beads, validation_beads, test_beads : int
    distinct_beads : int
        Of all these, how many different ones.
    """

    schema_version: Literal[2] = 2
    minutes: float
    rmse_z_nm: float | None
    limit_z_nm: float | None
    held_out: HeldOut
    folds: int
    measured_on: str
    remark: str | None
    recipe: Recipe
    train_beads: int
    validation_beads: int
    test_beads: int
    distinct_beads: int


def train(
    beads: BeadDataset,
    out: Path,
    *,
    recipe: str = "matched",
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    roi_px: int | None = None,
    if_exists: IfExists = "error",
    emitters: EmitterPrior | None = None,
    start_from: Path | None = None,
    settings: MatchedSettings | None = None,
    in_frames: InFrames | None = None,
    passport: WritePassport | None = None,
    progress: Progress | None = None,
) -> TrainReport:
    """Train a network and write the model with a report.

    A ``matched`` training that was interrupted leaves a checkpoint beside `out`; the same call continues from there.

    Parameters
    ----------
    beads : BeadDataset
    out : Path
        The model's folder; it appears when it is complete.
    recipe : {"matched", "paper"}
    minutes : float
        Time budget of the optimisation.
    steps : int, optional
        Steps of the optimiser in place of `minutes`: the same training on a slow machine as on a fast one.
    seed : int
        Of the split, the weights and everything drawn at random.
    roi_px : int, optional
        Edge of the crops, odd: what the beads' light needs (`psf.crop_choice`), or that of `start_from`, without it.
    emitters : EmitterPrior, optional
        The emitters that the model is trained for (``matched``); broad defaults without it.
    start_from : Path, optional
        An earlier model of the same kind whose network is trained further: a minute is then enough.
    settings : MatchedSettings, optional
        Sizes and rates, from `tune`; without them those of `start_from`, or the defaults.
    in_frames : callable, optional
        Given card and beads, returns how the whole pipeline, which lies above this room, finds held-out beads in
        frames; for report and card.
    passport : callable, optional
        Given card, beads and the bundle's folder, writes the instrument's passport, whose room lies above this one.

    Raises
    ------
    InputError
        The recipe is unknown, no bead is accepted, the output exists, or the earlier network is of other sizes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports every machine without a GPU as an error
    out, chosen = Path(out), _recipe(recipe)
    start = _start(start_from, chosen, settings)
    edge_px = _edge_px(beads, chosen, roi_px, start.roi_px)
    spend = Allowance(minutes, steps)
    wanted = (emitters or EmitterPrior()).effective(beads.response.excess_noise)
    inputs = [] if start_from is None else [start_from]
    with whole_or_nothing(out, Kind.MODEL, if_exists=if_exists, inputs=inputs) as draft:
        draft.mkdir()
        split = split_beads(beads, seed)
        job = _Job(beads, split, chosen, wanted, seed, edge_px, start, in_frames, progress)
        logger.info(
            "training by recipe %s on %d beads (%d for validation, %d for the test)%s",
            chosen, len(split.train), len(split.validation), len(split.test),
            f", cross-validated in {len(split.folds)} turns" if split.folds else "",
        )  # fmt: skip
        logger.debug("settings: %s, emitters: %s, seed %d", start.settings, job.emitters, seed)
        begin = time.monotonic()
        identity = (beads.digest(), job.emitters, start.settings, seed, edge_px, start_from)
        learner = job.learner(checkpoint_beside(out, identity))
        fitted, turns = _fit_all(job, learner, spend)
        unseen = turns or [(fitted, Part(beads, split.validation if len(split.validation) else split.train))]
        job.show("calibrating the uncertainties", 0.0)
        uncertainty = learner.calibrate(fitted, unseen)
        card = _card(job, learner, fitted, uncertainty, minutes=(time.monotonic() - begin) / 60)
        job.show("exporting", 0.0)
        model = _export(job, fitted, card, draft)
        accuracy = _evaluate(job, learner, model, turns, draft)
        card = card.model_copy(update={"accuracy": accuracy})
        card.write(draft)
        if passport is not None:
            passport(card, beads, draft)
        write_digests(draft)
        learner.discard()
        logger.info("trained in %.1f min: %s", card.minutes, accuracy.summary)
    return TrainReport(
        minutes=card.minutes,
        rmse_z_nm=accuracy.rmse_z_nm,
        limit_z_nm=accuracy.limit_z_nm,
        held_out=accuracy.held_out,
        folds=accuracy.folds,
        measured_on=accuracy.measured_on,
        remark=accuracy.remark,
        recipe=chosen,
        train_beads=len(split.train),
        validation_beads=len(split.validation),
        test_beads=len(split.test),
        distinct_beads=beads.distinct,
    )


@dataclass(frozen=True)
class _Start:
    """What a training starts from.

    Attributes
    ----------
    weights : list of ndarray, optional
        Of an earlier network.
    settings : MatchedSettings
        Sizes and rates to train with.
    trained_on : tuple of str
        Fingerprints of the beads that the earlier network has seen.
    roi_px : int, optional
        Edge of its crops.
    """

    weights: list[F32] | None
    settings: MatchedSettings
    trained_on: tuple[str, ...] = ()
    roi_px: int | None = None


@dataclass(frozen=True)
class _Job:
    """What a training was asked for."""

    beads: BeadDataset
    split: Split
    recipe: Recipe
    emitters: EmitterPrior
    seed: int
    roi_px: int
    start: _Start
    in_frames: InFrames | None
    progress: Progress | None

    def show(self, message: str, share: float) -> None:
        if self.progress:
            self.progress(message, share)

    def between(self, start: float, stop: float) -> Progress:
        """Return what shows the progress of one network as a part of that of all."""
        return lambda message, share: self.show(message, start + (stop - start) * share)

    @cached_property
    def z_range_nm(self) -> tuple[float, float]:
        """Depths that are calibrated: those that nine in ten beads cover."""
        low, high = z_range_of_beads(self.beads, self.split.train)
        return max(low + EDGE_NM, -Z_RANGE_NM), min(high - EDGE_NM, Z_RANGE_NM)

    def learner(self, checkpoint: Callable[[str, Allowance], Checkpoint]) -> Learner:
        if self.recipe is Recipe.PAPER:
            return PaperLearner(self.z_range_nm, self.seed)
        return MatchedLearner(
            self.emitters, self.start.settings, self.seed, self.roi_px, self.start.weights, checkpoint
        )


def _recipe(name: str) -> Recipe:
    try:
        return Recipe(name)
    except ValueError:
        raise InputError(f"recipe '{name}' is unknown: use matched or paper") from None


def _start(path: Path | None, recipe: Recipe, settings: MatchedSettings | None) -> _Start:
    if path is None:
        return _Start(None, settings or MatchedSettings())
    card = ModelCard.load(path)
    if recipe is not Recipe.MATCHED or card.recipe is not Recipe.MATCHED or card.settings is None:
        raise InputError(f"`from` {path}: only a model of the matched recipe can be trained further")
    earlier, settings = card.settings, settings or card.settings
    if (settings.width, settings.blocks) != (earlier.width, earlier.blocks):
        raise InputError(
            f"the network in {path} has {earlier.blocks} blocks of {earlier.width}, the settings say "
            f"{settings.blocks} of {settings.width}: leave out `settings`, or `from`"
        )
    network = load_network(card.path)
    return _Start(network.get_weights(), settings, card.trained_on or (), card.roi_px)


def _edge_px(beads: BeadDataset, recipe: Recipe, wanted: int | None, earlier: int | None) -> int:
    """Return the edge of the crops."""
    if recipe is Recipe.PAPER:
        if wanted not in (None, ROI_PX):
            raise InputError(f"`roi_px` {wanted}: the paper's network takes crops of {ROI_PX} px; leave it out")
        return ROI_PX
    if earlier is not None and wanted not in (None, earlier):
        raise InputError(f"`roi_px` {wanted}: the network to start from takes crops of {earlier} px; leave it out")
    return crop_px(beads, wanted or earlier)


def _fit_all(job: _Job, learner: Learner, spend: Allowance) -> tuple[Fitted, list[tuple[Fitted, Part]]]:
    """Return the model's network, and those of a cross-validation each with what it has not seen."""
    split = job.split
    whole = Part(job.beads, split.train)
    validation = Part(job.beads, split.validation) if len(split.validation) else None
    own = FINAL_SHARE if split.folds else 1.0
    fitted = learner.fit(whole, validation, spend.share(own), None, job.between(0.0, own))
    turns = []
    each = (1 - own) / max(len(split.folds), 1)
    for number, fold in enumerate(split.folds):
        start = own + number * each
        progress = job.between(start, start + each)
        network = learner.fit(fold.train, None, spend.share(each), number, progress)
        turns.append((network, fold.test))
    return fitted, turns


def _card(job: _Job, learner: Learner, fitted: Fitted, uncertainty: Uncertainty, *, minutes: float) -> ModelCard:
    beads, split = job.beads, job.split
    psf = None if fitted.learned is None else fitted.learned.psf
    seen = beads.fingerprints(np.concatenate([split.train, split.validation]))
    return ModelCard(
        recipe=job.recipe,
        normalisation=learner.normalisation,
        seed=job.seed,
        minutes=minutes,
        roi_px=job.roi_px,
        pixel_size_nm=beads.pixel_size_nm,
        field_size_px=beads.field_size_px,
        field_known=beads.field_known,
        z_range_nm=job.z_range_nm,
        response=beads.response,
        training_data=beads.digest(),
        beads=BeadCounts(train=len(split.train), validation=len(split.validation), test=len(split.test)),
        trained_on=tuple(dict.fromkeys((*job.start.trained_on, *seen))),
        settings=learner.settings,
        psf_degree=None if psf is None else psf.degree,
        psf_kind=kind_of_beads(beads),
        keras_backend=keras_backend(),
        versions=installed(PACKAGES),
        uncertainty=uncertainty,
        focal_surface=measure_focal_surface(beads if psf is None else foci_by_psf(beads, psf, job.roi_px)),
    )


def _export(job: _Job, fitted: Fitted, card: ModelCard, folder: Path) -> Predictor:
    """Write network, PSF and card, check what was written, and return it in use."""
    export_network(fitted.network, folder)
    if fitted.learned is not None:
        psf = fitted.learned.psf
        psf.save(folder / PSF_FILE)
        if edge := wider_px(job.beads, job.roi_px):
            wider = BeadPsfs.from_beads(job.beads, job.split.train, edge)
            FieldPsf.measure(wider, psf.degree).save(folder / WIDER_PSF_FILE)
    card.write(folder)
    model = Predictor.load(folder)
    some = job.split.train[:: max(1, len(job.split.train) // CHECKED_BEADS)]
    check_export(fitted.network, model, BeadPsfs.from_beads(job.beads, some, job.roi_px), job.seed)
    return model


def _evaluate(
    job: _Job, learner: Learner, model: Predictor, turns: list[tuple[Fitted, Part]], folder: Path
) -> EvaluationResult:
    """Evaluate the model on its test beads, or by its cross-validation, and write the report."""
    job.show("measuring accuracy on held-out beads", 0.0)
    report = folder / "report"
    if not turns:
        found = None
        if job.in_frames is not None and len(job.split.test):
            found = job.in_frames(model.card, job.beads)
        return evaluate(model, job.beads, in_frames=found, report=report)
    from easyzloc_mm.training.evaluation.report import write_model_report

    psf, judged = empirical_psf(job.beads, job.roi_px), []
    for number, (fitted, part) in enumerate(turns):
        others = [turn for turn in turns if turn[0] is not fitted]
        with tempfile.TemporaryDirectory() as place:
            uncertainty = learner.calibrate(fitted, others)
            card = _card(job, learner, fitted, uncertainty, minutes=0.0)
            one = _export(job, fitted, card, Path(place))
            judged.append(judge(one, part, psf, job.z_range_nm, share=1 / len(turns)))
        job.show(f"measuring accuracy: {number + 1} of {len(turns)} networks", (number + 1) / len(turns))
    result = result_of(judged, model.card, job.beads, job.z_range_nm, held_out=job.split.held_out, folds=len(turns))
    write_model_report(report, model.card, result, joined(judged))
    return result
