"""Where each bead's focus is: sharpness for every bead alone, then beads against a model of the PSF over the field.

Sharpness finds the focus of one bead to 3 nm when it is bright and to 7 nm when it is dim. The shape of the whole stack
holds more information, but only against something alike: aberrations vary over the field. A single reference bead
(paper, section 2.2: the shift of least squared difference) would carry its own noise and aberrations into every label.
Here all trusted beads together give the PSF as a smooth function of place and depth, and each bead, left out of that
function itself, is fitted by it: brightness, background, lateral shift and shift along z at once, weighted by the
noise, at any fraction of a plane. What all shifts have in common smoothly over the field stays where sharpness puts it.

An image with lobes has several sharpest planes, or none, and which is first changes from place to place: by sharpness,
labels would bend over the field by a hundred nanometres and more. There, what shifts have in common over the field
stays where beads look most like the mean of all.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.beads.alignment.registered import Alignment, RegisteredStack, planes_averaged
from easyzloc_mm.beads.alignment.sharpness import spacing_of
from easyzloc_mm.numerics.field_polynomial import largest_degree, polynomial, robust_surface, weighted_slope
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F32, F64, I64, Bool

HALF_RANGE_NM = 900.0
"""Planes this near to focus decide the alignment."""
MIN_GRID_NM = 20.0
ROUNDS = 6
MIN_BEADS = 3
SETTLED_NM = 0.3
"""Rounds end when the beads move less than this (root mean square)."""
OUTLIER_MADS = 4.0
RESIDUAL_FLOOR = 0.05
CHUNK = 64
MIN_COVERED = 0.6
"""Part of the depths around focus that a stack must cover to be aligned."""
SURFACE_RIDGE = 0.01
"""Labels of bright beads are good to some 10 nm; over the field, sharpness and shape differ by 100 nm at most."""
SLOPE_NM = 600.0
"""Brightness and lateral shift are followed this far from focus."""


def align(
    stacks: list[RegisteredStack],
    sharpness_nm: F64,
    *,
    field_known: bool,
    suspects: Bool | None = None,
    identity: I64 | None = None,
    lobed: bool = False,
) -> Alignment:
    """Find the focus of every bead.

    Parameters
    ----------
    stacks : list of RegisteredStack
    sharpness_nm : ndarray, shape (n,)
        Stage position at which each bead alone is sharpest (`sharpness.sharpness_focus`); NaN where there is none.
    field_known : bool
        Whether the beads' places mean anything; if not, every bead is compared with the mean of all others.
    suspects : ndarray of bool, optional
        Beads that take no part in the model (but are aligned themselves).
    identity : ndarray, shape (n,), optional
        Which bead each stack shows: one that was recorded several times is no other bead than itself.
    lobed : bool
        Whether images have lobes: sharpness then counts for all beads together only.
    """
    usable = np.isfinite(sharpness_nm)
    trusted = usable if suspects is None else usable & ~suspects
    if trusted.sum() < MIN_BEADS:
        nothing = np.where(usable, 0.0, np.nan)
        unknown = nothing * np.nan
        centred = np.stack([nothing, nothing], axis=1)
        return Alignment(sharpness_nm.copy(), unknown, nothing, unknown, unknown, centred, 0)
    which = np.arange(len(stacks)) if identity is None else identity
    work = _Work(stacks, sharpness_nm, usable, trusted, which, field_known, lobed)
    for round_number in range(ROUNDS):
        if work.step(settle=round_number > 0) < SETTLED_NM and round_number > 1:
            break
    return work.result()


def _recorded_again(identity: I64) -> list[I64]:
    """Return the rows of each bead that was recorded more than once."""
    _, which, times = np.unique(identity, return_inverse=True, return_counts=True)
    return [np.flatnonzero(which == bead) for bead in np.flatnonzero(times > 1)]


class _Work:
    """State of one alignment; rows are the usable beads only."""

    def __init__(
        self, stacks: list[RegisteredStack], sharp: F64, usable: Bool, trusted: Bool, identity: I64,
        field_known: bool, lobed: bool,
    ) -> None:  # fmt: skip
        self.lobed = lobed
        self.count = len(stacks)
        self.rows = np.flatnonzero(usable)
        self.stacks = [stacks[i] for i in self.rows]
        self.sharp = sharp[self.rows]
        self.focus = self.sharp.copy()
        self.trusted = trusted[self.rows]
        self.place = np.array([(stack.x, stack.y) for stack in self.stacks])
        self.noise = np.array([max(stack.background, 0.5) for stack in self.stacks])
        steps = [spacing_of(stack.stage_nm) for stack in self.stacks]
        self.spacing = max(MIN_GRID_NM, float(np.median(steps)))
        half = int(HALF_RANGE_NM // self.spacing)
        self.grid: F64 = self.spacing * np.arange(-half, half + 1).astype(np.float64)
        _, first = np.unique(identity[self.rows][self.trusted], return_index=True)
        self.most = largest_degree(self.place[self.trusted][first]) if field_known else 0
        # Recordings of one bead are left out together, unless there is no other bead.
        several = len(first) >= MIN_BEADS
        self.again = _recorded_again(identity[self.rows]) if several else []
        self.degree = min(self.most, 2)
        self.brightness = np.array(
            [self._brightness(stack, at) for stack, at in zip(self.stacks, self.focus, strict=True)]
        )
        self.residual = np.zeros(len(self.rows))
        self.bleaching = np.zeros(len(self.rows))
        self.lateral_scatter = np.zeros(len(self.rows))
        self.off_centre = np.zeros((len(self.rows), 2))

    @staticmethod
    def _brightness(stack: RegisteredStack, focus_nm: float) -> float:
        near = np.argsort(np.abs(stack.stage_nm - focus_nm))[:5]
        return max(float(stack.patches[near].sum(axis=1).mean()), 1.0)

    def step(self, *, settle: bool) -> float:
        """Do one round: model, shifts, smooth part held. Return by how much the beads moved.

        Model and smooth part share their degree: what the model can follow over the field must be held.
        """
        images, inside = self._resampled()
        if settle:
            self.degree = self._best_degree(images, inside)
        to_mean = self._fit(images, inside, self._model(images, inside, 0)) if self.lobed else None
        moved = self._fit(images, inside, self._model(images, inside, self.degree))
        before = self.focus.copy()
        self.focus = self.focus + self._one_step(moved)
        if to_mean is None:
            self.focus -= self._smooth(self.focus - self.sharp)
        else:
            self.focus += self._smooth(self._one_step(to_mean))
            self.focus -= float(np.median((self.focus - self.sharp)[self.trusted]))
        self._distrust_outliers()
        return float(np.sqrt(np.mean((self.focus - before)[self.trusted] ** 2)))

    def _one_step(self, moved: F64) -> F64:
        """Return shifts as far as a linear fit holds."""
        return np.clip(moved, -2 * self.spacing, 2 * self.spacing)

    def _smooth(self, shifts: F64) -> F64:
        """Return what shifts along z have in common smoothly over the field."""
        return robust_surface(
            shifts, self.place, self.trusted, self.degree, floor=1.0, weights=self._weights(), ridge=SURFACE_RIDGE
        )[0]

    def _resampled(self) -> tuple[F32, Bool]:
        """All beads on the same depths around their focus: weighted mean of the planes around each depth."""
        images = np.zeros((len(self.rows), len(self.grid), self.stacks[0].size_px ** 2), np.float32)
        inside = np.zeros(images.shape[:2], bool)
        for row, (stack, focus) in enumerate(zip(self.stacks, self.focus, strict=True)):
            z_nm = stack.stage_nm - focus
            near = np.flatnonzero(np.abs(z_nm) <= self.grid[-1] + self.spacing)
            gap = max(self.spacing, float(np.max(np.diff(z_nm[near]), initial=0.0)))
            weight = np.maximum(0.0, 1 - np.abs(self.grid[:, None] - z_nm[None, near]) / gap)
            total = weight.sum(axis=1)
            # Where planes lie on one side only the mean would be of another depth.
            inside[row] = (self.grid >= z_nm[0]) & (self.grid <= z_nm[-1]) & (total > 0)
            weight[inside[row]] /= total[inside[row], None]
            weight[~inside[row]] = 0.0
            images[row] = weight.astype(np.float32) @ stack.patches[near]
        return images, inside

    def _weights(self) -> F64:
        """Return the weight of each bead, 0 to 1: its noise against the spread between beads that is there anyway."""
        relative = self.brightness / np.median(self.brightness[self.trusted])
        return np.where(self.trusted, relative / (0.3 + relative), 0.0)

    def _model(self, images: F32, inside: Bool, degree: int) -> F32:
        """Return the PSF at every bead's place from all the other trusted beads, for brightness 1; 0 from too few."""
        basis = polynomial(self.place, degree)
        weights = self._weights()
        scaled = images / self.brightness[:, None, None].astype(np.float32)
        model = np.zeros_like(images)
        ridge = 1e-6 * np.eye(basis.shape[1])
        for plane in range(images.shape[1]):
            weight = weights * inside[:, plane]
            if np.count_nonzero(weight) < max(MIN_BEADS, basis.shape[1] + 1):
                continue
            weighted = basis * weight[:, None]
            normal, sums = weighted.T @ basis + ridge, weighted.T @ scaled[:, plane]
            inverse = np.linalg.inv(normal)
            surface = (basis @ inverse @ sums).astype(np.float32)
            leverage = np.minimum(np.einsum("ij,jk,ik->i", basis, inverse, weighted), 0.9).astype(np.float32)[:, None]
            model[:, plane] = (surface - leverage * scaled[:, plane]) / (1 - leverage)
            for own in self.again:
                others = np.count_nonzero(weight) - np.count_nonzero(weight[own])
                if others < max(MIN_BEADS - 1, basis.shape[1] + 1):
                    model[own, plane] = 0.0
                    continue
                left_out = weighted[own].T
                fit = np.linalg.solve(normal - left_out @ basis[own], sums - left_out @ scaled[own, plane])
                model[own, plane] = basis[own] @ fit
        return model

    def _best_degree(self, images: F32, inside: Bool) -> int:
        """Return the degree whose model predicts left-out beads best."""
        wanted = np.flatnonzero(self.trusted)
        scaled = images[wanted] / self.brightness[wanted, None, None].astype(np.float32)
        errors = []
        for degree in range(self.most + 1):
            difference = scaled - self._model(images, inside, degree)[wanted]
            errors.append(float(np.median(np.sum(difference**2 * inside[wanted, :, None], axis=(1, 2)))))
        return int(np.argmin(errors))

    def _fit(self, images: F32, inside: Bool, model: F32) -> F64:
        """Fit each bead by its model; return the shifts along z (nm). Residual, bleaching and scatter are noted."""
        moved = np.zeros(len(self.rows))
        covered = inside & (np.abs(model).sum(axis=2) > 0)
        for first in range(0, len(self.rows), CHUNK):
            part = slice(first, first + CHUNK)
            expected = model[part]
            shape = (*expected.shape[:2], self.stacks[0].size_px, self.stacks[0].size_px)
            by_z = np.gradient(expected, self.spacing, axis=1)
            by_y, by_x = (np.gradient(expected.reshape(shape), axis=axis).reshape(expected.shape) for axis in (2, 3))
            use = covered[part].copy()
            # The derivative along z is one-sided where a neighbouring depth is missing.
            use[:, 1:-1] &= covered[part][:, :-2] & covered[part][:, 2:]
            use[:, [0, -1]] = False
            bright = self.brightness[part, None, None]
            variance = np.maximum(bright * expected, 0.0) + self.noise[part, None, None]
            weight = (use[:, :, None] / variance).astype(np.float32)
            columns = np.stack([expected, by_z, by_x, by_y, np.ones_like(expected)], axis=1)
            flat = columns.reshape(len(expected), 5, -1)
            weighted = flat * weight.reshape(len(expected), 1, -1)
            data = images[part].reshape(len(expected), -1, 1)
            normal = (weighted @ flat.transpose(0, 2, 1)).astype(float)
            size = np.sqrt(np.maximum(np.einsum("nii->ni", normal), 1e-30))
            normal = normal / (size[:, :, None] * size[:, None, :]) + 1e-9 * np.eye(5)
            answer = np.linalg.solve(normal, (weighted @ data).astype(float) / size[:, :, None])[:, :, 0] / size
            enough = use.mean(axis=1) >= MIN_COVERED
            amplitude = np.maximum(answer[:, 0], 1e-3 * self.brightness[part])
            # bead(z) = model(z + d): the bead's own focus lies d below the model's zero.
            moved[part] = np.where(enough, -answer[:, 1] / amplitude, 0.0)
            self.off_centre[part] = np.where(enough[:, None], -answer[:, 2:4] / amplitude[:, None], 0.0)
            self.brightness[part] = np.where(enough, amplitude, self.brightness[part])
            fitted = np.einsum("nk,nkp->np", answer, flat).reshape(expected.shape)
            self._judge(part, images[part], fitted, expected, by_x, by_y, use, amplitude)
            self.residual[part] = np.where(enough, self.residual[part], np.nan)
        return moved

    def _judge(
        self, part: slice, images: F32, fitted: F64, model: F32, by_x: F32, by_y: F32, use: Bool,
        amplitude: F64,
    ) -> None:  # fmt: skip
        """Note the residual as a whole, and what brightness and place do from plane to plane against the model."""
        difference = (images - fitted) * use[:, :, None]
        signal = fitted**2 * use[:, :, None]
        kept = np.array([stack.noise_kept / planes_averaged(stack, self.spacing) for stack in self.stacks[part]])
        noise = (np.maximum(fitted, 0.0) + self.noise[part, None, None]) * use[:, :, None] * kept[:, None, None]
        unexplained = np.sum(difference**2 - noise, axis=(1, 2)) / np.maximum(np.sum(signal, axis=(1, 2)), 1e-9)
        self.residual[part] = np.sqrt(np.maximum(unexplained, 0.0))
        near = use & (np.abs(self.grid) <= SLOPE_NM)
        power = np.sum(model**2, axis=2)
        level = np.sum(images * model, axis=2) / np.maximum(power, 1e-12) / amplitude[:, None]
        self.bleaching[part] = 1000 * weighted_slope(self.grid, level, power * near)
        lateral_scatter = np.zeros(len(amplitude))
        for slope in (by_x, by_y):
            strength = np.sum(slope**2, axis=2)
            move = np.sum((images - fitted) * slope, axis=2) / np.maximum(strength, 1e-12) / amplitude[:, None]
            weight = strength * near
            # Noise moves single planes; a straight line through all of them is what a drifting bead does.
            lateral_scatter += (weighted_slope(self.grid, move, weight) * SLOPE_NM) ** 2 / 3
        self.lateral_scatter[part] = np.sqrt(lateral_scatter)

    def _distrust_outliers(self) -> None:
        known = self.residual[self.trusted & np.isfinite(self.residual)]
        if not len(known):
            return
        middle = float(np.median(known))
        limit = max(2 * RESIDUAL_FLOOR, middle + OUTLIER_MADS * robust_sd(known, about=middle))
        with np.errstate(invalid="ignore"):
            kept = self.trusted & (self.residual <= limit)
        if kept.sum() >= MIN_BEADS:
            self.trusted = kept

    def result(self) -> Alignment:
        def spread(values: F64) -> F64:
            everywhere = np.full((self.count, *values.shape[1:]), np.nan)
            everywhere[self.rows] = values
            return everywhere

        return Alignment(
            focus_nm=spread(self.focus),
            residual=spread(self.residual),
            sharpness_shift_nm=spread(self.focus - self.sharp),
            bleaching_per_um=spread(self.bleaching),
            lateral_scatter_px=spread(self.lateral_scatter),
            off_centre_px=spread(self.off_centre),
            degree=self.degree,
        )
