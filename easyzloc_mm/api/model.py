"""A trained model as a script handles it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyzloc_mm.io.beads.dataset import BeadSet, read_bead_set
from easyzloc_mm.model.bundle import ModelBundle, ZPrediction
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import F32, AnyFloat

if TYPE_CHECKING:
    from easyzloc_mm.training.train import TrainReport


@dataclass(frozen=True)
class Model:
    """A model bundle: what was learned from beads, with everything that is needed to believe it, or not to.

    Attributes
    ----------
    path : Path
        The bundle's folder.
    report : TrainReport, optional
        How the training went, where this process trained it.
    """

    path: Path
    report: TrainReport | None = None

    @classmethod
    def load(cls, path: str | Path, profile: Profile | None = None) -> Model:
        """Open a bundle and hold it against the microscope that will be used.

        Raises
        ------
        InputError
            There is no bundle, or it was made for another pixel size than that of `profile`.
        """
        ModelBundle.load(Path(path), profile)
        return cls(Path(path))

    def open(self, profile: Profile | None = None) -> ModelBundle:
        """Load the network for inference in this process."""
        return ModelBundle.load(self.path, profile)

    def predict(self, crops: F32, x: AnyFloat, y: AnyFloat, *, refine: bool = True) -> ZPrediction:
        """Return z of spots, with its uncertainty and flags.

        Parameters
        ----------
        crops : ndarray, shape (n, 15, 15), float32
            Photons around each spot.
        x, y : ndarray, shape (n,)
            Sensor position in pixels, never drift-corrected.
        refine : bool
            Continue from the network's z to the maximum of the likelihood under the measured PSF.
        """
        return self.open().predict(crops, x, y, refine=refine)

    def evaluate(self, beads: BeadSet | str | Path, *, report: str | Path | None = None) -> dict[str, Any]:
        """Return the accuracy on held-out beads by z and photons, beside the information limit.

        Parameters
        ----------
        beads : BeadSet or path of a ``beads.zarr``
        report : path, optional
            Also write an HTML report to this folder.
        """
        from easyzloc_mm.training.evaluation.evaluate import evaluate

        data = beads if isinstance(beads, BeadSet) else read_bead_set(Path(beads))
        return evaluate(self.open(), data, report=None if report is None else Path(report))

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
        from easyzloc_mm.localization.movie_emitters import domain_gap

        bundle = self.open()
        domain = bundle.calibration["domain"]
        return {
            "photons_range": list(domain["photons"]),
            "background_range": list(domain["background"]),
            "domain_gap": domain_gap(Path(movie), bundle, bundle.response),
        }


def as_model(model: Model | str | Path) -> Model:
    """Return the model, also where only its folder is given."""
    return model if isinstance(model, Model) else Model(Path(model))
