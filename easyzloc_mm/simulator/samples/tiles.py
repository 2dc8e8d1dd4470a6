"""Samples without edges: a slide is cut into square tiles, each grown from its own seed when it is seen.

Moving the stage therefore shows new places, and coming back shows the old ones again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

TILE_UM = 25.0
TILES_KEPT = 512
_ID_OFFSET = 1 << 12
"""Tiles reach this far to either side (some 100 mm); a tile's number then fits in 26 bits."""

Content = TypeVar("Content")


class TiledSlide(Generic[Content]):
    """Makes tiles when they are seen, and keeps them. Subclasses define the content of one in `grow`."""

    def __init__(self, seed: int, kind: int) -> None:
        self._seed, self._kind = seed, kind
        self._tile = lru_cache(maxsize=TILES_KEPT)(self._grown)

    def grow(self, rng: np.random.Generator, x_um: float, y_um: float, number: int) -> Content:
        """Return the content of the tile whose lower corner lies at x, y; `number` is unique to it."""
        raise NotImplementedError

    def rng(self, i: int, j: int, *more: int) -> np.random.Generator:
        """Return random numbers that belong to tile i, j alone."""
        return np.random.default_rng((self._seed, self._kind, i + _ID_OFFSET, j + _ID_OFFSET, *more))

    def _grown(self, i: int, j: int) -> Content:
        number = (i + _ID_OFFSET) * 2 * _ID_OFFSET + j + _ID_OFFSET
        return self.grow(self.rng(i, j), i * TILE_UM, j * TILE_UM, number)

    def seen(self, x_um: float, y_um: float, width_um: float, height_um: float) -> Iterator[tuple[int, int, Content]]:
        """Yield the tiles (column, row, content) that touch the rectangle centred on x, y (um)."""
        low_i, high_i = (int(np.floor((x_um + side * width_um / 2) / TILE_UM)) for side in (-1, 1))
        low_j, high_j = (int(np.floor((y_um + side * height_um / 2) / TILE_UM)) for side in (-1, 1))
        for i in range(low_i, high_i + 1):
            for j in range(low_j, high_j + 1):
                yield i, j, self._tile(i, j)
