"""Turn bead stacks into what the camera would have recorded of a molecule: the ``matched`` training images.

What the beads together say about the blur (`psf_field`), scaled to a molecule's photons and laid over a molecule's
background, is an expectation without noise: the camera's noise is then drawn, exactly Poisson, and read noise. Every
image is drawn once and never again: place in the field, depth between the planes, brightness, background, sub-pixel
place, error of the crop, and sometimes a neighbour.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numba
import numpy as np

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import network_input
from easyzloc_mm.psf.bead_psf import PITCH_PX, BeadPsfs
from easyzloc_mm.psf.kernels.spline import along, lateral, value_at
from easyzloc_mm.typing import F32, F64, I64


@dataclass(frozen=True)
class EmitterImages:
    """Drawn molecules: crops and the truth about them.

    Attributes
    ----------
    crops : ndarray, shape (n, 15, 15), float32
        Photons.
    z_nm, photons, background, x, y : ndarray, shape (n,)
        Truth; but x, y are the sensor position as the fit gives it: the crop's middle is the nearest pixel.
    place : ndarray, shape (n,)
        Index into the source's table.
    """

    crops: F32
    z_nm: F32
    photons: F32
    background: F32
    x: F64
    y: F64
    place: I64

    def network_input(self, source: BeadPsfs) -> tuple[F32, F32]:
        """Image and aux for the ``matched`` network."""
        return network_input(self.crops, self.x, self.y, source.field_size_px, field_known=source.field_known)


def simulate_emitters(source: BeadPsfs, domain: EmitterPrior, count: int, seed: int) -> EmitterImages:
    """Draw `count` molecules; the same seed gives the same ones."""
    table = source.table
    crops = np.empty((count, ROI_PX, ROI_PX), np.float32)
    truth = np.empty((count, 8))
    low, high = table.z_range_nm
    _draw(
        table.coefficients,
        table.z_start_nm,
        table.z_pitch_nm,
        PITCH_PX,
        table.low_nm,
        table.high_nm,
        np.array([max(low, -domain.z_limit_nm), min(high, domain.z_limit_nm)]),
        np.log(np.array(domain.photons)),
        np.log(np.array(domain.background)),
        np.array([*domain.crop_error_px, domain.bad_fit_share, domain.neighbour_share, *domain.neighbour_px]),
        source.read_noise_e,
        seed,
        crops,
        truth,
    )
    place = truth[:, 0].astype(np.int64)
    x, y = (
        np.rint(at[place] + spread * truth[:, column]) + truth[:, column + 2]
        for at, spread, column in ((table.x, source.spread_px[0], 1), (table.y, source.spread_px[1], 2))
    )
    z_nm, photons, background = truth[:, 5:].T.astype(np.float32)
    return EmitterImages(crops, z_nm, photons, background, x, y, place)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _draw(  # type: ignore[no-untyped-def]
    tables, z_start, z_pitch, pitch, low_nm, high_nm, z_range, photons, background, geometry, read_noise, seed, crops,
    truth,
):  # fmt: skip
    np.random.seed(seed)
    size, knots = crops.shape[1], tables.shape[2]
    plane = np.empty((knots, knots), np.float32)
    columns = np.empty((knots, size), np.float32)
    base_x, base_y = np.empty(size, np.int64), np.empty(size, np.int64)
    wx, wy = np.empty((size, 4)), np.empty((size, 4))
    image = np.empty((size, size), np.float32)
    expected = np.empty((size, size), np.float32)
    for i in range(len(crops)):
        level = np.exp(np.random.uniform(background[0], background[1]))
        expected[:] = level
        spots = 2 if np.random.random() < geometry[3] else 1
        j = np.random.randint(len(tables))
        for spot in range(spots):
            depth = np.random.uniform(z_range[0], z_range[1])
            # Few beads miss the ends of the range; try another bead rather than bend the distribution of depths.
            for _ in range(50):
                if low_nm[j] <= depth <= high_nm[j]:
                    break
                j = np.random.randint(len(tables))
            count = np.exp(np.random.uniform(photons[0], photons[1]))
            if spot == 0:
                fx, fy = np.random.uniform(-0.5, 0.5), np.random.uniform(-0.5, 0.5)
                error = geometry[1] if np.random.random() < geometry[2] else geometry[0]
                dx = fx + np.random.normal() * error
                dy = fy + np.random.normal() * error
                truth[i, 0] = j
                truth[i, 1] = np.random.uniform(-0.5, 0.5)
                truth[i, 2] = np.random.uniform(-0.5, 0.5)
                truth[i, 3] = fx
                truth[i, 4] = fy
                truth[i, 5] = depth
                truth[i, 6] = count
                truth[i, 7] = level
            else:
                angle = np.random.uniform(0, 2 * np.pi)
                distance = np.random.uniform(geometry[4], geometry[5])
                dx = distance * np.cos(angle)
                dy = distance * np.sin(angle)
            value_at(tables[j], (depth - z_start) / z_pitch, plane)
            lateral(dx, pitch, knots, base_x, wx)
            lateral(dy, pitch, knots, base_y, wy)
            along(plane, base_y, wy, columns)
            along(columns, base_x, wx, image)
            for a in range(size):
                for b in range(size):
                    expected[a, b] += count * image[a, b]
        for a in range(size):
            for b in range(size):
                mean = max(expected[a, b], 1e-3)
                crops[i, a, b] = np.random.poisson(mean) + np.random.normal() * read_noise


class EmitterStream:
    """Batches of network input, drawn by a background thread so that training never waits for them.

    Parameters
    ----------
    source : BeadPsfs
    domain : EmitterPrior
    batch : int
        Molecules per block.
    seed : int
    """

    def __init__(self, source: BeadPsfs, domain: EmitterPrior, batch: int, seed: int) -> None:
        self._source, self._domain, self._batch = source, domain, batch
        self._seeds = np.random.default_rng(seed)
        self._queue: queue.Queue[tuple[F32, F32, F32] | BaseException] = queue.Queue(maxsize=4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="molecule stream", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            item: tuple[F32, F32, F32] | BaseException
            try:
                drawn = simulate_emitters(self._source, self._domain, self._batch, int(self._seeds.integers(2**31)))
                image, aux = drawn.network_input(self._source)
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

    def next(self) -> tuple[F32, F32, F32]:
        """Return images, aux and z (nm) of the next block."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item
