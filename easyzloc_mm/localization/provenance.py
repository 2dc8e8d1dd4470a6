"""What a run states about the camera that its frames came from."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.camera_map import read_camera_map
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.io.runs.localizations import holds_localizations, read_metadata
from easyzloc_mm.io.runs.metadata import CameraMapReference, RunMetadata
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings


def map_reference(path: Path | None) -> CameraMapReference | None:
    """Return which camera map a run is made with, as it is stored with it; None without one."""
    return None if path is None else CameraMapReference(path=str(path), digest=read_camera_map(path).digest())


def map_of_run(run: Path, metadata: RunMetadata, given: Path | None = None) -> Path | None:
    """Return the camera map that a run was made with, where it is now (`given`) or was then.

    Raises
    ------
    InputError
        It is another one by now, or is gone.
    """
    was = metadata.camera_map
    if was is None:
        if given is not None:
            raise InputError(f"{run} was begun without a camera map: leave out `camera_map`, or `if_exists='resume'`")
        return None
    path = given or Path(was.path)
    if not path.exists():
        raise InputError(f"camera map {path}, with which {run} was made, is gone: give its path as `camera_map`")
    if read_camera_map(path).digest() != was.digest:
        raise InputError(f"{path} is not the camera map that {run} was made with: give that one as `camera_map`")
    return path


def camera_of(movie: Path, card: ModelCard, camera_map: Path | None = None) -> tuple[CameraResponse, Path | None]:
    """Response and map of the camera that recorded a movie: a run states them, for other movies they are the model's.

    Parameters
    ----------
    movie : Path
    card : ModelCard
    camera_map : Path, optional
        Wins over what the run states.
    """
    metadata = _metadata(movie)
    if metadata is None or metadata.camera_response is None:
        return card.response, camera_map
    return metadata.camera_response, camera_map or map_of_run(movie, metadata)


def settings_of(movie: Path) -> LocalizeSettings:
    """Return the settings that a run was made with; the defaults for other movies."""
    metadata = _metadata(movie)
    if metadata is None:
        return LocalizeSettings()
    known = metadata.localize or LocalizeSettings()
    return known.model_copy(update={"focal_shift_factor": metadata.focal_shift_factor})


def _metadata(movie: Path) -> RunMetadata | None:
    return read_metadata(movie) if holds_frames(movie) and holds_localizations(movie) else None
