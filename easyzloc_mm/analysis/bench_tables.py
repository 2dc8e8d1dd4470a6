"""Localisation tables with a known truth: pores and filaments that blink on a sample that drifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Real = NDArray[np.float64]

PIXEL_NM = 110.0
RING_NM, PORE_SPACING_NM = 107.0, 50.0
ON_FRAMES = 1.7
"""Mean frames that a molecule stays on."""


@dataclass(frozen=True)
class KnownTable:
    """A table and how its sample moved.

    Attributes
    ----------
    table : DataFrame
        Localisations, Picasso's columns.
    drift_nm : ndarray, shape (frames, 3)
        Displacement of the sample, mean 0.
    edge_px : int
        Height and width of the field.
    frames : int
    """

    table: pd.DataFrame
    drift_nm: Real
    edge_px: int
    frames: int


def known_drift(frames: int, range_nm: tuple[float, float, float], rng: np.random.Generator) -> Real:
    """Smooth random walk whose range is exactly `range_nm`, x, y, z."""
    from scipy.interpolate import CubicSpline

    knots = np.linspace(0, frames - 1, 12)
    path = np.empty((frames, 3))
    for axis, span in enumerate(range_nm):
        walk = np.cumsum(rng.normal(0.4, 1.0, len(knots)))
        smooth = CubicSpline(knots, walk)(np.arange(frames))
        path[:, axis] = smooth / np.ptp(smooth) * span
    return path - path.mean(axis=0)


def pore_sites(centres: Real, rng: np.random.Generator, *, spacing_nm: float = PORE_SPACING_NM) -> Real:
    """Labels of nuclear pores, shape (pores, 32, 3), nm: two rings of 16, tilted by up to some 10 degrees."""
    corner = np.arange(8) * np.pi / 4 + rng.uniform(0, np.pi / 4, (len(centres), 1))
    angle = np.concatenate([corner - 6 / (RING_NM / 2), corner + 6 / (RING_NM / 2)] * 2, axis=1)
    flat = np.stack(
        [
            RING_NM / 2 * np.cos(angle),
            RING_NM / 2 * np.sin(angle),
            np.tile(np.repeat([-0.5, 0.5], 16), (len(angle), 1)),
        ],
        2,
    )
    flat[..., 2] *= spacing_nm
    lean = rng.normal(0, np.radians(5), (len(centres), 2))
    flat[..., 2] += flat[..., 0] * lean[:, :1] + flat[..., 1] * lean[:, 1:]
    return np.asarray(centres[:, None, :] + flat + rng.normal(0, 3.0, flat.shape))


def drifting_table(
    *,
    seed: int = 0,
    frames: int = 20_000,
    per_frame: float = 20.0,
    edge_px: int = 200,
    drift_nm: tuple[float, float, float] = (500.0, 500.0, 400.0),
    markers: int = 0,
    fading_depth: bool = False,
    sigma_z_nm: float = 25.0,
) -> KnownTable:
    """Make a run of a blinking sample of nuclear pores on a wavy membrane, and filaments between them.

    Parameters
    ----------
    per_frame : float
        Localisations in a frame, on average (half as many at the end of the run).
    drift_nm : (float, float, float)
        Range of the drift in x, y, z.
    markers : int
        Fiducial markers, each in 97 of 100 frames.
    fading_depth : bool
        Molecules high up bleach first, so that the mean depth moves without any drift.
    """
    rng = np.random.default_rng(seed)
    edge = edge_px * PIXEL_NM
    path = known_drift(frames, drift_nm, rng)
    middle = rng.uniform(600, edge - 600, (int((edge / 1000) ** 2 * 0.9), 2))
    height = 250 * np.sin(middle[:, 0] / 6000) + 150 * np.sin(middle[:, 1] / 4500)
    sites = [pore_sites(np.column_stack([middle, height]), rng).reshape(-1, 3)]
    for _ in range(max(3, int(edge / 2500))):
        along = np.arange(0, 0.8 * edge, 15.0)
        start, heading = rng.uniform(0.1 * edge, 0.9 * edge, 2), rng.uniform(0, 2 * np.pi)
        line = start + along[:, None] * np.array([np.cos(heading), np.sin(heading)])
        line += 300 * np.sin(along / 1500 + rng.uniform(0, 6))[:, None]
        rise = np.linspace(-1, 1, len(along)) * 300 * rng.choice([-1, 1])
        sites.append(np.column_stack([line, rise]))
    site = np.concatenate(sites)
    site = site[((site[:, :2] > 600) & (site[:, :2] < edge - 600)).all(axis=1)]
    events = rng.poisson(per_frame * frames / ON_FRAMES)
    # Bleaching: half as many events at the end.
    begin = (frames * (1 - np.sqrt(1 - 0.75 * rng.random(events))) / 0.5).astype(int)
    which = rng.integers(0, len(site), events)
    if fading_depth:
        chance = np.clip(0.5 + (0.5 - begin / frames) * site[which, 2] / 250, 0.02, 1)
        stays = rng.random(events) < chance
        begin, which = begin[stays], which[stays]
    on = rng.geometric(1 / ON_FRAMES, len(begin))
    frame = np.repeat(begin, on) + np.concatenate([np.arange(n) for n in on])
    which = np.repeat(which, on)[frame < frames]
    frame = frame[frame < frames]
    photons = 2500 * rng.lognormal(0, 0.5, len(frame))
    lateral = 10.0 * np.sqrt(2500 / photons)
    axial = sigma_z_nm * np.sqrt(2500 / photons)
    place = site[which]
    if markers:
        spot = np.column_stack([rng.uniform(0.1, 0.9, (markers, 2)) * edge, rng.uniform(-200, 200, markers)])
        shown = rng.random((frames, markers)) < 0.97
        when, who = np.nonzero(shown)
        frame, place = np.concatenate([frame, when]), np.concatenate([place, spot[who]])
        photons = np.concatenate([photons, rng.normal(20_000, 1000, len(when))])
        lateral = np.concatenate([lateral, np.full(len(when), 3.5)])
        axial = np.concatenate([axial, np.full(len(when), sigma_z_nm * 0.35)])
    place = place + path[frame] + rng.normal(size=(len(frame), 3)) * np.column_stack([lateral, lateral, axial])
    table = pd.DataFrame(
        {
            "frame": frame.astype(np.uint32),
            "x": place[:, 0] / PIXEL_NM,
            "y": place[:, 1] / PIXEL_NM,
            "photons": photons,
            "sx": 1.2,
            "sy": 1.2,
            "bg": 40.0,
            "lpx": lateral / PIXEL_NM,
            "lpy": lateral / PIXEL_NM,
            "ellipticity": 0.0,
            "net_gradient": 5000.0,
            "z": place[:, 2],
            "lpz": axial,
        }
    )
    table = table.astype({name: np.float32 for name in table if name != "frame"})
    table["z_flag"] = np.uint8(0)
    return KnownTable(table.sort_values("frame", kind="stable", ignore_index=True), path, edge_px, frames)
