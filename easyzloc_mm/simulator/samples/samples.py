"""What is on the slide: sub-resolution beads, and a blinking sample of nuclear pores and filaments.

Positions are stage micrometres, heights nanometres, brightness photons per millisecond
at full illumination ("High"). Beads lie left of `SMLM_FROM_UM` on the slide, molecules right of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.simulator.samples.tiles import TILE_UM, TiledSlide
from easyzloc_mm.typing import F64, I64, Bool

BEAD, PORE, FILAMENT, DIRT = 0, 1, 2, 3
STRUCTURES = ("bead", "pore", "filament", "dirt")

SMLM_FROM_UM = 2500.0

# --- beads
BEADS_PER_UM2 = 0.024
BEAD_MEDIAN_PHOTONS = 42_000.0
BEAD_REFERENCE_MS, BEAD_REFERENCE_POWER = 30.0, 1 / 3
"""Exposure and relative illumination ("Medium") at which a bead gives that many photons."""
BEAD_SPREAD, BEAD_RANGE = 0.35, (20_000.0, 80_000.0)
BEAD_HEIGHT_NM, BEAD_HEIGHT_LIMIT_NM = 40.0, 100.0
DOUBLET_PART = 0.04
DIRT_PER_UM2, DIRT_SPOTS = 0.0008, 40
SLIDE_TILT = (0.5e-3, -0.3e-3)
BEAD_DOSE_MS = 60_000.0
"""Exposure (ms at full illumination) in which a bead fades to 1/e: some 2 % in a sweep of 120 planes."""

# --- molecules
PORE_GRID = 11
"""Places for pores per tile edge."""
PORE_OCCUPANCY = 0.9
PORE_RING_NM, PORE_SPACING_NM, PORE_PAIR_NM = 107.0, 50.0, 12.0
PORE_TILT_RAD = np.radians(12.0)
FILAMENTS_PER_TILE, FILAMENT_UM, FILAMENT_STEP_UM, FILAMENT_RISE_NM = 4, 15.0, 0.008, 1000.0
LABEL_SIZE_NM = 3.0
EVENTS_PER_UM2_S = 0.27
FILAMENT_PART = 0.25
MEAN_ON_S = 0.045
MOLECULE_MEDIAN_PHOTONS_MS = 3900.0 / 30.0
"""Of a molecule that is on for a whole exposure. Frames that see only a part of the on-time bring the median
of all frames down to about 2500 per 30 ms."""
MOLECULE_SPREAD = 0.35
MOLECULE_DOSE_MS = 1_500_000.0
"""Exposure (ms at full illumination) after which the blinking has thinned out to 1/e."""
WINDOW_S = 1.0


@dataclass(frozen=True)
class Emitters:
    """Points that shine during one exposure; every array has shape (n,).

    Attributes
    ----------
    x_um, y_um, height_nm : ndarray
        Where, on the resting sample.
    photons : ndarray
        Expected photons in the exposure at the given illumination.
    emitter, structure_id : ndarray of int
        Identity of the fluorophore or bead, and of the pore, filament or bead that it belongs to.
    structure : ndarray of int
        Index into `STRUCTURES`.
    """

    x_um: F64
    y_um: F64
    height_nm: F64
    photons: F64
    emitter: I64
    structure: I64
    structure_id: I64

    def select(self, keep: Bool) -> Emitters:
        """Return the emitters where `keep` is true."""
        return Emitters(**{name: values[keep] for name, values in vars(self).items()})

    @classmethod
    def join(cls, parts: list[Emitters]) -> Emitters:
        """Return all emitters of several sets."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True)
class View:
    """What the camera sees, and for how long.

    Attributes
    ----------
    x_um, y_um, width_um, height_um : float
        Seen rectangle: middle and size.
    start_s, exposure_s : float
        Exposure on the clock of the sample.
    power : float
        Illumination relative to "High".
    """

    x_um: float
    y_um: float
    width_um: float
    height_um: float
    start_s: float
    exposure_s: float
    power: float


