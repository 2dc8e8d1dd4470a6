"""The calls on MMCore that the embedded camera makes beside those of the program, as a type.

Always pymmcore in this process, under the lock of whatever call the camera stands in for, on that call's thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from easyzloc_mm.typing import U16


class Tag(Protocol):
    """One entry of an image's metadata."""

    def GetValue(self) -> str:  # noqa: N802
        """Return the entry as text."""
        ...


class Metadata(Protocol):
    """Metadata of an image, which MMCore fills in place."""

    def GetSingleTag(self, name: str, /) -> Tag:  # noqa: N802
        """Return an entry by its name: ``ImageNumber``, ``TimeReceivedByCore``."""
        ...


class DemoCore(Protocol):
    """MMCore with the demo devices loaded: what the embedded camera reads, and what it replaces and still needs."""

    def get_x_position(self, stage_label: str, /) -> float:
        """Return where the xy stage is along x, um."""
        ...

    def get_y_position(self, stage_label: str, /) -> float:
        """Return where the xy stage is along y, um."""
        ...

    def get_position(self, stage_label: str, /) -> float:
        """Return where the z stage is, um."""
        ...

    def get_auto_focus_offset(self) -> float:
        """Return the offset of the focus lock."""
        ...

    def get_state(self, label: str, /) -> int:
        """Return the position of a state device: the index of the illumination preset."""
        ...

    def get_shutter_open(self, shutter_label: str, /) -> bool:
        """Return whether the shutter is open."""
        ...

    def get_auto_shutter(self) -> bool:
        """Return whether MMCore opens the shutter for each image by itself."""
        ...

    def get_exposure(self) -> float:
        """Return the exposure, ms."""
        ...

    def get_image_width(self) -> int:
        """Return the width of the camera's images, pixels."""
        ...

    def get_image_height(self) -> int:
        """Return the height of the camera's images, pixels."""
        ...

    def get_roi(self) -> tuple[int, int, int, int]:
        """Return left edge, upper edge, width and height of the camera's ROI, pixels."""
        ...

    def snap_image(self) -> None:
        """Expose one image."""
        ...

    def get_image(self, *channel: int) -> U16:
        """Return the image that was snapped."""
        ...

    def pop_next_image_md(self, *arguments: int | Metadata) -> U16:
        """Remove the oldest image from the sequence buffer; fills the metadata, the last argument."""
        ...

    def get_last_image_md(self, *arguments: int | Metadata) -> U16:
        """Return the newest image of the sequence buffer; fills the metadata, the last argument."""
        ...


def replace_call(core: DemoCore, name: str, function: Callable[..., object]) -> None:
    """Put `function` in the place of a call of a core instance, under its snake_case and camelCase names."""
    setattr(core, name, function)
    camel = re.sub(r"_(\w)", lambda match: match.group(1).upper(), name).replace("Xy", "XY")
    for known in (camel, camel.replace("Md", "MD")):
        if hasattr(core, known):
            setattr(core, known, function)
