"""The edge of a crop as compiled code knows it: by the length of a tuple, which is part of the tuple's type.

Kernels are compiled for each size by itself, so that all the lengths below are constants in them: of lengths that only
a run knows, the compiler makes one step at a time. A row of an image in the kernels' order holds its even pixels, then
its odd ones, in lanes of their own.
"""

from __future__ import annotations

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.psf.bead_psf import PADDING, PITCH_PX

PAIR_KNOTS = round(2 / PITCH_PX)
"""Between pixels that are two apart."""
AT_ONCE, HALF_AT_ONCE = 8, 4
"""Numbers that a processor computes with at once; lanes are a multiple of half of them."""


def sized(edge_px: int) -> tuple[bool, ...]:
    """Return the size of square crops with an (odd) edge for kernels."""
    return (True,) * edge_px


@kernel()
def lane(size):  # type: ignore[no-untyped-def]
    """Cells for the even pixels of a row, and for its odd ones."""
    return (len(size) // 2 + HALF_AT_ONCE) // HALF_AT_ONCE * HALF_AT_ONCE


@kernel()
def line(size):  # type: ignore[no-untyped-def]
    """Cells of a row."""
    return 2 * lane(size)


@kernel()
def cells(size):  # type: ignore[no-untyped-def]
    """Cells of an image."""
    return len(size) * line(size)


@kernel()
def knots_across(size):  # type: ignore[no-untyped-def]
    """Knots per axis of `SplinePsf.padded` (`bead_psf.knots_of`)."""
    return 2 * ((3 * (len(size) // 2) + 8) // 2 + PADDING) + 1


@kernel()
def rows(size):  # type: ignore[no-untyped-def]
    """Rows of knots that a crop touches."""
    return PAIR_KNOTS * (len(size) // 2) + 4


@kernel()
def width(size):  # type: ignore[no-untyped-def]
    """Knots of a row, from the first that the crop touches: some more than it needs."""
    return (PAIR_KNOTS * lane(size) + 2 + AT_ONCE) // AT_ONCE * AT_ONCE


@kernel()
def plane(size):  # type: ignore[no-untyped-def]
    """Length of the lateral coefficients that a crop needs."""
    return rows(size) * knots_across(size) + width(size)


@kernel()
def lines(size):  # type: ignore[no-untyped-def]
    """Length of the rows of an image, still of knots along x."""
    return len(size) * width(size)
