"""The model card: what a trained model was made from, for which microscope, and how far to believe it.

It is the content of ``calibration.json`` and is read and written here alone. A card is light: it travels to other
processes and needs neither the network nor ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from easyzloc_mm._models import Finite, FrozenModel, NonNegative, Positive
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.focal_surface import FocalSurface
from easyzloc_mm.io.reading import reading
from easyzloc_mm.io.runs.metadata import ModelReference
from easyzloc_mm.io.sample_aberrations import SampleAberrations
from easyzloc_mm.io.writing.kinds import Kind, did_you_mean
from easyzloc_mm.model.accuracy import EvaluationResult
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import Normalisation
from easyzloc_mm.model.uncertainty import MixtureCalibration, SigmaByZ
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.psf.kind import PsfKind

SCHEMA_VERSION: Final = 6
OLDEST_VERSION = 3
CARD_FILE, NETWORK_FILE, KERAS_FILE, PSF_FILE = "calibration.json", "model.onnx", "model.keras", "psf.npz"
"""Files of a model bundle: card, network for inference, network for further training, PSF that the beads measured."""
WIDER_PSF_FILE = "psf_wider.npz"
"""The PSF that the beads measured as far as larger crops reach (`model.wider_look`); older bundles have none."""
PSF_FILE_3 = "blur.npz"
RENAMED_SINCE_3 = {
    "camera_units": "response",
    "field_degree": "psf_degree",
    "sigma_by_z": "uncertainty",
    "sigma_scale": "uncertainty.network_scale",
    "refined_scale": "uncertainty.likelihood_scale.fitted",
    "pooled_scale": "uncertainty.likelihood_scale.pooled",
    "ambiguity.network": "uncertainty.network_ambiguity",
    "ambiguity.refined": "uncertainty.likelihood_ambiguity",
    "misfit": "uncertainty.residual_limit",
    "novelty": "uncertainty.embedding",
    "domain": "uncertainty.emitters",
}
"""Keys of schema version 3 and where they stand now; dots separate levels."""
PIXEL_SIZE_TOLERANCE = 0.01
"""Relative difference of two pixel sizes that are the same."""

Pixels = Annotated[int, Field(gt=0)]


class Recipe(StrEnum):
    """How a network is trained."""

    MATCHED = "matched"
    """Beads thinned to the brightness of single molecules, mixture of Gaussians as output."""
    PAPER = "paper"
    """Boland et al. 2025 (doi 10.1111/jmi.13420)."""


class BeadCounts(FrozenModel):
    """How many beads trained, chose the best state of training, and tested."""

    train: int
    validation: int
    test: int


class MatchedSettings(FrozenModel):
    """Sizes and rates of the ``matched`` recipe: what `tune` searches over.

    Attributes
    ----------
    width, blocks : int
        Of the residual perceptron.
    learning_rate, weight_decay : float
        Of AdamW, at their highest.
    batch : int
        Emitters per step.
    bad_fit_share, neighbour_share : float, optional
        Of the training images, in place of the prior's own; what the network is judged by stays the prior.
    """

    width: int = 320
    blocks: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    batch: int = 512
    bad_fit_share: float | None = None
    neighbour_share: float | None = None

    def training_prior(self, prior: EmitterPrior) -> EmitterPrior:
        """Return the emitters to train on where those of `prior` are to be localised."""
        given = {"bad_fit_share": self.bad_fit_share, "neighbour_share": self.neighbour_share}
        return prior.model_copy(update={name: share for name, share in given.items() if share is not None})


class ModelCard(FrozenModel):
    """Everything about a model but its weights and its PSF.

    Attributes
    ----------
    schema_version : int
    recipe : Recipe
    normalisation : Normalisation
        How crops become network input.
    seed : int
        Of the bead split, the weights and everything drawn at random.
    minutes : float
        Wall time of training.
    roi_px : int
        Edge of the crops.
    pixel_size_nm : float
        Sample-plane pixel size of the calibration.
    field_size_px : (int, int)
        Width and height of the calibrated field of view.
    field_known : bool
        Whether the beads' places in the field were known; if not, every place is treated alike.
    z_range_nm : (float, float)
        Depths between which z is calibrated.
    response : CameraResponse
        Of the camera that recorded the beads.
    training_data : str
        Digest of the bead data set.
    beads : BeadCounts
    trained_on : tuple of str, optional
        Fingerprints of the beads that trained or chose the network, and those that it was trained further from
        (`BeadDataset.fingerprints`); None in bundles of before version 5.
    settings : MatchedSettings, optional
        Sizes and rates of the ``matched`` recipe.
    psf_degree : int, optional
        Degree of the polynomial by which the PSF varies over the field.
    psf_kind : PsfKind, optional
        What kind of PSF the beads have; None for models of before 0.2.
    keras_backend : str
    versions : dict
        Package to version.
    uncertainty : MixtureCalibration or SigmaByZ
        How network output becomes z with an uncertainty and flags: of recipe ``matched`` or ``paper``.
    accuracy : EvaluationResult, optional
        On held-out beads.
    focal_surface : FocalSurface, optional
        Where over the field the beads were in focus; None where places were unknown, and for models of before 0.2.
    refreshed : SampleAberrations, optional
        What molecules of a sample said of the beads' PSF, where the model was refreshed by them; the PSF is changed
        by it, if it differs.
    path : Path
        Folder of the bundle that the card was loaded from; not stored.
    digest : str
        SHA-256 of network, card and PSF as they were loaded: the identity that a run stores.
    """

    schema_version: Literal[6] = SCHEMA_VERSION
    recipe: Recipe
    normalisation: Normalisation
    seed: int
    minutes: NonNegative
    roi_px: Pixels
    pixel_size_nm: Positive
    field_size_px: tuple[Pixels, Pixels]
    field_known: bool
    z_range_nm: tuple[Finite, Finite]
    response: CameraResponse
    training_data: str
    beads: BeadCounts
    trained_on: tuple[str, ...] | None = None
    settings: MatchedSettings | None = None
    psf_degree: int | None = None
    psf_kind: PsfKind | None = None
    keras_backend: str
    versions: dict[str, str]
    uncertainty: MixtureCalibration | SigmaByZ
    accuracy: EvaluationResult | None = None
    focal_surface: FocalSurface | None = None
    refreshed: SampleAberrations | None = None
    path: Path = Field(default=Path(), exclude=True)
    digest: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _uncertainty_of_this_network(self) -> Self:
        if (self.normalisation is Normalisation.PAPER) != isinstance(self.uncertainty, SigmaByZ):
            raise ValueError(f"normalisation {self.normalisation} goes with another kind of uncertainty")
        return self

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if not self.z_range_nm[0] < self.z_range_nm[1]:
            raise ValueError(f"z_range_nm {self.z_range_nm} does not rise")
        return self

    @classmethod
    def load(cls, path: Path, profile: Profile | None = None) -> Self:
        """Return the card of a bundle, of this schema version or of one since version 3.

        Parameters
        ----------
        path : Path
            Folder with ``model.onnx`` and ``calibration.json``.
        profile : Profile, optional
            The microscope that the model will be used on: the card is checked against it.

        Raises
        ------
        InputError
            There is no bundle, it is incomplete or unreadable, or it was made for another pixel size.
        """
        path = Path(path)
        if not (path / CARD_FILE).is_file() or not (path / NETWORK_FILE).is_file():
            raise InputError(
                f"{path} is no model bundle ({NETWORK_FILE}, {CARD_FILE}): give the `out` of `train`"
                f"{did_you_mean(path, Kind.MODEL)}"
            )
        with reading(path / CARD_FILE, "a model card", cure="copy the model's whole folder again, or train it again"):
            stored = json.loads((path / CARD_FILE).read_text(encoding="utf-8"))
            version = stored["schema_version"]
        if version not in range(OLDEST_VERSION, SCHEMA_VERSION + 1):
            raise InputError(
                f"{path} has schema version {version}, this program reads {OLDEST_VERSION} to {SCHEMA_VERSION}: train "
                "the model again, or use the version of easyzloc-mm that made it"
            )
        try:
            card = cls.model_validate(_renamed(stored, RENAMED_SINCE_3 if version == 3 else {}))
        except ValidationError as error:
            wrong = error.errors()[0]
            key = ".".join(map(str, wrong["loc"]))
            raise InputError(
                f"{path / CARD_FILE} cannot be read ({key}: {wrong['msg']}): train the model again"
            ) from None
        card = card.model_copy(update={"path": path})
        if isinstance(card.uncertainty, MixtureCalibration) and not card.psf_file.is_file():
            raise InputError(f"{card.psf_file} is missing: the bundle was copied in part; copy its whole folder")
        card = card.model_copy(update={"digest": card._digest()})
        if profile is not None:
            card.check(profile)
        return card

    def write(self, folder: Path) -> None:
        """Write ``calibration.json`` into `folder`."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False)
        (folder / CARD_FILE).write_text(text, encoding="utf-8")

    @property
    def has_psf(self) -> bool:
        """Whether the beads' PSF is part of the model."""
        return isinstance(self.uncertainty, MixtureCalibration)

    @property
    def psf_file(self) -> Path:
        """File of the PSF that the beads measured; the ``paper`` recipe measures none."""
        earlier = self.path / PSF_FILE_3
        return earlier if earlier.is_file() else self.path / PSF_FILE

    @property
    def wider_psf_file(self) -> Path | None:
        """File of the PSF for larger crops, where the bundle has one."""
        file = self.path / WIDER_PSF_FILE
        return file if file.is_file() else None

    @property
    def reference(self) -> ModelReference:
        """What a run states of the model that it was localised with."""
        return ModelReference(path=str(self.path), digest=self.digest, recipe=str(self.recipe))

    def _digest(self) -> str:
        content = hashlib.sha256((self.path / NETWORK_FILE).read_bytes())
        for file in (self.path / CARD_FILE, self.psf_file, self.path / WIDER_PSF_FILE):
            if file.is_file():
                content.update(file.read_bytes())
        return content.hexdigest()

    def check(self, profile: Profile) -> None:
        """Compare with the microscope in use; differences that only flags or `lpz` suffer from are warnings.

        Raises
        ------
        InputError
            Another pixel size.
        """
        wanted = profile.optics.pixel_size_nm
        if not self.has_pixel_size(wanted):
            raise InputError(
                f"model {self.path} was trained at {self.pixel_size_nm:g} nm per pixel, but profile {profile.name} "
                f"has optics.pixel_size_nm = {wanted:g}: calibrate this microscope"
            )
        if self.response.estimated:
            warnings.warn(
                f"model {self.path} was trained with a guessed camera response: photons, and with them lpz, are "
                "uncertain",
                EasyZlocWarning,
                stacklevel=3,
            )
        if self.field_size_px != (profile.camera.width_px, profile.camera.height_px) and self.field_known:
            warnings.warn(
                f"model {self.path} covers a field of {self.field_size_px[0]} x {self.field_size_px[1]} px, the camera "
                f"has {profile.camera.width_px} x {profile.camera.height_px}: spots outside are flagged",
                EasyZlocWarning,
                stacklevel=3,
            )

    def has_pixel_size(self, pixel_size_nm: float) -> bool:
        """Return whether a pixel size is the calibrated one, within `PIXEL_SIZE_TOLERANCE`."""
        return abs(pixel_size_nm - self.pixel_size_nm) <= PIXEL_SIZE_TOLERANCE * self.pixel_size_nm


def _renamed(stored: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of an earlier ``calibration.json`` under today's names."""
    moved: dict[str, Any] = {**stored, "schema_version": SCHEMA_VERSION}
    ambiguity = moved.pop("ambiguity", {})
    earlier = moved | {f"ambiguity.{name}": value for name, value in ambiguity.items()}
    for old, new in names.items():
        if old not in earlier:
            continue
        moved.pop(old, None)
        *parents, name = new.split(".")
        place = moved
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = earlier[old]
    return moved
