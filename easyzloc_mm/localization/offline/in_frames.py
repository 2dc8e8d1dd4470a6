"""What the whole pipeline makes of held-out beads that are as faint as molecules: found or missed, and how well.

`training.evaluation` asks the network about crops that are centred on the emitter. Here the same beads are placed in
frames, and detection, fit and network have to find them: recall by depth stands beside the error of z.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.scoring.compare import compare
from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.analysis.scoring.score import score
from easyzloc_mm.camera.exposure import camera_counts, multiplied
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.pipeline import Localizer
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import TYPICAL_BACKGROUND, TYPICAL_PHOTONS
from easyzloc_mm.profile.detection import LocalizeSettings, SurfaceRemoval
from easyzloc_mm.psf.bead_psf import BeadPsfs, point_image
from easyzloc_mm.psf.crlb import empirical_psf
from easyzloc_mm.training.evaluation.evaluate import SEED, beads_to_evaluate
from easyzloc_mm.typing import F64, I64, U16, Bool

EMITTERS = 3000
MOST_FRAMES = 150
BEYOND_PX = 2
"""An emitter is drawn so much farther than a crop reaches, to either side: as far as its PSF was measured."""
APART = 2.5
"""Emitters lie so many times that far from each other."""
FREE_FIELD_PX = 256
"""Edge of the frames where the beads' places are not known."""
BLOCK_FRAMES = 4
MOST_PIXELS = 1.5e8
"""Of all frames together: a large camera's hold more beads each."""


def evaluate_in_frames(
    card: ModelCard,
    beads: BeadDataset,
    *,
    background: Path | None = None,
    settings: LocalizeSettings | None = None,
    emitters: int = EMITTERS,
) -> Score:
    """Place held-out beads, thinned to the brightness of molecules, in frames, localise these, and score the table.

    Each emitter stands where its bead stood in the field, apart from all others, at a depth within the model's range;
    photons are drawn from `TYPICAL_PHOTONS`, the background of each frame from `TYPICAL_BACKGROUND`.

    Parameters
    ----------
    card : ModelCard
        Of a bundle on disk.
    beads : BeadDataset
        Those that the model was trained on, of which the test beads are used, or others.
    background : Path, optional
        A movie of the same camera and field without molecules: its frames, and their noise, in place of a uniform
        background.
    settings : LocalizeSettings, optional
        Of detection and fit.
    emitters : int
        How many are drawn, in at most `MOST_FRAMES` frames of `MOST_PIXELS` together.

    Raises
    ------
    InputError
        The beads have another pixel size, none is accepted, or the background has another size.
    """
    chosen, _ = beads_to_evaluate(card, beads)
    source = BeadPsfs.from_beads(beads, chosen, card.roi_px)
    rng = np.random.default_rng(SEED)
    size = beads.field_size_px if beads.field_known else (FREE_FIELD_PX, FREE_FIELD_PX)
    truth = _draw(source, card.z_range_nm, size, emitters, rng)
    real = None if background is None else open_movie(background)
    if real is not None and real.shape[1:] != (size[1], size[0]):
        raise InputError(
            f"{background} is {real.shape[2]} x {real.shape[1]} px, the beads' field {size[0]} x {size[1]}: give "
            "`background` of the same field"
        )
    response = beads.response
    # The beads' labels count from the focus at their place.
    how = (settings or LocalizeSettings()).model_copy(update={"focal_surface": SurfaceRemoval.NONE})
    localizer = Localizer(LocalizerConfig(card.path, response, how))
    tables, threshold = [], None
    for start in range(0, int(truth["frame"].max()) + 1, BLOCK_FRAMES):
        here = (truth["frame"] >= start) & (truth["frame"] < start + BLOCK_FRAMES)
        numbers = np.arange(start, int(truth.loc[here, "frame"].max()) + 1)
        dark = None
        if real is not None:
            dark = np.concatenate([real.read(n, n + 1) for n in (int(n) % real.shape[0] for n in numbers)])
            measured = (np.median(dark, axis=(1, 2)) - response.baseline_adu) * response.electrons_per_adu
            truth.loc[here, "background"] = measured[truth.loc[here, "frame"] - start]
        block = _frames(source, response, truth[here], numbers, size, dark, rng)
        threshold = localizer.threshold(block) if threshold is None else threshold
        tables.append(localizer.localize(block, numbers, threshold).table)
    x, y, z, photons, background_e = (truth[name] for name in ("x", "y", "z", "photons", "background"))
    truth["limit_z_nm"] = empirical_psf(beads, card.roi_px).crlb(x, y, z, photons, background_e, response)[2]
    table = pd.concat(tables, ignore_index=True)
    return score(compare(table, truth, pixel_size_nm=card.pixel_size_nm, size_px=size))


