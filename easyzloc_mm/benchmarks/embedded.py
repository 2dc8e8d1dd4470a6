"""Beads and molecules of the embedded optics, in memory: the whole bead room works on them, and the truth is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.beads import build_bead_set
from easyzloc_mm.beads.limit import crlb
from easyzloc_mm.network.inputs import ROI_PX
from easyzloc_mm.network.psf_field import KNOTS, PITCH_PX, BlurTable
from easyzloc_mm.profile import Profile
from easyzloc_mm.simulator.optics import OpticsModel, embedded_optics
from easyzloc_mm.simulator.scene import POWERS, Scene, Setting
from easyzloc_mm.store.bead_set import ARRAYS, LATER_ARRAYS, BeadSet
from easyzloc_mm.store.bead_stack_model import COLUMNS, BeadStack, StackPixels

Progress = Callable[[str, float], None]
Floats = NDArray[np.float32]
Real = NDArray[np.float64]

BEADS_PER_FIELD = 54
"""Accepted ones, roughly, in a field of 512 x 512 px."""
HELD_OUT_BEADS = 40
SAME_BEAD_PX = 1.5
CROP_ERROR_PX = 0.2
"""Standard deviation of the place at which a spot is cut out, beyond the rounding to a pixel."""


@dataclass(frozen=True)
class EmbeddedBeads:
    """Beads of the embedded microscope.

    Attributes
    ----------
    train, held_out : BeadSet
        No camera pixel is in both.
    true_x, true_y : ndarray, shape (len(held_out),)
        Sensor position of the held-out beads.
    label_error_nm : ndarray, shape (len(train) accepted,)
        Label of the bead room minus true defocus.
    """

    train: BeadSet
    held_out: BeadSet
    true_x: Real
    true_y: Real
    label_error_nm: Real


def embedded_beads(profile: Profile, beads: int, seed: int, progress: Progress | None = None) -> EmbeddedBeads:
    """Photograph about `beads` training beads and `HELD_OUT_BEADS` others; find, judge, align and label them."""
    scene, plan = Scene(profile, seed), profile.beads
    exposure_s = plan.exposures_ms[0] / 1000
    power = POWERS[plan.illuminations[0]] if plan.illuminations else POWERS["Medium"]
    stacks, truths, clock = [], [], 0.0
    fields = max(2, round((beads + HELD_OUT_BEADS) / BEADS_PER_FIELD))
    for field in range(fields):
        if progress:
            progress("photographing beads", field / fields)
        pixels = np.empty((plan.planes, profile.camera.height_px, profile.camera.width_px), np.uint16)
        rows, x_um = [], (plan.start_position_um or (0.0, 0.0))[0] + field * plan.fov_spacing_um
        middle = plan.planes // 2
        for plane in range(plan.planes):
            z_um = scene.focus_um + (plan.z_start_nm + plane * plan.z_step_nm) / 1000
            clock += exposure_s + plan.settle_ms / 1000
            setting = Setting(x_um, 0.0, z_um, power, exposure_s, clock - exposure_s / 2)
            pixels[plane], truth = scene.expose(setting, field, plane)
            rows.append((z_um, z_um, x_um, 0.0, 1000 * exposure_s, None, clock))
            if plane == middle:
                points = truth.points
                truths.append(
                    pd.DataFrame({"field": field, "x": points.x, "y": points.y, "z": points.z, "at": 1000 * z_um})
                )
        stacks.append(
            BeadStack(
                field,
                StackPixels(pixels, plan.planes),
                pd.DataFrame(rows, columns=list(COLUMNS)),
                profile.optics.pixel_size_nm,
                plan.z_step_nm,
                profile.camera.units,
                Path("embedded"),
            )
        )
    found = build_bead_set(stacks, profile.camera.units, profile.optics.pixel_size_nm, progress=progress)
    true = _match(found, pd.concat(truths, ignore_index=True), plan.planes // 2)
    accepted = np.flatnonzero(found.accepted & np.isfinite(true["x"].to_numpy()))
    keys = np.unique(np.stack([found.stack[accepted], found.region[accepted]], axis=1), axis=0)
    np.random.default_rng(seed).shuffle(keys)
    held: list[int] = []
    for stack, region in keys:
        if len(held) >= HELD_OUT_BEADS:
            break
        held += [int(i) for i in accepted if found.stack[i] == stack and found.region[i] == region]
    others = np.setdiff1d(np.flatnonzero(found.accepted), held)
    return EmbeddedBeads(
        train=subset(found, others),
        held_out=subset(found, np.array(held)),
        true_x=true["x"].to_numpy()[held],
        true_y=true["y"].to_numpy()[held],
        label_error_nm=true["error"].to_numpy()[others],
    )


def subset(beads: BeadSet, chosen: NDArray[np.integer]) -> BeadSet:
    """Take the beads with indices `chosen` alone."""
    return dataclasses.replace(
        beads,
        **{name: getattr(beads, name)[chosen] for name in (*ARRAYS, *LATER_ARRAYS)},
        reason=tuple(beads.reason[i] for i in chosen),
        measures=beads.measures.iloc[chosen].reset_index(drop=True),
    )  # fmt: skip


def _match(found: BeadSet, truth: pd.DataFrame, plane: int) -> pd.DataFrame:
    """Give true x, y and error of the label per bead found; NaN where two points or none could be meant."""
    rows = np.full((len(found), 3), np.nan)
    for i in range(len(found)):
        near = truth[truth["field"] == found.stack[i]]
        distance = np.hypot(near["x"] - found.x[i], near["y"] - found.y[i])
        close = near[distance < SAME_BEAD_PX]
        if len(close) == 1:
            point = close.iloc[0]
            rows[i] = point["x"], point["y"], found.z_nm[i, plane] - point["z"]
    return pd.DataFrame(rows, columns=["x", "y", "error"])


@dataclass(frozen=True)
class EmbeddedMolecules:
    """Molecules rendered by the exact optics.

    Attributes
    ----------
    crops : ndarray, shape (n, 15, 15), float32
        Photons.
    x, y : ndarray, shape (n,)
        Fitted sensor position: the crop's middle is the nearest pixel.
    z_nm, photons, background : ndarray, shape (n,)
        Truth.
    limit_nm : ndarray, shape (n,)
        Information limit of z.
    bead : ndarray, shape (n,)
        At which held-out bead's place.
    """

    crops: Floats
    x: Real
    y: Real
    z_nm: Real
    photons: Real
    background: Real
    limit_nm: Real
    bead: NDArray[np.int64]


class MoleculeMaker:
    """Images of points at the held-out beads' places, computed once and lit as often as wanted.

    Parameters
    ----------
    profile : Profile
    x, y : ndarray
        Places, sensor pixels.
    count : int
        Number of molecules.
    z_limit_nm : float
        Depths are uniform between its negative and itself.
    """

    def __init__(self, profile: Profile, x: Real, y: Real, count: int, z_limit_nm: float, seed: int) -> None:
        rng = np.random.default_rng((seed, 7))
        self._read_noise = profile.camera.read_noise_e
        self.bead = rng.permutation(np.arange(count) % len(x))
        self.z_nm = rng.uniform(-z_limit_nm, z_limit_nm, count)
        fraction = rng.uniform(-0.5, 0.5, (2, count))
        error = rng.normal(0, CROP_ERROR_PX, (2, count))
        # The fit says pixel + fraction, the molecule lies at pixel + fraction + error.
        self.x, self.y = np.rint(x[self.bead]) + fraction[0], np.rint(y[self.bead]) + fraction[1]
        self._images = embedded_optics(profile).psf_with_derivatives(
            x[self.bead], y[self.bead], fraction[0] + error[0], fraction[1] + error[1], self.z_nm, ROI_PX
        )
        self._seed = seed

    def light(self, photons: tuple[float, float], background: tuple[float, float], seed: int) -> EmbeddedMolecules:
        """Draw brightness, background and noise."""
        rng = np.random.default_rng((self._seed, seed))
        count = len(self.z_nm)
        n, b = rng.uniform(*photons, count), rng.uniform(*background, count)
        mean = n[:, None, None] * self._images[0] + b[:, None, None]
        crops = rng.poisson(mean) + rng.normal(0, self._read_noise, mean.shape)
        return EmbeddedMolecules(
            crops=crops.astype(np.float32),
            x=self.x,
            y=self.y,
            z_nm=self.z_nm,
            photons=n,
            background=b,
            limit_nm=crlb(*self._images, n, b, self._read_noise)[2],
            bead=self.bead,
        )


def true_table(model: OpticsModel, x: Real, y: Real, z_limit_nm: float, step_nm: float = 50.0) -> BlurTable:
    """Tabulate the exact optics at given places, as a table that `likelihood.fit_spots` can use."""
    from scipy import ndimage

    z_nm = np.arange(-z_limit_nm - 2 * step_nm, z_limit_nm + 2.5 * step_nm, step_nm)
    half = KNOTS // 2 * PITCH_PX
    size = 2 * int(np.ceil(half)) + 1
    values = np.empty((len(x), len(z_nm), KNOTS, KNOTS))
    # Knots lie at multiples of 2/3 px: three sub-pixel shifts per axis cover them all.
    wanted = np.arange(-(KNOTS // 2), KNOTS // 2 + 1)
    for first in range(3):
        for second in range(3):
            rows, columns = wanted[(2 * wanted) % 3 == first], wanted[(2 * wanted) % 3 == second]
            for place in range(len(x)):
                shift = np.ones(len(z_nm))
                images = model.psf_with_derivatives(
                    x[place] * shift, y[place] * shift, -second / 3 * shift, -first / 3 * shift, z_nm, size
                )[0]
                at_rows = (2 * rows - first) // 3 + size // 2
                at_columns = (2 * columns - second) // 3 + size // 2
                values[place][:, (rows + KNOTS // 2)[:, None], (columns + KNOTS // 2)[None, :]] = images[
                    :, at_rows[:, None], at_columns[None, :]
                ]
    coefficients = values
    for axis in (1, 2, 3):
        coefficients = ndimage.spline_filter1d(coefficients, 3, axis=axis, mode="mirror")
    limit = np.full(len(x), z_limit_nm, np.float32)
    return BlurTable(coefficients.astype(np.float32), float(z_nm[0]), step_nm, -limit, limit, x, y)
