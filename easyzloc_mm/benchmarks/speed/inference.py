"""`bench infer`: spots per second of one core, beside Keras and the paper's network, in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._extras import need
from easyzloc_mm.model.card import KERAS_FILE, NETWORK_FILE
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import network_input
from easyzloc_mm.model.mixture import posterior_of
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.training.emitters import simulate_emitters
from easyzloc_mm.training.recipes.architectures import paper_network

SPOTS = 8192
BLOCK = 1024
ROUNDS = 5
PAPER_SPOTS = 1024


def bench_infer(model: Path) -> dict[str, Any]:
    """Time the prediction of a model from crops to z, one thread, against `keras.predict` of the same network.

    Spots are molecules of 1000-3000 photons as the model's own PSF makes them: how many are ambiguous, and take
    longer, is part of the speed.

    Returns
    -------
    dict
        ``spots_per_s_per_core`` (CPU time of this process, best of `ROUNDS`; with refinement, as live runs use it),
        ``network_spots_per_s_per_core``, ``keras_predict_spots_per_s_per_core``, ``ratio_to_keras_predict``,
        ``paper_spots_per_s_per_core``, ``ratio_to_paper``, ``max_abs_diff_nm``.
    """
    need("threadpoolctl", extra="bench")
    import keras

    predictor = Predictor.load(model)
    card = predictor.card
    psf = FieldPsf.load(card.psf_file)
    source = BeadPsfs(
        psf.table(card.field_size_px), card.field_size_px, card.field_known, card.response.effective().read_noise_e
    )
    drawn = simulate_emitters(source, EmitterPrior().typical(max(map(abs, card.z_range_nm))), SPOTS, 0)
    crops, x, y = drawn.crops, drawn.x, drawn.y
    network = keras.models.load_model(card.path / KERAS_FILE, compile=False)

    def by_keras(part: slice) -> Any:
        inputs = network_input(
            crops[part], x[part], y[part], card.field_size_px,
            normalisation=card.normalisation, response=card.response, field_known=card.field_known,
        )  # fmt: skip
        return network.predict([*inputs], batch_size=BLOCK, verbose=0)

    rates = {
        "spots_per_s_per_core": _rate(lambda part: predictor.predict(crops[part], x[part], y[part]), SPOTS),
        "network_spots_per_s_per_core": _rate(
            lambda part: predictor.predict(crops[part], x[part], y[part], refine=False), SPOTS
        ),
        "keras_predict_spots_per_s_per_core": _rate(by_keras, SPOTS),
    }
    rates["paper_spots_per_s_per_core"] = _paper_rate(crops[:PAPER_SPOTS])
    expected = posterior_of(np.asarray(by_keras(slice(None)))).z_nm
    predicted = posterior_of(predictor.raw_output(crops, x, y)).z_nm
    return {
        **rates,
        "ratio_to_keras_predict": rates["network_spots_per_s_per_core"] / rates["keras_predict_spots_per_s_per_core"],
        "ratio_to_paper": rates["network_spots_per_s_per_core"] / rates["paper_spots_per_s_per_core"],
        "max_abs_diff_nm": float(np.max(np.abs(predicted - expected))),
    }


def _rate(work: Callable[[slice], Any], spots: int) -> float:
    from threadpoolctl import threadpool_limits

    work(slice(0, min(BLOCK, spots)))
    spent = []
    # As in the live loop's workers: threads of the linear algebra that wait for work would count as work.
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            begin = time.process_time()
            for first in range(0, spots, BLOCK):
                work(slice(first, first + BLOCK))
            spent.append(time.process_time() - begin)
    return spots / min(spent)


def _paper_rate(crops: np.ndarray) -> float:
    """Time the paper's network under the same engine; what its weights are does not matter here."""
    import onnxruntime

    from easyzloc_mm.training.export import export_network

    with tempfile.TemporaryDirectory() as folder:
        export_network(paper_network(), Path(folder))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(Path(folder) / NETWORK_FILE), options, providers=["CPUExecutionProvider"]
        )
        image, place = crops[..., None] / np.float32(65535), np.full((len(crops), 2), 0.5, np.float32)
        names = [item.name for item in session.get_inputs()]
        return _rate(
            lambda part: session.run(None, dict(zip(names, (image[part], place[part]), strict=True))), len(crops)
        )
