"""A trained model as a script handles it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyzloc_mm._progress import silent
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.predictor import Predictor, ZPrediction
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import F32, AnyFloat, Progress

if TYPE_CHECKING:
    from easyzloc_mm.model.accuracy import EvaluationResult
    from easyzloc_mm.training.train import TrainReport


@dataclass(frozen=True)
class Model:
    """What was learned from beads: a network, and a card that says how far to believe it.

    Attributes
    ----------
    card : ModelCard
        Everything about the model but the network itself: calibrated depths and field, camera, accuracy.
    report : TrainReport, optional
        How the training went, where this process trained it.

    Examples
    --------
    >>> model = ez.Model.load("model")
    >>> model.card.pixel_size_nm
    110.0
    """

    card: ModelCard
    report: TrainReport | None = None

    @classmethod
    def load(cls, path: str | Path, profile: Profile | None = None) -> Model:
        """Return the model in a folder, checked against the microscope that will be used.

        Raises
        ------
        InputError
            There is no model, a part of it is damaged, or it was made for another pixel size than that of `profile`.
        """
        model = cls(ModelCard.load(Path(path), profile))
        model._predictor.open()
        return model

    @property
    def path(self) -> Path:
        """The model's folder."""
        return self.card.path

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.card)

    def predict(self, crops: F32, x: AnyFloat, y: AnyFloat, *, refine: bool = True) -> ZPrediction:
        """Return z of spots, with its uncertainty and flags.

        Parameters
        ----------
        crops : ndarray, shape (n, size, size), float32
            Photons around each spot; as large as the card says (`roi_px`).
        x, y : ndarray, shape (n,)
            Sensor position in pixels, never drift-corrected.
        refine : bool
            Continue from the network's z to the maximum of the likelihood under the measured PSF.
        """
        return self._predictor.predict(crops, x, y, refine=refine)

    def evaluate(
        self,
        beads: BeadDataset | str | Path,
        *,
        background: str | Path | None = None,
        report: str | Path | None = None,
        progress: Progress | None = None,
    ) -> EvaluationResult:
        """Return the accuracy on held-out beads by z and photons, beside the information limit, and their recall.

        Parameters
        ----------
        beads : BeadDataset or path of a ``beads.zarr``
        background : path, optional
            A movie of the same camera and field without molecules: beads are placed in its frames, and searched there
            by the whole pipeline; in frames of uniform background without it.
        report : path, optional
            Also write an HTML report to this folder.
        progress : callable, optional
            Given (message, fraction).

        Raises
        ------
        InputError
            The beads have another pixel size, none is accepted, or the background cannot be read.
        """
        from easyzloc_mm.localization.offline.in_frames import evaluate_in_frames
        from easyzloc_mm.training.evaluation.evaluate import evaluate

        show = progress or silent
        show("reading the beads", 0.0)
        data = beads if isinstance(beads, BeadDataset) else read_bead_set(Path(beads))
        show("looking for held-out beads in frames", 0.1)
        found = evaluate_in_frames(self.card, data, background=None if background is None else Path(background))
        show("z of held-out beads, thinned to molecules", 0.7)
        return evaluate(self._predictor, data, in_frames=found, report=None if report is None else Path(report))

    def fit_to(self, movie: str | Path) -> dict[str, Any]:
        """Return the molecules that the model was trained for, and how far those of a movie are from them.

        Parameters
        ----------
        movie : path
            As the microscope records them.

        Returns
        -------
        dict
            ``photons_range``, ``background_range``: of the training; ``domain_gap``: share of the movie's spots that
            are unlike any training spot.

        Raises
        ------
        InputError
            The movie cannot be read, or holds too few molecules.
        """
        from easyzloc_mm.localization.offline.movie_emitters import domain_gap

        gap = domain_gap(Path(movie), self._predictor, self.card.response)
        if not isinstance(self.card.uncertainty, MixtureCalibration):
            return {"domain_gap": gap}
        emitters = self.card.uncertainty.emitters
        excess = self.card.response.excess_noise
        return {
            "photons_range": [excess * value for value in emitters.photons],
            "background_range": [excess * value for value in emitters.background],
            "domain_gap": gap,
        }


def as_model(model: Model | str | Path, profile: Profile | None = None) -> Model:
    """Return the model, also where only its folder is given, checked against the microscope that will be used.

    Raises
    ------
    InputError
        There is no model, or it was made for another pixel size than that of `profile`.
    """
    if not isinstance(model, Model):
        return Model.load(model, profile)
    if profile is not None:
        model.card.check(profile)
    return model
