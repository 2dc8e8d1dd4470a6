"""A first look at an installation and its instrument, before a sample is spent on it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from easyzloc_mm.errors import EasyZlocError
from easyzloc_mm.io.camera_database import origin_of_units
from easyzloc_mm.microscope.setup.checks import Finding, Status
from easyzloc_mm.profile.schema import Backend, Profile

PACKAGES = ("easyzloc-mm", "pycromanager", "pymmcore", "picassosr", "keras", "tensorflow",
            "onnxruntime", "numba", "numpy", "zarr")  # fmt: skip
DISK_PROBE_BYTES = 128 * 2**20


def examine(profile: Profile, folder: Path | None = None, model: Path | None = None) -> list[Finding]:
    """Check Python, packages, disk, speed and the devices that `profile` names. Moves no stage, opens no shutter.

    Parameters
    ----------
    profile : Profile
        The instrument to connect to.
    folder : Path, optional
        Where runs will be written; the current folder by default. Its free space and speed are measured.
    model : Path, optional
        Model bundle whose speed on this computer is held against the camera's.

    Raises
    ------
    InputError
        `model` is not one, or of another instrument.
    """
    return [
        *_software(profile),
        *_disk(profile, folder or Path.cwd()),
        _throughput(profile, model),
        _camera_units(profile),
        *_instrument(profile),
    ]


def _software(profile: Profile) -> list[Finding]:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 12)
    findings = [
        Finding(
            "python",
            Status.OK if supported else Status.WARN,
            f"{platform.python_version()} on {platform.system()}" + ("" if supported else "; 3.11 or 3.12 is tested"),
        ),
        Finding("processors", Status.OK, f"{os.cpu_count()} logical"),
    ]
    remedies = dict.fromkeys(PACKAGES, "install easyzloc-mm again with pip")
    if profile.connection.backend is Backend.EMBEDDED:
        remedies["mm-test-adapters"] = 'pip install "easyzloc-mm[demo]"'
    for name, remedy in remedies.items():
        try:
            findings.append(Finding(name, Status.OK, version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, Status.FAIL, f"not installed: {remedy}"))
    return findings


def _disk(profile: Profile, folder: Path) -> list[Finding]:
    frame_bytes = 2 * profile.camera.width_px * profile.camera.height_px
    run_gb = profile.imaging.frames * frame_bytes / 1e9
    free_gb = shutil.disk_usage(folder).free / 1e9
    block = os.urandom(2**20)
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        start = time.perf_counter()
        for _ in range(DISK_PROBE_BYTES // len(block)):
            probe.write(block)
        probe.flush()
        os.fsync(probe.fileno())
        speed = DISK_PROBE_BYTES / (time.perf_counter() - start) / 1e6
    needed = frame_bytes / (profile.imaging.exposure_ms / 1000) / 1e6
    return [
        Finding(
            "disk space",
            Status.OK if free_gb > run_gb else Status.WARN,
            f"{free_gb:.0f} GB free; one run of {profile.imaging.frames} raw frames takes up to {run_gb:.1f} GB",
        ),
        Finding(
            "disk speed",
            Status.OK if speed > needed else Status.WARN,
            f"writes {speed:.0f} MB/s; this camera at {profile.imaging.exposure_ms:g} ms gives {needed:.0f} MB/s",
        ),
    ]


def _throughput(profile: Profile, model: Path | None) -> Finding:
    if model is None:
        return Finding("localisation speed", Status.OK, "not measured: give `model` to see if this PC keeps up")
    from easyzloc_mm.localization.throughput import measure_throughput, second_look
    from easyzloc_mm.model.card import ModelCard

    ModelCard.load(model, profile)  # refuses a model of another instrument
    throughput = measure_throughput(profile, model)
    camera = 1000 / profile.imaging.exposure_ms
    text = (
        f"{throughput.frames_per_s:.0f} frames/s with {throughput.spots_per_frame:.0f} molecules each, "
        f"by {throughput.workers} process(es); this camera gives {camera:.0f} at {profile.imaging.exposure_ms:g} ms"
    )
    if throughput.frames_per_s > camera:
        twice = second_look(profile, model, throughput)
        if twice is not None:
            text += (
                f". With localize.passes = 2, {twice:.0f} frames/s: it finds more of what lies near another molecule"
            )
        return Finding("localisation speed", Status.OK, text)
    slow = "no frame will be lost, but localisation will lag and catch up after the camera stops"
    remedy = ""
    if (profile.localize.passes or 1) > 1:
        remedy = "; localize.passes = 1 in the profile is faster"
    elif profile.localize.refine:
        remedy = "; localize.refine = false in the profile is faster"
    return Finding("localisation speed", Status.WARN, f"{text}: {slow}{remedy}")


def _camera_units(profile: Profile) -> Finding:
    origin = origin_of_units(profile.camera)
    return Finding("camera units", Status.OK if origin.agrees else Status.WARN, origin.text)


def _instrument(profile: Profile) -> list[Finding]:
    from easyzloc_mm.microscope.connect import connect

    try:
        with connect(profile) as microscope:
            facts = microscope.describe()
            position = microscope.position()
    except EasyZlocError as error:
        return [Finding("microscope", Status.FAIL, str(error))]
    findings = [Finding(f"microscope {key}", Status.OK, str(value)) for key, value in facts.items()]
    findings.append(Finding("stages", Status.OK, str(position)))
    inside = profile.limits.contains(x_um=position.x_um, y_um=position.y_um, z_um=position.z_um)
    findings.append(
        Finding(
            "limits",
            Status.OK if inside else Status.WARN,
            "the stages stand inside the profile's limits"
            if inside
            else "the stages stand outside the profile's limits: move them, or correct the profile's [limits]",
        )
    )
    return findings