class BeadSlide(TiledSlide[Emitters]):
    """Beads on glass: random places, brightness and heights, doublets, dirt, slow bleaching by light."""

    background_photons_ms = 100.0 / (BEAD_REFERENCE_MS * BEAD_REFERENCE_POWER)

    def __init__(self, seed: int) -> None:
        super().__init__(seed, kind=1)
        self._dose_ms: dict[tuple[int, int], float] = {}

    def shining(self, view: View) -> Emitters:
        """Return the beads in view, bleached by the dose that they have had."""
        parts = []
        dose = view.exposure_s * 1000 * view.power
        for i, j, tile in self.seen(view.x_um, view.y_um, view.width_um, view.height_um):
            had = self._dose_ms.get((i, j), 0.0)
            self._dose_ms[i, j] = had + dose
            photons = tile.photons * dose * np.exp(-had / BEAD_DOSE_MS)
            parts.append(Emitters(**{**vars(tile), "photons": photons}))
        return Emitters.join(parts)

    def grow(self, rng: np.random.Generator, x_um: float, y_um: float, number: int) -> Emitters:
        """Return the beads of one tile."""
        count = rng.poisson(BEADS_PER_UM2 * TILE_UM**2)
        x, y = x_um + rng.uniform(0, TILE_UM, count), y_um + rng.uniform(0, TILE_UM, count)
        near = np.flatnonzero(rng.random(count) < DOUBLET_PART)
        angle, distance = rng.uniform(0, 2 * np.pi, len(near)), rng.uniform(0.2, 0.9, len(near))
        x = np.concatenate([x, x[near] + distance * np.cos(angle)])
        y = np.concatenate([y, y[near] + distance * np.sin(angle)])
        beads = len(x)
        height = np.clip(rng.normal(0, BEAD_HEIGHT_NM, beads), -BEAD_HEIGHT_LIMIT_NM, BEAD_HEIGHT_LIMIT_NM)
        photons = np.clip(BEAD_MEDIAN_PHOTONS * rng.lognormal(0, BEAD_SPREAD, beads), *BEAD_RANGE)
        identity = number * 4096 + np.arange(beads)
        structure, structure_id = np.full(beads, BEAD), identity
        for blob in range(rng.poisson(DIRT_PER_UM2 * TILE_UM**2)):
            # A speck of dirt is a cloud of points, wider than any focused bead.
            middle = np.array([x_um, y_um]) + rng.uniform(0, TILE_UM, 2)
            size = rng.uniform(0.3, 0.8)
            x = np.concatenate([x, rng.normal(middle[0], size, DIRT_SPOTS)])
            y = np.concatenate([y, rng.normal(middle[1], size, DIRT_SPOTS)])
            height = np.concatenate([height, rng.uniform(-300, 300, DIRT_SPOTS)])
            photons = np.concatenate([photons, np.full(DIRT_SPOTS, rng.uniform(20_000, 80_000) / DIRT_SPOTS)])
            structure = np.concatenate([structure, np.full(DIRT_SPOTS, DIRT)])
            structure_id = np.concatenate([structure_id, np.full(DIRT_SPOTS, number * 4096 + 4000 + blob)])
        tilt = 1000 * (SLIDE_TILT[0] * x + SLIDE_TILT[1] * y)
        return Emitters(
            x_um=x,
            y_um=y,
            height_nm=height + tilt,
            photons=photons / (BEAD_REFERENCE_MS * BEAD_REFERENCE_POWER),
            emitter=number * 4096 + np.arange(len(x)),
            structure=structure,
            structure_id=structure_id,
        )


@dataclass(frozen=True)
class Sites:
    """Labelled places of one tile: x, y (um), height (nm), structure; the first `pore_sites` lie in pores."""

    x_um: F64
    y_um: F64
    height_nm: F64
    structure: I64
    structure_id: I64
    pore_sites: int
    number: int


