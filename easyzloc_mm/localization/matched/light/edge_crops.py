"""What fits near sharp edges are told of the light: how it steps in a crop, and how little is known of that.

The background that a fit finds is that at its molecule; what the rest of the crop has more or less than there is known
to it, as the light of neighbours is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from easyzloc_mm.localization.matched.light.edges import Edges, light_taken_off
from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F32, F64, I64, Bool

NOTICEABLE, DOUBTFUL = 1.0, 0.25
"""Of a pixel's noise: a crop whose light differs by less, and is known so well, is even."""


class CropLight(NamedTuple):
    """The light in n crops.

    Attributes
    ----------
    more : ndarray, shape (n, size, size), float32
        Photons of each pixel, more than in the darkest one of the crop.
    doubt : ndarray, shape (n, size, size), float32
        Standard deviation.
    middle : ndarray, shape (n,)
        `more` in the middle.
    """

    more: F32
    doubt: F32
    middle: F64


@dataclass(frozen=True)
class FramesLight:
    """The light of a block of frames, some of which have edges.

    Attributes
    ----------
    edges : tuple
        Of each frame.
    shape_yx : tuple of int
        Of a frame.
    """

    edges: tuple[Edges | None, ...]
    shape_yx: tuple[int, ...]

    @classmethod
    def of(cls, edges: Iterable[Edges | None], shape_yx: tuple[int, ...]) -> FramesLight | None:
        """Return it, or None where no frame has edges."""
        edges = tuple(edges)
        return None if all(one is None for one in edges) else cls(edges, shape_yx)

    def levels(self, beside: F64, frame: I64, x: F64, y: F64) -> F64:
        """Return photons per pixel around places, and their standard deviation, shape (n, 2); beside edges infinite.

        Parameters
        ----------
        beside : ndarray, shape (n, 2)
            The same of what there is beside this light.
        frame, x, y : ndarray, shape (n,)
            Pixels.
        """
        unknown = np.zeros(len(x), bool)
        for number in np.unique(frame):
            its = self.edges[number]
            if its is not None:
                here = frame == number
                down, across = (
                    np.clip((at[here] * tiles / size).astype(np.int64), 0, tiles - 1)
                    for at, tiles, size in zip((y, x), its.beside.shape, self.shape_yx, strict=True)
                )
                unknown[here] = its.beside[down, across]
        return np.stack([beside[:, 0] + self.at(frame, x, y), np.where(unknown, np.inf, beside[:, 1])], axis=1)

    def in_crops(self, frame: I64, x: F64, y: F64, size: int) -> CropLight:
        """Return the light in crops around places."""
        light, doubt = self._cut(frame, x, y, size)
        light -= light.min(axis=(1, 2), keepdims=True)
        return CropLight(light, doubt, light[:, size // 2, size // 2].astype(float))

    def differs(self, frame: I64, x: F64, y: F64, size: int) -> Bool:
        """Return around which places the light of crops is not the same everywhere."""
        light, doubt = self._cut(frame, x, y, size)
        most = light.max(axis=(1, 2))
        noise = np.sqrt(np.maximum(most, 1.0))
        stepping, doubtful = most - light.min(axis=(1, 2)) > NOTICEABLE * noise, doubt.max(axis=(1, 2))
        return np.asarray(stepping | (doubtful > DOUBTFUL * noise))

    def at(self, frame: I64, x: F64, y: F64) -> F64:
        """Return photons per pixel at places."""
        return self._cut(frame, x, y, 1)[0][:, 0, 0].astype(float)

    def whole(self, number: int) -> Edges | None:
        """Return the light of one frame, in whole pixels."""
        edges = self.edges[number]
        return None if edges is None else edges.whole(self.shape_yx)

    def taken_off(self, number: int, x: F64, y: F64, crops: F32, noise_e: float | F32) -> tuple[F32, F32]:
        """Return crops of one frame without its light, whose noise is added to the read noise."""
        light, doubt = self._cut(np.full(len(x), number), x, y, crops.shape[1])
        return light_taken_off(light, doubt, crops, noise_e)

    def _cut(self, frame: I64, x: F64, y: F64, size: int) -> tuple[F32, F32]:
        light, doubt = (np.zeros((len(x), size, size), np.float32) for _ in range(2))
        column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        for number in np.unique(frame):
            its = self.edges[number]
            if its is not None:
                here = np.flatnonzero(frame == number)
                for tiles, out in ((its.light, light), (its.doubt, doubt)):
                    _cut_between(tiles, here, row, column, self.shape_yx[0], self.shape_yx[1], out)
        return light, doubt


@kernel()
def _cut_between(binned, here, rows, columns, height, width, out):  # type: ignore[no-untyped-def]
    """Fill the crops `here` with a quarter of what lies between the middles of binned pixels."""
    size = out.shape[1]
    down, across = binned.shape
    for i in here:
        for a in range(size):
            y = min(max(rows[i] + a - size // 2, 0), height - 1)
            own, other = binned[min(y // 2, down - 1)], binned[min(max(y // 2 + 2 * (y % 2) - 1, 0), down - 1)]
            for b in range(size):
                x = min(max(columns[i] + b - size // 2, 0), width - 1)
                at, beside = min(x // 2, across - 1), min(max(x // 2 + 2 * (x % 2) - 1, 0), across - 1)
                near, far = 3 * own[at] + other[at], 3 * own[beside] + other[beside]
                out[i, a, b] = np.float32(1 / 64) * (3 * near + far)
