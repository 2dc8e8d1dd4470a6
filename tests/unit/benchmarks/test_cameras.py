"""`bench cameras`: coverage of known errors, and the whole of it for an EMCCD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.benchmarks.accuracy.cameras import bench_cameras, coverage
from easyzloc_mm.benchmarks.second_optics.cameras import CameraKind

PIXEL_NM, SIZE = 110.0, (256, 256)


def test_coverage_counts_errors_and_takes_the_walk_over_field_and_depth_out() -> None:
    rng, count = np.random.default_rng(1), 4000
    truth = pd.DataFrame(
        {
            "frame": np.arange(count), "x": rng.uniform(20, 235, count), "y": rng.uniform(20, 235, count),
            "z": rng.uniform(-800, 800, count), "photons": 2000.0,
        }
    )  # fmt: skip
    table = truth.assign(lpx=0.1, lpy=0.2, lpz=40.0, z_flag=0, photons=1500.0)
    table["x"] += 0.1 * rng.standard_normal(count) + 0.3 * truth["z"] / 1000 * truth["x"] / 255
    table["y"] += 0.1 * rng.standard_normal(count)  # half of what is stated
    table["z"] += 40.0 * rng.standard_normal(count)
    table.loc[:99, "z_flag"] = 4
    found = coverage(table, truth, PIXEL_NM, SIZE)
    error = 4 * np.sqrt(0.32 * 0.68 / count)
    for axis in "xz":
        assert found[f"{axis}_68"] == pytest.approx(0.683, abs=error)
        assert found[f"{axis}_95"] == pytest.approx(0.95, abs=error)
    assert found["y_68"] == pytest.approx(0.954, abs=error)
    assert found["flagged"] == 100 / count
    assert found["photons"] == pytest.approx(0.75)
    # 0.3 px per um over +-0.8 um of depth, half of it in the middle of the field.
    assert found["walk_x_nm"] > 5 > found["walk_y_nm"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")  # Keras' and its exporter's
def test_a_wrong_gain_of_an_emccd_is_noticed_and_changes_no_coverage(tmp_path: Path) -> None:
    found = bench_cameras(tmp_path, kinds=[CameraKind.EMCCD], minutes=0.5, frames=80)["cameras"]["emccd"]
    right = found.pop("right")
    assert right["noticed"] == 0
    for name, wrong in found.items():
        assert wrong["noticed"] == 1, name
        for figure in ("x_68", "y_68", "z_68", "x_95", "y_95", "z_95"):
            assert wrong[figure] == pytest.approx(right[figure], abs=0.06), (name, figure)
