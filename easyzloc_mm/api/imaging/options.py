"""What `localize` and `assign_z` share: the camera of a movie, and the settings that were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from easyzloc_mm._models import first_fault
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings


def camera_for(
    movie: Path,
    card: ModelCard,
    camera_map: str | Path | None,
    baseline_adu: float | None,
    electrons_per_adu: float | None,
    excess_noise: float | None,
) -> tuple[CameraResponse, Path | None]:
    """Return response and map of the camera that recorded a movie, as given or as the movie or the model state them."""
    from easyzloc_mm.localization.provenance import camera_of

    response, pixels = camera_of(movie, card, None if camera_map is None else Path(camera_map))
    given = {"baseline_adu": baseline_adu, "electrons_per_adu": electrons_per_adu, "excess_noise": excess_noise}
    return response.replaced(**given), pixels


def settings_for(movie: Path, **options: Any) -> LocalizeSettings:
    """Return settings by name; those of the focus are a run's own, where they are not given."""
    from easyzloc_mm.localization.provenance import settings_of

    known = settings_of(movie)
    for name in ("focal_shift_factor", "focal_surface"):
        options[name] = getattr(known, name) if options[name] is None else options[name]
    try:
        return LocalizeSettings.model_validate(options)
    except ValidationError as error:
        name, fault = first_fault(error)
        raise InputError(f"`{name or 'box_px'}`: {fault}") from None
