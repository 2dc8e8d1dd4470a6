"""How other programs name, measure and count what stands in their tables.

What is known of each was read in its own source: SMAP (``export_coordinates.m``, ``Loader_decode.m``, the fitters'
``xpix``), DECODE (``emitter_io.py``, ``emitter_trafo.py``), rapidSTORM (``localization_file/``), ThunderSTORM
(``ImportExport/``), Picasso (``io.py``). That Abbelight NEO writes ThunderSTORM's headings, and ``sigma_x`` and
``sigma_y``, was read in ChriSTORM's translator (``F-TranslateAB-TS.js``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from easyzloc_mm.io.units import is_pixels, length_nm

FRAME, LATERAL, AXIAL, FWHM, PLAIN = "frame", "lateral", "axial", "fwhm", "plain"
"""What a column measures: a frame number, a length in the plane, a depth (nm), a full width, anything else."""
PHOTONS = ("photon", "photons", "ph")


@dataclass(frozen=True)
class Meaning:
    """What one column of another program is here.

    Attributes
    ----------
    ours : tuple of str
        Columns that it becomes.
    kind : str
        `FRAME`, `LATERAL`, `AXIAL`, `FWHM` or `PLAIN`.
    unit : str
        Of lengths, where the heading states none: ``nm``, ``px``, or empty where the file says it elsewhere. Of others
        the unit that the heading must state, if any.
    """

    ours: tuple[str, ...]
    kind: str = PLAIN
    unit: str = ""


@dataclass(frozen=True)
class Program:
    """A program, or a convention that several share.

    Attributes
    ----------
    label : str
        As messages call it.
    needs : tuple of str
        Headings without units by which its tables are known; empty where `recognised` knows them otherwise.
    columns : mapping of str to Meaning
        By heading, without its unit.
    first_frame : int or None
        Number of the first frame; None where the program is not known, and 0 counts where it occurs.
    centre_px : float
        What x and y are at the centre of the first pixel.
    transposed : bool
        Its x is the row.
    """

    label: str
    needs: tuple[str, ...]
    columns: Mapping[str, Meaning] = field(repr=False)
    first_frame: int | None
    centre_px: float
    transposed: bool = False

    @property
    def counting(self) -> str:
        """How it counts, in words."""
        first = "as it states" if self.first_frame is None else str(self.first_frame)
        return f"{self.label}: frames from {first}, centre of the first pixel at {self.centre_px:g} px"


def _lengths(unit: str, **columns: str | tuple[str, ...]) -> dict[str, Meaning]:
    given = {name: (ours,) if isinstance(ours, str) else ours for name, ours in columns.items()}
    return {name: Meaning(ours, AXIAL if ours[0] in ("z", "lpz") else LATERAL, unit) for name, ours in given.items()}


XY = {"x": "x", "y": "y", "z": "z"}
BOTH_WIDTHS, BOTH_PRECISIONS = ("sx", "sy"), ("lpx", "lpy")
THUNDERSTORM = {
    "frame": Meaning(("frame",), FRAME),
    **_lengths("", **XY, sigma=BOTH_WIDTHS, sigma1="sx", sigma2="sy", sigma_x="sx", sigma_y="sy"),
    **_lengths("", **dict.fromkeys(("uncertainty", "uncertainty_xy"), BOTH_PRECISIONS)),
    **_lengths("", uncertainty_x="lpx", uncertainty_y="lpy", uncertainty_z="lpz"),
    "intensity": Meaning(("photons",), PLAIN, "photon"),
    "offset": Meaning(("bg",), PLAIN, "photon"),
    "z_flag": Meaning(("z_flag",)),
}  # fmt: skip
GENERIC = {
    **{name: Meaning(("frame",), FRAME) for name in ("frame", "frames", "frame number", "frame_number", "frame index",
                                                     "first frame", "image number", "framenumber")},
    **_lengths("", **XY, **{"position x": "x", "position y": "y", "position z": "z", "x position": "x",
                            "y position": "y", "z position": "z", "x_position": "x", "y_position": "y",
                            "z_position": "z"}),
    **_lengths("", **dict.fromkeys(("precision", "localization precision", "uncertainty", "uncertainty_xy"),
                                   BOTH_PRECISIONS), sigma=BOTH_WIDTHS),
    **_lengths("", uncertainty_x="lpx", uncertainty_y="lpy", uncertainty_z="lpz"),
    **{name: Meaning(("photons",)) for name in ("photons", "number photons", "photon count")},
    "intensity": Meaning(("photons",), PLAIN, "photon"),
    "background": Meaning(("bg",), PLAIN, "photon"),
}  # fmt: skip
SMAP = {
    "frame": Meaning(("frame",), FRAME),
    **_lengths("nm", xnm="x", ynm="y", znm="z", locprecnm=BOTH_PRECISIONS, locprecxnm="lpx", locprecynm="lpy",
               xnmerr="lpx", ynmerr="lpy", locprecznm="lpz", psfxnm=BOTH_WIDTHS, psfynm="sy"),
    "phot": Meaning(("photons",)), "bg": Meaning(("bg",)),
}  # fmt: skip
DECODE = {
    "frame_ix": Meaning(("frame",), FRAME),
    **_lengths("", x="x", y="y", z="z", x_sig="lpx", y_sig="lpy", z_sig="lpz"),
    "phot": Meaning(("photons",)), "bg": Meaning(("bg",)),
}  # fmt: skip
CHALLENGE = {
    "frame": Meaning(("frame",), FRAME),
    **_lengths("nm", xnano="x", ynano="y", znano="z"),
    "intensity": Meaning(("photons",)),
}  # fmt: skip
PICASSO = {
    "frame": Meaning(("frame",), FRAME),
    **_lengths("px", x="x", y="y", sx="sx", sy="sy", lpx="lpx", lpy="lpy"),
    **_lengths("nm", z="z", lpz="lpz"),
    **{name: Meaning((name,)) for name in ("photons", "bg", "ellipticity", "net_gradient", "z_flag")},
}  # fmt: skip
RAPIDSTORM = {
    "imagenumber-0-0": Meaning(("frame",), FRAME),
    **_lengths("", **{"position-0-0": "x", "position-1-0": "y", "position-2-0": "z", "position-0-0-uncertainty": "lpx",
                      "position-1-0-uncertainty": "lpy", "position-2-0-uncertainty": "lpz"}),
    "psfwidth-0-0": Meaning(("sx",), FWHM), "psfwidth-1-0": Meaning(("sy",), FWHM),
}  # fmt: skip

PROGRAMS = {
    one.label: one
    for one in (
        Program("SMAP", ("frame", "xnm", "ynm"), SMAP, 1, 1.0),
        Program("DECODE", ("frame_ix", "x", "y"), DECODE, 0, 0.0, transposed=True),
        Program("SMLM Challenge", ("frame", "xnano", "ynano"), CHALLENGE, 1, 0.5),
        Program("rapidSTORM", ("imagenumber-0-0", "position-0-0", "position-1-0"), RAPIDSTORM, 0, 0.0),
        Program("Picasso", ("frame", "x", "y", "lpx", "lpy"), PICASSO, 0, 0.0),
        Program("ThunderSTORM", (), THUNDERSTORM, 1, 0.5),
        Program("Picasso, for ThunderSTORM", (), THUNDERSTORM, 0, 0.0),
        Program("others", (), GENERIC, None, 0.5),
    )
}
"""Programs whose tables of text are read, in the order in which they are recognised."""
UNIT = re.compile(r"^(.*?)\s*[\[(]\s*([^\])]*?)\s*[\])]$|^(.*[xyz])[_ ](nm|um|µm|px|pix|pixels?)$")


def base_and_unit(heading: str) -> tuple[str, str]:
    """Return a heading without its unit, in small letters, and the unit: ``X (nm)`` is ``x``, ``nm``."""
    found = UNIT.match(heading.strip())
    if found is None:
        return heading.strip().lower(), ""
    base, unit = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    return base.strip().lower(), unit.strip().lower()


def recognised(headings: Sequence[str]) -> Program:
    """Return the program that names its columns so, or ``others``."""
    split = [base_and_unit(heading) for heading in headings]
    plain = {base for base, unit in split if not unit}
    measured = {base for base, unit in split if length_nm(unit) or is_pixels(unit)}
    for program in PROGRAMS.values():
        if program.needs and set(program.needs) <= plain:
            return program
    as_thunderstorm = "frame" in plain and {"x", "y"} <= measured and any("[" in heading for heading in headings)
    return PROGRAMS["ThunderSTORM" if as_thunderstorm else "others"]
