"""The focal surface that beads measured: where over the field a flat slide is in focus, as models and runs store it."""

from __future__ import annotations

import numpy as np

from easyzloc_mm._models import Finite, FrozenModel, NonNegative
from easyzloc_mm.numerics.field_polynomial import field_coordinates, polynomial
from easyzloc_mm.typing import F64, AnyFloat

PLACES = 33
"""Per axis, over which a surface is described."""


class FocalSurface(FrozenModel):
    """Stage position at which a flat slide is in focus, over the field, against the middle of the field.

    Attributes
    ----------
    field_size_px : (int, int)
        Width and height of the field.
    degree : int
        Of the polynomial in the field coordinates.
    coefficients_nm : tuple of float
        Of its terms (`numerics.field_polynomial.powers`), without the best plane.
    tilt_nm : (float, float)
        The best plane over the field: rise from the middle to the right edge, and to the lower edge. The slides' tilt
        is in it as well as the lens's.
    scatter_nm : float
        Robust standard deviation of the beads around the surface.
    beads : int
        How many measured it.
    """

    field_size_px: tuple[int, int]
    degree: int
    coefficients_nm: tuple[Finite, ...]
    tilt_nm: tuple[Finite, Finite]
    scatter_nm: NonNegative
    beads: int

    @classmethod
    def from_polynomial(
        cls, coefficients_nm: F64, degree: int, field_size_px: tuple[int, int], *, scatter_nm: float, beads: int
    ) -> FocalSurface:
        """Return the surface of a polynomial over the field; its best plane, and its middle, are put apart.

        Parameters
        ----------
        coefficients_nm : ndarray, shape (terms,)
            Whatever the constant is.
        degree : int
        field_size_px : (int, int)
        scatter_nm : float
        beads : int
        """
        place = _grid()
        values = polynomial(place, degree) @ coefficients_nm
        _, along_y, along_x = np.linalg.lstsq(polynomial(place, 1), values, rcond=None)[0]
        bent = np.array(coefficients_nm, float)
        bent[0] = 0.0
        # Terms in order: constant, v, v^2, ..., u: the linear ones stand first, and after all powers of v.
        bent[1] -= along_y
        bent[degree + 1] -= along_x
        return cls(
            field_size_px=field_size_px,
            degree=degree,
            coefficients_nm=tuple(bent.tolist()),
            tilt_nm=(float(along_x), float(along_y)),
            scatter_nm=scatter_nm,
            beads=beads,
        )

    def height_nm(self, x: AnyFloat, y: AnyFloat, *, tilt: bool) -> F64:
        """Return the surface at sensor positions; outside the field, that of its nearest edge.

        Parameters
        ----------
        x, y : ndarray, shape (n,)
            Pixels.
        tilt : bool
            With the best plane, or without.
        """
        place = np.clip(field_coordinates(np.asarray(x, float), np.asarray(y, float), self.field_size_px), -1, 1)
        return self._at(place, tilt)

    def _at(self, place: AnyFloat, tilt: bool) -> F64:
        height = polynomial(place, self.degree) @ np.array(self.coefficients_nm)
        return np.asarray(height + place @ np.array(self.tilt_nm) if tilt else height)

    @property
    def curvature_nm(self) -> float:
        """Largest difference of heights over the field, without the tilt."""
        return float(np.ptp(self._at(_grid(), tilt=False)))


def _grid() -> F64:
    ticks = np.linspace(-1, 1, PLACES)
    return np.stack([axis.ravel() for axis in np.meshgrid(ticks, ticks)], axis=1)