def _draw(
    source: BeadPsfs, z_range_nm: tuple[float, float], size_px: tuple[int, int], wanted: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw emitters, frame by frame: as many beads as keep their distance, each somewhere within its pixel."""
    rows: list[pd.DataFrame] = []
    drawn = 0
    low, high = z_range_nm
    most = min(MOST_FRAMES, int(MOST_PIXELS / (size_px[0] * size_px[1])) + 1)
    while drawn < wanted and len(rows) < most:
        place = rng.permutation(len(source))
        if source.field_known:
            x, y = np.rint(source.table.x[place]), np.rint(source.table.y[place])
        else:
            x, y = (np.rint(rng.uniform(0, edge - 1, len(place))) for edge in size_px)
        half_px = _half_px(source)
        kept = _apart(x, y, APART * half_px) & _inside(x, y, size_px, half_px)
        place, x, y = place[kept], x[kept], y[kept]
        z = rng.uniform(low, high, len(place))
        covered = (z >= source.table.low_nm[place]) & (z <= source.table.high_nm[place])
        shift = rng.uniform(-0.5, 0.5, (2, len(place)))
        photons = np.exp(rng.uniform(np.log(TYPICAL_PHOTONS[0]), np.log(TYPICAL_PHOTONS[1]), len(place)))
        emitters = pd.DataFrame(
            {
                "frame": len(rows), "place": place, "x": x + shift[0], "y": y + shift[1], "z": z, "photons": photons,
                "background": float(np.exp(rng.uniform(*np.log(TYPICAL_BACKGROUND)))),
            }
        )[covered]  # fmt: skip
        rows.append(emitters)
        drawn += len(emitters)
    if not drawn:
        raise InputError("no accepted bead lies far enough from the edge of the field to be placed in a frame")
    return pd.concat(rows, ignore_index=True)


def _half_px(source: BeadPsfs) -> int:
    return source.table.roi_px // 2 + BEYOND_PX


def _apart(x: F64, y: F64, apart_px: float) -> Bool:
    """Choose points, in their order, that are far enough from all that were chosen before."""
    kept = np.zeros(len(x), bool)
    for i in range(len(x)):
        kept[i] = not (np.hypot(x[kept] - x[i], y[kept] - y[i]) < apart_px).any()
    return kept


def _inside(x: F64, y: F64, size_px: tuple[int, int], half_px: int) -> Bool:
    width, height = size_px
    inside = (x >= half_px) & (y >= half_px) & (x < width - half_px) & (y < height - half_px)
    return np.asarray(inside)


def _frames(
    source: BeadPsfs,
    response: CameraResponse,
    truth: pd.DataFrame,
    numbers: I64,
    size_px: tuple[int, int],
    dark: U16 | None,
    rng: np.random.Generator,
) -> U16:
    """Camera images of the emitters of some frames, in ADU."""
    width, height = size_px
    half_px = _half_px(source)
    light = np.zeros((len(numbers), height, width))
    background = np.zeros(len(numbers))
    background[truth["frame"].to_numpy() - numbers[0]] = truth["background"].to_numpy()
    columns = (truth[name].to_numpy() for name in ("frame", "place", "x", "y", "z", "photons"))
    for frame, place, x, y, z, photons in zip(*columns, strict=True):
        column, row = round(x), round(y)
        image = point_image(source.table, place, z, x - column, y - row, half_px)
        around = slice(row - half_px, row + half_px + 1), slice(column - half_px, column + half_px + 1)
        light[frame - numbers[0]][around] += photons * image
    light = np.maximum(light, 0.0)
    if dark is None:
        return camera_counts(light + background[:, None, None], response, rng)
    adu = dark + multiplied(rng.poisson(light), response.excess_noise, rng) / response.electrons_per_adu
    return np.clip(np.rint(adu), 0, 65535).astype(np.uint16)
