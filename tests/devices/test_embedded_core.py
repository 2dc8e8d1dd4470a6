"""The embedded microscope as a live MMCore: pixels are ours, everything else is the real core's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.embedded.configuration import configuration_text
from easyzloc_mm.simulator.embedded.core import start_embedded_core
from easyzloc_mm.simulator.embedded.truth import ground_truth
from easyzloc_mm.simulator.optics.objective import embedded_optics
from easyzloc_mm.simulator.scene import Scene
from tests.helpers.patience import PATIENCE_S, wait_until

Pixels = NDArray[np.uint16]


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo").replace(camera={"width_px": 256, "height_px": 200}, connection={"buffer_size_mb": 16})


@pytest.fixture(scope="module")
def running(profile: Profile) -> Iterator[Any]:
    from mmpycorex import terminate_core_instances

    # Started twice in one process, as a user who connects again does.
    start_embedded_core(profile)
    terminate_core_instances()
    yield start_embedded_core(profile)
    terminate_core_instances()


def test_what_images_need_is_compiled_before_a_camera_has_to_answer(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a new computer that takes longer than the deadline of an image."""
    done: list[str] = []

    class BegunError(Exception):
        pass

    def begin(**_options: object) -> None:
        done.append("core")
        raise BegunError

    expose = Scene.expose

    def note(*given: Any) -> Any:
        done.append("image")
        return expose(*given)

    monkeypatch.setattr(Scene, "expose", note)
    monkeypatch.setattr("mmpycorex.create_core_instance", begin)
    with pytest.raises(BegunError):
        start_embedded_core(profile)
    assert done == ["image", "core"]


@pytest.fixture
def core(running: Any) -> Any:
    """In focus over the beads, 30 ms, lit with "Medium", auto-shutter."""
    if running.is_sequence_running():
        running.stop_sequence_acquisition()
    running.set_auto_shutter(True)
    running.set_shutter_open(False)
    running.set_position("Z", 50.0)
    running.set_xy_position("XY", 0.0, 0.0)
    running.wait_for_device("XY")
    running.set_exposure(30.0)
    running.set_config("Illumination", "Medium")
    return running


def snap(core: Any) -> Pixels:
    core.snap_image()
    return np.asarray(core.get_image())


def stream(core: Any, frames: int) -> list[Any]:
    """Images with their tags, as `pop_next_tagged_image` gives them."""
    core.start_sequence_acquisition(frames, 0, True)
    got, deadline = [], time.monotonic() + PATIENCE_S
    while (core.is_sequence_running() or core.get_remaining_image_count()) and time.monotonic() < deadline:
        if core.get_remaining_image_count():
            got.append(core.pop_next_tagged_image())
        else:
            time.sleep(0.001)
    return got


def likeness(first: Pixels, second: Pixels) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_devices_are_those_of_the_profile(core: Any, profile: Profile) -> None:
    devices = profile.devices
    assert {devices.camera, devices.z_stage, devices.xy_stage, devices.shutter} <= set(core.get_loaded_devices())
    assert (core.get_image_width(), core.get_image_height()) == (256, 200)
    assert (core.get_bytes_per_pixel(), core.get_image_bit_depth()) == (2, 16)
    assert core.get_pixel_size_um() == pytest.approx(0.11)
    assert set(core.get_available_configs("Illumination")) == {"Off", "Low", "Medium", "High"}
    assert snap(core).shape == (200, 256)
    assert core.getImage().dtype == np.uint16
    assert np.array_equal(core.get_tagged_image(0, "Camera", 200, 256).pix, core.get_image())


def test_stage_moves_show_another_place(core: Any) -> None:
    here = snap(core)
    assert likeness(here, snap(core)) > 0.9
    core.set_xy_position("XY", 80.0, 0.0)
    core.wait_for_device("XY")
    assert likeness(here, snap(core)) < 0.3
    core.set_xy_position("XY", 0.0, 0.0)
    core.wait_for_device("XY")
    assert likeness(here, snap(core)) > 0.9


