"""The embedded microscope with images rendered beforehand: real MMCore timing, at the cost of a copy per frame.

Rendering an image takes a third to a whole frame period of one core, which a real camera does not. Where the speed of
the rest is measured, the embedded camera shows the same few frames in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.camera import Points, VirtualCamera
from easyzloc_mm.simulator.embedded import core as embedded_core
from easyzloc_mm.simulator.optics.objective import embedded_optics
from easyzloc_mm.simulator.optics.psf_table import psf_table
from easyzloc_mm.simulator.samples.samples import Emitters
from easyzloc_mm.simulator.scene import Scene, Setting, Truth
from easyzloc_mm.typing import U16

MEDIAN_PHOTONS, PHOTON_SPREAD = 2500.0, 0.5
BACKGROUND_PHOTONS = 40.0
DEPTH_NM = 600.0
EXPOSURE_S = 0.03


def render_frames(profile: Profile, emitters: int, count: int, seed: int = 0) -> U16:
    """Render frames of molecules at random places and depths.

    Parameters
    ----------
    profile : Profile
        Optics and camera.
    emitters : int
        Molecules per frame.
    count : int
        Frames.

    Returns
    -------
    ndarray, shape (count, height, width), uint16
        ADU.
    """
    optics = embedded_optics(profile)
    camera = VirtualCamera(profile, optics, psf_table(optics), seed)
    frames = np.empty((count, profile.camera.height_px, profile.camera.width_px), np.uint16)
    for number, points in enumerate(_points(profile, emitters, count, seed)):
        frames[number] = camera.photograph(points, BACKGROUND_PHOTONS, EXPOSURE_S, number)
    return frames


def truth_of_frames(profile: Profile, emitters: int, count: int, seed: int = 0) -> pd.DataFrame:
    """Return the molecules of `render_frames`: ``frame``, ``x``, ``y`` (px), ``z`` (nm, local), ``photons``."""
    drawn = _points(profile, emitters, count, seed)
    parts = (
        pd.DataFrame({"frame": number, "x": one.x, "y": one.y, "z": one.z, "photons": one.photons})
        for number, one in enumerate(drawn)
    )
    return pd.concat(parts, ignore_index=True)


def _points(profile: Profile, emitters: int, count: int, seed: int) -> Iterator[Points]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield Points(
            x=rng.uniform(0, profile.camera.width_px - 1, emitters),
            y=rng.uniform(0, profile.camera.height_px - 1, emitters),
            z=rng.uniform(-DEPTH_NM, DEPTH_NM, emitters),
            photons=rng.lognormal(np.log(MEDIAN_PHOTONS), PHOTON_SPREAD, emitters),
        )


class _Replay(Scene):
    def __init__(self, profile: Profile, seed: int, frames: U16) -> None:
        super().__init__(profile, seed)
        self._shown = frames
        none = np.empty(0)
        whole = np.empty(0, np.int64)
        dark = Emitters(none, none, none, none, whole, whole, whole)
        self._truth = Truth(dark, Points(none, none, none, none), none, none, none, np.zeros(3))

    def expose(self, setting: Setting, *noise_seed: int) -> tuple[U16, Truth]:
        return self._shown[noise_seed[0] % len(self._shown)].copy(), self._truth


@contextmanager
def replayed(frames: U16) -> Iterator[None]:
    """Let the embedded microscopes that are started inside show `frames` in turn; they keep no truth."""
    before = embedded_core.SCENE

    def scene(profile: Profile, seed: int) -> Scene:
        return _Replay(profile, seed, frames)

    embedded_core.SCENE = scene
    try:
        yield
    finally:
        embedded_core.SCENE = before
