"""Measured cameras by number and readout mode: a file in the user's data folder, which all profiles may look into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import ClassVar, NamedTuple

from easyzloc_mm._models import Finite, FrozenModel
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.reading import reading
from easyzloc_mm.io.stored import StoredModel
from easyzloc_mm.io.writing.atomic import put_file
from easyzloc_mm.profile.schema import Camera

FOLDER, FILE = "easyzloc-mm", "cameras.json"
ALIKE = 0.1
"""Relative difference of two gains, or read noises, that are the same."""
BASELINE_ADU = 2.0
"""Difference of two baselines that are the same."""


class MeasuredCamera(FrozenModel):
    """What `camera-calibrate` measured of one camera in one readout mode, whatever its ROI was.

    Attributes
    ----------
    serial : str
        Its number, or a name that stands for it.
    readout_mode : str
        Everything that changes its units: mode, rate, port, gain setting, bit depth, in words; may be empty.
    response : CameraResponse
        Of the whole chip.
    measured : date
    dark_frames, flat_frames : int
        That it was measured from.
    linearity : float
        Largest relative distance of the light levels' variance from their common line.
    map : str
        Where the map of its pixels was written; of the ROI of that day.
    """

    serial: str
    readout_mode: str = ""
    response: CameraResponse
    measured: date
    dark_frames: int = 0
    flat_frames: int = 0
    linearity: Finite | None = None
    map: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Return number and mode, as they are compared."""
        return self.serial.strip().casefold(), self.readout_mode.strip().casefold()

    def in_words(self) -> str:
        """Return which camera it is, and when it was measured."""
        mode = f", {self.readout_mode}" if self.readout_mode else ""
        return f"camera {self.serial}{mode}, measured on {self.measured.isoformat()}"

    def differences(self, response: CameraResponse) -> list[str]:
        """Return which of other units are not these, each as ``name: theirs, measured: ours``."""
        mine, theirs = self.response, response
        apart = {
            "baseline_adu": abs(mine.baseline_adu - theirs.baseline_adu) > BASELINE_ADU,
            "electrons_per_adu": _unlike(mine.electrons_per_adu, theirs.electrons_per_adu),
            "read_noise_e": _unlike(mine.read_noise_e, theirs.read_noise_e),
            "excess_noise": _unlike(mine.excess_noise, theirs.excess_noise),
        }
        names = [name for name, is_so in apart.items() if is_so]
        return [f"{name} {getattr(theirs, name):g}, measured {getattr(mine, name):.4g}" for name in names]


def _unlike(one: float, other: float) -> bool:
    return abs(one - other) > ALIKE * max(abs(one), abs(other))


class CameraDatabase(StoredModel):
    """All measured cameras, one entry for each number and readout mode: the last measurement."""

    KIND: ClassVar[str] = "camera data base"
    SCHEMA_VERSION: ClassVar[int] = 1
    RENAMED: ClassVar[Mapping[str, str]] = {}

    cameras: tuple[MeasuredCamera, ...] = ()

    def find(self, serial: str | None, readout_mode: str | None) -> MeasuredCamera | None:
        """Return the entry of a camera; None where it was not measured, or is not named."""
        if not serial:
            return None
        wanted = serial.strip().casefold(), (readout_mode or "").strip().casefold()
        return next((camera for camera in self.cameras if camera.key == wanted), None)

    def modes(self, serial: str) -> list[str]:
        """Return the readout modes in which a camera was measured."""
        return [camera.readout_mode for camera in self.cameras if camera.key[0] == serial.strip().casefold()]


class Origin(NamedTuple):
    """Where a profile's camera units come from.

    Attributes
    ----------
    agrees : bool
        False where something was measured, and it is not what the profile says.
    text : str
        For people.
    """

    agrees: bool
    text: str


def origin_of_units(camera: Camera, path: Path | None = None) -> Origin:
    """Hold a profile's camera against the data base.

    Parameters
    ----------
    camera : Camera
    path : Path, optional
        Of the data base; the user's without it.

    Raises
    ------
    InputError
        The data base is damaged.
    """
    if camera.serial is None:
        return Origin(True, "as the profile says; camera.serial is not given, so that no measurement is looked up")
    known = read_cameras(path)
    entry = known.find(camera.serial, camera.readout_mode)
    if entry is not None:
        apart = entry.differences(camera.response)
        if apart:
            return Origin(False, f"not those of {entry.in_words()}: {'; '.join(apart)}; copy them, or measure again")
        return Origin(True, f"those of {entry.in_words()}")
    modes = known.modes(camera.serial)
    if modes:
        listed = ", ".join(f"{mode!r}" for mode in modes)
        return Origin(False, f"camera {camera.serial} was measured in other readout modes only ({listed})")
    return Origin(True, f"as the profile says; camera {camera.serial} was not measured here yet: camera-calibrate")


def database_file() -> Path:
    """Return where the data base lies."""
    import platformdirs

    return Path(platformdirs.user_data_dir(FOLDER, appauthor=False)) / FILE


def read_cameras(path: Path | None = None) -> CameraDatabase:
    """Return the data base; an empty one where there is none yet.

    Parameters
    ----------
    path : Path, optional
        The user's without it.

    Raises
    ------
    InputError
        It is damaged, or of a newer version.
    """
    file = path or database_file()
    if not file.is_file():
        return CameraDatabase()
    with reading(file, "a camera data base", cure="mend or remove it, and measure the cameras again"):
        stored = json.loads(file.read_text(encoding="utf-8"))
    return CameraDatabase.from_stored(stored, file)


def remember_camera(camera: MeasuredCamera, path: Path | None = None) -> Path:
    """Enter a measurement, in place of an earlier one of the same camera and mode, and return the file.

    Raises
    ------
    InputError
        The data base is damaged.
    """
    file = path or database_file()
    known = read_cameras(file)
    others = tuple(one for one in known.cameras if one.key != camera.key)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(known.changed(cameras=(*others, camera)).stored(), indent=1, allow_nan=False)
    put_file(file, text.encode("utf-8"), durable=True)
    return file