class BlinkingSample(TiledSlide[Sites]):
    """Nuclear pores and filaments whose labels blink.

    Every pore has 32 labels: two rings of 107 nm diameter, 50 nm apart, eight corners each, two labels per
    corner. On-times are exponential; which label goes on, when and how brightly follows from seed, tile and
    second alone.
    """

    background_photons_ms = 40.0 / 30.0

    def __init__(self, seed: int) -> None:
        super().__init__(seed, kind=2)
        self._dose_ms: dict[tuple[int, int], float] = {}
        self._events: dict[tuple[int, int, int], tuple[F64, I64]] = {}

    def shining(self, view: View) -> Emitters:
        """Return the labels that are on at any time during the exposure, with the photons of that time."""
        parts = []
        end = view.start_s + view.exposure_s
        dose = view.exposure_s * 1000 * view.power
        for i, j, tile in self.seen(view.x_um, view.y_um, view.width_um, view.height_um):
            had = self._dose_ms.get((i, j), 0.0)
            self._dose_ms[i, j] = had + dose
            for window in range(int(view.start_s // WINDOW_S) - 1, int(end // WINDOW_S) + 1):
                (begin, stop, rate, mark), site = self._window(i, j, window, tile)
                overlap = np.minimum(stop, end) - np.maximum(begin, view.start_s)
                on = (overlap > 0) & (mark < np.exp(-had / MOLECULE_DOSE_MS))
                chosen = site[on]
                parts.append(
                    Emitters(
                        x_um=tile.x_um[chosen],
                        y_um=tile.y_um[chosen],
                        height_nm=tile.height_nm[chosen],
                        photons=rate[on] * overlap[on] * 1000 * view.power,
                        emitter=tile.number * 65536 + chosen,
                        structure=tile.structure[chosen],
                        structure_id=tile.structure_id[chosen],
                    )
                )
        return Emitters.join(parts)

    def _window(self, i: int, j: int, window: int, tile: Sites) -> tuple[F64, I64]:
        """Return the events that begin in one second (begin, end in s, photons/ms, mark), and their sites."""
        key = (i, j, window)
        if key not in self._events:
            if len(self._events) > 2000:
                self._events.clear()
            rng = self.rng(i, j, window + (1 << 31))
            count = rng.poisson(EVENTS_PER_UM2_S * TILE_UM**2 * WINDOW_S)
            begin = (window + rng.random(count)) * WINDOW_S
            # No event outlives the next window, where it is looked for.
            stop = begin + np.minimum(rng.exponential(MEAN_ON_S, count), WINDOW_S)
            rate = MOLECULE_MEDIAN_PHOTONS_MS * rng.lognormal(0, MOLECULE_SPREAD, count)
            in_filament = rng.random(count) < FILAMENT_PART
            site = np.where(
                in_filament,
                rng.integers(tile.pore_sites, len(tile.x_um), count),
                rng.integers(0, tile.pore_sites, count),
            )
            self._events[key] = (np.stack([begin, stop, rate, rng.random(count)]), site)
        return self._events[key]

    def grow(self, rng: np.random.Generator, x_um: float, y_um: float, number: int) -> Sites:
        """Return the labelled places of one tile: pores in the membrane, and filaments."""
        cell = TILE_UM / PORE_GRID
        row, column = np.divmod(np.flatnonzero(rng.random(PORE_GRID**2) < PORE_OCCUPANCY), PORE_GRID)
        jitter = rng.uniform(-0.3, 0.3, (2, len(row)))
        px = x_um + (column + 0.5 + jitter[0]) * cell
        py = y_um + (row + 0.5 + jitter[1]) * cell
        offsets = np.stack([_pore(rng) for _ in px])
        x = (px[:, None] + offsets[:, 0] / 1000).ravel()
        y = (py[:, None] + offsets[:, 1] / 1000).ravel()
        height = (membrane_nm(px, py)[:, None] + offsets[:, 2]).ravel()
        pores = len(x)
        structure_id = number * 1024 + np.repeat(np.arange(len(px)), offsets.shape[2])
        for filament in range(FILAMENTS_PER_TILE):
            fx, fy, fz = _filament(rng)
            x, y = np.concatenate([x, x_um + fx]), np.concatenate([y, y_um + fy])
            height = np.concatenate([height, fz])
            structure_id = np.concatenate([structure_id, np.full(len(fx), number * 1024 + 1000 + filament)])
        size = rng.normal(0, LABEL_SIZE_NM, (3, len(x)))
        return Sites(
            x_um=x + size[0] / 1000,
            y_um=y + size[1] / 1000,
            height_nm=height + size[2],
            structure=np.where(np.arange(len(x)) < pores, PORE, FILAMENT),
            structure_id=structure_id,
            pore_sites=pores,
            number=number,
        )


def membrane_nm(x_um: F64, y_um: F64) -> F64:
    """Return the height of the membrane that carries the pores: gentle waves within +-400 nm."""
    return np.asarray(250 * np.sin(2 * np.pi * x_um / 41 + 0.7) + 150 * np.sin(2 * np.pi * y_um / 29 + 2.1))


def _pore(rng: np.random.Generator) -> F64:
    """Return the 32 labels of one pore, shape (3, 32), nm from its middle."""
    corner = np.arange(8) * np.pi / 4 + rng.uniform(0, np.pi / 4)
    twist = PORE_PAIR_NM / PORE_RING_NM
    angle = np.concatenate([corner - twist, corner + twist])
    ring = np.stack([np.cos(angle), np.sin(angle)]) * PORE_RING_NM / 2
    flat = np.concatenate([np.tile(ring, (1, 2)), np.repeat([[-0.5, 0.5]], 16, axis=1) * PORE_SPACING_NM])
    axis, tilt = rng.uniform(0, 2 * np.pi), min(abs(rng.normal(0, PORE_TILT_RAD / 2)), PORE_TILT_RAD)
    turn = np.array([[np.cos(axis), -np.sin(axis), 0], [np.sin(axis), np.cos(axis), 0], [0, 0, 1]])
    lean = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    return np.asarray(turn @ lean @ turn.T @ flat)


def _filament(rng: np.random.Generator) -> tuple[F64, F64, F64]:
    """Return a gently curved filament inside the tile, rising by 1 um from end to end: x, y (um), z (nm)."""
    along = np.arange(0, FILAMENT_UM, FILAMENT_STEP_UM)
    start, heading = rng.uniform(0, TILE_UM, 2), rng.uniform(0, 2 * np.pi)
    direction = heading + rng.uniform(-1, 1) * along / FILAMENT_UM + 0.3 * np.sin(along / 2 + rng.uniform(0, 6))
    x = start[0] + np.cumsum(np.cos(direction)) * FILAMENT_STEP_UM
    y = start[1] + np.cumsum(np.sin(direction)) * FILAMENT_STEP_UM
    rising = rng.choice([-1.0, 1.0])
    z = rising * (along / FILAMENT_UM - 0.5) * FILAMENT_RISE_NM
    # What would leave the tile is folded back: a filament belongs to one tile.
    return _folded(x), _folded(y), z


def _folded(position: F64) -> F64:
    return np.asarray(TILE_UM - np.abs(TILE_UM - np.mod(position, 2 * TILE_UM)))
