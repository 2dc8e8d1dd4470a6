"""MMCore in this process: with the adapters of a Micro-Manager installation, and how its only core is held."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import cast

from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.microscope.deadlines import error_text, from_device, within
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.profile.schema import Connection

LOAD_S = 120.0
"""Deadline of loading a configuration, s: real devices home their axes meanwhile."""
_held = threading.Lock()


@contextmanager
def local_core(connection: Connection) -> Iterator[MMCore]:
    """Yield an MMCore in this process, with the adapters and the configuration of a Micro-Manager installation.

    Raises
    ------
    InputError
        Folder or configuration do not exist, the adapters are of another device interface, or a microscope is
        connected already.
    HardwareError
        The configuration does not load.
    """
    from mmpycorex import create_core_instance

    folder, configuration = installation(connection)

    def load() -> None:
        # The configuration is loaded in a step of its own, so that its error text can be shown.
        create_core_instance(
            mm_app_path=str(folder),
            config_file=None,
            python_backend=True,
            buffer_size_mb=connection.buffer_size_mb,
        )
        load_configuration(active_core(), folder, configuration)

    with only_core():
        within(LOAD_S, f"loading {configuration.name}", load)
        yield active_core()


def installation(connection: Connection) -> tuple[Path, Path]:
    """Return the folder of Micro-Manager and the configuration file that a profile names.

    Raises
    ------
    InputError
        One of them does not exist.
    """
    folder, configuration = Path(connection.mm_dir or ""), Path(connection.config_file or "")
    if not folder.is_dir():
        raise InputError(f"connection.mm_dir: {folder} is no folder; give the folder of Micro-Manager")
    if not configuration.is_absolute():
        configuration = folder / configuration
    if not configuration.is_file():
        raise InputError(f"connection.config_file: {configuration} does not exist; give a Micro-Manager .cfg file")
    return folder, configuration


def load_configuration(core: MMCore, folder: Path, configuration: Path) -> None:
    """Load all devices of a configuration, with the adapters of `folder`.

    Raises
    ------
    InputError
        The adapters are of another device interface.
    HardwareError
        It does not load.
    """
    try:
        core.load_system_configuration(str(configuration))
    except Exception as error:  # pymmcore raises RuntimeError with MMCore's text
        if not from_device(error):
            raise
        raise _load_error(error, folder, configuration) from error


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the right to the only MMCore of this process.

    Raises
    ------
    InputError
        One is held already.
    """
    from mmpycorex import is_pymmcore_active

    if is_pymmcore_active() or not _held.acquire(blocking=False):
        raise InputError("a microscope is already connected in this process: leave its `with connect(...)` first")
    try:
        yield
    finally:
        _held.release()


@contextmanager
def only_core() -> Iterator[None]:
    """Hold the only MMCore of this process, by mmpycorex; at the end unload it, so that another can be started.

    Raises
    ------
    InputError
        One is held already.
    """
    with one_at_a_time():
        try:
            yield
        finally:
            within(LOAD_S, "unloading the devices", _unload)


def active_core() -> MMCore:
    """Return the MMCore of this process, which must have been started."""
    from mmpycorex import Core

    return cast(MMCore, Core())


def _unload() -> None:
    from mmpycorex import is_pymmcore_active, terminate_core_instances

    core = active_core() if is_pymmcore_active() else None
    terminate_core_instances()
    if core is not None:
        # What mmpycorex and the embedded camera hang on the core are cycles through it that Python cannot collect: its
        # image buffer and the scene would stay for good.
        core.set_circular_buffer_memory_footprint(1)
        vars(core).clear()


def _load_error(error: Exception, folder: Path, configuration: Path) -> InputError | HardwareError:
    """Return what a configuration that does not load means; adapters of another device interface are usual."""
    interfaces = re.search(r"MMCore requires (\d+); device adapter has (\d+)", str(error))
    if interfaces is None:
        return HardwareError(f"{configuration.name} could not be loaded: {error_text(error)}")
    needed, found = interfaces.groups()
    return InputError(
        f"the device adapters in {folder} have device interface {found}, pymmcore {version('pymmcore')} "
        f"needs {needed}: install a Micro-Manager nightly build with interface {needed}, or a pymmcore "
        f"release whose fourth version number is {found}"
    )
