"""MMCore in this process as pymmcore-plus gives it: a second way beside pycromanager's, with the same calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from easyzloc_mm._extras import need
from easyzloc_mm.microscope.backends.local import LOAD_S, installation, load_configuration, one_at_a_time
from easyzloc_mm.microscope.deadlines import within
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.profile.schema import Connection


@contextmanager
def plus_core(connection: Connection) -> Iterator[MMCore]:
    """Yield an MMCore in this process, with the adapters and the configuration of a Micro-Manager installation.

    Raises
    ------
    InputError
        pymmcore-plus is not installed; otherwise as `local.local_core`.
    HardwareError
        The configuration does not load.
    """
    need("pymmcore-plus", extra="plus", module="pymmcore_plus")
    from pymmcore_plus import CMMCorePlus

    folder, configuration = installation(connection)
    with one_at_a_time():
        plus = CMMCorePlus(mm_path=str(folder), adapter_paths=[str(folder)])
        core = cast(MMCore, _SnakeCase(plus))

        def load() -> None:
            plus.setCircularBufferMemoryFootprint(connection.buffer_size_mb)
            load_configuration(core, folder, configuration)

        try:
            within(LOAD_S, f"loading {configuration.name}", load)
            yield core
        finally:
            within(LOAD_S, "unloading the devices", plus.unloadAllDevices)
            plus.setCircularBufferMemoryFootprint(1)  # its memory stays as long as Python keeps the core


class _SnakeCase:
    """A core whose calls have the names of `MMCore`: ``set_xy_position`` for ``setXYPosition``."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._names = {_snake_case(name): name for name in dir(core) if not name.startswith("_")}

    def __getattr__(self, name: str) -> Any:
        names = vars(self).get("_names", {})
        if name not in names:
            raise AttributeError(name)
        return getattr(self._core, names[name])


def _snake_case(name: str) -> str:
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted).lower()
