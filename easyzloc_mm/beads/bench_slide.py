"""Bead slides with known truth for `bench beads`, photographed by the simulator's optics and camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.beads.light import brightness_ratio, fading_per_um
from easyzloc_mm.beads.units import mean_of_frames
from easyzloc_mm.profile import Profile

Real = NDArray[np.float64]
Progress = Callable[[str, float], None]

BEADS_PER_UM2 = 0.024
DOUBLET_SHARE, DIRT_SHARE, FLOATING_SHARE = 0.10, 0.10, 0.04
"""Of all things on the slide: pairs, specks of dirt, and beads that hang above the layer."""
DOUBLET_UM = (0.2, 0.9)
DIRT_SIZE_UM, DIRT_SPOTS, DIRT_HEIGHT_NM = (0.2, 0.8), 40, 300.0
FLOATING_NM = (700.0, 2000.0)
HEIGHT_NM = 150.0
TILT = (0.8e-3, -0.6e-3)
"""Of the slide: 1 mrad."""
PHOTONS, SPREAD, RANGE = 42_000.0, 0.35, (20_000.0, 80_000.0)
BACKGROUND = 100.0
DIM = 0.1
"""Light on every second field, relative to the others."""
BLEACHED = 0.08
"""Of a bead's brightness, from the first plane to the last (seen in the paper's data)."""
SLIDE_NM_PER_UM = (30.0, -20.0)
"""Sideways motion of the stage while it goes through focus."""
READING_NM = 1.0
"""Noise of the stage's own reading."""
EXPOSURE_S = 0.03
GOOD_CONTAMINATION, BAD_CONTAMINATION = 0.10, 0.30
"""Foreign light in the network's crop, relative to the bead's own, at the worst depth within 1 um of focus."""
CROP_PX, CROP_DEPTHS_NM = 15, np.arange(-1000.0, 1001.0, 250.0)
MAP_PX = 91
SEEN_PX = 18.0
"""The simulator's images fade out around this radius."""


@dataclass(frozen=True)
class Slide:
    """Emitters of one field of view; arrays of shape (n,).

    Attributes
    ----------
    x, y : ndarray
        Sensor pixels.
    height_nm, photons : ndarray
    thing : ndarray of int
        Emitters of one doublet or one speck share a number.
    kind : ndarray of str
        ``bead``, ``doublet``, ``dirt`` or ``floating``.
    """

    x: Real
    y: Real
    height_nm: Real
    photons: Real
    thing: NDArray[np.int64]
    kind: NDArray[np.str_]


def lay_slide(profile: Profile, rng: np.random.Generator) -> Slide:
    """Scatter beads, doublets, dirt and floating beads over one field, tilted as a whole."""
    pixel_um = profile.optics.pixel_size_nm / 1000
    width, height = profile.camera.width_px, profile.camera.height_px
    count = rng.poisson(BEADS_PER_UM2 * width * height * pixel_um**2)
    parts: list[tuple[Real, Real, Real, Real, int, str]] = []
    shares = (1 - DOUBLET_SHARE - DIRT_SHARE - FLOATING_SHARE, DOUBLET_SHARE, DIRT_SHARE, FLOATING_SHARE)
    for thing in range(count):
        x, y = rng.uniform(0, width, 1), rng.uniform(0, height, 1)
        kind = str(rng.choice(["bead", "doublet", "dirt", "floating"], p=shares))
        members = {"doublet": 2, "dirt": DIRT_SPOTS}.get(kind, 1)
        z = rng.uniform(-HEIGHT_NM, HEIGHT_NM, members)
        photons = np.clip(PHOTONS * rng.lognormal(0, SPREAD, members), *RANGE)
        if kind == "doublet":
            angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(*DOUBLET_UM) / pixel_um
            x, y = x + apart * np.cos(angle) * np.array([0, 1]), y + apart * np.sin(angle) * np.array([0, 1])
        elif kind == "dirt":
            size = rng.uniform(*DIRT_SIZE_UM) / pixel_um
            x, y = rng.normal(x, size, members), rng.normal(y, size, members)
            z = rng.uniform(-DIRT_HEIGHT_NM, DIRT_HEIGHT_NM, members)
            photons = np.full(members, rng.uniform(*RANGE) / members)
        elif kind == "floating":
            z = rng.uniform(*FLOATING_NM, 1) * rng.choice([-1, 1])
        parts.append((x, y, z, photons, thing, kind))
    sizes = [len(part[0]) for part in parts]
    x, y, z, photons = (np.concatenate([part[axis] for part in parts]) for axis in range(4))  # type: ignore[arg-type]
    return Slide(
        x=x,
        y=y,
        height_nm=z + 1000 * pixel_um * (TILT[0] * (x - width / 2) + TILT[1] * (y - height / 2)),
        photons=photons,
        thing=np.repeat([part[4] for part in parts], sizes),
        kind=np.repeat([part[5] for part in parts], sizes),
    )


