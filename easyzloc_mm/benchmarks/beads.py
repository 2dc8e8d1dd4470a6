"""Bead calibration on simulated slides with known truth: default and published rules side by side, time and memory."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._processes import in_fresh_process
from easyzloc_mm.beads.quality.judge import Rules
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set
from easyzloc_mm.typing import F64, Progress

FOVS, QUICK_FOVS = 14, 2
SPAN_NM, QUICK_SPAN_NM, STEP_NM = 3000.0, 1500.0, 10.0
MATCH_PX = 3.0
LIMIT_DEPTHS_NM = np.arange(-800.0, 801.0, 100.0)
LIMIT_PHOTONS, LIMIT_BACKGROUND = 2000.0, 50.0
ROI_PX = 23


def bench_beads(
    *, quick: bool = False, seed: int = 1, keep: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Simulate bead stacks, build bead data sets from them by both sets of rules, and score these against the truth.

    The slide is tilted by 1 mrad, beads lie within 150 nm, every fifth thing is a doublet or dirt, some beads float
    above the layer, beads bleach by 8 % and the stage moves sideways; every second field has a tenth of the light.

    Parameters
    ----------
    quick : bool
        Two fields of 301 planes instead of 14 of 601.
    seed : int
        Of slides and noise.
    keep : Path, optional
        Folder for stacks, truth and data sets; without it they are deleted.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    dict
        For the default rules ``sd_bright_nm``, ``sd_dim_nm`` (label errors of good beads after one constant offset),
        ``good_kept``, ``bad_rejected``, ``accepted_bad``, ``found``, ``accepted``, ``planes``, ``seconds``,
        ``peak_memory_mb``; the same with the prefix ``paper_``; and ``limit_ratio``, ``limit_ratio_low``,
        ``limit_ratio_high``: information limit of z from the measured PSF over that of the true one (median, 10th and
        90th percentile over field and depth).
    """
    from easyzloc_mm.benchmarks.fixtures.bead_fields import photograph_slides
    from easyzloc_mm.io.profiles import load_profile

    report = progress or (lambda _message, _fraction: None)
    fovs, span = (QUICK_FOVS, QUICK_SPAN_NM) if quick else (FOVS, SPAN_NM)
    profile = load_profile("demo").replace(
        beads={"z_start_nm": -span, "z_stop_nm": span, "z_step_nm": STEP_NM, "fovs": fovs}
    )
    with nullcontext(str(keep)) if keep else tempfile.TemporaryDirectory(prefix="easyzloc-beads-") as name:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        stacks = folder / "slides.ome.zarr"
        truth = photograph_slides(
            profile, stacks, fovs=fovs, seed=seed, progress=lambda message, part: report(message, 0.5 * part)
        )
        truth.to_parquet(folder / "truth.parquet")
        result: dict[str, Any] = {"things": len(truth), "good": int((truth["verdict"] == "good").sum())}
        for share, rules in ((0.5, Rules.DEFAULT), (0.75, Rules.PAPER)):
            report(f"building: {rules} rules", share)
            out = folder / f"{rules}.zarr"
            built = in_fresh_process(build, stacks, out, str(rules))
            beads = read_bead_set(out)
            figures = {
                **score(beads, truth, 500 * (profile.limits.z_min_um + profile.limits.z_max_um)),
                "seconds": built.seconds,
                "peak_memory_mb": built.peak_bytes / 2**20,
            }
            prefix = "" if rules is Rules.DEFAULT else f"{rules}_"
            result.update({prefix + key: value for key, value in figures.items()})
            if rules is Rules.DEFAULT:
                report("information limit: measured and true", 0.95)
                result.update(compare_crlb(beads, profile))
    return result


def score(beads: BeadDataset, truth: pd.DataFrame, zero_nm: float) -> dict[str, Any]:
    """Hold a bead data set against the truth of its slides.

    Parameters
    ----------
    beads : BeadDataset
    truth : DataFrame
        From `bench_slide.photograph_slides`.
    zero_nm : float
        Stage position that the truth calls 0.
    """
    match = np.full(len(beads), -1)
    for index in range(len(beads)):
        near = truth[truth["fov"] == beads.stack[index]]
        distance = np.hypot(near["x"] - beads.x[index], near["y"] - beads.y[index])
        if len(near) and distance.min() <= MATCH_PX:
            match[index] = distance.idxmin()
    verdict = np.where(match >= 0, truth["verdict"].to_numpy()[match], "bad")
    accepted = beads.accepted
    good = truth.index[truth["verdict"] == "good"]
    kept = accepted & (verdict == "good")
    focus_nm = 1000 * beads.measures["focus_um"].to_numpy() - zero_nm
    error = focus_nm[kept] - truth["focus_nm"].to_numpy()[match[kept]]
    error = error - np.mean(error)
    dim = truth["dim"].to_numpy()[match[kept]]
    bad = verdict == "bad"
    return {
        "sd_bright_nm": _sd(error[~dim]),
        "sd_dim_nm": _sd(error[dim]),
        "worst_nm": float(np.abs(error).max()) if len(error) else None,
        "good_kept": len(set(match[kept]) & set(good)) / max(len(good), 1),
        "bad_rejected": float((~accepted[bad]).mean()) if bad.any() else None,
        "bad": int(bad.sum()),
        "accepted_bad": int((accepted & bad).sum()),
        "found": len(beads),
        "accepted": int(accepted.sum()),
        "planes": int(beads.rois.shape[1]),
    }


def compare_crlb(beads: BeadDataset, profile: Any) -> dict[str, float]:
    """Information limit of z from the measured PSF over that of the true optics, over field and depth."""
    from easyzloc_mm.psf.crlb import crlb, empirical_psf
    from easyzloc_mm.simulator.optics.objective import embedded_optics

    psf, optics = empirical_psf(beads), embedded_optics(profile)
    x, y = (np.repeat(psf.places[:, axis], len(LIMIT_DEPTHS_NM)) for axis in (0, 1))
    z = np.tile(LIMIT_DEPTHS_NM, len(psf.places))
    images = optics.psf_with_derivatives(x, y, 0 * x, 0 * y, z, size=psf.halves.shape[-1])
    # Photons of a measured PSF are those of a focused spot in its ROI.
    inside = np.array([optics.psf_stack(a, b, np.zeros(1), ROI_PX).sum() for a, b in psf.places])
    scale = np.repeat(inside, len(LIMIT_DEPTHS_NM))[:, None, None]
    mean, by_x, by_y, by_z = (image / scale for image in images)
    true = crlb(mean, by_x, by_y, by_z, LIMIT_PHOTONS, LIMIT_BACKGROUND, beads.response.read_noise_e)[2]
    measured = psf.crlb(x, y, z, LIMIT_PHOTONS, LIMIT_BACKGROUND, beads.response)[2]
    low, middle, high = np.nanpercentile(measured / true, [10, 50, 90])
    return {"limit_ratio": float(middle), "limit_ratio_low": float(low), "limit_ratio_high": float(high)}


def _sd(values: F64) -> float | None:
    return float(np.std(values)) if len(values) > 1 else None


def build(stacks: Path, out: Path, rules: str) -> None:
    """Build and write one data set."""
    from easyzloc_mm.api.calibrating.calibration import build_beads
    from easyzloc_mm.io.beads.dataset import write_bead_set

    # Written without its report, whose figures would count as time and memory.
    write_bead_set(out, build_beads(stacks, rules=rules), if_exists="overwrite")
