"""A live MMCore with demo devices whose camera images come from our optics."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.embedded.configuration import configuration_text
from easyzloc_mm.simulator.embedded.demo_core import DemoCore
from easyzloc_mm.simulator.embedded.focus_lock import SimulatedFocusLock
from easyzloc_mm.simulator.embedded.patched_camera import SubstitutedCamera
from easyzloc_mm.simulator.embedded.truth import CAMERA_ATTRIBUTE
from easyzloc_mm.simulator.scene import Scene, Setting

SEED = 2025
SCENE: Callable[[Profile, int], Scene] = Scene
"""What makes the images; `replay` puts ready-made ones in its place."""


def start_embedded_core(profile: Profile) -> DemoCore:
    """Start MMCore on the demo devices of mm-test-adapters and give its camera our optics.

    Devices, image buffer, timing, tags, overflow and errors are MMCore's own; only pixels are replaced. A
    core that this process started before must have been unloaded (`mmpycorex.terminate_core_instances`).

    Parameters
    ----------
    profile : Profile
        Device labels, camera, optics, limits. The stage starts in focus, over the beads.

    Returns
    -------
    DemoCore
        The core of this process, with snake_case and camelCase calls, as `mmpycorex.Core()` gives it.

    Raises
    ------
    InputError
        The profile asks for what the demo devices cannot be.
    """
    from mm_test_adapters import device_adapter_path
    from mmpycorex import Core, create_core_instance

    scene = SCENE(profile, SEED)
    # The first image ever compiles its kernels, which may take longer than a camera is given to answer.
    scene.expose(Setting(x_um=0.0, y_um=0.0, z_um=scene.focus_um, power=1.0, exposure_s=0.001, middle_s=0.0), 0)
    with tempfile.TemporaryDirectory(prefix="easyzloc-mm-") as folder:
        configuration = Path(folder) / "embedded.cfg"
        configuration.write_text(configuration_text(profile, scene.focus_um), encoding="utf-8")
        create_core_instance(
            mm_app_path=device_adapter_path(),
            config_file=str(configuration),
            python_backend=True,
            buffer_size_mb=profile.connection.buffer_size_mb,
        )
    core = cast(DemoCore, Core())
    if profile.focus_lock is not None:
        SimulatedFocusLock(core, profile.devices, scene.focus_um, scene.z_drift_nm)
    setattr(core, CAMERA_ATTRIBUTE, SubstitutedCamera(core, profile, scene))
    return core
