"""`bench train`: how long a training takes to reach what accuracy, on beads of the embedded optics."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from easyzloc_mm.benchmarks.embedded import embedded_beads
from easyzloc_mm.network import train
from easyzloc_mm.profile_library import load_profile

Progress = Callable[[str, float], None]


def bench_train(*, beads: int, minutes: float, seed: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """Train for `minutes` and for twice as long.

    Returns
    -------
    dict
        ``minutes``, ``rmse_z_nm``, ``limit_z_nm`` of the first; ``longer_minutes``, ``longer_rmse_z_nm`` of the second;
        ``ratio_to_longer``; ``beads``.
    """
    data = embedded_beads(load_profile("demo"), beads, seed, progress)
    with tempfile.TemporaryDirectory() as folder:
        first, second = (
            train(data.train, Path(folder) / str(factor), minutes=factor * minutes, seed=seed, progress=progress)
            for factor in (1, 2)
        )
    return {
        "minutes": first.minutes,
        "rmse_z_nm": first.rmse_z_nm,
        "limit_z_nm": first.limit_z_nm,
        "longer_minutes": second.minutes,
        "longer_rmse_z_nm": second.rmse_z_nm,
        "ratio_to_longer": first.rmse_z_nm / second.rmse_z_nm,
        "beads": len(data.train),
    }
