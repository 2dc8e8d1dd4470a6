"""A trained network in files: for inference (ONNX Runtime), and for further training (Keras)."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm._processes import in_fresh_process, native_stderr_held
from easyzloc_mm.io.reading import reading
from easyzloc_mm.model.card import KERAS_FILE, NETWORK_FILE
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import network_input
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.training.emitters import simulate_emitters

if TYPE_CHECKING:
    import keras

MAX_EXPORT_DIFFERENCE = 1e-3


def keras_backend() -> str:
    """Return what Keras computes with: tensorflow, torch or jax (environment variable ``KERAS_BACKEND``)."""
    import keras

    return str(keras.config.backend())


def export_network(network: keras.Model, folder: Path) -> None:
    """Write ``model.keras`` and ``model.onnx``.

    TensorFlow exports, whatever backend trained: Keras' other exporters need packages that may be missing.

    Parameters
    ----------
    network : keras.Model
    folder : Path
        Exists.
    """
    network.save(folder / KERAS_FILE)
    if keras_backend() == "tensorflow":
        _export_onnx(network, folder)
        return
    in_fresh_process(_export_with_tensorflow, folder)


def load_network(folder: Path) -> keras.Model:
    """Return the network of a bundle, to be trained further.

    Raises
    ------
    InputError
        The bundle has none, or it is damaged.
    """
    file = folder / KERAS_FILE
    with reading(file, "a Keras network", zipfile.BadZipFile, cure="copy the model's whole folder again"):
        with zipfile.ZipFile(file) as parts:
            if (damaged := parts.testzip()) is not None:
                raise ValueError(f"its part {damaged} is damaged")
        import keras

        return keras.models.load_model(file, compile=False)


def _export_with_tensorflow(folder: Path) -> None:
    """Export in a process that has not imported Keras yet."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    _export_onnx(load_network(folder), folder)


def _export_onnx(network: keras.Model, folder: Path) -> None:
    # Keras' exporter needs a model that was called once.
    network([np.zeros((1, *shape[1:]), np.float32) for shape in network.input_shape])
    with native_stderr_held():
        network.export(str(folder / NETWORK_FILE), format="onnx", verbose=False)


def check_export(network: keras.Model, model: Predictor, source: BeadPsfs, seed: int) -> None:
    """Raise unless the ONNX network of a model gives what the trained one gives.

    Parameters
    ----------
    network : keras.Model
    model : Predictor
        As it was loaded from the exported files.
    source : BeadPsfs
        What the images to compare on are drawn from.
    seed : int
    """
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
