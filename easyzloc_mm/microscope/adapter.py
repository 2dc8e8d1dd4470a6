"""The microscope over an MMCore object: embedded, headless in this process, or behind the Java bridge."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from easyzloc_mm._processes import interrupts_noted
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.microscope.deadlines import wait_until, within
from easyzloc_mm.microscope.setup.checks import check_profile, strings
from easyzloc_mm.microscope.streaming.core_buffer import stream_frames
from easyzloc_mm.microscope.streaming.ndtiff import frames_go_over_disk, stream_over_disk, way_of_frames
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16, Frame, StagePosition

CALL_S = 15.0
"""Deadline of one command to a device."""
MOVE_S = 60.0
"""Deadline of a stage move; a slow stage crosses a slide in this time."""
Z_TOLERANCE_UM = 0.1
XY_TOLERANCE_UM = 3.0
"""How far from its target a stage may report to be once it says it has arrived."""
WARM_UP_FRAMES = 2


class CoreMicroscope:
    """`Microscope` over an MMCore whose configuration is loaded.

    Parameters
    ----------
    core : MMCore-like
        As pycromanager gives it: snake_case methods, `pop_next_tagged_image`.
    profile : Profile
        Labels, limits and camera; held against the devices before anything else.

    Raises
    ------
    InputError
        The profile names a device, preset or camera size that is not there; the message lists what is.
    HardwareError
        A device does not answer.
    """

    def __init__(self, core: Any, profile: Profile) -> None:
        self._core = core
        self._profile = profile
        self._devices = profile.devices
        failed = [
            finding
            for finding in within(CALL_S, "reading the devices", lambda: check_profile(profile, core))
            if finding.status == "fail"
        ]
        if failed:
            raise InputError(
                f"profile {profile.name} does not fit the microscope: "
                + "; ".join(f"{finding.subject}: {finding.text}" for finding in failed)
            )
        self._light_held = False
        self._closed = False
        self._warm_for: tuple[int, int] | None = None
        self._origin = self.position()
        self._exposure_before = float(core.get_exposure())
        self._auto_shutter_before = bool(core.get_auto_shutter())
        self._preset_before = (
            str(core.get_current_config(self._devices.illumination_group)) if self._devices.illumination_group else None
        )
        self._moved = {"z": False, "xy": False}
        self._lit = False
        if self._devices.shutter:
            # The light goes on exactly when we say so, not whenever the camera runs.
            self._call("taking over the shutter", core.set_shutter_device, self._devices.shutter)
            self._call("taking over the shutter", core.set_auto_shutter, False)
            self._shutter(False)

    @property
    def profile(self) -> Profile:
        """The profile that the microscope was connected with."""
        return self._profile

    # --- stages ---------------------------------------------------------------------------------------------

    def position(self) -> StagePosition:
        """Where the stages report to be."""

        def read() -> StagePosition:
            xy, z = self._devices.xy_stage, self._devices.z_stage
            return StagePosition(
                float(self._core.get_x_position(xy)),
                float(self._core.get_y_position(xy)),
                float(self._core.get_position(z)),
            )

        return within(CALL_S, "reading the stages", read)

    def move_z(self, z_um: float) -> float:
        """Move the z stage, wait until it has arrived, return where it reports to be (um)."""
        self._profile.limits.check(z_um=z_um)
        if not self._moved["z"]:
            self._start_inside(z_um=self._origin.z_um)
            self._moved["z"] = True
        label = self._devices.z_stage
        self._call(f"moving z to {z_um:.3f} um", self._core.set_position, label, float(z_um), seconds=MOVE_S)
        self._arrive(label, lambda: abs(self._core.get_position(label) - z_um) <= Z_TOLERANCE_UM, f"z = {z_um:.3f} um")
        return float(self._core.get_position(label))

    def move_xy(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Move the xy stage, wait until it has arrived, return where it reports to be (um)."""
        self._profile.limits.check(x_um=x_um, y_um=y_um)
        if not self._moved["xy"]:
            self._start_inside(x_um=self._origin.x_um, y_um=self._origin.y_um)
            self._moved["xy"] = True
        label, core = self._devices.xy_stage, self._core
        where = f"x, y = {x_um:.1f}, {y_um:.1f} um"
        self._call(f"moving to {where}", core.set_xy_position, label, float(x_um), float(y_um), seconds=MOVE_S)
        self._arrive(
            label,
            lambda: (
                abs(core.get_x_position(label) - x_um) <= XY_TOLERANCE_UM
                and abs(core.get_y_position(label) - y_um) <= XY_TOLERANCE_UM
            ),
            where,
        )
        return float(core.get_x_position(label)), float(core.get_y_position(label))

    def _start_inside(self, **position: float) -> None:
        # The stage is brought back to where it stood, so that place must be allowed too.
        try:
            self._profile.limits.check(**position)
        except InputError as error:
            raise InputError(f"the stage stands outside the profile's limits now: {error}") from None

    def _arrive(self, label: str, near: Callable[[], bool], where: str) -> None:
        within(
            MOVE_S + CALL_S,
            f"waiting for {where}",
            lambda: wait_until(
                MOVE_S,
                f"stage '{label}' did not reach {where}",
                lambda: not self._core.device_busy(label) and near(),
            ),
        )

    # --- camera and light -----------------------------------------------------------------------------------

    def set_exposure(self, ms: float) -> float:
        """Set the camera's exposure, return what the camera took."""
        self._call(f"setting the exposure to {ms:g} ms", self._core.set_exposure, float(ms))
        return float(self._core.get_exposure())

    def set_illumination(self, preset: str | None) -> None:
        """Apply a preset of the profile's illumination group; None leaves the light as it is."""
        if preset is None:
            return
        group = self._devices.illumination_group
        known = strings(self._core.get_available_configs(group)) if group else []
        if preset not in known:
            raise InputError(f"there is no illumination preset '{preset}'; there is: {', '.join(known) or 'none'}")
        self._call(f"switching the light to {preset}", self._core.set_config, group, preset)
        self._call(f"waiting for the light {preset}", self._core.wait_for_config, group, preset)
        self._lit = True

    @contextmanager
    def hold_shutter_open(self) -> Iterator[None]:
        """Keep the shutter open over several exposures."""
        if self._light_held:
            yield
            return
        self._light_held = True
        try:
            self._shutter(True)
            yield
        finally:
            self._light_held = False
            # A stream that was left half-read may be cleared away after the devices are gone.
            if not self._closed:
                self._shutter(False)

    def expose(self) -> U16:
        """Take one image, shape (height, width); switches the shutter unless `light` holds it open."""
        patience = CALL_S + 5 * float(self._core.get_exposure()) / 1000
        with self.hold_shutter_open():
            self._call("taking an image", self._core.snap_image, seconds=patience)
            return self._pixels(self._call("reading an image", self._core.get_image, seconds=patience))

    def stream(self, frames: int, stop: threading.Event | None = None) -> Iterator[Frame]:
        """Yield `frames` camera frames as they come, or fewer once `stop` is set; see `Microscope.stream`."""
        if frames < 1:
            raise InputError(f"a stream of {frames} frames: ask for 1 or more")
        exposure_ms = float(self._core.get_exposure())
        stop = stop or threading.Event()
        self._warm_up(exposure_ms)
        with self.hold_shutter_open():
            if frames_go_over_disk(self._profile):
                yield from stream_over_disk(self._profile, frames, stop, self._pixels)
            else:
                yield from stream_frames(self._core, frames, exposure_ms, stop, self._pixels)

    def _warm_up(self, exposure_ms: float) -> None:
        # The first sequence of a size allocates the buffer, which takes longer than many frames.
        size = (int(self._core.get_image_width()), int(self._core.get_image_height()))
        if size == self._warm_for:
            return
        for _ in stream_frames(self._core, WARM_UP_FRAMES, exposure_ms, threading.Event(), self._pixels):
            pass
        self._warm_for = size

    def _shutter(self, is_open: bool) -> None:
        label = self._devices.shutter
        if label is None:
            return
        what = f"{'opening' if is_open else 'closing'} shutter '{label}'"
        self._call(what, self._core.set_shutter_open, label, is_open)
        wait_until(CALL_S, f"shutter '{label}' stayed busy", lambda: not self._core.device_busy(label))

    def _pixels(self, image: Any) -> U16:
        pixels = np.asarray(image)
        camera = self._profile.camera
        # The Java bridge sends a flat array.
        if pixels.size != camera.width_px * camera.height_px:
            raise HardwareError(
                f"the camera sent {pixels.size} pixels instead of {camera.width_px} x {camera.height_px}: "
                "its ROI or binning was changed"
            )
        return pixels.reshape(camera.height_px, camera.width_px).astype(np.uint16, copy=False)

    # --- facts ----------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, object]:
        """Versions, device labels, camera size and limits, as plain values for provenance."""
        from importlib.metadata import version

        core, devices = self._core, self._devices
        labels = {field: label for field, label in devices.model_dump().items() if label}
        return {
            "backend": str(self._profile.connection.backend),
            "frames_come_over": way_of_frames(self._profile),
            "core": str(core.get_version_info()),
            "device_interface": str(core.get_api_version_info()),
            "pycromanager": version("pycromanager"),
            **labels,
            "adapters": ", ".join(
                f"{label}: {core.get_device_library(label)}/{core.get_device_name(label)}"
                for field, label in labels.items()
                if field != "illumination_group"
            ),
            "camera_width_px": int(core.get_image_width()),
            "camera_height_px": int(core.get_image_height()),
            "camera_bit_depth": int(core.get_image_bit_depth()),
            "exposure_ms": float(core.get_exposure()),
            "buffer_mb": int(core.get_circular_buffer_memory_footprint()),
            "limits_um": ", ".join(f"{axis} {value:g}" for axis, value in self._profile.limits.model_dump().items()),
        }

    # --- safety ---------------------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """Stop the camera, close the shutter, bring the stages back; return what could not be done.

        Runs to its end even when Ctrl-C is pressed again meanwhile: an open shutter costs the sample.
        """
        problems: list[str] = []
        with _interrupts_held():
            self._make_safe(problems)
            self._closed = True
        return problems

    def _make_safe(self, problems: list[str]) -> None:
        core, origin, devices = self._core, self._origin, self._devices

        def attempt(step: Callable[[], object]) -> None:
            try:
                step()
            except (HardwareError, InputError) as error:
                problems.append(str(error))
            except Exception as error:
                problems.append(f"{type(error).__name__}: {error}")

        def stop_camera() -> None:
            if core.is_sequence_running():
                self._call("stopping the camera", core.stop_sequence_acquisition)

        def restore_light() -> None:
            if self._lit and self._preset_before:
                self._call("restoring the light", core.set_config, devices.illumination_group, self._preset_before)

        # The light first: it harms the sample for as long as everything else takes.
        attempt(lambda: self._shutter(False))
        attempt(stop_camera)
        if self._moved["z"]:
            attempt(lambda: self.move_z(origin.z_um))
        if self._moved["xy"]:
            attempt(lambda: self.move_xy(origin.x_um, origin.y_um))
        attempt(restore_light)
        attempt(lambda: self._call("restoring the exposure", core.set_exposure, self._exposure_before))
        if devices.shutter:
            attempt(lambda: self._call("restoring auto-shutter", core.set_auto_shutter, self._auto_shutter_before))

    def _call(self, what: str, function: Callable[..., Any], *arguments: object, seconds: float = CALL_S) -> Any:
        return within(seconds, what, lambda: function(*arguments))


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Finish what is inside before a Ctrl-C (or a "terminate") that comes meanwhile takes effect."""
    with interrupts_noted() as came:
        yield
    if came:
        raise KeyboardInterrupt


@contextmanager
def made_safe(microscope: CoreMicroscope) -> Iterator[CoreMicroscope]:
    """Lend a microscope, and make it safe on every way out.

    What could not be made safe is a `HardwareError` after success, and a warning beside any other error.
    """
    try:
        yield microscope
    except BaseException:
        for problem in microscope.close():
            warnings.warn(f"while making the microscope safe: {problem}", EasyZlocWarning, stacklevel=2)
        raise
    problems = microscope.close()
    if problems:
        raise HardwareError("the microscope could not be made safe: " + "; ".join(problems))
