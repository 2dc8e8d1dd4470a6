"""The hardware profiles that ship with the package, by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.camera_map import check_camera_map
from easyzloc_mm.profile.schema import Profile


def shipped_profiles() -> dict[str, Path]:
    """Name to path of every shipped profile."""
    installed = Path(str(files("easyzloc_mm"))) / "hardware_profiles"
    # In a source tree that is not installed the folder lies beside the package.
    folder = installed if installed.is_dir() else installed.parents[1] / "hardware_profiles"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_profile(name_or_path: str) -> Profile:
    """Read a profile from a TOML file, or a shipped one by its name (``demo``).

    Raises
    ------
    InputError
        There is no such file or name, the profile is not valid, or its camera map is missing or not of this camera.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        shipped = shipped_profiles()
        if name_or_path not in shipped:
            raise InputError(
                f"profile {name_or_path} is neither a .toml file nor a shipped profile ({', '.join(shipped)})"
            )
        path = shipped[name_or_path]
    profile = Profile.from_file(path)
    check_camera_map(profile.camera)
    return profile
