"""Every call that this package makes on MMCore, as a type: the whole boundary to Micro-Manager on one page.

The same calls reach pymmcore in this process (`backends.embedded`, `backends.local`) and MMCoreJ of a running
Micro-Manager (`backends.java_bridge`). Values that cross are plain: numbers, text, sequences of text, NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray


class TaggedImage(Protocol):
    """An image of MMCore's sequence buffer with its metadata."""

    @property
    def pix(self) -> NDArray[Any]:
        """Pixels, shape (height, width) from pymmcore, flat from the Java bridge."""
        ...

    @property
    def tags(self) -> Mapping[str, str | int | float]:
        """Metadata by MMCore's names: ``ImageNumber`` (from 0 in each sequence), ``TimeReceivedByCore``."""
        ...


class MMCore(Protocol):
    """MMCore, with its methods named in snake_case as mmpycorex names them.

    Each method states three things beside what it returns or does.

    *The thread.* "Device thread": inside `deadlines.within`, in a thread of its own that is left behind when the device
    stays silent. "Caller's thread": the thread that called `Microscope`, or that consumes its stream. "Either" where
    both occur. MMCore serialises calls to one device by itself; behind the Java bridge all calls are made by the one
    thread of `BridgeCore`, with a deadline each.

    *What it reaches.* "Device": an adapter is asked, which may take time, hang or fail. "Memory": MMCore answers from
    its own memory.

    *Errors.* A failing call raises RuntimeError with MMCore's words (pymmcore) or a plain Exception with Java's (the
    bridge); a bridge that has ended raises `HardwareError`. Calls that reach a device, or take a label, may raise;
    calls into memory without a label raise only when the bridge has ended.
    """

    # Configuration

    def load_system_configuration(self, file_name: str, /) -> None:
        """Load and initialise all devices of a ``.cfg`` file. Device thread; devices."""
        ...

    def get_version_info(self) -> str:
        """Return MMCore's version. Caller's thread; memory."""
        ...

    def get_api_version_info(self) -> str:
        """Return the versions of the module and device interfaces. Caller's thread; memory."""
        ...

    def get_loaded_devices(self) -> Sequence[str]:
        """Return the labels of all devices. Device thread; memory."""
        ...

    def get_device_type(self, label: str, /) -> int:
        """Return the number of a device's kind, see `setup.checks.DEVICE_KINDS`. Device thread; memory."""
        ...

    def get_device_library(self, label: str, /) -> str:
        """Return the name of a device's adapter library. Caller's thread; memory."""
        ...

    def get_device_name(self, label: str, /) -> str:
        """Return a device's name within its library. Caller's thread; memory."""
        ...

    def device_busy(self, label: str, /) -> bool:
        """Return whether a device is still moving or switching. Either thread; device."""
        ...

    def get_camera_device(self) -> str:
        """Return the label of the default camera, or an empty text. Device thread; memory."""
        ...

    def get_shutter_device(self) -> str:
        """Return the label of the default shutter, or an empty text. Device thread; memory."""
        ...

    def get_focus_device(self) -> str:
        """Return the label of the default z stage, or an empty text. Device thread; memory."""
        ...

    def get_xy_stage_device(self) -> str:
        """Return the label of the default xy stage, or an empty text. Device thread; memory."""
        ...

    def set_camera_device(self, label: str, /) -> None:
        """Make a camera the default one, to which all calls without a label go. Device thread; memory."""
        ...

    def set_shutter_device(self, label: str, /) -> None:
        """Make a shutter the default one. Device thread; device (an open one is closed first)."""
        ...

    # Stages

    def get_position(self, stage_label: str, /) -> float:
        """Return where a z stage reports to be, um. Either thread; device."""
        ...

    def set_position(self, stage_label: str, z_um: float, /) -> None:
        """Start moving a z stage to a position, um. Device thread; device."""
        ...

    def get_x_position(self, stage_label: str, /) -> float:
        """Return where an xy stage reports to be along x, um. Either thread; device."""
        ...

    def get_y_position(self, stage_label: str, /) -> float:
        """Return where an xy stage reports to be along y, um. Either thread; device."""
        ...

    def set_xy_position(self, stage_label: str, x_um: float, y_um: float, /) -> None:
        """Start moving an xy stage to a position, um. Device thread; device."""
        ...

    # Focus lock

    def get_auto_focus_device(self) -> str:
        """Return the label of the default autofocus device, or an empty text. Device thread; memory."""
        ...

    def set_auto_focus_device(self, label: str, /) -> None:
        """Make an autofocus device the default one, which all calls below go to. Device thread; memory."""
        ...

    def is_continuous_focus_enabled(self) -> bool:
        """Return whether the focus lock is on, False where there is none. Device thread; device."""
        ...

    def is_continuous_focus_locked(self) -> bool:
        """Return whether the focus lock says that it holds the focus. Device thread; device."""
        ...

    def enable_continuous_focus(self, enable: bool, /) -> None:
        """Switch the focus lock on or off. Device thread; device."""
        ...

    def full_focus(self) -> None:
        """Let the focus lock search for its reflection once. Device thread; device."""
        ...

    def get_auto_focus_offset(self) -> float:
        """Return the focus lock's offset, in its own units. Device thread; device."""
        ...

    def set_auto_focus_offset(self, offset: float, /) -> None:
        """Set the focus lock's offset, in its own units. Device thread; device."""
        ...

    def get_property(self, label: str, name: str, /) -> str:
        """Return a property of a device as text. Either thread; device."""
        ...

    def set_property(self, label: str, name: str, value: str, /) -> None:
        """Set a property of a device. Device thread; device."""
        ...

    def has_property(self, label: str, name: str, /) -> bool:
        """Return whether a device has a property. Either thread; memory."""
        ...

    # Shutter and illumination

    def set_shutter_open(self, shutter_label: str, is_open: bool, /) -> None:
        """Open or close a shutter. Device thread; device."""
        ...

    def get_shutter_open(self, shutter_label: str, /) -> bool:
        """Return whether a shutter is open. Device thread; device."""
        ...

    def get_auto_shutter(self) -> bool:
        """Return whether MMCore opens the shutter for each image by itself. Caller's thread; memory."""
        ...

    def set_auto_shutter(self, state: bool, /) -> None:
        """Let MMCore open the shutter for each image by itself, or not. Device thread; memory."""
        ...

    def get_available_config_groups(self) -> Sequence[str]:
        """Return the names of all configuration groups. Device thread; memory."""
        ...

    def get_available_configs(self, group: str, /) -> Sequence[str]:
        """Return the presets of a configuration group, none where there is no such group. Either thread; memory."""
        ...

    def get_current_config(self, group: str, /) -> str:
        """Return the preset that the devices of a group stand in, or an empty text. Device thread; device."""
        ...

    def get_config_group_state(self, group: str, /) -> Any:
        """Return the settings of a group's devices, (device, property, value) each. Device thread; device.

        A list of them from the bridge; from pymmcore a ``Configuration``, with ``size`` and ``getSetting``.
        """
        ...

    def set_config(self, group: str, preset: str, /) -> None:
        """Put the devices of a group into a preset. Device thread; device."""
        ...

    def wait_for_config(self, group: str, preset: str, /) -> None:
        """Wait until no device of a preset is busy. Device thread; device."""
        ...

    # Camera

    def get_image_width(self) -> int:
        """Return the width of the camera's images, pixels. Either thread; device."""
        ...

    def get_image_height(self) -> int:
        """Return the height of the camera's images, pixels. Either thread; device."""
        ...

    def get_bytes_per_pixel(self) -> int:
        """Return the bytes of one pixel: 1 or 2 for grey images. Device thread; device."""
        ...

    def get_number_of_components(self) -> int:
        """Return the channels of one pixel: 1 for grey images. Device thread; device."""
        ...

    def get_image_bit_depth(self) -> int:
        """Return the bits of a pixel that carry signal. Either thread; device."""
        ...

    def get_pixel_size_um(self) -> float:
        """Return the edge of a pixel in the sample, um, or 0 where it is not configured. Device thread; device."""
        ...

    def get_exposure(self) -> float:
        """Return the camera's exposure, ms. Caller's thread; device."""
        ...

    def set_exposure(self, exposure_ms: float, /) -> None:
        """Set the camera's exposure, ms. Device thread; device."""
        ...

    def snap_image(self) -> None:
        """Expose one image. Device thread; device."""
        ...

    def get_image(self) -> NDArray[Any]:
        """Return the image that was snapped, shape (height, width), flat over the bridge. Device thread; device."""
        ...

    # Sequences, through MMCore's circular buffer

    def get_circular_buffer_memory_footprint(self) -> int:
        """Return the size of the sequence buffer, MB. Caller's thread; memory."""
        ...

    def set_circular_buffer_memory_footprint(self, size_mb: int, /) -> None:
        """Allocate the sequence buffer, MB. Device thread; memory."""
        ...

    def start_sequence_acquisition(self, images: int, interval_ms: float, stop_on_overflow: bool, /) -> None:
        """Start the default camera for a number of images; MMCore ignores the interval. Device thread; device."""
        ...

    def is_sequence_running(self) -> bool:
        """Return whether the default camera is acquiring. Either thread; device."""
        ...

    def get_remaining_image_count(self) -> int:
        """Return how many images wait in the sequence buffer. Caller's thread; memory."""
        ...

    def pop_next_tagged_image(self) -> TaggedImage:
        """Remove the oldest image from the sequence buffer and return it. Caller's thread; memory.

        Raises where the buffer is empty.
        """
        ...

    def is_buffer_overflowed(self) -> bool:
        """Return whether the sequence buffer was full when an image came. Caller's thread; memory."""
        ...

    def stop_sequence_acquisition(self) -> None:
        """Stop the default camera's sequence. Device thread; device."""
        ...


CALLS = frozenset(name for name in vars(MMCore) if not name.startswith("_"))
"""Names of all methods of `MMCore`."""
