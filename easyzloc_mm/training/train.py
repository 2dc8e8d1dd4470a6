"""Training: a bead data set in, a model out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from easyzloc_mm._models import FrozenModel
from easyzloc_mm._processes import in_fresh_process, native_stderr_held
from easyzloc_mm._version import installed
from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.model.accuracy import EvaluationResult
from easyzloc_mm.model.bundle import write_digests
from easyzloc_mm.model.card import (
    KERAS_FILE,
    NETWORK_FILE,
    PSF_FILE,
    BeadCounts,
    MatchedSettings,
    ModelCard,
    Recipe,
)
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import Normalisation, network_input
from easyzloc_mm.model.mixture import Z_UNIT_NM
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration, SigmaByZ, sigma_by_z
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.crop_choice import crop_px
from easyzloc_mm.psf.field_psf import FieldPsf, field_source
from easyzloc_mm.psf.focal_surface import measure_focal_surface
from easyzloc_mm.psf.kind import kind_of_beads
from easyzloc_mm.training.emitters import simulate_emitters
from easyzloc_mm.training.evaluation.evaluate import evaluate
from easyzloc_mm.training.recipes.checkpoint import Checkpoint
from easyzloc_mm.training.split import Split, split_beads
from easyzloc_mm.typing import F32, IfExists, Progress

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

Z_RANGE_NM = 1000.0
"""Depths beyond this are flagged (paper: z within +-1 um)."""
EDGE_NM = 50.0
"""Left free between the ends of the stacks and the calibrated range."""
MAX_EXPORT_DIFFERENCE = 1e-3
InFrames = Callable[[ModelCard, BeadDataset], Score]
"""Judges the model in a folder by the whole pipeline."""
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
        Information limit (CRLB) of those.
    recipe : Recipe
    train_beads, validation_beads, test_beads : int
    """

    schema_version: Literal[1] = 1
    minutes: float
    rmse_z_nm: float | None
    limit_z_nm: float | None
    recipe: Recipe
    train_beads: int
    validation_beads: int
    test_beads: int


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

    Raises
    ------
    InputError
        The recipe is unknown, too few beads, the output exists, or the earlier network is of other sizes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports every machine without a GPU as an error
    out, chosen = Path(out), _recipe(recipe)
    weights, sizes, earlier_px = _start(start_from, chosen, settings)
    edge_px = _edge_px(beads, chosen, roi_px, earlier_px)
    emitters = (emitters or EmitterPrior()).effective(beads.response.excess_noise)
    job = _Job(beads, emitters, minutes, steps, seed, edge_px, sizes, weights, in_frames, progress)
    inputs = [] if start_from is None else [start_from]
    with whole_or_nothing(out, Kind.MODEL, if_exists=if_exists, inputs=inputs) as draft:
        draft.mkdir()
        split = split_beads(beads, seed)
        source = BeadPsfs.from_beads(beads, split.train, edge_px)
        low, high = source.z_range_nm
        z_range = max(low + EDGE_NM, -Z_RANGE_NM), min(high - EDGE_NM, Z_RANGE_NM)
        logger.info(
            "training by recipe %s on %d beads (%d for validation, %d for the test)",
            chosen,
            len(split.train),
            len(split.validation),
            len(split.test),
        )
        logger.debug("settings: %s, emitters: %s, seed %d, z range %s nm", job.settings, job.emitters, seed, z_range)
        begin = time.monotonic()
        if chosen is Recipe.MATCHED:
            identity = repr((beads.digest(), job.emitters, job.settings, minutes, steps, seed, edge_px, start_from))
            checkpoint = Checkpoint(out.with_name(f".{out.name}.training.npz"), identity)
            trained = _matched(job, split, source, draft, checkpoint)
            checkpoint.discard()
        else:
            trained = _paper(job, split, z_range)
        card = _card(job, chosen, split, z_range, trained, minutes=(time.monotonic() - begin) / 60)
        accuracy = _export(job, trained.network, card, source, draft)
        logger.info(
            "trained in %.1f min: z of held-out beads to %.1f nm, information limit %.1f nm",
            card.minutes,
            accuracy.rmse_z_nm,
            accuracy.limit_z_nm,
        )
    return TrainReport(
        minutes=card.minutes,
        rmse_z_nm=accuracy.rmse_z_nm,
        limit_z_nm=accuracy.limit_z_nm,
        recipe=chosen,
        train_beads=len(split.train),
        validation_beads=len(split.validation),
        test_beads=len(split.test),
    )


