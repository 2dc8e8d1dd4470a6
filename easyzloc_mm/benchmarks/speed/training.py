"""`bench train`: how long a training takes to reach what accuracy, on beads of the embedded optics."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from easyzloc_mm._processes import in_fresh_process
from easyzloc_mm.benchmarks.fixtures.embedded import embedded_beads
from easyzloc_mm.io.beads.dataset import read_bead_set, write_bead_set
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.training.train import TrainReport, train
from easyzloc_mm.typing import Progress


def bench_train(
    *, beads: int, minutes: float, z_step_nm: float, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Train for `minutes` and for twice as long, each time as a command would: in a process of its own, from disk.

    Returns
    -------
    dict
        ``beads``, ``planes``; ``minutes``, ``rmse_z_nm``, ``limit_z_nm``, ``all_minutes`` (with what comes before and
        after the optimisation, imports included) and ``peak_memory_gb`` of the first training; ``longer_minutes``,
        ``longer_rmse_z_nm`` of the second; ``ratio_to_longer``.
    """
    report = progress or (lambda _message, _fraction: None)
    with tempfile.TemporaryDirectory(prefix="easyzloc-train-") as name:
        folder = Path(name)
        data = embedded_beads(load_profile("demo").replace(beads={"z_step_nm": z_step_nm}), beads, seed, progress).train
        write_bead_set(folder / "beads.zarr", data)
        facts = {"beads": len(data), "planes": int(data.rois.shape[1])}
        del data
        runs = []
        for factor in (1, 2):
            budget, out = factor * minutes, folder / f"model{factor}"

            def show(seconds: float, budget: float = budget) -> None:
                report(f"training for {budget:g} min", min(seconds / 60 / budget, 1.0))

            runs.append(in_fresh_process(_train, folder / "beads.zarr", out, budget, seed, waiting=show))
    first, second = (run.value for run in runs)
    return {
        **facts,
        "minutes": first.minutes,
        "rmse_z_nm": first.rmse_z_nm,
        "limit_z_nm": first.limit_z_nm,
        "all_minutes": runs[0].seconds / 60,
        "peak_memory_gb": runs[0].peak_bytes / 1e9,
        "longer_minutes": second.minutes,
        "longer_rmse_z_nm": second.rmse_z_nm,
        "ratio_to_longer": first.rmse_z_nm / second.rmse_z_nm,
    }


def _train(beads: Path, out: Path, minutes: float, seed: int) -> TrainReport:
    return train(read_bead_set(beads), out, minutes=minutes, seed=seed)
