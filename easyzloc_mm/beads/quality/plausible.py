"""Whether a stack is one of beads through focus, and whether its lengths can be: held against the beads themselves."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.beads.detection.candidates import Candidates
from easyzloc_mm.beads.quality.profiles import fit_lateral
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.typing import F64

MOST_BEADS = 60
"""The brightest candidates tell; so many are enough."""
CORE_PX, IMAGE_PX = 2, 7
"""Half edges of the light that is followed through the stack, and of the image in focus."""
FEWEST_PLANES, FEWEST_SPOTS = 10, 3
ROUGH = 0.3
"""Change from plane to plane against the whole change, by variance: 0.01 to 0.2 of beads, about 1 of molecules."""
FEWEST_LIT, FINE_NM = 2.5, 300.0
"""A bead is bright in more planes than this, where they lie closer together than that."""
SIGNAL_TO_NOISE = 1.0
"""The whole change must be so much larger than noise, by variance."""
FWHM = 2.355
DEPTH_TO_WIDTH = (0.1, 15.0)
USUAL_DEPTH_TO_WIDTH = (1.1, 5.0)
"""Depth of focus against the width in focus, both at half maximum: 1.8 to 2.8 for the objectives of this field, 3.5 at
NA 0.8; more for engineered PSFs."""
SIGMA_NM = (35.0, 1200.0)
USUAL_SIGMA_NM = (65.0, 420.0)
"""Standard deviation of the image in focus."""
WIDTH_TO_THEORY = (0.6, 2.4)
"""The same against that of an objective without aberrations: 1.4 and 1.7 for two simulated ones that have some."""


@dataclass(frozen=True)
class Seen:
    """What the brightest candidates show, medians.

    Attributes
    ----------
    roughness : float
        Change of brightness from plane to plane, against the whole change; NaN where noise hides it.
    depth_nm, lit_planes : float
        Range of z, and planes, in which a bead is brighter than half; NaN where it ends at the stack's end.
    sigma_px : float
        Standard deviation of the image in the brightest plane, geometric mean of its two axes.
    """

    roughness: float
    depth_nm: float
    lit_planes: float
    sigma_px: float


def check_plausible(candidates: Candidates, pixel_size_nm: float, name: str) -> None:
    """Refuse a movie of molecules, and lengths that cannot be; warn of lengths that are unusual.

    Raises
    ------
    InputError
        The spots do not change smoothly from plane to plane, or are shaped like no image of a point.
    """
    seen = look(candidates)
    flashes = seen.lit_planes < FEWEST_LIT and seen.depth_nm < FEWEST_LIT * FINE_NM
    if seen.roughness > ROUGH or flashes:
        raise InputError(
            f"{name} is no stack of beads through focus: its spots come and go from plane to plane, as molecules do; "
            "give z stacks of a bead slide, and movies to `localize`"
        )
    sigma_nm = seen.sigma_px * pixel_size_nm
    width_nm = FWHM * sigma_nm
    for value, possible, usual, sentence in (
        (
            sigma_nm, SIGMA_NM, USUAL_SIGMA_NM,
            f"the beads of {name} are {width_nm:.3g} nm wide in focus (at half maximum), where 180 to 700 are usual: "
            f"check `pixel_size_nm` ({pixel_size_nm:g})",
        ),
        (
            seen.depth_nm / width_nm if width_nm else np.nan, DEPTH_TO_WIDTH, USUAL_DEPTH_TO_WIDTH,
            f"the beads of {name} are in focus over {seen.depth_nm:.3g} nm of z and {width_nm:.3g} nm wide, where "
            f"objectives give 2 to 4 times as much as the width: check `z_step_nm` and `pixel_size_nm` "
            f"({pixel_size_nm:g})",
        ),
    ):  # fmt: skip
        if not np.isfinite(value) or usual[0] <= value <= usual[1]:
            continue
        if not possible[0] <= value <= possible[1]:
            raise InputError(sentence)
        warnings.warn(sentence, EasyZlocWarning, stacklevel=3)
        return  # one wrong length makes both unusual


def check_against_optics(beads: BeadDataset, optics: Optics) -> None:
    """Warn where the accepted beads are much wider or narrower in focus than the profile's objective makes a point."""
    widths = beads.measures.loc[beads.accepted, ["lateral_width_px", "lateral_length_px"]].prod(axis=1) ** 0.5
    sigma_nm = float(widths.median()) * beads.pixel_size_nm
    ratio = sigma_nm / optics.psf_sigma_nm
    if np.isfinite(ratio) and not WIDTH_TO_THEORY[0] <= ratio <= WIDTH_TO_THEORY[1]:
        warnings.warn(
            f"the beads are {FWHM * sigma_nm:.0f} nm wide in focus, where na {optics.na:g} and emission_nm "
            f"{optics.emission_nm:g} give {FWHM * optics.psf_sigma_nm:.0f}: check optics.pixel_size_nm "
            f"({optics.pixel_size_nm:g}, with the binning), na and emission_nm of the profile; or the PSF is an "
            "engineered one",
            EasyZlocWarning,
            stacklevel=3,
        )


