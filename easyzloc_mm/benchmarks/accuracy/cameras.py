"""`bench cameras`: uncertainties against the truth with CMOS, sCMOS and EMCCD, the units right or wrong."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.scoring.compare import compare
from easyzloc_mm.api.imaging.movies import localize
from easyzloc_mm.benchmarks.second_optics.cameras import RESPONSES, CameraKind
from easyzloc_mm.benchmarks.second_optics.datasets import SPARSE, truth_of
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.benchmarks.second_optics.study import Study, make_study
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.camera_map import write_camera_map
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.model.mixture import OUTLIER_SIGMAS
from easyzloc_mm.typing import F64, Progress

PIXEL_SEED = 5
WRONG_GAINS = (0.8, 1.25)
"""Of the true one."""
CAMERA_MAP = "camera.zarr"
WALK_DEGREE = 3


def bench_cameras(
    folder: Path | None = None,
    *,
    kinds: Sequence[CameraKind] = tuple(CameraKind),
    minutes: float = 2.0,
    frames: int = SPARSE.frames,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train on beads of the second optics with each camera, and localise a sparse movie with right and wrong units.

    Parameters
    ----------
    folder : Path, optional
        Keeps beads, model, movie and runs of each camera, and those that lie there are used.
    kinds : sequence of CameraKind
    minutes : float
        Of training.
    frames : int
        Of the movie.
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        ``cameras``: by kind, and by ``right``, ``gain x 0.8``, ... the figures of `coverage`, and ``noise_ratio``,
        ``noise_applied`` and ``noticed`` (warnings of the noise).
    """
    cameras: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        for kind in kinds:
            pixels = PIXEL_SEED if kind is CameraKind.SCMOS else None
            microscope = SecondMicroscope(response=RESPONSES[kind], pixel_seed=pixels)
            movies = {"sparse": SPARSE.model_copy(update={"frames": frames})}
            study = make_study(
                Path(place) / kind, minutes=minutes, seed=seed, microscope=microscope, movies=movies, progress=progress
            )
            camera_map = study.folder / CAMERA_MAP if microscope.pixels else None
            if microscope.pixels and camera_map and not camera_map.exists():
                write_camera_map(camera_map, microscope.pixels)
            cameras[kind.value] = {
                name: _localized(study, microscope, gain, camera_map, progress) for name, gain in _gains(camera_map)
            }
    return {"cameras": cameras, "minutes": minutes}


def _gains(camera_map: Path | None) -> list[tuple[str, float]]:
    # A map states the gain of each pixel: there is none to be given wrong beside it.
    wrong = () if camera_map else WRONG_GAINS
    return [("right", 1.0), *((f"gain x {factor:g}", factor) for factor in wrong)]


def _localized(
    study: Study, microscope: SecondMicroscope, gain: float, camera_map: Path | None, progress: Progress | None
) -> dict[str, Any]:
    movie, response, run = study.movies["sparse"], microscope.response, study.folder / f"run_{gain:g}.zarr"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", EasyZlocWarning)
        localize(
            movie, study.model, run,
            baseline_adu=response.baseline_adu, electrons_per_adu=gain * response.electrons_per_adu,
            excess_noise=response.excess_noise, camera_map=camera_map, if_exists="overwrite", progress=progress,
        )  # fmt: skip
    table, metadata = read_localizations(run)
    truth, noise = pd.read_parquet(truth_of(movie)), metadata.noise
    size = microscope.width_px, microscope.height_px
    return {
        **coverage(table, truth, microscope.lens.pixel_size_nm, size),
        "noise_ratio": noise.ratio if noise else None,
        "noise_applied": noise.applied if noise else None,
        "noticed": sum("the noise" in str(one.message) for one in said),
    }


def coverage(
    table: pd.DataFrame, truth: pd.DataFrame, pixel_size_nm: float, size_px: tuple[int, int]
) -> dict[str, float]:
    """Return how often the errors of x, y and z lie within 1 and 1.96 stated uncertainties, of what carries no flag.

    Where the middle of an image lies at each depth and place is the beads' convention: they do not tell a coma's
    sideways walk from the stage's. A polynomial over field and depth is taken out of the errors of x and y first.

    Returns
    -------
    dict
        ``x_68``, ``x_95``, ..., ``z_95``, ``rmse_x_nm``, ..., ``walk_x_nm``, ``walk_y_nm`` (what was taken out),
        ``flagged`` (share of what was found), ``recall``, ``photons`` (median share of all that the lens collects).
    """
    pairs = compare(table, truth, pixel_size_nm=pixel_size_nm, size_px=size_px).pairs
    trusted = pairs[pairs["z_flag"] == 0]
    found: dict[str, float] = {
        "recall": len(pairs) / max(len(truth), 1),
        "flagged": float((pairs["z_flag"] != 0).mean()),
        "photons": float((trusted["photons"] / trusted["true_photons"]).median()),
    }
    for axis, unit_nm in (("x", pixel_size_nm), ("y", pixel_size_nm), ("z", 1.0)):
        error = trusted[f"error_{axis}"].to_numpy(float)
        sigma = unit_nm * trusted[f"lp{axis}"].to_numpy(float)
        if axis != "z":
            walk = _walk(trusted, error, sigma, size_px)
            found[f"walk_{axis}_nm"] = float(np.sqrt(np.mean(walk**2)))
            error -= walk
        pull = np.abs(error) / sigma
        found |= {f"{axis}_68": float((pull <= 1).mean()), f"{axis}_95": float((pull <= 1.96).mean())}
        found[f"rmse_{axis}_nm"] = float(np.sqrt(np.mean(error**2)))
    return found


def _walk(pairs: pd.DataFrame, error_nm: F64, sigma_nm: F64, size_px: tuple[int, int]) -> F64:
    """Return the errors' polynomial over field and depth, without outliers, at each molecule, nm."""
    u, v = (2 * pairs[f"true_{axis}"].to_numpy(float) / size - 1 for axis, size in zip("xy", size_px, strict=True))
    z = pairs["true_z"].to_numpy(float) / SPARSE.z_limit_nm
    powers = [p for p in itertools.product(range(WALK_DEGREE + 1), repeat=3) if sum(p) <= WALK_DEGREE]
    basis = np.stack([u**i * v**j * z**k for i, j, k in powers], axis=1)
    kept = np.abs(error_nm) <= OUTLIER_SIGMAS * sigma_nm
    weight = 1 / sigma_nm[kept]
    fit = np.linalg.lstsq(basis[kept] * weight[:, None], error_nm[kept] * weight, rcond=None)[0]
    return np.asarray(basis @ fit)