def test_moving_the_stage_by_some_pixels_shifts_the_image(core: Any) -> None:
    here = snap(core).astype(float)
    core.set_xy_position("XY", 1.1, 0.55)
    core.wait_for_device("XY")
    there = snap(core).astype(float)
    shift = np.fft.ifft2(np.fft.fft2(here - here.mean()) * np.conj(np.fft.fft2(there - there.mean()))).real
    row, column = np.unravel_index(np.argmax(shift), shift.shape)
    assert (int(column), int(row)) == (10, 5)


def test_z_defocuses_with_a_sign(core: Any) -> None:
    sharp = {}
    for z in (-0.7, 0.0, 0.7):
        core.set_position("Z", 50.0 + z)
        image = snap(core).astype(float)
        sharp[z] = image.max() - np.median(image)
    assert sharp[0.0] > 2 * sharp[-0.7] > 4 * sharp[0.7]


def test_light_and_exposure_scale_the_image(core: Any, profile: Profile) -> None:
    def background() -> float:
        return float(np.median(snap(core))) - profile.camera.baseline_adu

    medium = background()
    assert medium * profile.camera.electrons_per_adu == pytest.approx(100, rel=0.3)
    core.set_exposure(60.0)
    assert background() == pytest.approx(2 * medium, rel=0.02)
    core.set_exposure(30.0)
    core.set_config("Illumination", "High")
    assert background() == pytest.approx(3 * medium, rel=0.02)
    core.set_config("Illumination", "Off")
    assert abs(background()) < 2


def test_closed_shutter_is_dark(core: Any) -> None:
    core.set_auto_shutter(False)
    assert snap(core).max() < 300
    core.set_shutter_open(True)
    assert snap(core).max() > 2000
    assert stream(core, 2)[1].pix.max() > 2000
    core.set_shutter_open(False)
    assert stream(core, 2)[1].pix.max() < 300
    core.set_auto_shutter(True)
    assert all(image.pix.max() > 2000 for image in stream(core, 3))


def test_frames_in_the_buffer_show_what_was_when_they_were_taken(core: Any) -> None:
    core.set_auto_shutter(False)
    core.set_shutter_open(True)
    lit = snap(core)
    core.start_sequence_acquisition(4, 0, True)
    while core.is_sequence_running():
        time.sleep(0.005)
    core.set_shutter_open(False)
    core.set_position("Z", 52.0)
    late = [core.pop_next_tagged_image().pix for _ in range(4)]
    assert all(likeness(lit, image) > 0.9 for image in late)


def test_region_of_interest_cuts_the_sensor(core: Any) -> None:
    whole = snap(core)
    core.set_roi(32, 16, 96, 64)
    try:
        part = snap(core)
        assert part.shape == (64, 96)
        assert likeness(part, whole[16:80, 32:128]) > 0.9
    finally:
        core.clear_roi()


def test_overflow_is_the_real_cores(core: Any) -> None:
    core.set_exposure(1.0)
    core.start_sequence_acquisition(2000, 0, True)
    wait_until(lambda: not core.is_sequence_running(), "the sequence ends")
    assert core.is_buffer_overflowed()
    held = core.get_remaining_image_count()
    assert 100 < held < 200  # 16 MB of 100 kB frames
    numbers = [int(core.pop_next_tagged_image().tags["ImageNumber"]) for _ in range(held)]
    assert numbers == list(range(held))
    with pytest.raises(Exception, match="buffer is empty"):
        core.pop_next_image()


def test_errors_are_the_real_cores(core: Any) -> None:
    with pytest.raises(Exception, match="out of range"):
        core.set_position("Z", 400.0)
    core.start_sequence_acquisition(50, 0, True)
    with pytest.raises(Exception, match="sequence"):
        core.snap_image()
    core.stop_sequence_acquisition()


def to_molecules(core: Any) -> None:
    core.set_auto_shutter(False)
    core.set_xy_position("XY", 5000.0, 0.0)
    core.wait_for_device("XY")
    core.set_config("Illumination", "High")


