"""The demo camera's pixels replaced by rendered ones, on a live core.

The calls that hand out images are wrapped as attributes of the core *instance* (the SWIG class cannot be
patched). Each image is rendered for the stage position, light and exposure that held in the middle of its
exposure, which for a sequence is ``TimeReceivedByCore - exposure / 2``; so frames that waited in MMCore's
buffer show what was, not what is.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
import pandas as pd

from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.embedded.configuration import LIGHT_DEVICE
from easyzloc_mm.simulator.embedded.demo_core import DemoCore, Metadata, replace_call
from easyzloc_mm.simulator.scene import POWERS, Scene, Setting, Truth
from easyzloc_mm.typing import U16

CHANGING_CALLS = (
    "set_position", "set_relative_position", "set_xy_position", "set_relative_xy_position", "wait_for_device",
    "wait_for_system", "set_exposure", "set_config", "set_property", "set_state", "set_state_label",
    "set_shutter_open", "set_auto_shutter", "stop_sequence_acquisition",
)  # fmt: skip
"""Calls after which stage, light or exposure may be another."""
HISTORY = 4096

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class State(NamedTuple):
    """What decides an image, as the devices report it."""

    x_um: float
    y_um: float
    z_um: float
    power: float
    lit: bool
    exposure_s: float


class SubstitutedCamera:
    """Renders what the camera of `core` hands out.

    Parameters
    ----------
    core : mmpycorex Core
        Configured with `configuration.configuration_text`.
    profile : Profile
        Device labels and camera.
    scene : Scene
        Makes the images.
    """

    def __init__(self, core: DemoCore, profile: Profile, scene: Scene) -> None:
        self._core, self._devices, self._scene = core, profile.devices, scene
        self._shape = (profile.camera.height_px, profile.camera.width_px)
        self._lock = threading.RLock()
        self._on_s = time.time()
        self._images = 0
        self._times: list[float] = []
        self._states: list[State] = []
        self._changes = 0
        self._snapped: tuple[State, float] | None = None
        self._snap_image: U16 | None = None
        self._run_changes = -1
        self._run_requested = 0
        self._sequence_first = 0
        self._sequence_popped = 0
        self._frames: list[int] = []
        self._frame_times: list[float] = []
        self._truths: list[Truth] = []
        self._wrap()
        self._note()

    def records(self) -> dict[str, pd.DataFrame]:
        """Truth of the last run; see `truth.ground_truth`."""
        with self._lock:
            return {
                "emitters": self._scene.table(self._frames, self._truths),
                "drift": self._scene.drift_table(self._frames, self._frame_times),
            }

    def _wrap(self) -> None:
        core = self._core
        self._real_pop = core.pop_next_image_md
        self._real_start = {
            name: getattr(core, name)
            for name in ("start_sequence_acquisition", "start_continuous_sequence_acquisition")
        }
        self._real_snap = core.snap_image
        for name in CHANGING_CALLS:
            self._replace(name, self._noting(getattr(core, name)))
        self._replace("snap_image", self._snap)
        self._replace("get_image", self._get_image)
        self._replace("start_sequence_acquisition", self._start_sequence)
        self._replace("start_continuous_sequence_acquisition", self._start_continuous)
        self._replace("pop_next_image", self._pop)
        self._replace("pop_next_image_md", self._pop_md)
        self._replace("get_last_image", self._last)
        self._replace("get_last_image_md", self._last_md)

    def _replace(self, name: str, function: Callable[..., object]) -> None:
        replace_call(self._core, name, function)

    def _noting(self, real: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
            try:
                return real(*arguments, **named)
            finally:
                self._note()

        return call

    def _read(self) -> State:
        core, devices = self._core, self._devices
        return State(
            x_um=core.get_x_position(devices.xy_stage),
            y_um=core.get_y_position(devices.xy_stage),
            z_um=core.get_position(devices.z_stage),
            power=list(POWERS.values())[core.get_state(LIGHT_DEVICE)],
            lit=devices.shutter is None or bool(core.get_shutter_open(devices.shutter)),
            exposure_s=core.get_exposure() / 1000,
        )

    def _note(self, since_s: float | None = None) -> State:
        """Remember the present state, as holding from now (or from `since_s`) on."""
        state = self._read()
        with self._lock:
            if not self._states or state != self._states[-1]:
                self._changes += 1
                self._times.append(time.time() if since_s is None else since_s)
                self._states.append(state)
                del self._times[:-HISTORY], self._states[:-HISTORY]
        return state

    def _held(self, at_s: float) -> State:
        with self._lock:
            return self._states[max(0, bisect_right(self._times, at_s) - 1)]

    def _snap(self) -> None:
        state = self._note()
        if self._core.get_auto_shutter():
            state = state._replace(lit=True)
        start = time.time()
        self._real_snap()
        self._snapped, self._snap_image = (state, start + state.exposure_s / 2), None
        self._note()

    def _get_image(self, *channel: int) -> U16:
        if self._snapped is None:
            # MMCore raises its own error.
            return np.asarray(type(self._core).get_image(self._core, *channel))
        with self._lock:
            if self._snap_image is None:
                self._snap_image = self._render(*self._snapped)[0]
            return self._snap_image.copy()

    def _start_sequence(self, *arguments: str | float | bool) -> None:
        # (frames, interval, stop on overflow), or the same after a camera label.
        frames = next(value for value in arguments if not isinstance(value, str))
        self._start("start_sequence_acquisition", arguments, int(frames))

    def _start_continuous(self, *arguments: str | float | bool) -> None:
        self._start("start_continuous_sequence_acquisition", arguments, None)

    def _start(self, name: str, arguments: tuple[object, ...], frames: int | None) -> None:
        self._note()
        before = time.time()
        same_light = self._changes == self._run_changes
        self._real_start[name](*arguments)
        # Auto-shutter opens with the sequence: its light belongs to the first frame too.
        self._note(before)
        with self._lock:
            if not same_light:
                self._run_requested = 0
                self._frames, self._frame_times, self._truths = [], [], []
            self._run_changes = self._changes
            self._sequence_first = self._run_requested
            self._run_requested += frames or 0
            self._sequence_popped = 0
            self._continuous = frames is None

    def _pop(self) -> U16:
        import pymmcore

        return self._pop_md(0, 0, pymmcore.Metadata())

    def _pop_md(self, *arguments: int | Metadata) -> U16:
        # (metadata), or (channel, slice, metadata); MMCore fills the metadata in place.
        metadata = cast(Metadata, arguments[-1])
        self._real_pop(*arguments)
        self._note()
        number, received_s = _number_and_time(metadata)
        with self._lock:
            state = self._held(received_s - self._core.get_exposure() / 2000)
            frame, truth, middle_s = self._render(state, received_s - state.exposure_s / 2)
            self._frames.append(self._sequence_first + number)
            self._frame_times.append(middle_s)
            self._truths.append(truth)
            if self._continuous:
                self._run_requested = max(self._run_requested, self._sequence_first + number + 1)
        return frame

    def _last(self) -> U16:
        import pymmcore

        return self._last_md(pymmcore.Metadata())

    def _last_md(self, *arguments: int | Metadata) -> U16:
        real = type(self._core).get_last_image_md
        real(self._core, *arguments)
        _, received_s = _number_and_time(cast(Metadata, arguments[-1]))
        state = self._held(received_s - self._core.get_exposure() / 2000)
        with self._lock:
            return self._render(state, received_s - state.exposure_s / 2)[0]

    def _render(self, state: State, middle: float) -> tuple[U16, Truth, float]:
        self._images += 1
        setting = Setting(
            x_um=state.x_um,
            y_um=state.y_um,
            z_um=state.z_um,
            power=state.power if state.lit else 0.0,
            exposure_s=state.exposure_s,
            middle_s=middle - self._on_s,
        )
        frame, truth = self._scene.expose(setting, self._images)
        return self._region(frame), truth, setting.middle_s

    def _region(self, frame: U16) -> U16:
        """Cut what the camera's ROI leaves of the sensor."""
        height, width = int(self._core.get_image_height()), int(self._core.get_image_width())
        if (height, width) == self._shape:
            return frame
        x, y, roi_width, roi_height = self._core.get_roi()
        if (roi_height, roi_width) != (height, width):
            raise RuntimeError("the embedded camera has no binning: set Binning to 1")
        return np.ascontiguousarray(frame[y : y + height, x : x + width])


def _number_and_time(metadata: Metadata) -> tuple[int, float]:
    """Return an image's number within its sequence, and when MMCore received it, s since the epoch."""
    number = int(metadata.GetSingleTag("ImageNumber").GetValue())
    received = datetime.fromisoformat(metadata.GetSingleTag("TimeReceivedByCore").GetValue())
    return number, received.timestamp()
