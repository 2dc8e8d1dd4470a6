"""`bench mismatch`: samples of other optics than the beads', before and after `refresh`, and with the true PSF."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import theilslopes

from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.scoring.compare import compare
from easyzloc_mm.analysis.scoring.score import score
from easyzloc_mm.benchmarks.second_optics.datasets import MovieConditions, profile_of, truth_of, write_movie
from easyzloc_mm.benchmarks.second_optics.exact import exact_psf
from easyzloc_mm.benchmarks.second_optics.judged import Judge, judge_all
from easyzloc_mm.benchmarks.second_optics.lens import Lens
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.benchmarks.second_optics.study import make_study
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.locs.table import believable
from easyzloc_mm.psf.field_psf import FieldPsf, SamplePsf
from easyzloc_mm.typing import Progress

SPHERICAL_RAD, OTHERS_RAD = 0.35, 0.15
"""Draws are uniform up to so much: of primary spherical aberration, and of each component of astigmatism and coma."""
MOVIE_SEED = 900
DEEPEST_NM = 3000.0
"""Molecules of a deep sample lie up to so far above the glass, in water."""
CONDITIONS = MovieConditions(frames=220, per_um2=0.03, z_limit_nm=800.0, apart_px=16.0)


def bench_mismatch(
    folder: Path | None = None,
    *,
    draws: int = 3,
    unchanged: int = 1,
    deep: int = 0,
    minutes: float = 0.5,
    judge_only: bool = False,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Localise drawn samples under the beads' PSF, under a refreshed one, and under the true one.

    Parameters
    ----------
    folder : Path, optional
        Keeps beads, model, movies and runs, and those that lie there are used; a temporary one if not given.
    draws, unchanged, deep : int
        Samples with aberrations of their own, samples with the beads' optics, and samples with aberrations of which the
        molecules lie up to `DEEPEST_NM` deep in water.
    minutes : float
        Of training, from the beads' network.
    judge_only : bool
        Make no movies and no networks: molecules are cut out where they are, and localised by their likelihood alone
        (`judged`).
    workers : int
        Processes, of samples that are judged only.
    seed : int
        Of beads and samples.
    progress : callable, optional

    Returns
    -------
    dict
        ``samples``: of each its ``group``, its ``change`` and whether it ``differs``, and for ``before``, ``after`` and
        ``true`` the ``rmse_z_nm``, ``scale``, coverage and more. ``groups``: figures of the samples of each group
        (`summary`). ``minutes``. The ``scale`` is the slope through all that carry no flag, the ``scale_robust`` one
        that the few on the wrong side of focus do not turn (Theil and Sen).
    """
    show = progress or silent
    microscope = SecondMicroscope()
    changes = list(_changes(draws, unchanged, deep, seed))
    own_seeds = [number + MOVIE_SEED + seed for number in range(len(changes))]
    optics = [microscope.model_copy(update={"lens": _lens(microscope.lens, change)}) for change in changes]
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        if judge_only:
            judge = Judge.of(Path(place), seed, progress)
            found = judge_all(judge, list(zip(optics, own_seeds, strict=True)), workers, show)
        else:
            study = make_study(Path(place), seed=seed, movies={}, progress=progress)
            found = []
            for number, (here, own_seed) in enumerate(zip(optics, own_seeds, strict=True)):
                show(f"sample {number + 1} of {len(changes)}", number / len(changes))
                files = study.folder / f"mismatch_{seed}_{number}"
                files.mkdir(exist_ok=True)
                found.append(_sample(files, study.model, here, own_seed, minutes))
    groups = ["drawn"] * draws + ["unchanged"] * unchanged + ["deep"] * deep
    samples = [
        {"group": group, "change": change, **result}
        for group, change, result in zip(groups, changes, found, strict=True)
    ]
    return {
        "samples": samples,
        "groups": {
            name: summary([sample for sample in samples if sample["group"] == name]) for name in dict.fromkeys(groups)
        },
        "minutes": minutes,
    }


