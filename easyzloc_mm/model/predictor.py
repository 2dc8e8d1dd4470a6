"""A trained model at work: crops of spots in, z with an uncertainty and flags out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import UNSEEN_NOISE_E
from easyzloc_mm.io.reading import reading
from easyzloc_mm.model.card import NETWORK_FILE, ModelCard
from easyzloc_mm.model.inputs import network_input
from easyzloc_mm.model.likelihood_refinement import LikelihoodFit, find_maxima, refined
from easyzloc_mm.model.mixture import COMPONENTS, Z_UNIT_NM, Posterior, posterior_of
from easyzloc_mm.model.uncertainty import MAX_LPZ_NM, MixtureCalibration, SigmaByZ
from easyzloc_mm.model.wider_look import Crops, WiderCrops, look_wider
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.mle import Neighbours, Optimum
from easyzloc_mm.typing import F32, F64, I64, AnyFloat, Bool

if TYPE_CHECKING:
    import onnxruntime

BATCH = 256
FITTED = 5
"""Parameters of a fit."""
CUT_OFF_PX = 4
"""Where the frame ends no farther than this from the middle of a crop, much of the image is missing."""
OUT_OF_RANGE, AMBIGUOUS, OUT_OF_DISTRIBUTION, OUTSIDE_FIELD = 1, 2, 4, 8
"""Bits of `z_flag` (docs/formats/model_bundle.md)."""

Flags = NDArray[np.uint8]


@dataclass(frozen=True)
class ZPrediction:
    """z of n spots.

    Attributes
    ----------
    z_nm, lpz_nm : ndarray, shape (n,), float32
        Value and standard deviation; always finite.
    z_flag : ndarray, shape (n,), uint8
        Bit field: 1 outside the calibrated z range, 2 sign-ambiguous, 4 out of distribution (unlike any training
        spot), 8 outside the calibrated field of view. 0: to be believed.
    xy_px, lpxy_px : ndarray, shape (n, 2), float32
        Position of the emitter from the centre of the crop under the measured PSF, and its standard deviation, pixels;
        NaN where it was not fitted.
    widening : ndarray, shape (n, 3)
        Factor by which neighbours raised the standard deviations of x, y and z; 1 where there are none.
    optimum : Optimum or None
        Everything that the likelihood fit found, whether or not z is from there; None without a measured PSF, and
        without `refine`.
    """

    z_nm: F32
    lpz_nm: F32
    z_flag: Flags
    xy_px: F32
    lpxy_px: F32
    widening: F64
    optimum: Optimum | None = None


class Predictor:
    """Network, measured PSF and card of a model. ONNX Runtime opens at first use; TensorFlow is never imported.

    Parameters
    ----------
    card : ModelCard
        As loaded from the model's folder.
    threads : int
        Of ONNX Runtime.
    """

    def __init__(self, card: ModelCard, *, threads: int = 1) -> None:
        self.card = card
        self._threads = threads

    @classmethod
    def load(cls, path: Path, profile: Profile | None = None, *, threads: int = 1) -> Predictor:
        """Return the predictor of the model in a folder, checked against the microscope in use.

        Parameters
        ----------
        path : Path
            Folder that training wrote.
        profile : Profile, optional
            The microscope that the model will be used on.
        threads : int
            Of ONNX Runtime.

        Raises
        ------
        InputError
            No model there, or it was made for another pixel size.
        """
        return cls(ModelCard.load(path, profile), threads=threads)

    @property
    def path(self) -> Path:
        """The model's folder."""
        return self.card.path

    def open(self) -> None:
        """Read network and measured PSF, so that a damaged model is told before a microscope, or a long run, is begun.

        Raises
        ------
        InputError
            One of them cannot be read, or is another's.
        """
        _ = self._session
        if self.card.has_psf:
            for file in (self.card.psf_file, self.card.wider_psf_file):
                if file is not None:
                    FieldPsf.load(file)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = _providers(onnxruntime.get_available_providers())
        network = self.path / NETWORK_FILE
        damaged = (failures.Fail, failures.InvalidProtobuf, failures.InvalidGraph, failures.InvalidArgument)
        others = (failures.NoModel, failures.NoSuchFile, failures.NotImplemented, failures.RuntimeException)
        cure = "copy the model's whole folder again, or train it again"
        with reading(network, "ONNX", *damaged, *others, cure=cure):
            session = onnxruntime.InferenceSession(str(network), options, providers=providers)
            shapes = [item.shape for item in session.get_inputs()]
            roi_px = self.card.roi_px
            if len(shapes) != 2 or shapes[0][1:3] != [roi_px, roi_px]:
                raise ValueError(f"its inputs are {shapes}, not images of {roi_px} px and what goes with them")
            return session

    @cached_property
    def psf(self) -> tuple[FieldPsf, SplinePsf]:
        """The measured PSF, and its table over the field."""
        psf = FieldPsf.load(self.card.psf_file)
        return psf, psf.table(self.card.field_size_px)

    @cached_property
    def wider_psf(self) -> SplinePsf | None:
        """The measured PSF over the field as far as larger crops reach (`model.wider_look`), where it was measured."""
        file, size = self.card.wider_psf_file, self.card.field_size_px
        return None if file is None else FieldPsf.load(file).table(size)

    def place(self, x: AnyFloat, y: AnyFloat) -> I64:
        """Return which PSF of the table is that of sensor positions."""
        return self.psf[0].place(np.asarray(x, float), np.asarray(y, float), self.card.field_size_px)

    def raw_output(self, crops: F32, x: AnyFloat, y: AnyFloat) -> F32:
        """Return the network's output before it is interpreted, shape (n, outputs); parameters as of `predict`."""
        card = self.card
        image, aux = network_input(
            crops,
            x,
            y,
            card.field_size_px,
            normalisation=card.normalisation,
            response=card.response,
            field_known=card.field_known,
        )
        names = [item.name for item in self._session.get_inputs()]
        parts = [
            self._session.run(None, dict(zip(names, (image[i : i + BATCH], aux[i : i + BATCH]), strict=True)))[0]
            for i in range(0, len(crops), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 1), np.float32)

    def predict(
        self,
        crops: F32,
        x: AnyFloat,
        y: AnyFloat,
        *,
        refine: bool = True,
        read_noise_e: float | F32 | None = None,
        neighbours: Neighbours | None = None,
        wider: WiderCrops | None = None,
        background: F64 | None = None,
    ) -> ZPrediction:
        """Predict z of spots.

        Parameters
        ----------
        crops : ndarray, shape (n, size, size), float32
            Effective photons (`CameraResponse.effective`), from `crop_photons`; as large as the card says (`roi_px`).
        x, y : ndarray, shape (n,)
            Sensor position in pixels, never drift-corrected.
        refine : bool
            Go on from the network's z to the maximum of the likelihood under the measured PSF
            (`likelihood_refinement`): closer to the CRLB for bright spots, at a few thousand spots a second.
        read_noise_e : float or ndarray, shape (n, size, size), optional
            Of the camera that took the crops, or of each of their pixels; that of the model's camera without it.
        neighbours : Neighbours, optional
            What other emitters do to the spots.
        wider : WiderCrops, optional
            Larger crops, as large as `wider_psf` is for, in which spots that several depths explain are looked at.
        background : ndarray, shape (n, 2), optional
            Photons per pixel that are expected around each spot, and their standard deviation.
        """
        xy = sigma_xy = np.full((len(crops), 2), np.nan, np.float32)
        widening = np.ones((len(crops), 3))
        if not len(crops):
            nothing = np.empty(0, np.float32)
            return ZPrediction(nothing, nothing, np.empty(0, np.uint8), xy, sigma_xy, widening)
        light = None if neighbours is None else neighbours.light
        raw = self.raw_output(crops if neighbours is None else neighbours.taken_off(crops), x, y)
        optimum = None
        flag = np.zeros(len(crops), np.uint8)
        calibration = self.card.uncertainty
        if isinstance(calibration, SigmaByZ):
            z = raw[:, 0] * Z_UNIT_NM
            lpz = calibration.at(z)
        else:
            posterior = posterior_of(raw)
            z = posterior.z_nm
            lpz = calibration.network_scale.rescale(posterior.sigma_nm, z)
            p_outlier, doubt = posterior.p_outlier(lpz), calibration.network_ambiguity
            cut = np.zeros(len(crops), bool)
            if refine:
                noise_e = self.card.response.effective().read_noise_e if read_noise_e is None else read_noise_e
                cut = _cut_off(noise_e, len(crops))
                fit = self._fit(crops, x, y, posterior, lpz, calibration, noise_e, light, wider, background, cut)
                optimum = fit.optimum
                z, lpz, p_outlier = fit.z_nm, fit.lpz_nm, fit.p_outlier
                doubt = calibration.likelihood_ambiguity
                xy = fit.xy_px.astype(np.float32)
                sigma_xy = calibration.lateral_scale.rescale(fit.sigma_xy_px, z[:, None]).astype(np.float32)
                flag |= _where(fit.deviance > calibration.residual_limit.at(fit.photons), OUT_OF_DISTRIBUTION)
            if neighbours is not None:
                widening = neighbours.widening
                if refine:  # what no fit explains is of molecules that nothing was seen of: it counts as noise
                    widening = widening * np.sqrt(np.maximum(fit.deviance / (crops[0].size - FITTED), 1.0))[:, None]
                lpz, sigma_xy = lpz * widening[:, 2], (sigma_xy * widening[:, :2]).astype(np.float32)
            flag |= _where((p_outlier > doubt.threshold) | (lpz > MAX_LPZ_NM), AMBIGUOUS)
            distance = calibration.embedding.ood_score(raw[:, 3 * COMPONENTS :])
            flag |= _where(~cut & (distance > calibration.embedding.threshold), OUT_OF_DISTRIBUTION)
        flag |= self._outside(x, y, z)
        return ZPrediction(z.astype(np.float32), lpz.astype(np.float32), flag, xy, sigma_xy, widening, optimum)

    def _outside(self, x: AnyFloat, y: AnyFloat, z: AnyFloat) -> Flags:
        """Return the flags of spots outside the calibrated range of z or field of view."""
        low, high = self.card.z_range_nm
        flag = _where((z < low) | (z > high), OUT_OF_RANGE)
        if self.card.field_known:
            width, height = self.card.field_size_px
            flag |= _where((x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5), OUTSIDE_FIELD)
        return flag

    def _fit(
        self,
        crops: F32,
        x: AnyFloat,
        y: AnyFloat,
        posterior: Posterior,
        lpz_nm: F64,
        calibration: MixtureCalibration,
        noise_e: float | F32,
        neighbours: F32 | None,
        wider: WiderCrops | None,
        background: F64 | None,
        cut: Bool,
    ) -> LikelihoodFit:
        prior, place, table = calibration.emitters.prior(x, y, background), self.place(x, y), self.psf[1]
        likelihood = find_maxima(crops, table, place, posterior.z_nm, prior, noise_e, neighbours)
        share, by_image = np.where(cut, 0.0, 0.5), calibration.likelihood_ambiguity.by_image
        fit = refined(posterior, lpz_nm, likelihood, calibration.likelihood_scale, share, by_image=by_image)
        if wider is None or self.wider_psf is None:
            return fit
        spots = Crops(crops, table, place, noise_e, prior)
        return look_wider(fit, posterior, likelihood, spots, wider, self.wider_psf, calibration, share)


def _cut_off(read_noise_e: float | F32, count: int) -> Bool:
    """Return of which crops the frame shows a part alone: the network has never seen such images."""
    if np.ndim(read_noise_e) == 0:
        return np.zeros(count, bool)
    noise_e = np.asarray(read_noise_e)
    middle = noise_e.shape[1] // 2
    near = slice(middle - CUT_OFF_PX, middle + CUT_OFF_PX + 1)
    return np.asarray(noise_e[:, near, near].max(axis=(1, 2)) >= UNSEEN_NOISE_E)


def _where(condition: Bool, bit: int) -> Flags:
    return np.where(condition, bit, 0).astype(np.uint8)


def _providers(available: list[str]) -> list[str]:
    """Return CUDA and DirectML where installed, then the CPU; engines that round to half precision are left out."""
    wanted = ("CUDAExecutionProvider", "DmlExecutionProvider", "CPUExecutionProvider")
    return [name for name in wanted if name in available]
