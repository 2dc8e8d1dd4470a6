"""A small model bundle and movies of known spots, for tests of the live loop and of its offline twin."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.workers.messages import BlockLocalizer
from easyzloc_mm.model.card import PSF_FILE, BeadCounts, ModelCard, Recipe
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import AUX_COLUMNS, Normalisation
from easyzloc_mm.model.mixture import COMPONENTS, EMBEDDING
from easyzloc_mm.model.uncertainty import (
    AmbiguityThreshold,
    EmbeddingDistribution,
    LikelihoodScale,
    MixtureCalibration,
    ResidualLimit,
    SigmaScale,
)
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.psf.bead_psf import PITCH_PX, Z_PITCH_NM, knots_of
from easyzloc_mm.psf.field_psf import FieldPsf

BASELINE, GAIN = 100.0, 0.5
MOST_BROKEN = 24
"""Spots of a batch that a broken bundle predicts: more than warming up has, fewer than a frame of the tests'."""


def _response() -> CameraResponse:
    return CameraResponse(baseline_adu=BASELINE, electrons_per_adu=GAIN, read_noise_e=1.5)


@functools.cache
def compile_kernels() -> None:
    """Compile what localising processes need, once and here, rather than in each of them at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        model = _write_bundle(Path(folder) / "model", field=(64, 64), pixel_nm=110.0, broken=False)
        BlockLocalizer(LocalizerConfig(model, _response(), LocalizeSettings()))


def small_bundle(folder: Path, *, field: tuple[int, int], pixel_nm: float = 110.0, broken: bool = False) -> Path:
    """Write a bundle whose network is linear in the crop: untrained, but every part of inference is real.

    A `broken` one loads and warms up, and fails on any batch of more than `MOST_BROKEN` spots.
    """
    compile_kernels()
    return _write_bundle(folder, field=field, pixel_nm=pixel_nm, broken=broken)


def _write_bundle(folder: Path, *, field: tuple[int, int], pixel_nm: float, broken: bool) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    outputs = 3 * COMPONENTS + EMBEDDING
    weights: dict[str, NDArray[Any]] = {
        "w": rng.normal(0, 0.02, (225, outputs)).astype(np.float32),
        "v": rng.normal(0, 0.1, (len(AUX_COLUMNS), outputs)).astype(np.float32),
        "shape": np.array([-1, 225], np.int64),
        "first": np.array(0, np.int64),
        "nothing": np.zeros(MOST_BROKEN + 1 if broken else 1 << 12, np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["a"]),
        helper.make_node("MatMul", ["aux", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        # How many spots there are is looked up: beyond the last entry that fails.
        helper.make_node("Shape", ["flat"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "first"], ["count"]),
        helper.make_node("Gather", ["nothing", "count"], ["zero"]),
        helper.make_node("Add", ["c", "zero"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 15, 15, 1]),
            helper.make_tensor_value_info("aux", TensorProto.FLOAT, ["n", len(AUX_COLUMNS)]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    scores = EmbeddingDistribution(
        mean=(0.0,) * EMBEDDING, whitening=tuple(map(tuple, np.eye(EMBEDDING).tolist())), threshold=50.0
    )
    card = ModelCard(
        recipe=Recipe.MATCHED,
        normalisation=Normalisation.SPOT,
        seed=0,
        minutes=0.0,
        roi_px=15,
        pixel_size_nm=pixel_nm,
        field_size_px=field,
        field_known=True,
        z_range_nm=(-900.0, 900.0),
        response=_response(),
        training_data="none",
        beads=BeadCounts(train=0, validation=0, test=0),
        keras_backend="none",
        versions={},
        uncertainty=MixtureCalibration(
            network_scale=SigmaScale(),
            likelihood_scale=LikelihoodScale(),
            network_ambiguity=AmbiguityThreshold(threshold=0.05),
            likelihood_ambiguity=AmbiguityThreshold(threshold=0.05),
            residual_limit=ResidualLimit(log_photons=(0.0,), deviance=(1e6,)),
            embedding=scores,
            emitters=EmitterPrior(),
        ),
    )
    widening_psf().save(folder / PSF_FILE)
    card.write(folder)
    return folder


def widening_psf() -> FieldPsf:
    """A Gaussian of 1.3 px whose width and brightness change with depth, the same all over the field."""
    z = np.arange(-16, 17) * Z_PITCH_NM
    knot = PITCH_PX * (np.arange(knots_of(ROI_PX)) - knots_of(ROI_PX) // 2)
    width = 1.3 + 0.8 * np.abs(z / 1000) + 0.2 * z / 1000
    profile = np.exp(-(knot**2) / (2 * width[:, None] ** 2)) / (np.sqrt(2 * np.pi) * width[:, None])
    image = profile[:, :, None] * profile[:, None, :]
    return FieldPsf(image[None].astype(np.float32), 0, float(z[0]), Z_PITCH_NM, -1000.0, 1000.0)


def spots_movie(
    frames: int, shape: tuple[int, int], *, spots: int = 8, seed: int = 0, photons: float = 3000.0
) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Gaussian spots on a noisy background: frames (T, Y, X) in ADU, and places (T, spots, 2) as x, y."""
    rng = np.random.default_rng(seed)
    height, width = shape
    places = np.stack(
        [rng.uniform(10, width - 11, (frames, spots)), rng.uniform(10, height - 11, (frames, spots))], axis=-1
    )
    row, column = np.arange(height), np.arange(width)
    movie = np.empty((frames, height, width), np.uint16)
    for t in range(frames):
        light = np.full(shape, 20.0)
        for x, y in places[t]:
            across = np.exp(-((column - x) ** 2) / (2 * 1.3**2))
            down = np.exp(-((row - y) ** 2) / (2 * 1.3**2))
            light += photons / (2 * np.pi * 1.3**2) * down[:, None] * across[None]
        movie[t] = np.clip(rng.poisson(light) / GAIN + BASELINE + rng.normal(0, 2, shape), 0, 65535)
    return movie, places


def embedded_profile(profile: Profile, width: int = 192, height: int = 160) -> Profile:
    """The demo profile with a small sensor, in the units of `spots_movie`."""
    return profile.replace(
        camera={"width_px": width, "height_px": height, "baseline_adu": BASELINE, "electrons_per_adu": GAIN},
        connection={"buffer_size_mb": 64},
        imaging={"exposure_ms": 10.0},
    )
