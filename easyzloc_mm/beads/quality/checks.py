"""Checks for bead stacks that cannot give a calibration, each with what is wrong and how to mend it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from easyzloc_mm.beads.quality.judge import Reason
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.stack import OTHER_STACK, BeadStack, check_planes
from easyzloc_mm.typing import F32, F64, I64

MIN_RANGE_NM = 600.0
CUT_OFF = 0.9
"""A stack with a smaller part of the planes of the longest one was cut off."""
DEPTHS_NM = np.arange(-800.0, 801.0, 50.0)
MIN_FOR_DIRECTION = 4
REVERSED_MARGIN = 0.03
"""By so much more a stack must resemble the others upside down to be called reversed."""
CROWDED_SHARE, FEWEST_CROWDED = 2 / 3, 10
"""On slides of which a larger part of the candidates have neighbours, 11 of 51 accepted beads had another within 1 um
(`bench density --psf none`, 0.17 to 0.45 beads per um2); at 0.12, where it was 0.6 of them, none of 16."""
CURES = {
    Reason.EDGE: "all lie at the edge: move the stage",
    Reason.SATURATED: "lower the exposure or the light",
    Reason.NEIGHBOUR: "dilute the bead slide",
    Reason.FAINT: "raise the exposure or the light",
    Reason.FOCUS: "take the stack around the focus of the bead layer, one micrometre or more to either side",
}


def name_of(stack: BeadStack) -> str:
    """Return the name of a stack for people."""
    return f"{stack.source.name}, field {stack.fov}"


def stage_nm(stack: BeadStack) -> F64:
    """Stage position of every plane in the order taken: measured where the stage reported it, else requested."""
    measured = stack.planes["measured_z_um"].to_numpy(float)
    requested = stack.planes["requested_z_um"].to_numpy(float)
    return 1000 * np.where(np.isfinite(measured), measured, requested)


def check_stacks(stacks: Sequence[BeadStack]) -> None:
    """Refuse stacks that are none, and warn of those that were cut off or run downwards.

    Raises
    ------
    InputError
        Image sizes differ; a stack has too few planes, no stage positions, or a stage that did not move far enough.
    """
    sizes = {stack.pixels.shape[1:]: name_of(stack) for stack in stacks}
    if len(sizes) > 1:
        named = "; ".join(f"{where} is {width} x {height} px" for (height, width), where in sizes.items())
        raise InputError(f"the bead stacks differ in image size ({named}): give stacks of one camera setting")
    longest = max(stack.pixels.shape[0] for stack in stacks)
    for stack in stacks:
        planes, z_nm = stack.pixels.shape[0], stage_nm(stack)
        check_planes(planes, name_of(stack), OTHER_STACK)
        if not np.isfinite(z_nm).all():
            raise InputError(f"{name_of(stack)} does not say where its planes lie: give `z_step_nm`")
        if np.ptp(z_nm) < MIN_RANGE_NM:
            raise InputError(
                f"{name_of(stack)} spans only {np.ptp(z_nm):.0f} nm in z, {MIN_RANGE_NM:.0f} nm or more are needed: "
                "check that the stage moved, and the z step"
            )
        if planes < CUT_OFF * longest:
            _warn(
                f"{name_of(stack)} was cut off: {planes} of {longest} planes, z {z_nm.min() / 1000:.2f} to "
                f"{z_nm.max() / 1000:.2f} um; beads whose focus is missing are rejected"
            )
        if np.corrcoef(np.arange(planes), z_nm)[0, 1] < 0:
            _warn(f"{name_of(stack)} runs downwards; its planes were put in rising order")


def check_light(stack: BeadStack, slabs: F32, full_scale_adu: int) -> None:
    """Refuse a stack that shows nothing, or nothing but its own saturation.

    Raises
    ------
    InputError
        Blank, or white.
    """
    # Not the brightest pixels: one that is stuck at the upper end holds no information on the others.
    if float(np.median(slabs)) >= full_scale_adu:
        raise InputError(f"{name_of(stack)} is saturated in every plane: lower the exposure or the light")
    if np.ptp(slabs) == 0:
        raise InputError(f"{name_of(stack)} is blank: all pixels of all planes are alike; check light and shutter")


def check_directions(stacks: Sequence[BeadStack], stack: I64, profiles: F64) -> None:
    """Refuse a stack whose PSF through focus resembles that of the others upside down.

    Parameters
    ----------
    stacks : sequence of BeadStack
    stack : ndarray, shape (n,)
        Stack of each bead.
    profiles : ndarray, shape (n, K, pixels)
        Each bead at `DEPTHS_NM`, NaN where there is no plane.

    Raises
    ------
    InputError
        A stack runs against the others although its stage positions rise.
    """
    means = {}
    for index in range(len(stacks)):
        own = stack == index
        if own.sum() >= MIN_FOR_DIRECTION:
            means[index] = _typical(profiles[own])
    if len(means) < 2:
        return
    for index, mean in means.items():
        others = _typical(np.stack([other for key, other in means.items() if key != index]))
        forward, backward = _likeness(mean, others), _likeness(mean[::-1], others)
        if backward > forward + REVERSED_MARGIN:
            rest = "the other stack" if len(means) == 2 else "the other stacks"
            raise InputError(
                f"{name_of(stacks[index])} looks like {rest} upside down ({backward:.2f} alike, {forward:.2f} as "
                "given): it was scanned the other way; give a negative `z_step_nm` for it, or leave it out"
            )


def _typical(values: F64) -> F64:
    """Return the median of what is known along the first axis, robust to single bad beads; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, where nothing is known
        return np.asarray(np.nanmedian(values, axis=0))


def _likeness(first: F64, second: F64) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    a, b = first[both], second[both]
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 else 0.0


def check_verdict(reasons: Sequence[str]) -> None:
    """Refuse a set without a single accepted bead, and name what kept them out; warn of a slide that is too dense.

    Raises
    ------
    InputError
        No bead was accepted.
    """
    if not all(reasons):
        near, count = Counter(reasons)[Reason.NEIGHBOUR], len(reasons)
        if near > CROWDED_SHARE * count and count >= FEWEST_CROWDED:
            _warn(
                f"{near} of {count} candidates have another object near them: where beads lie so close, one in five of "
                "those that are accepted is two; dilute the bead slide, and trust this calibration less"
            )
        return
    counts = Counter(reasons).most_common()
    named = ", ".join(f"{number} {reason}" for reason, number in counts)
    cure = CURES.get(Reason(counts[0][0]), "look at the slide and the focus")
    raise InputError(f"none of the {len(reasons)} candidates is a usable bead ({named}): {cure}")


def _warn(sentence: str) -> None:
    warnings.warn(sentence, EasyZlocWarning, stacklevel=3)
