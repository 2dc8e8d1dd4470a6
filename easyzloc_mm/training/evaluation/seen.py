"""Simulated emitters as a run has them: cut out, and placed, by their own noisy light.

A spot's place is known from the same pixels as everything else. Emitters whose place is drawn around the truth, with an
error of its own, tell network and likelihood more than molecules do, and uncertainties that are calibrated on them come
out too small, the more so the fainter the molecules are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.mle import fit_psf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters

SPREAD_PX = 1.0
"""Places are drawn so far (standard deviation) from the crop's middle pixel: noise moves some of them into it."""
DRAWN = 8
"""Times as many as are wanted: of the others the middle pixel is another one."""


def seen_emitters(
    source: BeadPsfs, psf: FieldPsf, emitters: EmitterPrior, known: EmitterPrior, count: int, seed: int
) -> EmitterImages:
    """Return up to `count` emitters whose `x` and `y` are where they are fitted, in crops around the nearest pixel.

    Parameters
    ----------
    source : BeadPsfs
        What they are drawn from.
    psf : FieldPsf
        By which they are fitted.
    emitters : EmitterPrior
        What brightness, background and depth are drawn from.
    known : EmitterPrior
        The prior of the fit.
    count, seed : int
    """
    wide = emitters.model_copy(update={"crop_error_px": (SPREAD_PX, SPREAD_PX)})
    drawn = simulate_emitters(source, wide, DRAWN * count, seed)
    size = source.field_size_px
    # A fit takes out again what it is told of the place: only its own pixels decide.
    prior = replace(known.prior(drawn.x, drawn.y), x_px=drawn.xy_px[:, 0], y_px=drawn.xy_px[:, 1])
    place = psf.place(drawn.x, drawn.y, size)
    fits = fit_psf(drawn.crops, psf.table(size), place, drawn.z_nm[:, None].astype(float), source.read_noise_e, prior)
    x_px, y_px = fits.x_px[:, 0], fits.y_px[:, 0]
    kept = np.flatnonzero(np.maximum(np.abs(x_px), np.abs(y_px)) < 0.5)[:count]
    return EmitterImages(
        crops=drawn.crops[kept],
        z_nm=drawn.z_nm[kept],
        photons=drawn.photons[kept],
        background=drawn.background[kept],
        x=np.rint(drawn.x[kept]) + x_px[kept],
        y=np.rint(drawn.y[kept]) + y_px[kept],
        place=drawn.place[kept],
        xy_px=drawn.xy_px[kept],
    )
