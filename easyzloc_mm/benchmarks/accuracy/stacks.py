"""`bench stacks`: real bead stacks, each held out in turn, its planes thinned to the brightness of molecules."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.beads.sources import beads_from_sources
from easyzloc_mm.benchmarks.accuracy.cameras import coverage
from easyzloc_mm.camera.exposure import FULL_SCALE_ADU
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.pipeline import Localizer
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import TYPICAL_BACKGROUND, TYPICAL_PHOTONS
from easyzloc_mm.profile.detection import LocalizeSettings, SurfaceRemoval
from easyzloc_mm.psf.bead_psf import bead_photons
from easyzloc_mm.training.train import train
from easyzloc_mm.typing import U16, Progress

REPEATS = 12
"""Times that each recorded plane is thinned anew."""
BLOCK_FRAMES = 16
MOST_KEPT = 0.5
"""A plane of which a larger part would be left is not thin enough: its own noise would stay."""
FIGURES = ("x_68", "x_95", "y_68", "y_95", "z_68", "z_95", "rmse_x_nm", "rmse_y_nm", "rmse_z_nm", "recall", "flagged")


def bench_stacks(
    stacks: Sequence[Path],
    *,
    pixel_size_nm: float,
    z_step_nm: float,
    electrons_per_adu: float | None = None,
    baseline_adu: float | None = None,
    minutes: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train on all stacks but one, localise that one's beads as molecules, and hold uncertainties against the stage.

    Every recorded plane of a held-out bead is thinned photon by photon, with its real background, and stands in frames
    that the whole pipeline localises; no model of the PSF makes them. z is held against the stage, x and y against the
    bead's own centre, after a polynomial over place and depth (`cameras.coverage`).

    Returns
    -------
    dict
        ``held``: for each stack ``stack``, ``beads``, ``planes`` (recorded ones that were used), ``molecules``, and the
        figures of `cameras.coverage`; ``mean``: of those, over all molecules.

    Raises
    ------
    InputError
        Fewer than two stacks, or no bead of one can be thinned.
    """
    if len(stacks) < 2:
        raise InputError("`stacks`: give two bead stacks or more, of which each is held out in turn")

    def load(chosen: Sequence[Path]) -> BeadDataset:
        return beads_from_sources(
            chosen, pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm, electrons_per_adu=electrons_per_adu,
            baseline_adu=baseline_adu, progress=progress,
        )  # fmt: skip

    held: list[dict[str, Any]] = []
    for stack in stacks:
        own = load([stack])
        with tempfile.TemporaryDirectory() as folder:
            rest = load([other for other in stacks if other != stack])
            train(rest, Path(folder) / "model", minutes=minutes, seed=seed, progress=progress)
            card = ModelCard.load(Path(folder) / "model")
            found = _held(card, own, np.random.default_rng(seed))
        held.append({"stack": stack.name, "beads": int(own.accepted.sum()), **found})
    weights = [one["molecules"] for one in held]
    mean = {name: float(np.average([one[name] for one in held], weights=weights)) for name in FIGURES}
    return {"held": held, "mean": mean, "minutes": minutes}


def _held(card: ModelCard, beads: BeadDataset, rng: np.random.Generator) -> dict[str, float]:
    """Localise the beads of a stack, as faint as molecules, and return the coverage."""
    frames, truth = thinned_frames(beads, card.z_range_nm, rng)
    settings = LocalizeSettings().model_copy(update={"focal_surface": SurfaceRemoval.NONE})
    localizer = Localizer(LocalizerConfig(card.path, beads.response, settings))
    threshold = localizer.threshold(frames[:BLOCK_FRAMES])
    numbers = np.arange(len(frames))
    tables = [
        localizer.localize(frames[at : at + BLOCK_FRAMES], numbers[at : at + BLOCK_FRAMES], threshold).table
        for at in range(0, len(frames), BLOCK_FRAMES)
    ]
    table = pd.concat(tables, ignore_index=True)
    size = (frames.shape[2], frames.shape[1])
    return {
        "planes": len(truth[["bead", "plane"]].drop_duplicates()),
        "molecules": len(truth),
        **coverage(table, truth, card.pixel_size_nm, size),
    }


def thinned_frames(
    beads: BeadDataset, z_range_nm: tuple[float, float], rng: np.random.Generator
) -> tuple[U16, pd.DataFrame]:
    """Return frames with one recorded bead plane each, as faint as molecules, and what is in them.

    Photons are drawn from `TYPICAL_PHOTONS`, the background of each frame from `TYPICAL_BACKGROUND`; the plane's own
    background is thinned with its bead and filled up.

    Returns
    -------
    frames : ndarray, shape (n, Y, X), uint16
        ADU; the bead stands where it stood in the field.
    truth : DataFrame
        ``frame``, ``x``, ``y`` (px), ``z`` (nm), ``photons``, ``background``, ``bead``, ``plane``.

    Raises
    ------
    InputError
        No plane is bright enough.
    """
    response = beads.response
    width, height = beads.field_size_px
    rows: list[dict[str, float]] = []
    frames: list[U16] = []
    for bead in np.flatnonzero(beads.accepted):
        z_nm, light, brightness = bead_photons(beads, int(bead))
        planes = beads.rois[bead][np.isfinite(beads.z_nm[bead])].astype(float)
        electrons = np.maximum(planes - response.baseline_adu, 0.0) * response.electrons_per_adu
        dark = np.maximum(np.median(electrons - light, axis=(1, 2)), 0.0)
        x, y = beads.centres(int(bead), z_nm)
        x0, y0 = int(beads.roi_x0[bead]), int(beads.roi_y0[bead])
        around = slice(y0, y0 + planes.shape[1]), slice(x0, x0 + planes.shape[2])
        for at in np.flatnonzero((z_nm >= z_range_nm[0]) & (z_nm <= z_range_nm[1])):
            for _ in range(REPEATS):
                photons, background = (np.exp(rng.uniform(*np.log(r))) for r in (TYPICAL_PHOTONS, TYPICAL_BACKGROUND))
                kept = photons / brightness
                if kept > MOST_KEPT or kept * dark[at] > background:
                    continue
                image = rng.poisson(background, (height, width)).astype(float)
                filled_up = rng.poisson(background - kept * dark[at], planes.shape[1:])
                image[around] = rng.binomial(np.rint(electrons[at]).astype(np.int64), kept) + filled_up
                image += rng.normal(0, response.read_noise_e, image.shape)
                counts = np.rint(image / response.electrons_per_adu + response.baseline_adu)
                frames.append(np.clip(counts, 0, FULL_SCALE_ADU).astype(np.uint16))
                rows.append(
                    {
                        "frame": len(rows), "x": x0 + x[at], "y": y0 + y[at], "z": z_nm[at], "photons": photons,
                        "background": background, "bead": int(bead), "plane": int(at),
                    }
                )  # fmt: skip
    if not rows:
        raise InputError("no accepted bead is bright enough to be thinned to the brightness of molecules")
    return np.stack(frames), pd.DataFrame(rows)
