"""Trainings of the tests: in a process of their own, which TensorFlow's memory leaves with; by steps, not by the clock.

Everything here that takes a `Path` runs in that process.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.io.beads.dataset import read_bead_set
from easyzloc_mm.model.card import MatchedSettings
from easyzloc_mm.model.inputs import network_input
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.training.train import train
from easyzloc_mm.typing import F32

EMITTERS = 3072
"""By which the trainings of the tests are calibrated and judged."""


@contextmanager
def training_process() -> Iterator[ProcessPoolExecutor]:
    """One fresh process that trains whatever it is given, one after the other."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=prepare) as pool:
        yield pool


def prepare() -> None:
    """Fewer molecules for validation, calibration and evaluation than for a model that somebody uses."""
    from easyzloc_mm.training.evaluation import evaluate, uncertainty_calibration
    from easyzloc_mm.training.recipes import matched

    matched.VALIDATION = 2048
    uncertainty_calibration.EMITTERS = evaluate.EMITTERS = EMITTERS


def trained(beads: Path, out: Path, **options: Any) -> None:
    """Train on a stored bead set."""
    train(read_bead_set(beads), out, **options)


def briefly_trained(beads: Path, out: Path, steps: int) -> None:
    """Train on a stored bead set what need not be any good."""
    from easyzloc_mm.training.evaluation import evaluate, uncertainty_calibration
    from easyzloc_mm.training.recipes import matched

    matched.VALIDATION = uncertainty_calibration.EMITTERS = evaluate.EMITTERS = 900
    train(read_bead_set(beads), out, steps=steps, seed=0, settings=MatchedSettings(width=64, blocks=1))


def interrupted_training(beads: Path, out: Path, steps: int, stop_at: float) -> list[float]:
    """Train until the share `stop_at` is over, then interrupt; return the shares that were reported.

    Other trainings keep their checkpoints less often than at every block.
    """
    from easyzloc_mm.training.recipes import checkpoint

    interval, checkpoint.INTERVAL_S = checkpoint.INTERVAL_S, 0.0
    shares: list[float] = []

    def record(message: str, share: float) -> None:
        if "steps" in message:
            shares.append(share)
            if share > stop_at:
                raise KeyboardInterrupt

    try:
        train(
            read_bead_set(beads),
            out,
            steps=steps,
            seed=3,
            progress=record,
            settings=MatchedSettings(width=64, blocks=1),
        )
    except KeyboardInterrupt:
        pass
    finally:
        checkpoint.INTERVAL_S = interval
    return shares


def outputs_of_keras_and_onnx(model: Path, crops: F32) -> tuple[F32, F32]:
    """Raw outputs of the two files of a bundle for the same crops, all over the field."""
    import keras

    place = np.linspace(0, 511, len(crops))
    predictor = Predictor.load(model)
    inputs = network_input(crops, place, place, predictor.card.field_size_px)
    network = keras.models.load_model(model / "model.keras", compile=False)
    return np.asarray(network.predict([*inputs], verbose=0)), predictor.raw_output(crops, place, place)


def untrained_network(model: Path, width: int = 16) -> None:
    """Give a bundle a small network of the matched recipe, as Keras and as ONNX."""
    from easyzloc_mm.model.card import ModelCard
    from easyzloc_mm.training.export import export_network
    from easyzloc_mm.training.recipes.architectures import mixture_network

    export_network(mixture_network(width, 1), model)
    settings = MatchedSettings(width=width, blocks=1)
    ModelCard.load(model).model_copy(update={"settings": settings}).write(model)


def refreshed(model: Path, run: Path, movie: Path, out: Path, steps: int) -> None:
    """Refresh a bundle."""
    from easyzloc_mm.api.imaging.refresh import refresh

    refresh(model, run, out, movie=movie, steps=steps)
