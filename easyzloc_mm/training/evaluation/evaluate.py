"""How good a model is, on beads that it has never seen, beside what their blur allows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadSet
from easyzloc_mm.model.bundle import PIXEL_SIZE_TOLERANCE, ModelBundle, ZPrediction
from easyzloc_mm.model.emitter_prior import TYPICAL_BACKGROUND, TYPICAL_PHOTONS, EmitterPrior
from easyzloc_mm.model.mixture import OUTLIER_SIGMAS
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.crlb import EmpiricalPsf, empirical_psf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from easyzloc_mm.training.recipes.published import recorded_planes
from easyzloc_mm.training.split import split_beads
from easyzloc_mm.typing import F64

MOLECULES = 10000
CROP_ERROR_PX = (0.2, 0.2)
BINS = 10
PHOTON_EDGES = (500.0, 1000.0, 2000.0, 4000.0, 8000.0, 20000.0)
FIELD_TILES = 3
SEED = 1234


def evaluate(
    bundle: ModelBundle, beads: BeadSet, *, z_limit_nm: float | None = None, report: Path | None = None
) -> dict[str, Any]:
    """Score a model on held-out beads, thinned to molecules and as recorded.

    On the data set that the model was trained on, only its test beads are used; on another one, every accepted bead.
    Figures are over molecules within the calibrated range that carry no flag; `flagged` says how many do.

    Parameters
    ----------
    bundle : ModelBundle
    beads : BeadSet
    z_limit_nm : float, optional
        Molecules and planes nearer to focus than this alone are scored.
    report : Path, optional
        Folder for an HTML report.

    Returns
    -------
    dict
        ``rmse_z_nm``, ``robust_z_nm``, ``limit_z_nm``, ``coverage_68``, ``coverage_95``, ``flagged``,
        ``mistakes_flagged`` (share of the errors above 4 sigma that carry a flag), ``good_flagged`` (of the others),
        ``rmse_with_flagged_z_nm`` (of all, flagged or not),
        ``bead_rmse_z_nm`` (beads as recorded), ``beads``, ``held_out``, and the same figures in ``bins`` (by z),
        ``by_photons`` and ``by_field`` (3x3 tiles; empty where places are unknown). Each bead's own focus is known to a
        few nm only: ``rmse_offset_removed_z_nm`` and ``bead_rmse_offset_removed_z_nm`` are after one median per bead.

    Raises
    ------
    InputError
        The beads have another pixel size, or none is accepted.
    """
    if abs(beads.pixel_size_nm - bundle.pixel_size_nm) > PIXEL_SIZE_TOLERANCE * bundle.pixel_size_nm:
        raise InputError(
            f"the beads have {beads.pixel_size_nm:g} nm per pixel, model {bundle.path} was trained at "
            f"{bundle.pixel_size_nm:g}: give beads of the same microscope"
        )
    held_out = bundle.calibration["training_data"] == beads.digest()
    chosen = split_beads(beads, bundle.calibration["seed"]).test if held_out else np.flatnonzero(beads.accepted)
    if not len(chosen):
        raise InputError("the bead data set has no accepted bead: nothing to evaluate on")
    limits = empirical_psf(beads)
    source = BeadPsfs.from_beads(beads, chosen)
    low, high = bundle.z_range_nm
    z_range = (low, high) if z_limit_nm is None else (max(low, -z_limit_nm), min(high, z_limit_nm))
    molecules = _score_molecules(bundle, beads, source, limits, z_range, TYPICAL_PHOTONS, SEED)
    wide = _score_molecules(bundle, beads, source, limits, z_range, (PHOTON_EDGES[0], PHOTON_EDGES[-1]), SEED + 1)
    crops, bead, z_nm = recorded_planes(beads, chosen, z_range)
    recorded = _table(bundle.predict(crops, beads.x[bead], beads.y[bead]), z_nm)
    recorded["bead"] = bead
    trusted = molecules[molecules["flag"] == 0]
    result: dict[str, Any] = {
        **_figures(trusted),
        **_flags(molecules),
        "rmse_with_flagged_z_nm": _rms(molecules["error"]),
        "rmse_offset_removed_z_nm": _rms(_without_offsets(trusted)),
        "bead_rmse_z_nm": _rms(recorded["error"]),
        "bead_rmse_offset_removed_z_nm": _rms(_without_offsets(recorded)),
        "beads": len(chosen),
        "held_out": held_out,
        "bins": _bins(molecules, z_range),
        "by_photons": _by_photons(wide),
        "by_field": _by_field(molecules, bundle.field_size_px) if bundle.field_known else [],
    }
    if report is not None:
        from easyzloc_mm.training.evaluation.report import write_model_report

        write_model_report(report, bundle.calibration, result, molecules, recorded)
    return result


def thinned(
    source: BeadPsfs,
    z_range_nm: tuple[float, float],
    photons: tuple[float, float] = TYPICAL_PHOTONS,
    seed: int = SEED,
    count: int = MOLECULES,
) -> EmitterImages:
    """Draw the molecules that models are judged by from held-out beads."""
    low, high = z_range_nm
    domain = EmitterPrior(
        photons=photons,
        background=TYPICAL_BACKGROUND,
        crop_error_px=CROP_ERROR_PX,
        neighbour_share=0.0,
        z_limit_nm=max(-low, high),
    )
    return simulate_emitters(source, domain, count, seed)


def _flags(molecules: pd.DataFrame) -> dict[str, float | None]:
    flagged = molecules["flag"] != 0
    outlier = molecules["error"].abs() > OUTLIER_SIGMAS * molecules["sigma"]
    return {
        "flagged": float(flagged.mean()),
        "mistakes_flagged": float(flagged[outlier].mean()) if outlier.any() else None,
        "good_flagged": float(flagged[~outlier].mean()) if (~outlier).any() else None,
    }


def _without_offsets(table: pd.DataFrame) -> pd.Series:
    return table["error"] - table.groupby("bead")["error"].transform("median")


def _score_molecules(
    bundle: ModelBundle,
    beads: BeadSet,
    source: BeadPsfs,
    limits: EmpiricalPsf,
    z_range_nm: tuple[float, float],
    photons: tuple[float, float],
    seed: int,
) -> pd.DataFrame:
    low, high = z_range_nm
    drawn = thinned(source, z_range_nm, photons, seed)
    table = _table(bundle.predict(drawn.crops, drawn.x, drawn.y), drawn.z_nm.astype(float))
    table["photons"], table["background"], table["bead"] = drawn.photons, drawn.background, drawn.place
    table["x"], table["y"] = drawn.x, drawn.y
    table["limit"] = limits.limit(
        drawn.x, drawn.y, drawn.z_nm, drawn.photons, drawn.background, beads.response.read_noise_e
    )[2]
    return table[table["z"].between(low, high)].reset_index(drop=True)


def _table(prediction: ZPrediction, z_nm: F64) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "z": z_nm,
            "predicted": prediction.z_nm,
            "sigma": prediction.lpz_nm,
            "flag": prediction.z_flag,
            "error": prediction.z_nm - z_nm,
        }
    )


def _figures(table: pd.DataFrame) -> dict[str, float | None]:
    if table.empty:
        return dict.fromkeys(("rmse_z_nm", "robust_z_nm", "limit_z_nm", "coverage_68", "coverage_95"))
    pull = np.abs(table["error"]) / table["sigma"]
    return {
        "rmse_z_nm": _rms(table["error"]),
        "robust_z_nm": float(1.4826 * np.median(np.abs(table["error"]))),
        "limit_z_nm": _rms(table["limit"]),
        "coverage_68": float((pull <= 1).mean()),
        "coverage_95": float((pull <= 1.96).mean()),
    }


def _bins(molecules: pd.DataFrame, z_range: tuple[float, float]) -> list[dict[str, Any]]:
    edges = np.linspace(*z_range, BINS + 1)
    return [
        {"z_from_nm": float(low), "z_to_nm": float(high)}
        | _row(molecules[molecules["z"].between(low, high, inclusive="left")])
        for low, high in itertools.pairwise(edges)
    ]


def _by_photons(molecules: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"photons_from": low, "photons_to": high}
        | _row(molecules[molecules["photons"].between(low, high, inclusive="left")])
        for low, high in itertools.pairwise(PHOTON_EDGES)
    ]


def _by_field(molecules: pd.DataFrame, size: tuple[int, int]) -> list[dict[str, Any]]:
    column, row = (
        np.clip(molecules[name] * FIELD_TILES // edge, 0, FIELD_TILES - 1)
        for name, edge in zip("xy", size, strict=True)
    )
    return [
        {"column": i, "row": j} | _row(molecules[(column == i) & (row == j)])
        for j in range(FIELD_TILES)
        for i in range(FIELD_TILES)
    ]


def _row(inside: pd.DataFrame) -> dict[str, Any]:
    trusted = inside[inside["flag"] == 0]
    return {
        "molecules": len(trusted),
        "flagged": float((inside["flag"] != 0).mean()) if len(inside) else 0.0,
        "bias_nm": float(trusted["error"].mean()) if len(trusted) else None,
        **_figures(trusted),
    }


def _rms(values: pd.Series) -> float | None:
    return float(np.sqrt(np.mean(np.asarray(values, float) ** 2))) if len(values) else None
