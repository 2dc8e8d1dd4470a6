"""Values of a profile that can be, and that a person should look at all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

from easyzloc_mm.profile.schema import Profile

USUAL_SAMPLING = (0.45, 3.0)
"""Pixels in one standard deviation of the PSF."""
TO_CHECK = "CHECK"
"""Marks a line of a profile whose value is a guess or the template's."""
BY_HAND = ("devices", "optics", "camera", "limits")
"""Sections that no two microscopes share."""
_MARKED = re.compile(rf"^(\w+) = [^#]*#.*\b{TO_CHECK}\b", re.MULTILINE)


def doubts(profile: Profile, text: str) -> Iterator[str]:
    """Give what should be looked at, a sentence each.

    Parameters
    ----------
    profile : Profile
    text : str
        As it stands in its file.
    """
    optics = profile.optics
    if not USUAL_SAMPLING[0] <= optics.pixels_per_sigma <= USUAL_SAMPLING[1]:
        yield f"optics.pixel_size_nm ({optics.pixel_size_nm:g}) is unusual: {optics.sampling_in_words()}"
    if marked := _MARKED.findall(text):
        yield (
            f"{', '.join(marked)} are marked {TO_CHECK}, since nobody has confirmed them: look them up, correct them, "
            "and remove the marks"
        )


def untouched(profile: Profile, template: Profile) -> bool:
    """Return whether a profile is the template, and describes no microscope."""
    return all(getattr(profile, section) == getattr(template, section) for section in BY_HAND)