def look(candidates: Candidates) -> Seen:
    """Look at the brightest candidates that lie apart from others and from the edge."""
    chosen = np.flatnonzero(~candidates.edge)
    brightest = np.array([candidates.rois[index].max() for index in chosen])
    chosen = chosen[np.argsort(brightest, kind="stable")[::-1][:MOST_BEADS]]
    roughness, depths, images = [], [], []
    for index in chosen:
        light, noise, image = _follow(candidates, int(index))
        roughness.append(_roughness(light, noise))
        depths.append(_depth(light, candidates.stage_nm[int(index)]))
        images.append(image)
    if not images:
        return Seen(np.nan, np.nan, np.nan, np.nan)
    stack = np.stack(images)
    fit = fit_lateral(stack, np.zeros_like(stack))
    rough = np.array(roughness)
    enough = np.isfinite(rough).sum() >= FEWEST_SPOTS
    depth_nm, lit_planes = np.transpose(depths)
    return Seen(
        roughness=_median(rough) if enough else np.nan,
        depth_nm=_median(depth_nm),
        lit_planes=_median(lit_planes),
        sigma_px=float(np.median(np.sqrt(fit.width_px * fit.length_px))),
    )


def _median(values: F64) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def _follow(candidates: Candidates, index: int) -> tuple[F64, F64, F64]:
    """Return a candidate's light in every plane (ADU), its variance by noise, and its image in the brightest plane."""
    planes = len(candidates.stage_nm[index])
    roi = candidates.rois[index, :planes].astype(np.float64)
    size = roi.shape[1]
    reach = min(IMAGE_PX, (size - 1) // 2)
    place = (candidates.y[index] - candidates.y0[index], candidates.x[index] - candidates.x0[index])
    row, column = (int(np.clip(round(at), reach, size - 1 - reach)) for at in place)
    core = roi[:, row - CORE_PX : row + CORE_PX + 1, column - CORE_PX : column + CORE_PX + 1].sum(axis=(1, 2))
    pixels = (2 * CORE_PX + 1) ** 2
    level = np.median(roi, axis=(1, 2))
    response, frames = candidates.response.effective(), int(candidates.frames[index])
    electrons = np.maximum(core - pixels * response.baseline_adu, 0.0) * response.electrons_per_adu
    noise = (electrons + pixels * response.read_noise_e**2) / response.electrons_per_adu**2 / frames
    light = core - pixels * level
    top = int(np.argmax(light))
    near = roi[max(0, top - 1) : top + 2].mean(axis=0) - level[top]
    return light, noise, near[row - reach : row + reach + 1, column - reach : column + reach + 1]


def _roughness(light: F64, noise: F64) -> float:
    if len(light) < FEWEST_PLANES:
        return np.nan
    whole = 2 * float(np.sum((light - light.mean()) ** 2))
    by_noise = 2 * float(np.sum(noise))
    if whole < (1 + SIGNAL_TO_NOISE) * by_noise:
        return np.nan
    return float((np.sum(np.diff(light) ** 2) - by_noise) / (whole - by_noise))


def _depth(light: F64, stage_nm: F64) -> tuple[float, float]:
    """Return range of z (nm) and planes around the brightest one where the light is above half; NaN without an end."""
    top = int(np.argmax(light))
    floor = float(np.percentile(light, 10))
    below = light < (light[top] + floor) / 2
    before, after = np.flatnonzero(below[:top]), np.flatnonzero(below[top:])
    if not (len(before) and len(after)):
        return np.nan, np.nan
    first, last = int(before[-1]), top + int(after[0])
    step = float(np.median(np.abs(np.diff(stage_nm))))
    return float(abs(stage_nm[last] - stage_nm[first])) - step, float(last - first - 1)