def keras_backend() -> str:
    """Return what Keras computes with: tensorflow, torch or jax (environment variable ``KERAS_BACKEND``)."""
    import keras

    return str(keras.config.backend())


@dataclass(frozen=True)
class _Job:
    """What a training was asked for."""

    beads: BeadDataset
    emitters: EmitterPrior
    minutes: float
    steps: int | None
    seed: int
    roi_px: int
    settings: MatchedSettings
    weights: list[F32] | None
    in_frames: InFrames | None
    progress: Progress | None

    def show(self, message: str, share: float) -> None:
        if self.progress:
            self.progress(message, share)


@dataclass(frozen=True)
class _Trained:
    """A trained network, and how its output is read."""

    network: keras.Model
    normalisation: Normalisation
    uncertainty: MixtureCalibration | SigmaByZ
    settings: MatchedSettings | None = None
    psf_degree: int | None = None


def _recipe(name: str) -> Recipe:
    try:
        return Recipe(name)
    except ValueError:
        raise InputError(f"recipe '{name}' is unknown: use matched or paper") from None


def _start(
    path: Path | None, recipe: Recipe, settings: MatchedSettings | None
) -> tuple[list[F32] | None, MatchedSettings, int | None]:
    """Return the weights to start from, and their crops' edge, if any, and the sizes and rates to train with."""
    if path is None:
        return None, settings or MatchedSettings(), None
    import keras

    card = ModelCard.load(path)
    if recipe is not Recipe.MATCHED or card.recipe is not Recipe.MATCHED or card.settings is None:
        raise InputError(f"`from` {path}: only a model of the matched recipe can be trained further")
    earlier, settings = card.settings, settings or card.settings
    if (settings.width, settings.blocks) != (earlier.width, earlier.blocks):
        raise InputError(
            f"the network in {path} has {earlier.blocks} blocks of {earlier.width}, the settings say "
            f"{settings.blocks} of {settings.width}: leave out `settings`, or `from`"
        )
    network = keras.models.load_model(card.path / KERAS_FILE, compile=False)
    return network.get_weights(), settings, card.roi_px


def _edge_px(beads: BeadDataset, recipe: Recipe, wanted: int | None, earlier: int | None) -> int:
    """Return the edge of the crops."""
    if recipe is Recipe.PAPER:
        if wanted not in (None, ROI_PX):
            raise InputError(f"`roi_px` {wanted}: the paper's network takes crops of {ROI_PX} px; leave it out")
        return ROI_PX
    if earlier is not None and wanted not in (None, earlier):
        raise InputError(f"`roi_px` {wanted}: the network to start from takes crops of {earlier} px; leave it out")
    return crop_px(beads, wanted or earlier)


def _matched(job: _Job, split: Split, source: BeadPsfs, folder: Path, checkpoint: Checkpoint) -> _Trained:
    from easyzloc_mm.training.evaluation.uncertainty_calibration import calibrate
    from easyzloc_mm.training.recipes.matched import fit_matched

    job.show("modelling the PSF over the field", 0.0)
    psf = FieldPsf.measure(source)
    psf.save(folder / PSF_FILE)
    everywhere = field_source(source, psf)
    validation = BeadPsfs.from_beads(job.beads, split.validation, job.roi_px)
    network = fit_matched(
        everywhere, validation, job.emitters,
        minutes=job.minutes, steps=job.steps, seed=job.seed, settings=job.settings, start=job.weights,
        checkpoint=checkpoint, progress=job.progress,
    )  # fmt: skip
    excess_noise = job.beads.response.excess_noise
    return _Trained(
        network,
        Normalisation.SPOT,
        calibrate(network, psf, everywhere, validation, job.emitters, Z_RANGE_NM, job.seed, excess_noise),
        job.settings,
        psf.degree,
    )


