"""Units of length as other programs spell them."""

from __future__ import annotations

import re

NM_OF = {"m": 1e9, "cm": 1e7, "mm": 1e6, "um": 1e3, "nm": 1.0, "pm": 1e-3, "a": 0.1, "inch": 2.54e7}
"""Nanometres of each unit, by its short name."""
SPELLED = {
    "metre": "m", "meter": "m", "centimetre": "cm", "centimeter": "cm", "millimetre": "mm", "millimeter": "mm",
    "micrometre": "um", "micrometer": "um", "micron": "um", "nanometre": "nm", "nanometer": "nm", "nano": "nm",
    "picometre": "pm", "picometer": "pm", "angstrom": "a", "ångström": "a", "å": "a", "in": "inch",
}  # fmt: skip
MICRO = ("\\u00b5", "\\u03bc", "\u00b5", "\u03bc", "\\xb5", "Â\u00b5", "Î\u00bc")
"""The sign of micro: written out by Java and Python, as two different characters, and in two broken encodings."""
PIXELS = {"px", "pix", "pxl", "pixel"}


def length_nm(unit: str) -> float | None:
    """Return how many nanometres a unit of length is, however it is spelled; None where it is none.

    Parameters
    ----------
    unit : str
        As ``um``, ``µm`` (also escaped), ``microns``, ``Nanometer``, ``cm``.
    """
    short = _short(unit)
    return NM_OF.get(SPELLED.get(short, short))


def is_pixels(unit: str) -> bool:
    """Whether a unit is camera pixels, however it is spelled."""
    return _short(unit) in PIXELS


def _short(unit: str) -> str:
    lower = unit.strip().lower()
    for sign in MICRO:
        lower = lower.replace(sign.lower(), "u")
    lower = re.sub(r"[\s.\0]+", "", lower)
    if lower in NM_OF or lower in SPELLED or lower in PIXELS:
        return lower
    return lower.removesuffix("s") if len(lower) > 2 else lower
