"""How a microscope is reached: one function per backend of the profile."""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from easyzloc_mm._extras import need
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.microscope.adapter import CoreMicroscope, made_safe
from easyzloc_mm.microscope.deadlines import device_words, within
from easyzloc_mm.microscope.java_bridge import BridgeCore
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Backend, Connection, Profile

LOAD_S = 120.0
"""Deadline of loading a configuration: real devices home their axes meanwhile."""
BRIDGE_TIMEOUT_MS = 5000


@contextmanager
def connect(profile: Profile) -> Iterator[Microscope]:
    """Connect to the microscope that `profile` describes, and make it safe on every way out.

    On success, error and Ctrl-C alike the camera is stopped, the shutter closed, and stages, light and
    exposure are brought back to what they were.

    Raises
    ------
    InputError
        The profile does not fit the devices (nothing has moved), or Micro-Manager cannot be found.
    HardwareError
        Devices fail or stay silent.
    """
    with (
        _reach(profile) as core,
        made_safe(CoreMicroscope(core, profile)) as microscope,
    ):
        yield microscope


@contextmanager
def open_core(connection: Connection) -> Iterator[Any]:
    """Give the bare MMCore of a real microscope, for this room's eyes only: nothing is checked, nothing restored."""
    if connection.backend is Backend.EMBEDDED:
        raise InputError("the embedded microscope has its profile already: use `profile` demo")
    with REAL_BACKENDS[connection.backend](connection) as core:
        yield core


@contextmanager
def _reach(profile: Profile) -> Iterator[Any]:
    embedded = profile.connection.backend is Backend.EMBEDDED
    with _embedded(profile) if embedded else open_core(profile.connection) as core:
        yield core


@contextmanager
def _embedded(profile: Profile) -> Iterator[Any]:
    """MMCore with its demo devices in this process; images come from our optics."""
    _check_test_adapters()
    from easyzloc_mm.simulator.embedded.core import start_embedded_core

    with _one_core():
        # No deadline: the first start may spend minutes of a slow processor on tabulating the optics.
        yield start_embedded_core(profile)


@contextmanager
def _python(connection: Connection) -> Iterator[Any]:
    """MMCore in this process, with the adapters of a Micro-Manager installation."""
    from mmpycorex import create_core_instance

    folder, configuration = Path(connection.mm_dir or ""), Path(connection.config_file or "")
    if not folder.is_dir():
        raise InputError(f"connection.mm_dir: {folder} is no folder; give the folder of Micro-Manager")
    if not configuration.is_absolute():
        configuration = folder / configuration
    if not configuration.is_file():
        raise InputError(f"connection.config_file: {configuration} does not exist; give a Micro-Manager .cfg file")

    def load() -> None:
        # The configuration is loaded in a step of its own: what it says when it fails is worth reading.
        create_core_instance(
            mm_app_path=str(folder),
            config_file=None,
            python_backend=True,
            buffer_size_mb=connection.buffer_size_mb,
        )
        core = _active_core()
        try:
            core.load_system_configuration(str(configuration))
        except Exception as error:
            raise _load_error(error, folder, configuration) from error

    with _one_core():
        within(LOAD_S, f"loading {configuration.name}", load)
        yield _active_core()


@contextmanager
def _java(connection: Connection) -> Iterator[Any]:
    """MMCore of a running Micro-Manager, over the pycromanager bridge.

    Tested against a server of ours that speaks its protocol, not against Micro-Manager.

    The bridge takes about 100 MB/s: watch `doctor`, or use an ROI. Micro-Manager keeps its configuration and
    stays open; only what this program changed is restored.
    """
    from mmpycorex import Core

    port = connection.java_port
    # Asked with a plain socket first: the bridge's own thread dies with a traceback when nobody answers.
    try:
        socket.create_connection(("127.0.0.1", port), timeout=BRIDGE_TIMEOUT_MS / 1000).close()
    except OSError as error:
        raise HardwareError(
            f"no Micro-Manager answers on port {port} ({error}): start it, and tick Tools > Options > "
            f"Run server on port {port}"
        ) from error
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        remote = within(LOAD_S, "connecting to Micro-Manager", lambda: Core(port=port, timeout=BRIDGE_TIMEOUT_MS))
    for warning in said:
        # A server of another protocol version connects and then fails in odd places.
        warnings.warn(f"Micro-Manager bridge: {warning.message}", EasyZlocWarning, stacklevel=2)
    core = BridgeCore(remote, port)
    within(
        LOAD_S, "setting the image buffer",
        lambda: core.set_circular_buffer_memory_footprint(connection.buffer_size_mb),
    )  # fmt: skip
    yield core


REAL_BACKENDS: dict[Backend, Callable[[Connection], AbstractContextManager[Any]]] = {
    Backend.PYTHON: _python,
    Backend.JAVA: _java,
}


@contextmanager
def _one_core() -> Iterator[None]:
    """Hold the only MMCore of this process; at the end unload it, so that another can be started."""
    from mmpycorex import is_pymmcore_active

    if is_pymmcore_active():
        raise InputError("a microscope is already connected in this process: leave its `with connect(...)` first")
    try:
        yield
    finally:
        within(LOAD_S, "unloading the devices", _unload)


def _unload() -> None:
    from mmpycorex import is_pymmcore_active, terminate_core_instances

    core = _active_core() if is_pymmcore_active() else None
    terminate_core_instances()
    if core is not None:
        # What mmpycorex and the embedded camera hang on the core are cycles through it that Python cannot collect: its
        # image buffer and the scene would stay for good.
        core.set_circular_buffer_memory_footprint(1)
        vars(core).clear()


def _active_core() -> Any:
    from mmpycorex import Core

    return Core()


def _load_error(error: Exception, folder: Path, configuration: Path) -> InputError | HardwareError:
    """Say what a failed configuration means; adapters of another device interface are the usual cause."""
    interfaces = re.search(r"MMCore requires (\d+); device adapter has (\d+)", str(error))
    if interfaces is None:
        return HardwareError(f"{configuration.name} could not be loaded: {device_words(error)}")
    needed, found = interfaces.groups()
    return InputError(
        f"the device adapters in {folder} have device interface {found}, pymmcore {version('pymmcore')} "
        f"needs {needed}: install a Micro-Manager nightly build with interface {needed}, or a pymmcore "
        f"release whose fourth version number is {found}"
    )


def _check_test_adapters() -> None:
    need("mm-test-adapters", extra="demo", module="mm_test_adapters")
    core, adapters = version("pymmcore"), version("mm-test-adapters")
    if core.split(".")[3] != adapters.split(".")[0]:
        raise InputError(
            f"pymmcore {core} and mm-test-adapters {adapters} do not fit each other: install "
            f"mm-test-adapters {core.split('.')[3]}.*"
        )