def _paper(job: _Job, split: Split, z_range: tuple[float, float]) -> _Trained:
    from easyzloc_mm.training.recipes.published import fit_paper, recorded_planes

    beads = job.beads
    network = fit_paper(
        beads, split.train, split.validation, z_range,
        minutes=job.minutes, steps=job.steps, seed=job.seed, progress=job.progress,
    )  # fmt: skip
    crops, bead, z_nm = recorded_planes(beads, split.validation, z_range)
    inputs = network_input(
        crops, beads.x[bead], beads.y[bead], beads.field_size_px,
        normalisation=Normalisation.PAPER, response=beads.response, field_known=beads.field_known,
    )  # fmt: skip
    predicted = Z_UNIT_NM * np.asarray(network.predict([*inputs], batch_size=256, verbose=0))[:, 0]
    return _Trained(network, Normalisation.PAPER, sigma_by_z(predicted, z_nm, Z_RANGE_NM))


def _card(
    job: _Job, recipe: Recipe, split: Split, z_range: tuple[float, float], trained: _Trained, *, minutes: float
) -> ModelCard:
    beads = job.beads
    return ModelCard(
        recipe=recipe,
        normalisation=trained.normalisation,
        seed=job.seed,
        minutes=minutes,
        roi_px=job.roi_px,
        pixel_size_nm=beads.pixel_size_nm,
        field_size_px=beads.field_size_px,
        field_known=beads.field_known,
        z_range_nm=z_range,
        response=beads.response,
        training_data=beads.digest(),
        beads=BeadCounts(train=len(split.train), validation=len(split.validation), test=len(split.test)),
        settings=trained.settings,
        psf_degree=trained.psf_degree,
        psf_kind=kind_of_beads(beads),
        keras_backend=keras_backend(),
        versions=installed(PACKAGES),
        uncertainty=trained.uncertainty,
        focal_surface=measure_focal_surface(beads),
    )


def _export(job: _Job, network: keras.Model, card: ModelCard, source: BeadPsfs, folder: Path) -> EvaluationResult:
    """Write network and card, check what was written, evaluate it, and write the card with its accuracy."""
    job.show("exporting", 1.0)
    export_network(network, folder)
    card.write(folder)
    model = Predictor.load(folder)
    check_export(network, model, source, job.seed)
    job.show("measuring accuracy on held-out beads", 1.0)
    found = job.in_frames(model.card, job.beads) if job.in_frames is not None else None
    accuracy = evaluate(model, job.beads, in_frames=found, report=folder / "report")
    card.model_copy(update={"accuracy": accuracy}).write(folder)
    write_digests(folder)
    return accuracy


def export_network(network: keras.Model, folder: Path) -> None:
    """Write ``model.keras`` and ``model.onnx``.

    TensorFlow exports, whatever backend trained: Keras' other exporters need packages that may be missing.
    """
    network.save(folder / KERAS_FILE)
    if keras_backend() == "tensorflow":
        _export_onnx(network, folder)
        return
    in_fresh_process(_export_with_tensorflow, folder)


def _export_with_tensorflow(folder: Path) -> None:
    """Export in a process that has not imported Keras yet."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    _export_onnx(keras.models.load_model(folder / KERAS_FILE, compile=False), folder)


def _export_onnx(network: keras.Model, folder: Path) -> None:
    # Keras' exporter needs a model that was called once.
    network([np.zeros((1, *shape[1:]), np.float32) for shape in network.input_shape])
    with native_stderr_held():
        network.export(str(folder / NETWORK_FILE), format="onnx", verbose=False)


def check_export(network: keras.Model, model: Predictor, source: BeadPsfs, seed: int) -> None:
    """Raise unless the ONNX network gives what the trained one gives."""
    card = model.card
    drawn = simulate_emitters(source, EmitterPrior(), 256, seed + 21)
    inputs = network_input(
        drawn.crops, drawn.x, drawn.y, source.field_size_px,
        normalisation=card.normalisation, response=card.response, field_known=card.field_known,
    )  # fmt: skip
    expected = np.asarray(network.predict([*inputs], verbose=0))
    difference = float(np.max(np.abs(model.raw_output(drawn.crops, drawn.x, drawn.y) - expected)))
    if not difference <= MAX_EXPORT_DIFFERENCE * max(1.0, float(np.abs(expected).max())):
        raise RuntimeError(f"the exported network differs from the trained one by {difference:.2g}")
