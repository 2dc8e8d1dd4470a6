"""What a run says about the camera that its frames came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.camera_map import read_camera_map
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.io.runs.localizations import GROUP, read_localizations
from easyzloc_mm.model.card import ModelCard


def map_facts(path: Path | None) -> dict[str, Any]:
    """Which camera map a run is made with, as it is stored with it; nothing without one."""
    return {} if path is None else {"camera_map": {"path": str(path), "digest": read_camera_map(path).digest()}}


def map_of_run(run: Path, facts: Mapping[str, Any], given: Path | None = None) -> Path | None:
    """Return the camera map that a run was made with, where it is now (`given`) or was then.

    Raises
    ------
    InputError
        It is another one by now, or is gone.
    """
    was = facts.get("camera_map")
    if was is None:
        if given is not None:
            raise InputError(f"{run} was begun without a camera map: leave out `camera_map`, or `if_exists='resume'`")
        return None
    path = given or Path(was["path"])
    if not path.exists():
        raise InputError(f"camera map {path}, with which {run} was made, is gone: say with `camera_map` where it is")
    if read_camera_map(path).digest() != was["digest"]:
        raise InputError(f"{path} is not the camera map that {run} was made with: give that one as `camera_map`")
    return path


def camera_of(movie: Path, card: ModelCard, camera_map: Path | None = None) -> tuple[CameraResponse, Path | None]:
    """Units and map of the camera that recorded a movie: a run says them, for other movies they are the model's.

    Parameters
    ----------
    movie : Path
    card : ModelCard
    camera_map : Path, optional
        Wins over what the run says.
    """
    facts = _facts(movie)
    if facts is None:
        return card.response, camera_map
    return CameraResponse.model_validate(facts["camera_units"]), camera_map or map_of_run(movie, facts)


def focal_shift_of(movie: Path) -> float:
    """Focal-shift factor that a run was made with; 1 for other movies."""
    return float((_facts(movie) or {}).get("focal_shift_factor", 1.0))


def _facts(movie: Path) -> dict[str, Any] | None:
    if not holds_frames(movie) or not (Path(movie) / GROUP / "zarr.json").is_file():
        return None
    return read_localizations(movie, rows=0)[1]
