"""The two recipes behind one protocol: fit a network to some beads, and calibrate it on beads that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from easyzloc_mm.model.card import MatchedSettings
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import Normalisation, network_input
from easyzloc_mm.model.mixture import Z_UNIT_NM
from easyzloc_mm.model.uncertainty import MixtureCalibration, SigmaByZ, sigma_by_z
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf, field_source
from easyzloc_mm.training.evaluation.uncertainty_calibration import Learned, calibrate
from easyzloc_mm.training.recipes.checkpoint import Checkpoint
from easyzloc_mm.training.recipes.matched import fit_matched
from easyzloc_mm.training.recipes.published import fit_paper, recorded_planes
from easyzloc_mm.training.split import Part
from easyzloc_mm.typing import F32, Progress

if TYPE_CHECKING:
    import keras

Z_RANGE_NM = 1000.0
"""Depths beyond this are flagged (paper: z within +-1 um)."""


@dataclass(frozen=True)
class Allowance:
    """What one network may cost.

    Attributes
    ----------
    minutes : float
    steps : int, optional
        In place of `minutes`.
    """

    minutes: float
    steps: int | None

    def share(self, part: float) -> Allowance:
        """Return a part of it."""
        return Allowance(self.minutes * part, None if self.steps is None else max(1, round(self.steps * part)))


@dataclass(frozen=True)
class Fitted:
    """A trained network that is not calibrated yet.

    Attributes
    ----------
    network : keras.Model
    learned : Learned, optional
        The measured PSF that goes with it (``matched``).
    """

    network: keras.Model
    learned: Learned | None = None


class Learner(Protocol):
    """A recipe at work on one bead data set."""

    normalisation: Normalisation
    settings: MatchedSettings | None

    def fit(
        self, train: Part, validation: Part | None, budget: Allowance, fold: int | None, progress: Progress | None
    ) -> Fitted:
        """Return a network trained on `train`; `validation` chooses its best state, the training beads without it.

        That of a `fold` of a cross-validation starts from no earlier network.
        """

    def calibrate(self, fitted: Fitted, turns: Sequence[tuple[Fitted, Part]]) -> MixtureCalibration | SigmaByZ:
        """Return the uncertainties of `fitted`, measured on networks and beads that these have not seen."""

    def discard(self) -> None:
        """Remove what an interrupted training would have continued from."""


class MatchedLearner:
    """Emitters simulated from the measured PSF."""

    normalisation = Normalisation.SPOT

    def __init__(
        self,
        emitters: EmitterPrior,
        settings: MatchedSettings,
        seed: int,
        roi_px: int,
        start: list[F32] | None,
        checkpoint: Callable[[str, Allowance], Checkpoint],
    ) -> None:
        self.settings: MatchedSettings | None = settings
        self._emitters, self._seed, self._roi_px, self._start = emitters, seed, roi_px, start
        self._checkpoint, self._begun = checkpoint, list[Checkpoint]()

    def fit(
        self, train: Part, validation: Part | None, budget: Allowance, fold: int | None, progress: Progress | None
    ) -> Fitted:
        """Fit; see `Learner`."""
        if progress:
            progress("modelling the PSF over the field", 0.0)
        source = self._psfs(train)
        psf = FieldPsf.measure(source)
        everywhere = field_source(source, psf)
        unseen = source if validation is None else self._psfs(validation)
        checkpoint = self._checkpoint("" if fold is None else f".fold{fold}", budget)
        self._begun.append(checkpoint)
        network = fit_matched(
            everywhere, unseen, self._emitters,
            minutes=budget.minutes, steps=budget.steps, seed=self._seed, settings=self.settings,
            start=self._start if fold is None else None, checkpoint=checkpoint, progress=progress,
        )  # fmt: skip
        return Fitted(network, Learned(network, psf, everywhere))

    def calibrate(self, fitted: Fitted, turns: Sequence[tuple[Fitted, Part]]) -> MixtureCalibration:
        """Calibrate; see `Learner`."""
        judged = [(_learned(turn), self._psfs(part)) for turn, part in turns]
        excess_noise = turns[0][1].beads.response.excess_noise
        return calibrate(_learned(fitted), judged, self._emitters, Z_RANGE_NM, self._seed, excess_noise)

    def _psfs(self, part: Part) -> BeadPsfs:
        return BeadPsfs.from_beads(part.beads, part.chosen, self._roi_px)

    def discard(self) -> None:
        """Remove the checkpoints."""
        for checkpoint in self._begun:
            checkpoint.discard()


def _learned(fitted: Fitted) -> Learned:
    assert fitted.learned is not None, "a matched network has its PSF"
    return fitted.learned


class PaperLearner:
    """The published recipe, on the planes as recorded."""

    normalisation = Normalisation.PAPER
    settings: MatchedSettings | None = None

    def __init__(self, z_range_nm: tuple[float, float], seed: int) -> None:
        self._z_range_nm, self._seed = z_range_nm, seed

    def fit(
        self, train: Part, validation: Part | None, budget: Allowance, fold: int | None, progress: Progress | None
    ) -> Fitted:
        """Fit; see `Learner`."""
        return Fitted(
            fit_paper(
                train, validation or train, self._z_range_nm,
                minutes=budget.minutes, steps=budget.steps, seed=self._seed, progress=progress,
            )
        )  # fmt: skip

    def calibrate(self, fitted: Fitted, turns: Sequence[tuple[Fitted, Part]]) -> SigmaByZ:
        """Calibrate; see `Learner`."""
        predicted, truth = [], []
        for turn, part in turns:
            beads = part.beads
            crops, bead, z_nm = recorded_planes(beads, part.chosen, self._z_range_nm)
            inputs = network_input(
                crops, beads.x[bead], beads.y[bead], beads.field_size_px,
                normalisation=self.normalisation, response=beads.response, field_known=beads.field_known,
            )  # fmt: skip
            predicted.append(Z_UNIT_NM * np.asarray(turn.network.predict([*inputs], batch_size=256, verbose=0))[:, 0])
            truth.append(z_nm)
        return sigma_by_z(np.concatenate(predicted), np.concatenate(truth), Z_RANGE_NM)

    def discard(self) -> None:
        """Do nothing: it keeps no checkpoints."""


def checkpoint_beside(out: Path, identity: tuple[object, ...]) -> Callable[[str, Allowance], Checkpoint]:
    """Return what makes the checkpoints of the networks of one training: hidden files beside its output."""

    def make(name: str, budget: Allowance) -> Checkpoint:
        path = out.with_name(f".{out.name}.training{name}.npz")
        return Checkpoint(path, repr((*identity, budget.minutes, budget.steps, name)))

    return make
