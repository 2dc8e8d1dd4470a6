"""The published recipe, for comparison (section 2.3 of the paper, and its scripts).

References
----------
Boland et al. 2025, easyZloc, Journal of Microscopy, doi 10.1111/jmi.13420.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import ROI_PX, crop_photons
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.inputs import Normalisation, network_input
from easyzloc_mm.model.mixture import Z_UNIT_NM
from easyzloc_mm.training.recipes.architectures import paper_network
from easyzloc_mm.training.recipes.budget import Budget
from easyzloc_mm.training.split import Part
from easyzloc_mm.typing import F32, F64, I64, Progress

if TYPE_CHECKING:
    import keras


BATCH = 64
LEARNING_RATE = 3.79076e-4
POISSON_FACTOR = (511.607, 1000.0)
COPIES = 3
EPOCHS = 1000
PLATEAU = {"factor": 0.1, "patience": 5, "cooldown": 5, "min_delta": 0.001, "min_lr": 1e-8}
PATIENCE = 20


def recorded_planes(
    beads: BeadDataset, chosen: NDArray[np.integer], z_range_nm: tuple[float, float], roi_px: int = ROI_PX
) -> tuple[F32, I64, F64]:
    """Return crops (effective photons), bead index, z (nm) of every plane of the beads `chosen` in a range of z."""
    crops, bead, z_nm = [], [], []
    for index in chosen:
        labels = beads.z_nm[index]
        planes = np.flatnonzero(np.isfinite(labels) & (labels >= z_range_nm[0]) & (labels <= z_range_nm[1]))
        x, y = beads.centres(index, labels[planes])
        crops.append(crop_photons(beads.rois[index], planes, x, y, beads.response.effective(), roi_px))
        bead.append(np.full(len(planes), index, np.int64))
        z_nm.append(labels[planes].astype(float))
    return np.concatenate(crops), np.concatenate(bead), np.concatenate(z_nm)


def fit_paper(
    train: Part,
    validation: Part,
    z_range_nm: tuple[float, float],
    *,
    minutes: float,
    seed: int,
    steps: int | None = None,
    progress: Progress | None = None,
) -> keras.Model:
    """Train MobileNetV3-small on the beads as recorded; stops early, or when the `minutes`, or `steps`, are spent.

    The training set is tripled once with Poisson noise, Poisson(image * f) / f on raw ADU, f ~ U(511.6, 1000).
    """
    import keras

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    sets = []
    for part, copies in ((train, COPIES), (validation, 1)):
        beads = part.beads
        crops, bead, z_nm = recorded_planes(beads, part.chosen, z_range_nm)
        image, aux = network_input(
            crops,
            beads.x[bead],
            beads.y[bead],
            beads.field_size_px,
            normalisation=Normalisation.PAPER,
            response=beads.response,
            field_known=beads.field_known,
        )
        images = [image]
        for _ in range(copies - 1):
            factor = rng.uniform(*POISSON_FACTOR, size=(len(image), 1, 1, 1))
            adu = np.maximum(image, 0) * 65535.0
            images.append((rng.poisson(adu * factor) / factor / 65535.0).astype(np.float32))
        target = (z_nm / Z_UNIT_NM).astype(np.float32)
        sets.append((np.concatenate(images), np.tile(aux, (copies, 1)), np.tile(target, copies)))
    model = paper_network()
    model.compile(
        optimizer=keras.optimizers.AdamW(LEARNING_RATE), loss="mse", metrics=[keras.metrics.MeanAbsoluteError("mae")]
    )
    (image, aux, target), (held_image, held_aux, held_target) = sets
    model.fit(
        [image, aux],
        target,
        validation_data=([held_image, held_aux], held_target),
        batch_size=BATCH,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            keras.callbacks.ReduceLROnPlateau(monitor="val_mae", **PLATEAU),
            keras.callbacks.EarlyStopping(monitor="val_mae", patience=PATIENCE, restore_best_weights=True),
            _spender(Budget(minutes, steps), progress),
        ],
    )
    return model


def _spender(budget: Budget, progress: Progress | None) -> keras.callbacks.Callback:
    import keras

    class Spender(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        """Stops training when its budget is spent."""

        def on_train_begin(self, logs: object = None) -> None:
            budget.start()

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._epoch = epoch

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            budget.step()
            if progress:
                progress(f"epoch {self._epoch + 1}", min(budget.spent, 1.0))
            if budget.spent >= 1.0:
                self.model.stop_training = True

    return Spender()
