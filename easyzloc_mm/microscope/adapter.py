"""The microscope over an MMCore object: embedded, in this process, or behind the Java bridge."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from easyzloc_mm._processes import interrupts_noted
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.microscope.camera import CoreCamera
from easyzloc_mm.microscope.deadlines import CALL_S, answer, command, within
from easyzloc_mm.microscope.focus_lock import CoreFocusLock
from easyzloc_mm.microscope.light import CoreLight
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.microscope.setup.checks import IN_USE, WAIT_FOR_IT, Status, check_idle, check_profile
from easyzloc_mm.microscope.setup.identity import camera_identity
from easyzloc_mm.microscope.stages import CoreStages
from easyzloc_mm.microscope.streaming.ndtiff import way_of_frames
from easyzloc_mm.profile.schema import Backend, Profile
from easyzloc_mm.typing import U16, Frame, StagePosition

logger = logging.getLogger(__name__)


class CoreMicroscope:
    """`Microscope` over an MMCore whose configuration is loaded.

    Parameters
    ----------
    core : MMCore
        With the configuration loaded.
    profile : Profile
        Labels, limits and camera; held against the devices before anything else.

    Raises
    ------
    InputError
        The profile names a device, preset or camera size that is not there; the message lists what is.
    HardwareError
        A device does not answer.
    """

    def __init__(self, core: MMCore, profile: Profile) -> None:
        check_idle(core)
        self._core = core
        self._profile = profile
        self._camera = CoreCamera(core, profile)
        try:
            _check_fit(profile, core)
            self._stages = CoreStages(core, profile.devices, profile.limits)
            lock = profile.focus_lock
            self._lock = CoreFocusLock(core, lock, self._stages, profile.limits) if lock else None
            self._light = CoreLight(core, profile.devices, shared=profile.connection.backend is Backend.JAVA)
        except BaseException:
            self._camera.restore_device()
            raise

    @property
    def profile(self) -> Profile:
        """The profile that the microscope was connected with."""
        return self._profile

    @property
    def focus_lock(self) -> CoreFocusLock | None:
        """The focus lock that the profile names; None where it names none."""
        return self._lock

    def position(self) -> StagePosition:
        """Return where the stages report to be, um."""
        return self._stages.position()

    def move_z(self, z_um: float) -> float:
        """Move the z stage, wait until it has arrived, and return where it reports to be, um; not against the lock."""
        if self._lock is not None and self._lock.is_on:
            raise InputError(
                f"z cannot go to {z_um:.3f} um while the focus lock is on: switch it off before (`focus_lock.off()`), "
                "or set its offset"
            )
        return self._stages.move_z(z_um)

    def move_xy(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Move the xy stage, wait until it has arrived and the focus lock holds, and return where it reports to be."""
        lock = self._lock if self._lock is not None and self._lock.is_on else None
        if lock is not None:
            self._profile.limits.check(x_um=x_um, y_um=y_um)
            lock.off()
        arrived = self._stages.move_xy(x_um, y_um)
        if lock is not None:
            lock.hold()
        return arrived

    def set_exposure(self, ms: float) -> float:
        """Set the camera's exposure, and return what the camera took, ms."""
        return self._camera.set_exposure(ms)

    def set_illumination(self, preset: str | None) -> None:
        """Apply a preset of the profile's illumination group; None leaves the light as it is."""
        self._light.set_illumination(preset)

    def check_illumination(self, preset: str | None) -> None:
        """Raise `InputError` where the profile's illumination group has no such preset; switches nothing."""
        self._light.check_preset(preset)

    def hold_shutter_open(self) -> AbstractContextManager[None]:
        """Keep the shutter open over several exposures."""
        return self._light.hold_shutter_open()

    def lit_ms(self) -> float:
        """Return the time for which this connection has lit the sample, ms."""
        return self._light.lit_ms()

    def broken_interlock(self) -> str | None:
        """Return which interlock of the profile does not say what it should, in words; None where all do."""
        core = self._core
        for lock in self._profile.watch.interlocks:
            said = str(command(f"reading {lock.device}", core.get_property, lock.device, lock.property))
            if said != lock.value:
                return f"{lock.device} says {lock.property} = '{said}', and '{lock.value}' where all is well"
        return None

    def camera_in_use(self) -> str | None:
        """Return, in words, that the camera runs for somebody else; see `Microscope.camera_in_use`."""
        return f"{IN_USE}: {WAIT_FOR_IT}" if self._camera.is_running() else None

    def expose(self) -> U16:
        """Return one image, shape (height, width), ADU; the shutter is open for it, or held open anyway."""
        check_idle(self._core)
        exposure_ms = self._camera.exposure_ms()
        with self._light.hold_shutter_open():
            return self._camera.snap(exposure_ms)

    def stream(self, frames: int, stop: threading.Event | None = None) -> Iterator[Frame]:
        """Yield `frames` camera frames as they come, or fewer once `stop` is set; see `Microscope.stream`."""
        if frames < 1:
            raise InputError(f"a stream of {frames} frames: ask for 1 or more")
        check_idle(self._core)
        exposure_ms = self._camera.exposure_ms()
        self._light.take_over()
        self._camera.warm_up(exposure_ms)
        with ExitStack() as lit:
            lit.enter_context(self._light.hold_shutter_open())
            # What lies in the buffer when the camera has stopped is fetched in the dark.
            yield from self._camera.stream(frames, exposure_ms, stop or threading.Event(), camera_off=lit.close)

    def describe(self) -> dict[str, object]:
        """Return versions, device labels, camera size and limits, as plain values for provenance."""
        from importlib.metadata import version

        core, profile = self._core, self._profile
        labels = {field: label for field, label in profile.devices.model_dump().items() if label}
        if profile.focus_lock is not None:
            labels["focus_lock"] = profile.focus_lock.device
        of_core = answer(
            "reading the devices",
            lambda: {
                "core": str(core.get_version_info()),
                "device_interface": str(core.get_api_version_info()),
                "pycromanager": version("pycromanager"),
                **labels,
                "adapters": ", ".join(
                    f"{label}: {core.get_device_library(label)}/{core.get_device_name(label)}"
                    for field, label in labels.items()
                    if field != "illumination_group"
                ),
                **_identity(core, profile.devices.camera),
                "camera_width_px": int(core.get_image_width()),
                "camera_height_px": int(core.get_image_height()),
                "camera_bit_depth": int(core.get_image_bit_depth()),
                "exposure_ms": self._camera.exposure_ms(),
                "buffer_mb": int(core.get_circular_buffer_memory_footprint()),
            },
        )
        return {
            "backend": str(profile.connection.backend),
            "frames_come_over": way_of_frames(profile, self._camera.bridge_mb_s),
            **of_core,
            "limits_um": ", ".join(f"{axis} {value:g}" for axis, value in profile.limits.model_dump().items()),
        }

    def close(self) -> list[str]:
        """Stop the camera, close the shutter, bring the stages back; return what could not be done.

        Runs to its end even when Ctrl-C is pressed again meanwhile: an open shutter costs the sample.
        """
        # Stages that nobody moved need not come back, and a focus lock that held all the time stays as it is.
        lock = self._lock
        unlock = [lock.off] if lock is not None and self._stages.moved else []
        relock = [lock.restore_offset, lock.restore, lock.restore_device] if lock is not None else []
        with _interrupts_held():
            problems = [
                problem
                for step in (
                    # The light first: it harms the sample for as long as everything else takes.
                    self._light.close_shutter,
                    self._camera.stop,
                    *unlock,
                    self._stages.return_z,
                    self._stages.return_xy,
                    # Each by itself: what one cannot do must not keep back the others.
                    self._light.restore_preset,
                    self._camera.restore_exposure,
                    self._camera.restore_buffer,
                    self._camera.restore_device,
                    self._light.restore_device,
                    self._light.reopen,
                    self._light.restore_auto_shutter,
                    *relock,
                )
                for problem in _problems_of(step)
            ]
            self._light.release()
        return problems


