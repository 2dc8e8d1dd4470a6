"""Which kind of PSF the beads measured: by how its image is elongated, and whether it falls into two lobes, with depth.

References
----------
.. [1] Huang et al., Three-dimensional super-resolution imaging by stochastic optical reconstruction microscopy, Science
   319, 810 (2008), https://doi.org/10.1126/science.1153529
.. [2] Pavani et al., Three-dimensional, single-molecule fluorescence imaging beyond the diffraction limit by using a
   double-helix point spread function, PNAS 106, 2995 (2009), https://doi.org/10.1073/pnas.0900245106
.. [3] Shechtman et al., Optimal point spread function design for 3D imaging, Physical Review Letters 113, 133902
   (2014), https://doi.org/10.1103/PhysRevLett.113.133902
.. [4] Baddeley, Cannell and Soeller, Three-dimensional sub-100 nm super-resolution imaging of biological samples using
   a phase ramp in the objective pupil, Nano Research 4, 589 (2011), https://doi.org/10.1007/s12274-011-0115-z
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy import ndimage

from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.bead_psf import IN_FOCUS_NM, BeadPsfs, point_image
from easyzloc_mm.psf.crop_choice import crop_px
from easyzloc_mm.typing import F64, Bool

ELONGATED = 1.25
"""Ratio of the root mean square widths along the long and the short axis."""
DIP = 0.75
"""Two lobes: between them is less light than this part of the weaker one's."""
LOBED_SHARE = 0.5
"""Of the depths."""
TURNED_DEG, MOST_TURN_DEG = 45.0, 30.0
"""A double helix turns by so much or more through the depths, and by less from one depth to the next."""
LONG_LOBED, LONG_LOBED_SHARE = 1.8, 0.2
"""Two lobes along so elongated an image, over so many of the depths: an objective's aberrations give no such thing."""
CROSSED, SIDE_SHARE = 0.7, 0.15
"""Cosine of twice the angle between directions, from which on they are along or across; and the part of the depths in
which the image is long along each of the two."""


MOST_BEADS, DEPTH_NM, Z_STEP_NM = 40, 1000.0, 50.0
SPREAD_OUT = 0.25
"""A peak that stays above this part of its highest, `DEPTH_NM` (or `WIDE` of it) to either side, hardly changes."""
WIDE = 0.8


class PsfKind(StrEnum):
    """Kinds of PSF that are told apart."""

    UNMODIFIED = "unmodified"
    """One spot or ring, of an objective with its own aberrations."""
    ASTIGMATIC = "astigmatic"
    """One spot, long along one direction below focus, and across it above: a cylindrical lens [1]_."""
    DOUBLE_HELIX = "double-helix"
    """Two lobes that turn around each other with depth: a double helix [2]_, or a phase ramp [4]_, whose lobes pass
    each other on straight lines. A row of vortices is much like such a ramp: their images do not tell which it is."""
    TETRAPOD = "tetrapod"
    """Two lobes along one direction below focus, and across it above [3]_."""
    EXTENDED = "extended-focus"
    """One spot that hardly changes with depth: a mask that extends the depth of focus, or a low aperture."""
    OTHER = "engineered"
    """Lobes of another kind."""


IN_WORDS = {
    PsfKind.UNMODIFIED: "an unmodified objective's: one spot, round or skewed, that widens away from focus",
    PsfKind.ASTIGMATIC: "astigmatic: one spot that is long in one direction below focus and across it above",
    PsfKind.DOUBLE_HELIX: "that of two lobes that turn around each other with depth: a double helix, or a phase ramp",
    PsfKind.TETRAPOD: "a tetrapod's: two lobes in one direction below focus and across it above",
    PsfKind.EXTENDED: "of extended depth of focus: one spot that hardly changes with depth, and tells little of z",
    PsfKind.OTHER: "engineered, of a kind without a name here: lobes that change with depth",
}


@dataclass(frozen=True)
class Shape:
    """How a PSF is drawn out, by depth; arrays of shape (Z,).

    Attributes
    ----------
    elongation : ndarray
        Width along the long axis over that along the short one.
    angle_deg : ndarray
        Direction of the long axis, without jumps of 180.
    lobed : ndarray of bool
        Whether there are two lobes along it.
    """

    elongation: F64
    angle_deg: F64
    lobed: Bool

    def along_and_across(self, least: float) -> tuple[Bool, Bool]:
        """Return the depths at which the image is so long or longer in its longest direction, and across that."""
        long = self.elongation >= least
        across = np.cos(2 * np.radians(self.angle_deg - self.angle_deg[int(np.argmax(self.elongation))]))
        return long & (across > CROSSED), long & (across < -CROSSED)


