"""The embedded microscope: MMCore with its demo devices in this process, pixels from simulated optics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from easyzloc_mm._extras import need
from easyzloc_mm.errors import InputError
from easyzloc_mm.microscope.backends.local import active_core, only_core
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.profile.schema import Profile


@contextmanager
def embedded_core(profile: Profile) -> Iterator[MMCore]:
    """Yield an MMCore with demo devices as `profile` describes them.

    Raises
    ------
    InputError
        The demo devices are not installed or of another version, the profile asks for what they cannot be, or a
        microscope is connected already.
    """
    _check_test_adapters()
    from easyzloc_mm.simulator.embedded.core import start_embedded_core

    with only_core():
        # No deadline: the first start may spend minutes of a slow processor on tabulating the optics.
        start_embedded_core(profile)
        yield active_core()


def _check_test_adapters() -> None:
    need("mm-test-adapters", extra="demo", module="mm_test_adapters")
    core, adapters = version("pymmcore"), version("mm-test-adapters")
    if core.split(".")[3] != adapters.split(".")[0]:
        raise InputError(
            f"pymmcore {core} and mm-test-adapters {adapters} do not fit each other: install "
            f"mm-test-adapters {core.split('.')[3]}.*"
        )
