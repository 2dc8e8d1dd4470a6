"""`bench real-sample`: real bead stacks against each other, one as the slide, another, thinned, as the sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._progress import silent
from easyzloc_mm.beads.sources import beads_from_sources
from easyzloc_mm.benchmarks.accuracy.stacks import thinned_frames
from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.passport.change import Calibrated, measure_change
from easyzloc_mm.passport.verdict import judge
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.crop_choice import crop_px
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.mle import fit_psf
from easyzloc_mm.psf.pupil.estimate import Estimate, estimate
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from easyzloc_mm.typing import F64, I64, Progress

DEPTH_LIMIT_NM = 800.0
"""Planes farther from focus are no molecules that a run would keep."""


def bench_real_sample(
    stacks: Sequence[Path],
    optics: Optics,
    *,
    z_step_nm: float,
    electrons_per_adu: float | None = None,
    baseline_adu: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Hold every stack against every other one: as a sample of molecules, and as the beads of another day.

    Parameters
    ----------
    stacks : sequence of path
        Bead stacks of one microscope, two or more.
    optics : Optics
        Of that microscope; the pixel size is the stacks'.
    z_step_nm : float
    electrons_per_adu, baseline_adu : float, optional
        Of the camera; estimated from the stacks where they are not given.
    seed : int
        Of the thinning.
    progress : callable, optional

    Returns
    -------
    dict
        ``pairs``: of each its ``slide`` and ``sample``, ``beads`` of either; ``explained``: correlation of the slide's
        PSF and the optics; of the sample's ``molecules`` whether it ``differs``, ``rms_rad``, ``chi2``, and ``scale``
        and ``scatter_nm`` of z by the slide's PSF against the stage; ``check``: the verdict of `calibrate --check` on
        the sample's beads as they were recorded, and ``because``.

    Raises
    ------
    InputError
        Fewer than two stacks, or one that has no bead which can be thinned.
    """
    if len(stacks) < 2:
        raise InputError("`stacks`: give two bead stacks or more, which are held against each other")
    show = progress or silent
    beads = [
        beads_from_sources(
            [stack], pixel_size_nm=optics.pixel_size_nm, z_step_nm=z_step_nm,
            electrons_per_adu=electrons_per_adu, baseline_adu=baseline_adu,
        )
        for stack in stacks
    ]  # fmt: skip
    slides = [_slide(one, optics) for one in beads]
    pairs = []
    for number, (slide, sample) in enumerate(permutations(range(len(stacks)), 2)):
        show(f"{stacks[sample].name} under {stacks[slide].name}", number / (len(stacks) * (len(stacks) - 1)))
        found = _pair(*slides[slide], beads[sample], optics, np.random.default_rng(seed))
        pairs.append({"slide": stacks[slide].name, "sample": stacks[sample].name, **found})
    return {"pairs": pairs}


def _slide(beads: BeadDataset, optics: Optics) -> tuple[Calibrated, Wavefront]:
    roi_px = crop_px(beads)
    psf = FieldPsf.measure(BeadPsfs.from_beads(beads, np.flatnonzero(beads.accepted), roi_px))
    then = Calibrated(psf, None, EmitterPrior(), beads.field_size_px, roi_px)
    return then, retrieve(psf, optics)


def _pair(
    then: Calibrated, wavefront: Wavefront, beads: BeadDataset, optics: Optics, rng: np.random.Generator
) -> dict[str, Any]:
    molecules, bead = _molecules(beads, then, rng)
    found = estimate(molecules, then.psf, optics, then.field_size_px, wavefront=wavefront, emitter=bead)
    checked = judge(measure_change(beads, then, optics, wavefront=wavefront))
    return {
        "beads": int(beads.accepted.sum()),
        "explained": wavefront.correlation,
        "molecules": len(molecules),
        "differs": found.differs,
        "rms_rad": float(np.linalg.norm(found.theta_rad)),
        "chi2": found.chi2,
        **_against_the_stage(molecules, then, found),
        "check": str(checked.verdict),
        "because": checked.because,
    }


def _molecules(beads: BeadDataset, then: Calibrated, rng: np.random.Generator) -> tuple[Molecules, I64]:
    """Return recorded planes of beads, as faint as molecules, and which bead each is of."""
    low, high = max(then.psf.low_nm, -DEPTH_LIMIT_NM), min(then.psf.high_nm, DEPTH_LIMIT_NM)
    frames, truth = thinned_frames(beads, (low, high), rng)
    x, y, z_nm = (truth[name].to_numpy(float) for name in ("x", "y", "z"))
    crops = crop_photons(frames, np.arange(len(frames)), x, y, beads.response.effective(), then.roi_px)
    noise_e = float(beads.response.effective().read_noise_e)
    molecules = Molecules(crops, x, y, z_nm, then.emitters.prior(x, y), noise_e)
    return molecules, np.unique(truth["bead"], return_inverse=True)[1].astype(np.int64)


def _against_the_stage(molecules: Molecules, then: Calibrated, found: Estimate) -> dict[str, float]:
    """Return how z of molecules follows the stage, by the slide's PSF and by the sample's."""

    def line(psf: FieldPsf) -> tuple[float, float]:
        place = psf.place(molecules.x, molecules.y, then.field_size_px)
        starts = molecules.z_nm[:, None]
        fits = fit_psf(
            molecules.crops, psf.table(then.field_size_px), place, starts, molecules.read_noise_e, molecules.prior
        )
        z_nm: F64 = fits.z_nm[:, 0]
        slope, offset = np.polyfit(molecules.z_nm, z_nm, 1)
        left = z_nm - slope * molecules.z_nm - offset
        return float(slope), robust_sd(left, about=0.0)

    (scale, scatter_nm), (refreshed, refreshed_nm) = line(then.psf), line(found.psf)
    return {
        "scale": scale, "scatter_nm": scatter_nm, "scale_refreshed": refreshed, "scatter_refreshed_nm": refreshed_nm,
    }  # fmt: skip
