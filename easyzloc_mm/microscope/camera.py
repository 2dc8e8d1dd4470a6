"""The camera: exposure, single images, streams."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.microscope.deadlines import CALL_S, answer, command
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.microscope.setup.checks import IN_USE
from easyzloc_mm.microscope.streaming.core_buffer import measure_rate, stream_frames
from easyzloc_mm.microscope.streaming.ndtiff import bridge_is_in_question, is_too_slow, stream_over_disk, way_of_frames
from easyzloc_mm.profile.schema import Backend, Profile
from easyzloc_mm.typing import U16, Frame

logger = logging.getLogger(__name__)

WARM_UP_FRAMES = 2
BUFFER_S = 60.0
"""Deadline of sizing the image buffer, s: gigabytes are cleared."""


class CoreCamera:
    """The camera of one connection; the shutter is not its business.

    Parameters
    ----------
    core : MMCore
        Idle.
    profile : Profile
        Camera size, and how frames travel.

    Raises
    ------
    HardwareError
        The camera does not answer.
    """

    def __init__(self, core: MMCore, profile: Profile) -> None:
        self._core = core
        self._profile = profile
        self._device_before = str(command("reading the camera", core.get_camera_device))
        self._exposure_before_ms: float | None = None
        self._buffer_before_mb: int | None = None
        self._warm_for: tuple[int, int] | None = None
        self._is_ours = False
        self.bridge_mb_s: float | None = None

    def exposure_ms(self) -> float:
        """Return the exposure that the camera reports, ms."""
        return float(answer("reading the exposure", self._core.get_exposure))

    def set_exposure(self, ms: float) -> float:
        """Set the exposure, and return what the camera took, ms."""
        if self._exposure_before_ms is None:
            self._exposure_before_ms = self.exposure_ms()
        command(f"setting the exposure to {ms:g} ms", self._core.set_exposure, float(ms))
        return self.exposure_ms()

    def snap(self, exposure_ms: float) -> U16:
        """Return one image, ADU, shape (height, width); waits for several exposures at most."""
        patience = CALL_S + 5 * exposure_ms / 1000
        command("taking an image", self._core.snap_image, seconds=patience)
        return self._pixels(command("reading an image", self._core.get_image, seconds=patience))

    def warm_up(self, exposure_ms: float) -> None:
        """Run a short sequence, unlit, where the image size is new: allocating the buffer takes longer than frames."""
        self._size_buffer()
        width = answer("reading the image size", self._core.get_image_width)
        size = (int(width), int(answer("reading the image size", self._core.get_image_height)))
        if size == self._warm_for:
            return
        self._is_ours = True
        for _ in stream_frames(self._core, WARM_UP_FRAMES, exposure_ms, threading.Event(), self._pixels):
            pass
        if self._profile.connection.backend is Backend.JAVA:
            self.bridge_mb_s = measure_rate(self._core, exposure_ms)
            logger.info("frames come over %s", way_of_frames(self._profile, self.bridge_mb_s))
        self._is_ours, self._warm_for = False, size

    def stream(
        self, frames: int, exposure_ms: float, stop: threading.Event, *, camera_off: Callable[[], None]
    ) -> Iterator[Frame]:
        """Yield `frames` frames as they come, or fewer once `stop` is set; errors as in `Microscope.stream`.

        `camera_off` is called when the camera takes no more, though frames may still lie in its buffer.
        """
        rate, self._is_ours = self.bridge_mb_s, True
        if rate is not None and bridge_is_in_question(self._profile) and is_too_slow(rate, self._profile):
            yield from stream_over_disk(self._profile, frames, stop, self._pixels, camera_off)
        else:
            yield from stream_frames(self._core, frames, exposure_ms, stop, self._pixels, camera_off)
        self._is_ours = False  # one that was broken off may still run

    def is_running(self) -> bool:
        """Return whether a sequence is running, for this program or for another."""
        return bool(answer("asking the camera", self._core.is_sequence_running))

    def stop(self) -> None:
        """Stop a sequence of this program's that is running, and no other."""
        if self._is_ours and self.is_running():
            command("stopping the camera", self._core.stop_sequence_acquisition)

    def restore_exposure(self) -> None:
        """Set the exposure that was found."""
        if self._exposure_before_ms is not None:
            command("restoring the exposure", self._core.set_exposure, self._exposure_before_ms)

    def restore_buffer(self) -> None:
        """Give MMCore's image buffer the size that was found; that replaces it, so never under a running camera."""
        if self._buffer_before_mb is None:
            return
        if self.is_running():
            raise HardwareError(f"the image buffer does not get back its {self._buffer_before_mb} MB: {IN_USE}")
        self._set_buffer(self._buffer_before_mb)

    def restore_device(self) -> None:
        """Make the camera the default again that was."""
        if str(command("reading the camera", self._core.get_camera_device)) != self._device_before:
            command("restoring the camera", self._core.set_camera_device, self._device_before)

    def _size_buffer(self) -> None:
        """Give MMCore's image buffer the profile's size; only before a sequence, since that replaces the buffer."""
        wanted, now = self._profile.connection.buffer_size_mb, int(self._core.get_circular_buffer_memory_footprint())
        if now != wanted:
            self._buffer_before_mb = now
            self._set_buffer(wanted)

    def _set_buffer(self, size_mb: int) -> None:
        command("setting the image buffer", self._core.set_circular_buffer_memory_footprint, size_mb, seconds=BUFFER_S)

    def _pixels(self, image: NDArray[Any]) -> U16:
        """Check an image's size, and give it its shape: the Java bridge sends a flat array."""
        camera = self._profile.camera
        if image.size != camera.width_px * camera.height_px:
            raise HardwareError(
                f"the camera sent {image.size} pixels instead of {camera.width_px} x {camera.height_px}: "
                "its ROI or binning was changed"
            )
        return image.reshape(camera.height_px, camera.width_px).astype(np.uint16, copy=False)
