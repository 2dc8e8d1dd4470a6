"""Training: a bead data set in, a model bundle out."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from easyzloc_mm._processes import in_fresh_process, native_stderr_held
from easyzloc_mm._versions import installed
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadSet
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import whole_or_nothing
from easyzloc_mm.model.bundle import PSF_FILE, SCHEMA_VERSION, ModelBundle
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import Normalisation, network_input
from easyzloc_mm.model.mixture import Z_UNIT_NM
from easyzloc_mm.model.uncertainty import sigma_by_z
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf, field_source
from easyzloc_mm.training.emitters import simulate_emitters
from easyzloc_mm.training.evaluation.evaluate import evaluate
from easyzloc_mm.training.recipes.checkpoint import Checkpoint
from easyzloc_mm.training.recipes.matched import MatchedSettings
from easyzloc_mm.training.split import Split, split_beads
from easyzloc_mm.typing import IfExists, Progress

if TYPE_CHECKING:
    import keras


Z_RANGE_NM = 1000.0
"""Depths beyond this are flagged (paper: z within +-1 um)."""
EDGE_NM = 50.0
"""Left free between the ends of the stacks and the calibrated range."""
MAX_EXPORT_DIFFERENCE = 1e-3
PACKAGES = ("easyzloc-mm", "keras", "tensorflow", "numpy", "onnxruntime", "picassosr")


class Recipe(StrEnum):
    """How a network is trained."""

    MATCHED = "matched"
    """Beads thinned to molecule brightness, mixture of Gaussians as output."""
    PAPER = "paper"
    """Boland et al. 2025."""


@dataclass(frozen=True)
class TrainReport:
    """What training made.

    Attributes
    ----------
    minutes : float
        Wall time of the optimisation.
    rmse_z_nm : float
        Held-out beads thinned to molecule brightness, unflagged; NaN where the model believes none of them.
    limit_z_nm : float
        Information limit of those.
    recipe : str
    train_beads, validation_beads, test_beads : int
    """

    minutes: float
    rmse_z_nm: float
    limit_z_nm: float
    recipe: str
    train_beads: int
    validation_beads: int
    test_beads: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


def train(
    beads: BeadSet,
    out: Path,
    *,
    recipe: str = "matched",
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    if_exists: IfExists = "error",
    domain: EmitterPrior | None = None,
    start_from: Path | None = None,
    settings: MatchedSettings | None = None,
    progress: Progress | None = None,
) -> TrainReport:
    """Train a network and write its bundle with a report.

    Parameters
    ----------
    beads : BeadSet
    out : Path
        The bundle's folder; it appears when it is whole.
    recipe : {"matched", "paper"}
    minutes : float
        Time budget of the optimisation.
    steps : int, optional
        Steps of the optimiser in place of `minutes`: the same training on a slow machine as on a fast one.
    seed : int
        Of the split, the weights and everything drawn at random.
    domain : EmitterPrior, optional
        The molecules that the model shall know (``matched``); broad defaults without it.
    start_from : Path, optional
        An earlier bundle of the same kind whose network is trained further: a minute is then enough.
    settings : MatchedSettings, optional
        Sizes and rates, from `tune`; without them those of `start_from`, or the defaults.

    A ``matched`` training that was interrupted leaves a checkpoint beside `out`; the same call goes on from there.

    Raises
    ------
    InputError
        The recipe is unknown, too few beads, the output exists, or the earlier network is of other sizes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports every machine without a GPU as an error
    try:
        chosen = Recipe(recipe)
    except ValueError:
        raise InputError(f"recipe '{recipe}' is unknown: use matched or paper") from None
    domain = domain or EmitterPrior()
    out = Path(out)
    start, earlier = _earlier(start_from, chosen) if start_from is not None else (None, None)
    settings = settings or earlier or MatchedSettings()
    if earlier is not None and (settings.width, settings.blocks) != (earlier.width, earlier.blocks):
        raise InputError(
            f"the network in {start_from} has {earlier.blocks} blocks of {earlier.width}, the settings say "
            f"{settings.blocks} of {settings.width}: leave out `settings`, or `from`"
        )
    with whole_or_nothing(
        out, Kind.MODEL, if_exists=if_exists, inputs=[] if start_from is None else [start_from]
    ) as draft:
        split = split_beads(beads, seed)
        train_source = BeadPsfs.from_beads(beads, split.train)
        low, high = train_source.z_range_nm
        z_range = max(low + EDGE_NM, -Z_RANGE_NM), min(high - EDGE_NM, Z_RANGE_NM)
        draft.mkdir()
        begin = time.monotonic()
        if chosen is Recipe.MATCHED:
            identity = repr((beads.digest(), domain, settings, minutes, steps, seed, start_from))
            checkpoint = Checkpoint(out.with_name(f".{out.name}.training.npz"), identity)
            model, calibration = _matched(
                beads, split, train_source, draft, domain,
                minutes=minutes, steps=steps, seed=seed, settings=settings, start=start, checkpoint=checkpoint,
                progress=progress,
            )  # fmt: skip
            checkpoint.discard()
        else:
            model, calibration = _paper(
                beads, split, z_range, minutes=minutes, steps=steps, seed=seed, progress=progress
            )
        spent = (time.monotonic() - begin) / 60
        calibration |= {
            "schema_version": SCHEMA_VERSION,
            "recipe": str(chosen),
            "seed": seed,
            "minutes": spent,
            "roi_px": ROI_PX,
            "z_range_nm": list(z_range),
            "pixel_size_nm": beads.pixel_size_nm,
            "field_size_px": list(beads.field_size_px),
            "field_known": beads.field_known,
            "camera_units": beads.response.model_dump(mode="json"),
            "training_data": beads.digest(),
            "beads": {name: len(getattr(split, name)) for name in ("train", "validation", "test")},
            "keras_backend": keras_backend(),
            "versions": installed(PACKAGES),
        }
        if progress:
            progress("exporting", 1.0)
        export_network(model, draft)
        _write(draft, calibration)
        _check_export(model, ModelBundle.load(draft), train_source, seed)
        if progress:
            progress("measuring accuracy on held-out beads", 1.0)
        accuracy = evaluate(ModelBundle.load(draft), beads, report=draft / "report")
        calibration["accuracy"] = accuracy
        _write(draft, calibration)
    return TrainReport(
        minutes=spent,
        rmse_z_nm=math.nan if accuracy["rmse_z_nm"] is None else accuracy["rmse_z_nm"],
        limit_z_nm=math.nan if accuracy["limit_z_nm"] is None else accuracy["limit_z_nm"],
        recipe=str(chosen),
        train_beads=len(split.train),
        validation_beads=len(split.validation),
        test_beads=len(split.test),
    )


