"""What uncertainties of a run lack where the sample's PSF is not the beads', and that taken into its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.io.runs.localizations import read_localizations, read_metadata, update_run
from easyzloc_mm.io.runs.rewrite import rewrite_columns, table_attributes
from easyzloc_mm.io.sample_aberrations import Widening
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.numerics.level import levels_around
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf, field_source
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from easyzloc_mm.typing import F64

SHARE = 0.6827
BINS = 12
LEAST_IN_BIN = 100
SIMULATED, LEAST_KEPT = 4000, 500
SEED = 0
SEEN = (0.05, 0.95)
"""Simulated molecules are as bright, and lie in as much background, as the run's between these quantiles."""
MARK = "sample_widening"
"""Attribute of a table whose uncertainties were widened: it changes in one step with them."""


def widening_of(run: Path, card: ModelCard, sample: FieldPsf) -> Widening | None:
    """Return what uncertainties of a run lack: molecules like its own are simulated, and localised as they were.

    None where too few of those are without a flag to tell.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``, localised with `card`.
    card : ModelCard
        With the beads' PSF.
    sample : FieldPsf
        The PSF of the sample.
    """
    columns = ("x", "y", "z", "photons", "bg", "z_flag")
    table, metadata = read_localizations(run, columns=columns)
    table = table[table["z_flag"] == 0]
    x, y, z, photons, background = (table[name].to_numpy(float) for name in columns[:-1])
    noise_ratio = 1.0 if metadata.noise is None else metadata.noise.applied
    response = metadata.camera_response or card.response
    light = response.excess_noise * noise_ratio
    depth = (z - metadata.surface_nm(x, y)) / metadata.focal_shift_factor
    read_noise_e = response.effective(noise_ratio).read_noise_e
    calibration = card.uncertainty
    assert isinstance(calibration, MixtureCalibration), "checked by the caller: the model has a PSF"
    like = single(calibration.emitters, _range(photons / light), _range(background / light), float(np.abs(depth).max()))
    camera = BeadPsfs(sample.table(card.field_size_px), card.field_size_px, card.field_known, read_noise_e)
    made = molecules_like(sample, like, camera)
    refine = metadata.localize is None or metadata.localize.refine
    level = levels_around(made.background, read_noise_e**2, SEED)
    found = Predictor(card).predict(
        made.crops, made.x, made.y, refine=refine, read_noise_e=read_noise_e, background=level
    )  # fmt: skip
    kept = found.z_flag == 0
    if kept.sum() < LEAST_KEPT:
        return None
    error = np.column_stack([found.xy_px - made.xy_px, found.z_nm - made.z_nm])
    sigma = np.column_stack([found.lpxy_px, found.lpz_nm])
    return widening(error[kept].astype(float), sigma[kept].astype(float), found.z_nm[kept].astype(float))


def _range(values: F64) -> tuple[float, float]:
    low, high = np.quantile(np.maximum(values, 1e-3), SEEN)
    return float(low), float(high)


def single(
    emitters: EmitterPrior, photons: tuple[float, float], background: tuple[float, float], z_limit_nm: float
) -> EmitterPrior:
    """Return well-fitted single emitters of such brightness and depth."""
    return emitters.model_copy(
        update={
            "photons": photons,
            "background": background,
            "bad_fit_share": 0.0,
            "neighbour_share": 0.0,
            "z_limit_nm": z_limit_nm,
        }
    )


def molecules_like(sample: FieldPsf, like: EmitterPrior, camera: BeadPsfs) -> EmitterImages:
    """Return simulated molecules with the PSF of the sample, all over the field of a camera."""
    return simulate_emitters(field_source(camera, sample), like, SIMULATED, SEED)


def widening(error: F64, sigma: F64, z_nm: F64) -> Widening:
    """Return what has to be added to uncertainties, by depth, for 68.3 % of errors to lie within.

    Parameters
    ----------
    error, sigma : ndarray, shape (n, 3)
        Of x, y (px) and z (nm): actual errors, whose medians are taken off, and stated standard deviations. x and y may
        be NaN: not fitted.
    z_nm : ndarray, shape (n,)
        Depths as they were found.
    """
    # |e| <= sqrt(s^2 + a^2) where e^2 - s^2 <= a^2: the share that shall lie within is a quantile.
    lacking = (error - np.median(error, axis=0)) ** 2 - sigma**2
    rows = np.array_split(np.argsort(z_nm, kind="stable"), max(1, min(BINS, len(z_nm) // LEAST_IN_BIN)))
    added_x, added_y, added_z = np.sqrt(
        np.maximum([np.quantile(lacking[some], SHARE, axis=0) for some in rows], 0.0)
    ).T.tolist()
    fitted = bool(np.isfinite(lacking).all())
    return Widening(
        z_nm=tuple(float(z_nm[some].mean()) for some in rows),
        added_nm=tuple(added_z),
        molecules=len(z_nm),
        covered=float(np.mean(lacking[:, 2] <= 0)),
        added_x_px=tuple(added_x) if fitted else (),
        added_y_px=tuple(added_y) if fitted else (),
    )


def widen(run: Path, added: Widening, *, before_frame: int | None = None) -> None:
    """Take a widening into a finished run, once; `before_frame`: into the rows of earlier frames only."""
    known = table_attributes(run).get(MARK)
    if known is None:
        columns = ("frame", "x", "y", "z", "lpz", "lpx", "lpy")
        table, metadata = read_localizations(run, columns=columns)
        frame, x, y, z, lpz = (table[name].to_numpy(float) for name in columns[:5])
        lpxy = table[["lpx", "lpy"]].to_numpy(float)
        factor = metadata.focal_shift_factor
        depth = (z - metadata.surface_nm(x, y)) / factor
        wider = np.column_stack([added.widened_xy(lpxy, depth), factor * added.widened(lpz / factor, depth)])
        if before_frame is not None:
            wider = np.where((frame < before_frame)[:, None], wider, np.column_stack([lpxy, lpz]))
        rewritten = dict(zip(("lpx", "lpy", "lpz"), wider.T, strict=True))
        rewrite_columns(run, rewritten, {MARK: added.model_dump(mode="json")})
    else:  # a run that was cut off between its table and its metadata
        added = Widening.model_validate(known)
    update_run(run, sample_widening=added)


def is_widened(run: Path) -> bool:
    """Whether uncertainties of a run were widened."""
    return read_metadata(run).sample_widening is not None or MARK in table_attributes(run)