def _check_fit(profile: Profile, core: MMCore) -> None:
    """Refuse a profile that does not fit the devices, and warn of what is odd about it."""
    findings = within(CALL_S, "reading the devices", lambda: check_profile(profile, core))
    failed = [finding for finding in findings if finding.status is Status.FAIL]
    if failed:
        raise InputError(
            f"profile {profile.name} does not fit the microscope: "
            + "; ".join(f"{finding.subject}: {finding.text}" for finding in failed)
        )
    for finding in findings:
        if finding.status is Status.WARN:
            warnings.warn(f"{finding.subject}: {finding.text}", EasyZlocWarning, stacklevel=4)


def _problems_of(step: Callable[[], None]) -> list[str]:
    """Take one step, and return what went wrong with it: the others must be taken all the same."""
    try:
        step()
    except (HardwareError, InputError) as error:
        logger.error("while making the microscope safe: %s", error)
        return [str(error)]
    except Exception as error:  # of whatever kind: the other steps must be taken all the same
        logger.exception("while making the microscope safe")
        return [f"{type(error).__name__}: {error}"]
    return []


def _identity(core: MMCore, label: str) -> dict[str, str]:
    """Return which camera it is, for provenance; nothing where its adapter does not tell."""
    found = camera_identity(core, label)
    told = {"camera_serial": found.serial, "camera_readout_mode": found.readout_mode}
    return {name: value for name, value in told.items() if value}


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
    logger.info("connected")
    try:
        yield microscope
    except BaseException:
        for problem in microscope.close():
            warnings.warn(f"while making the microscope safe: {problem}", EasyZlocWarning, stacklevel=2)
        raise
    problems = microscope.close()
    logger.info("disconnected: camera stopped, shutter closed, stages back" if not problems else "disconnected")
    if problems:
        raise HardwareError("the microscope could not be made safe: " + "; ".join(problems))
