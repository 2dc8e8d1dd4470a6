"""What makes a localiser, small enough to be sent to another process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import Detection, LocalizeSettings

LIVE_PASSES, OFFLINE_PASSES = 1, 6
MOST_LIVE_WORKERS = 4
"""More would only take processor time from the camera's own program."""


@dataclass(frozen=True)
class LocalizerConfig:
    """How frames become localisations.

    Attributes
    ----------
    model : Path
        Model bundle.
    response : CameraResponse
        Of the camera that took the frames.
    localize : LocalizeSettings
        Box, fit and background.
    origin_px : tuple of int
        Sensor column and row of the frames' first pixel: not 0, 0 when the camera's ROI was cut.
    camera_map : Path, optional
        Units of each pixel of the sensor (`store.camera_map`), in place of `response`.
    """

    model: Path
    response: CameraResponse
    localize: LocalizeSettings
    origin_px: tuple[int, int] = (0, 0)
    camera_map: Path | None = None


def resolved(settings: LocalizeSettings, card: ModelCard, *, live: bool = False) -> LocalizeSettings:
    """Return settings that leave nothing open: how spots are found with this model, and how often.

    Raises
    ------
    InputError
        Detection by the PSF is asked for, and the model has none.
    """
    chosen = settings.detection
    if chosen is None:
        chosen = Detection.PSF if card.has_psf and settings.min_net_gradient is None else Detection.PICASSO
    if chosen is Detection.PSF and not card.has_psf:
        raise InputError(
            f"model {card.path} (recipe {card.recipe}) has no measured PSF to detect molecules by: set `detection` to "
            "picasso, or train by recipe matched"
        )
    return settings.model_copy(
        update={"detection": chosen, "passes": settings.passes or (LIVE_PASSES if live else OFFLINE_PASSES)}
    )


def threshold_name(settings: LocalizeSettings) -> str:
    """Return what the threshold of these (resolved) settings is called, in settings, metadata and reports."""
    return "min_snr" if settings.detection is Detection.PSF else "min_net_gradient"


def given_threshold(settings: LocalizeSettings) -> float | None:
    """Return the threshold that was given, if one was."""
    return settings.min_snr if settings.detection is Detection.PSF else settings.min_net_gradient


def live_workers() -> int:
    """Return the number of processes beside a camera: one core is left to it, except on a PC with two.

    There it gets what it needs all the same: workers have a lower priority.
    """
    cores = os.cpu_count() or 1
    return min(max(cores - 1, min(cores, 2)), MOST_LIVE_WORKERS)


def offline_workers() -> int:
    """Return the number of processes for a file: every core works."""
    return os.cpu_count() or 1
