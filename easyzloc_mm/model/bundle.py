"""The model bundle: a trained network with everything that is needed to believe it, or not to."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.model.inputs import Normalisation, network_input
from easyzloc_mm.model.mixture import COMPONENTS, Z_UNIT_NM, Posterior, posterior_of
from easyzloc_mm.model.uncertainty import rescale_sigma
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.typing import F32, F64, AnyFloat

if TYPE_CHECKING:
    import onnxruntime

    from easyzloc_mm.model.likelihood_refinement import LikelihoodFit

SCHEMA_VERSION = 3
PSF_FILE = "blur.npz"
"""The blur that the beads measured, beside the network."""
MAX_LPZ_NM = 250.0
"""A spot whose z is not known better than to a gross error is ambiguous, however honest its uncertainty."""
PIXEL_SIZE_TOLERANCE = 0.01
BATCH = 256
OUT_OF_RANGE, AMBIGUOUS, OUT_OF_DISTRIBUTION, OUTSIDE_FIELD = 1, 2, 4, 8
"""Bits of `z_flag` (DESIGN, section 4)."""


@dataclass(frozen=True)
class ZPrediction:
    """z of n spots.

    Attributes
    ----------
    z_nm, lpz_nm : ndarray, shape (n,), float32
        Value and standard deviation; always finite.
    z_flag : ndarray, shape (n,), uint8
        Bit field: 1 outside the calibrated z range, 2 sign-ambiguous, 4 unlike any training spot, 8 outside the
        calibrated field. 0: to be believed.
    xy_px, lpxy_px : ndarray, shape (n, 2), float32
        Place from the middle of the crop under the blur that the beads measured, and its standard deviation, pixels;
        NaN where it was not refined.
    """

    z_nm: F32
    lpz_nm: F32
    z_flag: NDArray[np.uint8]
    xy_px: F32
    lpxy_px: F32


def _providers(available: list[str]) -> list[str]:
    """CUDA and DirectML where installed, then the CPU; engines that round to half precision are left out."""
    wanted = ("CUDAExecutionProvider", "DmlExecutionProvider", "CPUExecutionProvider")
    return [name for name in wanted if name in available]


class ModelBundle:
    """A loaded bundle. Inference is ONNX Runtime; TensorFlow is never imported.

    Parameters
    ----------
    path : Path
        The bundle's folder.
    calibration : dict
        Content of ``calibration.json``.
    session : onnxruntime.InferenceSession
        The network.
    """

    def __init__(self, path: Path, calibration: dict[str, Any], session: onnxruntime.InferenceSession) -> None:
        self.path = path
        self.calibration = calibration
        self._session = session
        self._inputs = [item.name for item in session.get_inputs()]
        self._psf: tuple[FieldPsf, SplinePsf] | None = None
        embedding = calibration.get("novelty")
        self._whiten = (np.array(embedding["mean"]), np.array(embedding["whitening"])) if embedding else None

    @classmethod
    def load(cls, path: Path, profile: Profile | None = None, *, threads: int = 1) -> ModelBundle:
        """Load a bundle and hold it against the profile in use.

        Parameters
        ----------
        path : Path
            Folder with ``model.onnx`` and ``calibration.json``.
        profile : Profile, optional
            The microscope that will be used.
        threads : int
            Of ONNX Runtime.

        Raises
        ------
        InputError
            No bundle there, or it was made for another pixel size.
        """
        import onnxruntime

        path = Path(path)
        if not (path / "calibration.json").is_file() or not (path / "model.onnx").is_file():
            raise InputError(f"{path} is no model bundle (model.onnx, calibration.json): give the `out` of `train`")
        try:
            calibration = json.loads((path / "calibration.json").read_text(encoding="utf-8"))
            version = calibration["schema_version"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path / 'calibration.json'} cannot be read: train the model again") from None
        if version != SCHEMA_VERSION:
            raise InputError(f"{path} has schema version {version}, not {SCHEMA_VERSION}: train the model again")
        if calibration["normalisation"] == Normalisation.SPOT and not (path / PSF_FILE).is_file():
            raise InputError(f"{path / PSF_FILE} is missing: the bundle was copied in part; copy its whole folder")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(path / "model.onnx"), options, providers=_providers(onnxruntime.get_available_providers())
        )
        bundle = cls(path, calibration, session)
        if profile is not None:
            bundle._check(profile)
        return bundle

    def _check(self, profile: Profile) -> None:
        wanted = profile.optics.pixel_size_nm
        if abs(self.pixel_size_nm - wanted) > PIXEL_SIZE_TOLERANCE * wanted:
            raise InputError(
                f"model {self.path} was trained at {self.pixel_size_nm:g} nm per pixel, but profile {profile.name} "
                f"has optics.pixel_size_nm = {wanted:g}: calibrate this microscope"
            )
        if self.response.estimated:
            warnings.warn(
                f"model {self.path} was trained with guessed camera units: photons, and with them lpz, are uncertain",
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

    @property
    def pixel_size_nm(self) -> float:
        """Sample-plane pixel size of the calibration."""
        return float(self.calibration["pixel_size_nm"])

    @property
    def field_size_px(self) -> tuple[int, int]:
        """Width and height of the calibrated field."""
        width, height = self.calibration["field_size_px"]
        return int(width), int(height)

    @property
    def field_known(self) -> bool:
        """Whether the beads' places in the field were known; if not, every place is treated alike."""
        return bool(self.calibration["field_known"])

    @property
    def response(self) -> CameraResponse:
        """Camera units of the calibration."""
        return CameraResponse.model_validate(self.calibration["camera_units"])

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Depths between which z is calibrated."""
        low, high = self.calibration["z_range_nm"]
        return float(low), float(high)

    @property
    def normalisation(self) -> Normalisation:
        """How crops become inputs."""
        return Normalisation(self.calibration["normalisation"])

    def digest(self) -> str:
        """SHA-256 of the network and its calibration: the identity that a run stores."""
        content = hashlib.sha256((self.path / "model.onnx").read_bytes())
        for name in ("calibration.json", PSF_FILE):
            if (self.path / name).is_file():  # the paper's recipe measures no blur
                content.update((self.path / name).read_bytes())
        return content.hexdigest()

    def raw_output(self, crops: F32, x: AnyFloat, y: AnyFloat) -> F32:
        """Network output before it is read, shape (n, outputs)."""
        image, aux = network_input(
            crops,
            x,
            y,
            self.field_size_px,
            normalisation=self.normalisation,
            response=self.response,
            field_known=self.field_known,
        )
        parts = [
            self._session.run(None, dict(zip(self._inputs, (image[i : i + BATCH], aux[i : i + BATCH]), strict=True)))[0]
            for i in range(0, len(crops), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 1), np.float32)

    def predict(self, crops: F32, x: AnyFloat, y: AnyFloat, *, refine: bool = True) -> ZPrediction:
        """Predict z of spots.

        Parameters
        ----------
        crops : ndarray, shape (n, 15, 15), float32
            Photons, from `inputs.crop_photons`.
        x, y : ndarray, shape (n,)
            Sensor position in pixels, never drift-corrected.
        refine : bool
            Go on from the network's z to the maximum of the likelihood under the blur that the beads measured
            (`fit_z_likelihood`): closer to the information limit for bright spots, at a few thousand spots a second.
        """
        place = spread = np.full((len(crops), 2), np.nan, np.float32)
        if not len(crops):
            nothing = np.empty(0, np.float32)
            return ZPrediction(nothing, nothing, np.empty(0, np.uint8), place, spread)
        raw = self.raw_output(crops, x, y)
        low, high = self.z_range_nm
        flag = np.zeros(len(crops), np.uint8)
        if self.normalisation is Normalisation.PAPER:
            z = raw[:, 0] * Z_UNIT_NM
            sigma_z, sigma = (np.array(self.calibration["sigma_by_z"][key]) for key in ("z_nm", "sigma_nm"))
            lpz = np.interp(z, sigma_z, sigma)
        else:
            posterior = posterior_of(raw)
            z = posterior.z_nm
            lpz = rescale_sigma(posterior.sigma_nm, z, self.calibration["sigma_scale"])
            p_outlier = posterior.p_outlier(lpz)
            if refine:
                refined = self._refine(crops, x, y, posterior, lpz)
                z, lpz, p_outlier = refined.z_nm, refined.lpz_nm, refined.p_outlier
                place, spread = refined.xy_px.astype(np.float32), refined.sigma_xy_px.astype(np.float32)
                limit = self.calibration["misfit"]
                allowed = np.interp(np.log(refined.photons), limit["log_photons"], limit["deviance"])
                flag |= np.where(refined.deviance > allowed, OUT_OF_DISTRIBUTION, 0).astype(np.uint8)
            threshold = self.calibration["ambiguity"]["refined" if refine else "network"]["threshold"]
            flag |= np.where((p_outlier > threshold) | (lpz > MAX_LPZ_NM), AMBIGUOUS, 0).astype(np.uint8)
            out_of_distribution = self.ood_score(raw[:, 3 * COMPONENTS :]) > self.calibration["novelty"]["threshold"]
            flag |= np.where(out_of_distribution, OUT_OF_DISTRIBUTION, 0).astype(np.uint8)
        flag |= np.where((z < low) | (z > high), OUT_OF_RANGE, 0).astype(np.uint8)
        if self.field_known:
            width, height = self.field_size_px
            outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
            flag |= np.where(outside, OUTSIDE_FIELD, 0).astype(np.uint8)
        return ZPrediction(z.astype(np.float32), lpz.astype(np.float32), flag, place, spread)

    def _refine(
        self,
        crops: F32,
        x: AnyFloat,
        y: AnyFloat,
        posterior: Posterior,
        lpz: F64,
    ) -> LikelihoodFit:
        from easyzloc_mm.model.emitter_prior import EmitterPrior
        from easyzloc_mm.model.likelihood_refinement import fit_z_likelihood

        if self._psf is None:
            psf = FieldPsf.load(self.path / PSF_FILE)
            self._psf = psf, psf.table(self.field_size_px)
        psf, table = self._psf
        place = psf.place(np.asarray(x, float), np.asarray(y, float), self.field_size_px)
        prior = EmitterPrior(**self.calibration["domain"]).prior(x, y)
        return fit_z_likelihood(
            crops, table, place, posterior, lpz, prior, self.response.read_noise_e, self.calibration
        )

    def warm_up(self) -> None:
        """Compile and run everything once on an empty crop, so that no camera frame has to wait for it."""
        self.predict(np.ones((1, ROI_PX, ROI_PX), np.float32), np.zeros(1), np.zeros(1))

    def ood_score(self, embedding: AnyFloat) -> F64:
        """Mahalanobis distance of embeddings from those of the training spots, shape (n,)."""
        if self._whiten is None:
            return np.zeros(len(embedding))
        mean, whitening = self._whiten
        return np.asarray(np.linalg.norm((embedding - mean) @ whitening, axis=1))
