"""The camera before a run: images for as long as somebody asked for, then camera and light are given back."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.beads.detection.detail import spot_contrast
from easyzloc_mm.errors import EasyZlocError, InputError
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.monitor.follow.run import ShownFrame, shown_image
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16

logger = logging.getLogger(__name__)

LOOK_S = 30.0
"""The camera looks for so long at a request, and the light is on for no longer."""
SHORTEST_S = 0.2
"""Images come no faster than this: a page shows no more, and the sample is lit less."""
KEPT = 600
NO_SPOTS = np.zeros(0)


@dataclass(frozen=True)
class Sharpness:
    """One image's measures.

    Attributes
    ----------
    time_s : float
        Since the first image.
    z_um : float
        Where the stage stood.
    contrast : float
        Of spot-sized details (`beads.detection.detail.spot_contrast`), any unit.
    brightest : float
        Share of the camera's range that its brightest pixel reaches.
    saturated : float
        Share of pixels at the camera's maximum.
    """

    time_s: float
    z_um: float
    contrast: float
    brightest: float
    saturated: float


class CameraWatch:
    """Takes images for a while, each time that somebody asks; nothing is connected, held or lit in between.

    Parameters
    ----------
    profile : Profile
        `imaging` gives exposure and light; neither place nor focus is touched.
    connected : callable
        Connects a microscope.
    """

    def __init__(
        self, profile: Profile, connected: Callable[[Profile], AbstractContextManager[Microscope]] = connect
    ) -> None:
        self.profile = profile
        self._connected = connected
        self._full_adu = 2**profile.camera.bit_depth - 1
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._image: U16 | None = None
        self._begin_s = 0.0
        self.measures: deque[Sharpness] = deque(maxlen=KEPT)
        self.lit_ms = 0.0
        """Time for which this page has lit the sample."""
        self.trouble = ""
        """Why the last look ended early."""
        self.number = 0
        """Images so far."""

    @property
    def looking(self) -> bool:
        """Whether the camera is in use by this page."""
        return self._thread is not None and self._thread.is_alive()

    def look(self, seconds: float = LOOK_S) -> str:
        """Begin to take images; return what is said of it.

        Raises
        ------
        InputError
            It is looking already.
        """
        if self.looking:
            raise InputError(f"the camera looks already: it stops by itself after {LOOK_S:.0f} s")
        self.trouble = ""
        self._end.clear()
        self._thread = threading.Thread(target=self._take, args=(seconds,), name="camera view")
        self._thread.start()
        return f"light and camera on for {seconds:.0f} s"

    def end(self, *, wait: bool = False) -> str:
        """Stop looking; with `wait`, return when light and camera are given back."""
        self._end.set()
        if wait and self._thread is not None:
            self._thread.join()
        return "light and camera off"

    def newest(self) -> ShownFrame | None:
        """Return the newest image."""
        image = self._image
        return None if image is None else ShownFrame(self.number, *shown_image(image), NO_SPOTS, NO_SPOTS)

    def _take(self, seconds: float) -> None:
        lit_before_ms = self.lit_ms
        try:
            with self._connected(self.profile) as microscope:
                microscope.set_exposure(self.profile.imaging.exposure_ms)
                microscope.set_illumination(self.profile.imaging.illumination)
                until_s = time.monotonic() + seconds
                while time.monotonic() < until_s and not self._end.is_set():
                    next_s = time.monotonic() + SHORTEST_S
                    self._see(microscope.expose(), microscope.position().z_um)
                    self.lit_ms = lit_before_ms + microscope.lit_ms()
                    self._end.wait(max(next_s - time.monotonic(), 0.0))
        except EasyZlocError as error:  # told on the page
            logger.warning("the camera view ends: %s", error)
            self.trouble = str(error)

    def _see(self, image: U16, z_um: float) -> None:
        now_s = time.monotonic()
        if self.number == 0:
            self._begin_s = now_s
        self.measures.append(
            Sharpness(
                now_s - self._begin_s,
                z_um,
                spot_contrast(image),
                float(image.max()) / self._full_adu,
                float(np.mean(image >= self._full_adu)),
            )
        )
        # Last: a page that sees an image draws its measures, too.
        self._image, self.number = image, self.number + 1
