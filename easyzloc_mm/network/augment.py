"""Turn bead stacks into what the camera would have recorded of a molecule: the ``matched`` training images.

A bead is some twenty times brighter than a molecule. Its background-free image, scaled down to a molecule's photons
and laid over a molecule's background, is an almost noise-free expectation; the camera's noise is then drawn anew. Every
image is drawn once and never again: depth between the planes, brightness, background, sub-pixel place, error of the
crop, and sometimes a neighbour.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numba
import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.network.inputs import ROI_PX, network_input
from easyzloc_mm.store.bead_set import BeadSet

Floats = NDArray[np.float32]

IN_FOCUS_NM = 200.0
"""Planes nearer to focus than this tell a bead's brightness and background."""


@dataclass(frozen=True)
class MoleculeDomain:
    """The molecules that a model shall know.

    Attributes
    ----------
    photons, background : (float, float)
        Range of photons per molecule and of background photons per pixel, drawn log-uniformly.
    crop_error_px : float
        Standard deviation of the place at which a spot is cut out, beyond the rounding to a pixel.
    neighbour_share : float
        Share of images with a second molecule between `neighbour_px` pixels away.
    z_limit_nm : float
        Depths are drawn uniformly from -z_limit_nm to z_limit_nm.
    """

    photons: tuple[float, float] = (300.0, 10000.0)
    background: tuple[float, float] = (5.0, 150.0)
    crop_error_px: float = 0.4
    neighbour_share: float = 0.1
    neighbour_px: tuple[float, float] = (5.0, 12.0)
    z_limit_nm: float = 1250.0


