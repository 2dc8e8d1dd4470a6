"""Colours of depth: perceptually uniform steps of constant lightness.

In a localisation image brightness says how many molecules there are. So depth is coded by hue alone: a path of
constant lightness from blue to red through OKLab (Ottosson 2020), as colourful as a screen can show, cut into steps
of equal length. With a colour vision deficiency any map of matplotlib serves instead (`cividis`, `viridis`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import F64

DEPTH, GREY = "depth", "grey"
LIGHTNESS = 0.71
HUES_DEGREES = (265.0, 15.0)
"""Blue for low, through green and yellow, to red for high."""
LEVELS = 256
TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def _linear_rgb(lab: F64) -> F64:
    return np.asarray((lab @ TO_LMS.T) ** 3 @ TO_RGB.T)


@lru_cache(maxsize=1)
def _depth_table() -> F64:
    hue = np.radians(np.linspace(*HUES_DEGREES, 2000))
    chroma = np.linspace(0, 0.32, 641)
    lab = np.stack(np.broadcast_arrays(LIGHTNESS, chroma * np.cos(hue[:, None]), chroma * np.sin(hue[:, None])), axis=2)
    rgb = _linear_rgb(lab)
    shown = ((rgb >= 0) & (rgb <= 1)).all(axis=2)
    most = chroma[shown.cumprod(axis=1).sum(axis=1) - 1]
    # Where the screen's limit jumps the path would, too: smooth, and stay inside.
    width = 301
    smooth = np.convolve(np.pad(most, width // 2, mode="edge"), np.hanning(width) / np.hanning(width).sum(), "valid")
    most = 0.97 * np.minimum(smooth, most)
    path = np.stack([np.full_like(hue, LIGHTNESS), most * np.cos(hue), most * np.sin(hue)], 1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    even = np.linspace(0, length[-1], LEVELS)
    linear = np.clip(_linear_rgb(np.stack([np.interp(even, length, path[:, k]) for k in range(3)], 1)), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def color_table(name: str = DEPTH) -> F64:
    """256 colours, sRGB 0 to 1, from the lowest depth to the highest.

    Parameters
    ----------
    name : str
        ``depth``, ``grey`` (every depth alike), or a colour map of matplotlib.

    Raises
    ------
    InputError
        There is no such map.
    """
    if name == DEPTH:
        return _depth_table()
    if name == GREY:
        return np.ones((LEVELS, 3))
    import matplotlib

    if name not in matplotlib.colormaps:
        raise InputError(
            f"`colormap` {name} is unknown: use {DEPTH}, or a map of matplotlib such as viridis or cividis"
        )
    return np.asarray(matplotlib.colormaps[name](np.linspace(0, 1, LEVELS))[:, :3])
