"""The hardware profiles that ship with the package, by name."""

from __future__ import annotations

import tomllib
import warnings
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from easyzloc_mm._models import error_sentence
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.camera_map import check_camera_map
from easyzloc_mm.io.reading import unreadable
from easyzloc_mm.profile.plausible import BY_HAND, doubts, untouched
from easyzloc_mm.profile.schema import Profile


def shipped_profiles() -> dict[str, Path]:
    """Return the path of every shipped profile by its name."""
    installed = Path(str(files("easyzloc_mm"))) / "hardware_profiles"
    # In a source tree that is not installed the folder lies beside the package.
    folder = installed if installed.is_dir() else installed.parents[1] / "hardware_profiles"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_profile(name_or_path: str | Path) -> Profile:
    """Read a profile from a TOML file, or a shipped one by its name (``demo``).

    Parameters
    ----------
    name_or_path : str or Path
        A shipped name, or a file; paths inside the file are relative to its folder.

    Raises
    ------
    InputError
        There is no such file or name, it is no TOML, a field is unknown or impossible (the message names it), or its
        camera map is missing or not of this camera.

    Examples
    --------
    >>> ez.load_profile("demo").optics.pixel_size_nm
    110.0
    """
    path = Path(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        shipped = shipped_profiles()
        if str(name_or_path) not in shipped:
            raise InputError(
                f"profile {name_or_path} is neither a .toml file nor a shipped profile ({', '.join(shipped)})"
            )
        path = shipped[str(name_or_path)]
    profile = parse_profile(path)
    if path.absolute() not in shipped_profiles().values():
        if untouched(profile, parse_profile(shipped_profiles()["template"])):
            raise InputError(
                f"profile {path} still holds the template's values and describes no microscope: fill in "
                f"[{'], ['.join(BY_HAND)}], or let `easyzloc-mm profile new` ask the devices"
            )
        for doubt in doubts(profile, path.read_text(encoding="utf-8")):
            warnings.warn(f"profile {path}: {doubt}", EasyZlocWarning, stacklevel=2)
    if profile.camera.map is not None:
        profile = profile.replace(camera={"map": path.absolute().parent / profile.camera.map})
    check_camera_map(profile.camera)
    return profile


def parse_profile(path: Path) -> Profile:
    """Return what a TOML file describes, if it can be; `load_profile` also tells what is doubtful.

    Raises
    ------
    InputError
        It cannot be read, or a field is unknown or impossible.
    """
    try:
        return Profile.model_validate(read_toml(path, "profile"))
    except ValidationError as error:
        raise InputError(f"profile {path}: {error_sentence(error)}") from None


def read_toml(path: Path, what: str) -> dict[str, object]:
    """Return what stands in a TOML file; `what` is how messages call it.

    Raises
    ------
    InputError
        There is no such file, or it is no TOML.
    """
    try:
        # Notepad of Windows puts a mark before UTF-8, which is no part of the text.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{what} {path} does not exist: give the path of a .toml file") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise InputError(f"{what} {path} cannot be read as TOML: it is no text in UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        hint = "; Windows paths stand in single quotes" if "\\" in str(error) or "hex" in str(error) else ""
        raise InputError(f"{what} {path} cannot be read as TOML: {error}{hint}") from None