def photograph_slides(
    profile: Profile,
    out: Path,
    *,
    fovs: int,
    seed: int = 0,
    slides_nm_per_um: Sequence[tuple[float, float]] = (SLIDE_NM_PER_UM,),
    focus_offsets_nm: Sequence[float] = (0.0,),
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write bead stacks of `fovs` slides by `profile`'s bead plan and return the truth.

    Every second field gets a tenth of the light. Light is shot noise, read noise and hot pixels; beads bleach along
    the scan, the stage slides sideways, and its readings are noisy.

    Parameters
    ----------
    profile : Profile
    out : Path
        ``NAME.ome.zarr``.
    fovs : int
    seed : int
        Of slides and noise.
    slides_nm_per_um : sequence of (float, float)
        Sideways motion of the stage along x and y while it rises; cycled over the fields.
    focus_offsets_nm : sequence of float
        By how much the fields' foci differ from the middle of their stacks; cycled.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    DataFrame
        One row per thing: ``fov``, ``x``, ``y`` (sensor px, in focus), ``focus_nm`` (stage position at which it is
        sharpest, relative to the field's mean focus), ``kind``, ``contamination``, ``dim``, ``verdict``: ``good``,
        ``bad``, or ``grey`` for what nobody can blame a program for keeping or rejecting.
    """
    from easyzloc_mm.simulator.camera import Points, VirtualCamera
    from easyzloc_mm.simulator.optics import embedded_optics
    from easyzloc_mm.simulator.psf_table import psf_table
    from easyzloc_mm.store.bead_stack_writer import BeadStackWriter, PlaneRecord

    optics = embedded_optics(profile)
    camera = VirtualCamera(profile, optics, psf_table(optics), seed)
    plan, pixel_nm = profile.beads, profile.optics.pixel_size_nm
    focus_um = (profile.limits.z_min_um + profile.limits.z_max_um) / 2
    truths, rng = [], np.random.default_rng((seed, 77))
    writer = BeadStackWriter(
        out,
        profile.model_dump(mode="json"),
        pixel_nm,
        plan.z_step_nm,
        (profile.camera.height_px, profile.camera.width_px),
        provenance={"simulated": True, "seed": seed},
    )
    with writer:
        for fov in range(fovs):
            slide = lay_slide(profile, rng)
            light = DIM if fov % 2 else 1.0
            away_nm = focus_offsets_nm[fov % len(focus_offsets_nm)]
            slide_x, slide_y = slides_nm_per_um[fov % len(slides_nm_per_um)]
            focus_nm = optics.focal_surface_nm(slide.x, slide.y) - slide.height_nm + away_nm
            writer.add_fov(fov, plan.planes)
            for plane in range(plan.planes):
                stage_nm = plan.z_start_nm + plane * plan.z_step_nm
                fade = 1 - BLEACHED * plane / max(plan.planes - 1, 1)
                points = Points(
                    slide.x + slide_x * (stage_nm - away_nm) / 1000 / pixel_nm,
                    slide.y + slide_y * (stage_nm - away_nm) / 1000 / pixel_nm,
                    stage_nm - focus_nm,
                    slide.photons * light * fade,
                )
                frames = (
                    camera.photograph(points, BACKGROUND * light, EXPOSURE_S, fov, plane + again * plan.planes)
                    for again in range(plan.frames_per_plane)
                )
                image = mean_of_frames(frames, 2**profile.camera.bit_depth - 1)
                z_um = focus_um + stage_nm / 1000
                read = z_um + rng.normal(0, READING_NM) / 1000
                record = PlaneRecord(z_um, read, 0.0, 0.0, 1000 * EXPOSURE_S, None, float(plane))
                writer.write_plane(fov, plane, image, record)
                if abs(stage_nm) < plan.z_step_nm / 2:
                    focused = image, points
                if progress and plane % 20 == 0:
                    progress(f"simulating: field {fov + 1} of {fovs}", (fov + plane / plan.planes) / fovs)
            before, points = focused
            faded = replace(points, photons=slide.photons * light * (1 - BLEACHED))
            after = camera.photograph(faded, BACKGROUND * light, EXPOSURE_S, fov, plan.planes)
            ratio = brightness_ratio(before, after, np.stack([slide.x, slide.y], axis=1)[slide.kind == "bead"])
            writer.note_fading(fov, fading_per_um(ratio, plan.z_stop_nm / 1000))
            truths.append(_truth(slide, focus_nm, profile).assign(fov=fov, dim=light < 1))
    return pd.concat(truths, ignore_index=True)


def _truth(slide: Slide, focus_nm: Real, profile: Profile) -> pd.DataFrame:
    """One row per thing: its brightest emitter, and how much foreign light its crop gets."""
    from easyzloc_mm.simulator.optics import embedded_optics

    optics = embedded_optics(profile)
    middle = profile.camera.width_px / 2, profile.camera.height_px / 2
    depths = np.arange(-3000.0, 3001.0, 250.0)
    images = optics.psf_stack(*middle, depths, MAP_PX)
    offsets = np.arange(MAP_PX) - MAP_PX // 2
    images[:, np.hypot(offsets[:, None], offsets[None, :]) > SEEN_PX] = 0.0
    # Sum over a crop whose middle lies (dx, dy) from the emitter.
    inside = np.cumsum(np.cumsum(np.pad(images, ((0, 0), (1, 0), (1, 0))), axis=1), axis=2)
    sums = (
        inside[:, CROP_PX:, CROP_PX:]
        - inside[:, :-CROP_PX, CROP_PX:]
        - inside[:, CROP_PX:, :-CROP_PX]
        + inside[:, :-CROP_PX, :-CROP_PX]
    )
    reach = sums.shape[1] // 2
    rows = []
    for thing in np.unique(slide.thing):
        members = np.flatnonzero(slide.thing == thing)
        main = members[np.argmax(slide.photons[members])]
        dx, dy = np.rint(slide.x[main] - slide.x).astype(int), np.rint(slide.y[main] - slide.y).astype(int)
        near = (np.abs(dx) <= reach) & (np.abs(dy) <= reach) & (np.arange(len(dx)) != main)
        worst = 0.0
        for z in CROP_DEPTHS_NM:
            own = slide.photons[main] * sums[int(np.argmin(np.abs(depths - z))), reach, reach]
            at = np.rint((z + focus_nm[main] - focus_nm[near] - depths[0]) / 250.0).astype(int)
            there = sums[np.clip(at, 0, len(depths) - 1), reach + dy[near], reach + dx[near]]
            worst = max(worst, float(np.sum(slide.photons[near] * there) / own))
        kind = str(slide.kind[main])
        margin = CROP_PX // 2 + 5
        edge = min(
            slide.x[main], slide.y[main],
            profile.camera.width_px - 1 - slide.x[main], profile.camera.height_px - 1 - slide.y[main],
        ) < margin  # fmt: skip
        verdict = "grey"
        if kind in ("doublet", "dirt") or worst > BAD_CONTAMINATION:
            verdict = "bad"
        elif worst <= GOOD_CONTAMINATION and not edge and kind == "bead":
            verdict = "good"
        rows.append(
            {
                "x": slide.x[main], "y": slide.y[main], "focus_nm": focus_nm[main], "kind": kind,
                "contamination": worst, "verdict": verdict, "photons": slide.photons[main],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