def keras_backend() -> str:
    """Return what Keras computes with: tensorflow, torch or jax (environment variable ``KERAS_BACKEND``)."""
    import keras

    return str(keras.config.backend())


def _earlier(path: Path, recipe: Recipe) -> tuple[list[Any], MatchedSettings]:
    """Weights and sizes of the network in an earlier bundle."""
    import keras

    bundle = ModelBundle.load(path)
    if recipe is not Recipe.MATCHED or bundle.calibration["recipe"] != str(Recipe.MATCHED):
        raise InputError(f"`from` {path}: only a model of the matched recipe can be trained further")
    model = keras.models.load_model(Path(path) / "model.keras", compile=False)
    return model.get_weights(), MatchedSettings(**bundle.calibration["settings"])


def _matched(
    beads: BeadSet, split: Split, source: BeadPsfs, folder: Path, domain: EmitterPrior, **options: Any
) -> tuple[keras.Model, dict[str, Any]]:
    from easyzloc_mm.training.evaluation.uncertainty_calibration import calibrate
    from easyzloc_mm.training.recipes.matched import fit_matched

    seed, progress = options["seed"], options["progress"]
    if progress:
        progress("modelling the blur over the field", 0.0)
    psf = FieldPsf.measure(source)
    psf.save(folder / PSF_FILE)
    everywhere = field_source(source, psf)
    validation = BeadPsfs.from_beads(beads, split.validation)
    model = fit_matched(everywhere, validation, domain, **options)
    return model, {
        "normalisation": str(Normalisation.SPOT),
        **calibrate(model, psf, everywhere, validation, domain, Z_RANGE_NM, seed),
        "domain": asdict(domain),
        "settings": asdict(options["settings"]),
        "field_degree": psf.degree,
    }


def _paper(
    beads: BeadSet, split: Split, z_range: tuple[float, float], **options: Any
) -> tuple[keras.Model, dict[str, Any]]:
    from easyzloc_mm.training.recipes.published import fit_paper, recorded_planes

    model = fit_paper(beads, split.train, split.validation, z_range, **options)
    crops, bead, z_nm = recorded_planes(beads, split.validation, z_range)
    inputs = network_input(
        crops, beads.x[bead], beads.y[bead], beads.field_size_px,
        normalisation=Normalisation.PAPER, response=beads.response, field_known=beads.field_known,
    )  # fmt: skip
    predicted = Z_UNIT_NM * np.asarray(model.predict([*inputs], batch_size=256, verbose=0))[:, 0]
    return model, {
        "normalisation": str(Normalisation.PAPER),
        "sigma_by_z": sigma_by_z(predicted, z_nm, Z_RANGE_NM),
    }


def export_network(model: keras.Model, folder: Path) -> None:
    """Write ``model.keras`` and ``model.onnx``.

    TensorFlow exports, whatever trained: Keras' other exporters need packages that may be missing.
    """
    model.save(folder / "model.keras")
    if keras_backend() == "tensorflow":
        _export_onnx(model, folder)
        return
    in_fresh_process(_export_with_tensorflow, folder)


def _export_with_tensorflow(folder: Path) -> None:
    """Export in a process that has not imported Keras yet."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    _export_onnx(keras.models.load_model(folder / "model.keras", compile=False), folder)


def _export_onnx(model: keras.Model, folder: Path) -> None:
    # Keras' exporter wants to have seen the model called once.
    model([np.zeros((1, *shape[1:]), np.float32) for shape in model.input_shape])
    with native_stderr_held():
        model.export(str(folder / "model.onnx"), format="onnx", verbose=False)


def _check_export(model: keras.Model, bundle: ModelBundle, source: BeadPsfs, seed: int) -> None:
    """Refuse a bundle whose ONNX network does not say what the trained one says."""
    drawn = simulate_emitters(source, EmitterPrior(), 256, seed + 21)
    inputs = network_input(
        drawn.crops, drawn.x, drawn.y, source.field_size_px,
        normalisation=bundle.normalisation, response=bundle.response, field_known=bundle.field_known,
    )  # fmt: skip
    expected = np.asarray(model.predict([*inputs], verbose=0))
    difference = float(np.max(np.abs(bundle.raw_output(drawn.crops, drawn.x, drawn.y) - expected)))
    if not difference <= MAX_EXPORT_DIFFERENCE * max(1.0, float(np.abs(expected).max())):
        raise RuntimeError(f"the exported network differs from the trained one by {difference:.2g}")


def _write(folder: Path, calibration: dict[str, Any]) -> None:
    text = json.dumps(calibration, indent=1, allow_nan=False)
    (folder / "calibration.json").write_text(text, encoding="utf-8")