def shape_of(images: F64) -> Shape:
    """Return how images of a PSF through focus are drawn out.

    Parameters
    ----------
    images : ndarray, shape (Z, size, size)
        Light above background.
    """
    size = images.shape[-1]
    grid = np.arange(size) - size // 2.0
    smooth = ndimage.gaussian_filter(images, (0, 0.7, 0.7))
    # What is brighter than noise and far rings.
    light = np.maximum(smooth - 0.1 * smooth.max(axis=(1, 2), keepdims=True), 0.0)
    total = light.sum(axis=(1, 2))
    across, down = light.sum(axis=1) @ grid / total, light.sum(axis=2) @ grid / total
    xx = light.sum(axis=1) @ grid**2 / total - across**2
    yy = light.sum(axis=2) @ grid**2 / total - down**2
    xy = np.einsum("zyx,y,x->z", light, grid, grid) / total - across * down
    angle = 0.5 * np.unwrap(np.arctan2(2 * xy, xx - yy))
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    elongation = np.sqrt((middle + half) / np.maximum(middle - half, 1e-6))
    lobed = np.zeros(len(images), bool)
    steps = np.arange(-(size // 2), size // 2 + 0.25, 0.5)
    for k, image in enumerate(smooth):
        rows = down[k] + size // 2 + steps * np.sin(angle[k])
        columns = across[k] + size // 2 + steps * np.cos(angle[k])
        profile = ndimage.map_coordinates(image, [rows, columns], order=1, mode="nearest")
        left, right = (
            int(np.argmax(profile[: len(steps) // 2])),
            len(steps) // 2 + int(np.argmax(profile[len(steps) // 2 :])),
        )
        between = profile[left : right + 1].min()
        lobed[k] = between < DIP * min(profile[left], profile[right]) and min(
            profile[left], profile[right]
        ) > 0.25 * max(profile[left], profile[right])
    return Shape(elongation, np.degrees(angle), lobed)


def kind_of_beads(beads: BeadDataset) -> PsfKind | None:
    """Return the kind of PSF of the accepted beads nearest to the middle of the field; None without beads."""
    nearest = np.nanmin(np.where(np.isfinite(beads.z_nm), np.abs(beads.z_nm), np.inf), axis=1, initial=np.inf)
    chosen = np.flatnonzero(beads.accepted & (nearest <= IN_FOCUS_NM))
    if not len(chosen):
        return None
    away = np.hypot(*(place - size / 2 for place, size in zip((beads.x, beads.y), beads.field_size_px, strict=True)))
    if beads.field_known:
        chosen = chosen[np.argsort(away[chosen], kind="stable")]
    edge = crop_px(beads)
    table = BeadPsfs.from_beads(beads, chosen[:MOST_BEADS], edge).table
    typical = replace(table, coefficients=np.median(table.coefficients, axis=0, keepdims=True))
    low, high = (float(np.median(end)) for end in (table.low_nm, table.high_nm))

    def through(depth_nm: float) -> tuple[F64, F64]:
        depths = np.arange(max(low, -depth_nm), min(high, depth_nm) + 1, Z_STEP_NM)
        return depths, np.stack([point_image(typical, 0, float(z), 0.0, 0.0, edge // 2) for z in depths])

    z_nm, images = through(DEPTH_NM)
    kind = kind_of_images(images)
    if kind is PsfKind.OTHER and max(-low, high) > DEPTH_NM:
        # A mask for a great depth shows there what it is.
        whole = kind_of_images(through(np.inf)[1])
        return whole if whole in (PsfKind.TETRAPOD, PsfKind.DOUBLE_HELIX) else kind
    peak = ndimage.gaussian_filter(images, (0, 0.7, 0.7)).max(axis=(1, 2))
    far = min(-z_nm[0], z_nm[-1]) >= WIDE * DEPTH_NM
    still_round = float(np.mean(shape_of(images).elongation >= ELONGATED)) < SIDE_SHARE
    changes_little = kind is PsfKind.UNMODIFIED and far and still_round and peak.min() >= SPREAD_OUT * peak.max()
    return PsfKind.EXTENDED if changes_little else kind


def kind_of_images(images: F64) -> PsfKind:
    """Return the kind of a PSF by its images through focus, shape (Z, size, size)."""
    shape = shape_of(images)
    long = shape.elongation >= ELONGATED
    lobed = float(shape.lobed.mean()) >= LOBED_SHARE
    steps = np.diff(shape.angle_deg)
    # A direction that turns by jumps is that of a round image, or changes from along to across.
    turning = long[1:] & long[:-1] & (np.abs(steps) <= MOST_TURN_DEG)
    if lobed and abs(float(steps[turning].sum())) >= TURNED_DEG:
        return PsfKind.DOUBLE_HELIX
    along, crossed = shape.along_and_across(ELONGATED)
    if min(along.mean(), crossed.mean()) >= SIDE_SHARE:
        sides = shape.lobed[along | crossed].mean() >= LOBED_SHARE
        return PsfKind.TETRAPOD if sides else PsfKind.ASTIGMATIC
    two_lobes = float(np.mean(shape.lobed & (shape.elongation >= LONG_LOBED))) >= LONG_LOBED_SHARE
    return PsfKind.OTHER if lobed or two_lobes else PsfKind.UNMODIFIED