def summary(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return of some samples how many are said to differ, and median and range of what was measured.

    Returns
    -------
    dict
        ``differs``: share; ``ratio_to_true``: of the z RMSE after `refresh`, and ``ratio_before``; ``scale_NAME``,
        ``scale_robust_NAME`` and ``coverage_68_z_NAME`` for NAME of ``before``, ``widened`` (judged only), ``after``
        and ``true``. Each is (smallest, median, largest).
    """
    ways = [name for name in ("before", "widened", "after", "true") if name in samples[0]]

    def spread(values: Sequence[float]) -> tuple[float, float, float]:
        return float(np.min(values)), float(np.median(values)), float(np.max(values))

    def ratio(name: str) -> tuple[float, float, float]:
        return spread([sample[name]["rmse_z_nm"] / sample["true"]["rmse_z_nm"] for sample in samples])

    return {
        "differs": float(np.mean([sample["differs"] for sample in samples])),
        **({"noticed": float(np.mean([one["noticed"] for one in samples]))} if "noticed" in samples[0] else {}),
        "ratio_before": ratio("before"),
        "ratio_to_true": ratio("after"),
        **{
            f"{figure}_{way}": spread([sample[way][figure] for sample in samples])
            for figure in ("scale", "scale_robust", "coverage_68_z")
            for way in ways
        },
    }


def _changes(draws: int, unchanged: int, deep: int, seed: int) -> Iterator[dict[str, float]]:
    rng = np.random.default_rng(seed)
    names = ("spherical", "astigmatism 0", "astigmatism 45", "coma x", "coma y")
    limits = np.array([SPHERICAL_RAD, *[OTHERS_RAD] * 4])

    def drawn() -> dict[str, float]:
        return dict(zip(names, map(float, rng.uniform(-limits, limits)), strict=True))

    for _ in range(draws):
        yield drawn()
    for _ in range(unchanged):
        yield dict.fromkeys(names, 0.0)
    for _ in range(deep):
        yield {**drawn(), "depth_nm": float(rng.uniform(0, DEEPEST_NM))}


def _lens(lens: Lens, change: dict[str, float]) -> Lens:
    """Return a lens with aberrations added all over the field, over molecules at a depth."""
    aberrations = {name: value for name, value in change.items() if name != "depth_nm"}
    return lens.with_added(aberrations).model_copy(update={"depth_nm": change.get("depth_nm", 0.0)})


def _sample(folder: Path, model: Path, microscope: SecondMicroscope, seed: int, minutes: float) -> dict[str, Any]:
    from easyzloc_mm.api.imaging.movies import localize
    from easyzloc_mm.api.imaging.refresh import refresh
    from easyzloc_mm.model.card import ModelCard
    from easyzloc_mm.training.refresh import write_refreshed

    movie = folder / "sample.tif"
    if not truth_of(movie).exists():
        write_movie(movie, microscope, CONDITIONS, seed)
    truth = pd.read_parquet(truth_of(movie))

    def measured(card: Path, name: str) -> dict[str, Any]:
        run = folder / f"{name}.zarr"
        localize(movie, card, run, if_exists="overwrite", workers=1)
        return _errors(run, truth, microscope)

    before = measured(model, "before")
    refreshed = refresh(
        model, folder / "before.zarr", folder / "refreshed", movie=movie, profile=profile_of(microscope),
        minutes=minutes, if_exists="overwrite",
    )  # fmt: skip
    after = measured(folder / "refreshed", "after") if refreshed.found.differs else before
    card = ModelCard.load(model)
    assert card.wider_psf_file is not None, "this microscope's beads are cut out large enough"
    truly = SamplePsf(
        *(exact_psf(microscope.lens, FieldPsf.load(file)) for file in (card.psf_file, card.wider_psf_file))
    )
    record = refreshed.found.model_copy(update={"differs": True})
    write_refreshed(card, truly, record, folder / "true", minutes=minutes, if_exists="overwrite")
    return {
        "differs": refreshed.found.differs,
        "aberrations": dict(zip(refreshed.found.terms, refreshed.found.theta_rad, strict=True)),
        "before": before,
        "after": after,
        "true": measured(folder / "true", "true"),
    }


def _errors(run: Path, truth: pd.DataFrame, microscope: SecondMicroscope) -> dict[str, Any]:
    comparison = compare(
        read_localizations(run)[0], truth,
        pixel_size_nm=microscope.lens.pixel_size_nm, size_px=(microscope.width_px, microscope.height_px),
    )  # fmt: skip
    result = score(comparison)
    trusted, pixel_nm = believable(comparison.pairs), microscope.lens.pixel_size_nm
    names = {"rmse_z_nm", "robust_z_nm", "limit_z_nm", "flagged", "recall", "offset_z_nm"}
    return {
        "scale": float(np.polyfit(trusted["true_z"], trusted["z"], 1)[0]),
        "scale_robust": float(theilslopes(trusted["z"], trusted["true_z"])[0]),
        "coverage_68_x": _within(trusted["error_x"], pixel_nm * trusted["lpx"]),
        "coverage_68_y": _within(trusted["error_y"], pixel_nm * trusted["lpy"]),
        "coverage_68_z": result.coverage_68,
        **result.model_dump(mode="json", include=names),
    }


def _within(error_nm: pd.Series, sigma_nm: pd.Series) -> float:
    """Share of errors within one uncertainty, of what carries no flag; their median is taken off."""
    return float(np.mean(np.abs(error_nm - error_nm.median()) <= sigma_nm))