@dataclass(frozen=True)
class BeadSource:
    """Background-free bead stacks in photons, ready to draw from.

    Attributes
    ----------
    stacks : ndarray, shape (n, P, R, R), float32
        Photons above background; 0 where there is no plane.
    z_nm : ndarray, shape (n, P), float32
        Labels, rising; unused planes lie at the end.
    planes : ndarray, shape (n,)
        Planes in use.
    brightness : ndarray, shape (n,)
        Photons of the bead in focus.
    centre : ndarray, shape (n, 2)
        x and y of the bead inside its ROI, pixels.
    x, y : ndarray, shape (n,)
        Sensor position.
    """

    stacks: Floats
    z_nm: Floats
    planes: NDArray[np.int64]
    brightness: Floats
    centre: Floats
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    field_size_px: tuple[int, int]
    read_noise_e: float

    def __len__(self) -> int:
        return len(self.stacks)

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Depths that at least half of the beads cover."""
        last = self.z_nm[np.arange(len(self)), self.planes - 1]
        return float(np.median(self.z_nm[:, 0])), float(np.median(last))

    @classmethod
    def from_beads(cls, beads: BeadSet, chosen: NDArray[np.integer]) -> BeadSource:
        """Prepare the beads with indices `chosen`.

        Raises
        ------
        InputError
            A chosen bead has no plane near its focus.
        """
        rois = beads.rois[chosen]
        labels = beads.z_nm[chosen].astype(np.float32)
        order = np.argsort(np.where(np.isfinite(labels), labels, np.inf), axis=1, kind="stable")
        z_nm = np.take_along_axis(labels, order, axis=1)
        planes = np.isfinite(z_nm).sum(axis=1)
        stacks = (
            np.take_along_axis(rois, order[:, :, None, None], axis=1).astype(np.float32) - beads.units.baseline_adu
        ) * np.float32(beads.units.electrons_per_adu)
        stacks[~np.isfinite(z_nm)] = 0.0
        near = np.abs(np.nan_to_num(z_nm, nan=np.inf)) <= IN_FOCUS_NM
        if not near.any(axis=1).all():
            raise InputError("a bead has no plane near its focus: build the bead data set again from complete stacks")
        border = np.concatenate(
            [stacks[:, :, 0], stacks[:, :, -1], stacks[:, :, 1:-1, 0], stacks[:, :, 1:-1, -1]], axis=2
        )
        for bead in range(len(stacks)):
            # The rim of the ROI is darkest where the bead is sharp: that is the background of the whole stack.
            stacks[bead] -= np.median(border[bead, near[bead]])
        stacks[~np.isfinite(z_nm)] = 0.0
        brightness = np.array([stacks[i, near[i]].sum(axis=(1, 2)).mean() for i in range(len(stacks))], np.float32)
        centre = np.stack(
            [beads.x[chosen] - beads.roi_x0[chosen], beads.y[chosen] - beads.roi_y0[chosen]], axis=1
        ).astype(np.float32)
        return cls(
            stacks=stacks,
            z_nm=np.where(np.isfinite(z_nm), z_nm, np.float32(1e9)),
            planes=planes.astype(np.int64),
            brightness=brightness,
            centre=centre,
            x=beads.x[chosen],
            y=beads.y[chosen],
            field_size_px=beads.field_size_px,
            read_noise_e=beads.units.read_noise_e,
        )


@dataclass(frozen=True)
class Molecules:
    """Drawn molecules: crops and the truth about them.

    Attributes
    ----------
    crops : ndarray, shape (n, 15, 15), float32
        Photons.
    z_nm, photons, background, x, y : ndarray, shape (n,)
        Truth; x, y are the sensor position of the bead that was drawn.
    bead : ndarray, shape (n,)
        Index into the source.
    """

    crops: Floats
    z_nm: Floats
    photons: Floats
    background: Floats
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    bead: NDArray[np.int64]


def draw_molecules(source: BeadSource, domain: MoleculeDomain, count: int, seed: int) -> Molecules:
    """Draw `count` molecules; the same seed gives the same ones."""
    crops = np.empty((count, ROI_PX, ROI_PX), np.float32)
    truth = np.empty((count, 3), np.float32)
    bead = np.empty(count, np.int64)
    low, high = source.z_range_nm
    _draw(
        source.stacks,
        source.z_nm,
        source.planes,
        source.brightness,
        source.centre,
        np.array([max(low, -domain.z_limit_nm), min(high, domain.z_limit_nm)]),
        np.log(np.array(domain.photons)),
        np.log(np.array(domain.background)),
        np.array([domain.crop_error_px, domain.neighbour_share, *domain.neighbour_px]),
        source.read_noise_e,
        seed,
        crops,
        truth,
        bead,
    )
    return Molecules(crops, truth[:, 0], truth[:, 1], truth[:, 2], source.x[bead], source.y[bead], bead)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _cubic(t, weights):  # type: ignore[no-untyped-def]
    weights[0] = ((-0.5 * t + 1) * t - 0.5) * t
    weights[1] = (1.5 * t - 2.5) * t * t + 1
    weights[2] = ((-1.5 * t + 2) * t + 0.5) * t
    weights[3] = (0.5 * t - 0.5) * t * t


@numba.njit(nogil=True, cache=True, fastmath=True)
def _draw(  # type: ignore[no-untyped-def]
    stacks, z_nm, planes, brightness, centre, z_range, photons, background, geometry, read_noise, seed, crops, truth,
    bead,
):  # fmt: skip
    np.random.seed(seed)
    size = crops.shape[1]
    half = size // 2
    edge = stacks.shape[2]
    wx = np.empty(4)
    wy = np.empty(4)
    expected = np.empty((size, size))
    for i in range(len(crops)):
        level = np.exp(np.random.uniform(background[0], background[1]))
        expected[:] = level
        spots = 2 if np.random.random() < geometry[1] else 1
        for spot in range(spots):
            depth = np.random.uniform(z_range[0], z_range[1])
            j = np.random.randint(len(stacks))
            # Few beads miss the ends of the range; try another bead rather than bend the distribution of depths.
            for _ in range(50):
                if z_nm[j, 0] <= depth <= z_nm[j, planes[j] - 1]:
                    break
                j = np.random.randint(len(stacks))
            upper = min(max(np.searchsorted(z_nm[j, : planes[j]], depth), 1), planes[j] - 1)
            gap = z_nm[j, upper] - z_nm[j, upper - 1]
            t = min(max((depth - z_nm[j, upper - 1]) / gap, 0.0), 1.0)
            count = np.exp(np.random.uniform(photons[0], photons[1]))
            if spot == 0:
                dx = np.random.uniform(-0.5, 0.5) + np.random.normal() * geometry[0]
                dy = np.random.uniform(-0.5, 0.5) + np.random.normal() * geometry[0]
                bead[i] = j
                truth[i, 0] = depth
                truth[i, 1] = count
                truth[i, 2] = level
            else:
                angle = np.random.uniform(0, 2 * np.pi)
                distance = np.random.uniform(geometry[2], geometry[3])
                dx = distance * np.cos(angle)
                dy = distance * np.sin(angle)
            # Pixel a of the crop samples the stack at centre + (a - half - d).
            left = centre[j, 0] - half - dx
            top = centre[j, 1] - half - dy
            x0 = int(np.floor(left))
            y0 = int(np.floor(top))
            _cubic(left - x0, wx)
            _cubic(top - y0, wy)
            scale = count / brightness[j]
            below = stacks[j, upper - 1]
            above = stacks[j, upper]
            for a in range(size):
                for b in range(size):
                    value = 0.0
                    for c in range(4):
                        row = y0 + a + c - 1
                        if row < 0 or row >= edge:
                            continue
                        for d in range(4):
                            column = x0 + b + d - 1
                            if column < 0 or column >= edge:
                                continue
                            value += wy[c] * wx[d] * ((1 - t) * below[row, column] + t * above[row, column])
                    expected[a, b] += scale * value
        for a in range(size):
            for b in range(size):
                mean = max(expected[a, b], 1e-3)
                crops[i, a, b] = np.random.poisson(mean) + np.random.normal() * read_noise


class MoleculeStream:
    """Batches of network input, drawn by a background thread so that training never waits for them.

    Parameters
    ----------
    source : BeadSource
    domain : MoleculeDomain
    batch : int
        Molecules per block.
    seed : int
    """

    def __init__(self, source: BeadSource, domain: MoleculeDomain, batch: int, seed: int) -> None:
        self._source, self._domain, self._batch = source, domain, batch
        self._seeds = np.random.default_rng(seed)
        self._queue: queue.Queue[tuple[Floats, Floats, Floats] | BaseException] = queue.Queue(maxsize=4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="molecule stream", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            item: tuple[Floats, Floats, Floats] | BaseException
            try:
                drawn = draw_molecules(self._source, self._domain, self._batch, int(self._seeds.integers(2**31)))
                image, aux = network_input(drawn.crops, drawn.x, drawn.y, self._source.field_size_px)
                item = (image, aux, drawn.z_nm)
            except BaseException as error:
                item = error
            while not self._stop.is_set():
                try:
                    self._queue.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def next(self) -> tuple[Floats, Floats, Floats]:
        """Return images, aux and z (nm) of the next block."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item
