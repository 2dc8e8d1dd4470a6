"""The way to a microscope: chooses the backend that the profile names, and makes safe what was connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from easyzloc_mm.errors import InputError
from easyzloc_mm.microscope.adapter import CoreMicroscope, made_safe
from easyzloc_mm.microscope.backends.embedded import embedded_core
from easyzloc_mm.microscope.backends.java_bridge import java_core
from easyzloc_mm.microscope.backends.local import local_core
from easyzloc_mm.microscope.backends.plus import plus_core
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.microscope.setup.checks import check_labels_cross_the_bridge
from easyzloc_mm.profile.schema import Backend, Connection, Profile

REAL_BACKENDS: dict[Backend, Callable[[Connection], AbstractContextManager[MMCore]]] = {
    Backend.PYTHON: local_core,
    Backend.PLUS: plus_core,
    Backend.JAVA: java_core,
}


@contextmanager
def connect(profile: Profile) -> Iterator[Microscope]:
    """Connect to the microscope that `profile` describes, and make it safe on every way out.

    On success, error and Ctrl-C alike the camera is stopped, the shutter closed, and stages, light and
    exposure are brought back to what they were.

    Parameters
    ----------
    profile : Profile
        As `load_profile` gives it.

    Yields
    ------
    Microscope
        Ready; nothing has moved.

    Raises
    ------
    InputError
        The profile does not fit the devices (nothing has moved), or Micro-Manager cannot be found.
    HardwareError
        Devices fail or stay silent.

    Examples
    --------
    >>> with ez.connect(ez.load_profile("demo")) as microscope:
    ...     microscope.profile.name
    'demo'
    """
    embedded = profile.connection.backend is Backend.EMBEDDED
    if profile.connection.backend is Backend.JAVA:
        check_labels_cross_the_bridge(profile)
    with (
        embedded_core(profile) if embedded else open_core(profile.connection) as core,
        made_safe(CoreMicroscope(core, profile)) as microscope,
    ):
        yield microscope


@contextmanager
def open_core(connection: Connection) -> Iterator[MMCore]:
    """Yield the bare MMCore of a real microscope, for this package only: nothing is checked, nothing restored.

    Raises
    ------
    InputError
        Micro-Manager cannot be found, or the connection is that of the embedded microscope.
    HardwareError
        Devices fail or stay silent.
    """
    if connection.backend is Backend.EMBEDDED:
        raise InputError("the embedded microscope has its profile already: use `profile` demo")
    with REAL_BACKENDS[connection.backend](connection) as core:
        yield core
