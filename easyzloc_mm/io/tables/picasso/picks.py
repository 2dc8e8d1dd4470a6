"""Picks of Picasso Render: regions that a person chose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import words
from easyzloc_mm.typing import F64


def read_picks(path: Path) -> tuple[F64, float | None]:
    """Read the centres (px), and the diameter (px) if there is one, of a picks file of Picasso.

    Raises
    ------
    InputError
        The file is none, or its picks are not round or square.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        centres = content.get("Centers", content.get("Center Axis Points"))
        shape = content.get("Shape", "Circle")
        if shape not in ("Circle", "Square") or centres is None:
            raise InputError(f"{path}: picks of shape '{shape}' are not supported; save round ones in Picasso Render")
        size = content.get("Diameter", content.get("Diameter (nm)", content.get("Side Length")))
        return np.array(centres, float).reshape(-1, 2), None if size is None else float(size)
    except (OSError, yaml.YAMLError, AttributeError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no picks file of Picasso ({words(error)}): save the picks in Picasso Render"
        ) from None