def test_truth_matches_the_images(core: Any, profile: Profile) -> None:
    to_molecules(core)
    stream(core, 2)  # a dark warm-up is no part of the run
    core.set_shutter_open(True)
    frames = np.stack([image.pix for image in stream(core, 40)])
    tables = ground_truth()
    truth, drift = tables["emitters"], tables["drift"]
    assert sorted(truth["frame"].unique()) == list(range(40))
    assert set(truth["structure"]) == {"pore", "filament"}
    moved = truth.merge(drift, on="frame", suffixes=("", "_drift"))
    for axis in "xy":
        assert (moved[axis] - moved[f"sample_{axis}"] - moved[f"{axis}_drift"]).abs().max() < 1e-9
    electrons = (frames - profile.camera.baseline_adu) * profile.camera.electrons_per_adu
    errors = lonely_centroid_errors(electrons, truth)
    assert len(errors) > 40
    assert np.abs(np.median(errors, axis=0)).max() < 0.15
    assert np.percentile(np.hypot(*errors.T), 80) < 0.6


def lonely_centroid_errors(electrons: NDArray[np.float64], truth: pd.DataFrame) -> NDArray[np.float64]:
    """Centroid minus truth (px) of bright emitters near focus that have no neighbour."""
    errors = []
    row: Any
    for frame, rows in truth.groupby("frame"):
        places = rows[["x", "y"]].to_numpy()
        for row in rows[(rows["photons"] > 2500) & (rows["z"].abs() < 250)].itertuples():
            x, y = round(row.x), round(row.y)
            near = np.hypot(*(places - (row.x, row.y)).T) < 15
            if near.sum() > 1 or not (8 <= x < electrons.shape[2] - 8 and 8 <= y < electrons.shape[1] - 8):
                continue
            box = electrons[int(str(frame)), y - 3 : y + 4, x - 3 : x + 4] - row.background
            grid = np.arange(-3, 4)
            centre = np.array([(box.sum(0) * grid).sum(), (box.sum(1) * grid).sum()]) / box.sum()
            errors.append(centre + np.array([x - row.x, y - row.y]))
    return np.array(errors)


def test_truth_counts_frames_through_a_run_of_several_sequences(core: Any) -> None:
    to_molecules(core)
    core.set_shutter_open(True)
    for _ in range(3):
        stream(core, 4)
    assert ground_truth()["drift"]["frame"].tolist() == list(range(12))
    core.set_shutter_open(False)
    core.set_shutter_open(True)
    stream(core, 5)
    table = ground_truth()
    assert table["drift"]["frame"].tolist() == list(range(5))
    assert table["drift"]["time_s"].is_monotonic_increasing


def test_truth_z_is_the_defocus_against_the_local_focus(core: Any, profile: Profile) -> None:
    to_molecules(core)
    core.set_shutter_open(True)
    optics = embedded_optics(profile)
    for z_um in (50.0, 50.3):
        core.set_position("Z", z_um)
        stream(core, 2)
        tables = ground_truth()
        truth = tables["emitters"].merge(tables["drift"], on="frame", suffixes=("", "_drift"))
        surface = optics.focal_surface_nm(truth["x"].to_numpy(), truth["y"].to_numpy())
        stage = truth["z"] - truth["sample_z"] - truth["z_drift"] + surface
        assert stage.to_numpy() == pytest.approx(1000 * (z_um - 50.0), abs=1e-6)


def test_images_may_be_taken_from_any_thread(core: Any) -> None:
    core.set_auto_shutter(False)
    core.set_shutter_open(True)
    seen: list[int] = []
    worker = threading.Thread(target=lambda: seen.extend(int(image.pix.max()) for image in stream(core, 5)))
    worker.start()
    worker.join(30)
    assert len(seen) == 5
    assert min(seen) > 2000


def test_impossible_profiles_are_refused(profile: Profile) -> None:
    with pytest.raises(InputError, match="its own label"):
        configuration_text(profile.replace(devices={"z_stage": "Camera"}), 50.0)
    with pytest.raises(InputError, match="Bright"):
        configuration_text(profile.replace(imaging={"illumination": "Bright"}), 50.0)
