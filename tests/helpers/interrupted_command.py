"""Run a command as `easyzloc-mm` does, and say how the microscope stood before and after: for tests that break in."""

import json
import sys
from typing import Any

from easyzloc_mm.cli.app import main
from easyzloc_mm.microscope.adapter import CoreMicroscope


def stand(microscope: CoreMicroscope) -> dict[str, Any]:
    core: Any = microscope._core
    at = microscope.position()
    return {
        "position": [at.x_um, at.y_um, at.z_um],
        "shutter_open": core.get_shutter_open(),
        "running": core.is_sequence_running(),
    }


class _Told(CoreMicroscope):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        print("BEFORE " + json.dumps(stand(self)), flush=True)

    def close(self) -> list[str]:
        problems = super().close()
        print("AFTER " + json.dumps(stand(self)), flush=True)
        return problems


if __name__ == "__main__":
    from easyzloc_mm.microscope import connect

    setattr(connect, "CoreMicroscope", _Told)  # noqa: B010  the name is an import there, which types know nothing of
    sys.exit(main(sys.argv[1:]))
