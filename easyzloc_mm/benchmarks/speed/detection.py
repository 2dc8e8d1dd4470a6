"""`bench detect`, `bench fit`: detection and 2D fits beside Picasso's, on the same frames in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from easyzloc_mm._picasso import picasso
from easyzloc_mm.benchmarks.fixtures.embedded import true_table
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.localization.detection.detect import detect
from easyzloc_mm.localization.detection.gaussian_fit import detect_frames, fit_gaussians
from easyzloc_mm.localization.matched.detector import MatchedDetector
from easyzloc_mm.localization.synthetic import gaussian_frames
from easyzloc_mm.profile.detection import Fit
from easyzloc_mm.psf.detection_bank import DetectionBank
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.simulator.optics.objective import embedded_optics
from easyzloc_mm.typing import U16

FRAME_PX, EMITTERS, FRAMES = 1200, 200, 8
BOX_PX = 7
BASELINE_ADU, BACKGROUND_ADU, SPOT_ADU, SPOT_SIGMA_PX = 100.0, 80.0, 6000.0, 1.4
MIN_NET_GRADIENT = 1500.0
RESPONSE = CameraResponse(baseline_adu=BASELINE_ADU, electrons_per_adu=0.45, read_noise_e=1.5)
FALSE_ALARMS, Z_RANGE_NM = 0.1, 1000.0


def bench_detect() -> dict[str, Any]:
    """Detect spots of 1200x1200 frames with 200 emitters, one thread, this package and Picasso by turns.

    Detection by the PSF has the bank of the embedded optics, whose molecules differ from those of the frames: its time
    is measured, not what it finds.

    Returns
    -------
    dict
        ``ms_per_frame``, ``picasso_ms_per_frame``, ``ratio`` (Picasso's identification by our kernel and by Picasso's;
        medians over the frames, CPU time of this process), ``identical`` (1 if every spot and net gradient is the
        same), ``spots``; ``psf_ms_per_frame`` and ``psf_ratio`` of detection by the PSF.
    """
    detector = _detector()
    threshold = detector.threshold(FALSE_ALARMS, (FRAME_PX, FRAME_PX))
    identify_in_frame = picasso("localize").identify_in_frame
    frames = _frames()
    methods: dict[str, Callable[[U16], Any]] = {
        "easyzloc": lambda frame: detect(frame, MIN_NET_GRADIENT, BOX_PX),
        "picasso": lambda frame: identify_in_frame(frame, MIN_NET_GRADIENT, BOX_PX),
        "psf": lambda frame: detector.detect(frame, RESPONSE, threshold),
    }
    spent: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method(frames[0])  # compiles
    identical, spots = True, 0
    for frame in frames:
        found = {}
        for name, method in methods.items():
            start = time.process_time()
            found[name] = method(frame)
            spent[name].append(1000 * (time.process_time() - start))
        spots += len(found["easyzloc"][0])
        identical &= all(np.array_equal(a, b) for a, b in zip(found["easyzloc"], found["picasso"], strict=True))
    own, stock, by_psf = (statistics.median(spent[name]) for name in methods)
    return {
        "ms_per_frame": own,
        "picasso_ms_per_frame": stock,
        "ratio": stock / own,
        "identical": int(identical),
        "spots": spots,
        "psf_ms_per_frame": by_psf,
        "psf_ratio": stock / by_psf,
    }


def _detector() -> MatchedDetector:
    """Return detection by the PSF of the embedded optics in the middle of its field."""
    profile = load_profile("demo")
    size = profile.camera.width_px, profile.camera.height_px
    middle = np.array([size[0] / 2]), np.array([size[1] / 2])
    table = true_table(embedded_optics(profile), *middle, Z_RANGE_NM)
    psf = FieldPsf(table.coefficients, 0, table.z_start_nm, table.z_pitch_nm, -Z_RANGE_NM, Z_RANGE_NM)
    return MatchedDetector(DetectionBank.of(psf, table, size, (-Z_RANGE_NM, Z_RANGE_NM)))


def bench_fit() -> dict[str, Any]:
    """Fit the spots of the same frames, one thread, both methods, with Picasso's own ``fit`` by turns.

    Returns
    -------
    dict
        ``lq_spots_per_s``, ``mle_spots_per_s`` (cut, fit and table; medians, CPU time of this process),
        ``picasso_spots_per_s`` (``get_spots``, ``fit_spots_gauss``, ``locs_from_fits_gauss`` as Picasso chains them,
        least squares), ``ratio`` (least squares to Picasso: the kernel is the same), ``max_diff_px`` (largest distance
        to Picasso's localisation), ``spots``, ``kept``.
    """
    localize = picasso("localize")
    frames, response = _frames(), RESPONSE
    spots = detect_frames(frames, MIN_NET_GRADIENT, BOX_PX)
    info = {"Baseline": response.baseline_adu, "Sensitivity": response.electrons_per_adu, "Gain": 1, "Pixelsize": 110}

    def by_picasso() -> Any:
        cut = localize.get_spots(frames, spots, BOX_PX, dict(info))
        return localize.locs_from_fits_gauss(spots, localize.fit_spots_gauss(cut), BOX_PX, em=False)

    methods: dict[str, Callable[[], Any]] = {
        "lq": lambda: fit_gaussians(frames, spots, BOX_PX, response, Fit.LQ)[0],
        "mle": lambda: fit_gaussians(frames, spots, BOX_PX, response, Fit.MLE)[0],
        "picasso": by_picasso,
    }
    found = {name: method() for name, method in methods.items()}  # compiles
    spent: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(5):
        for name, method in methods.items():
            start = time.process_time()
            method()
            spent[name].append(time.process_time() - start)
    rates = {f"{name}_spots_per_s": len(spots) / statistics.median(times) for name, times in spent.items()}
    places = {name: found[name][["frame", "x", "y"]].to_numpy(float) for name in ("lq", "picasso")}
    apart, _ = cKDTree(places["picasso"] * (1e3, 1, 1)).query(places["lq"] * (1e3, 1, 1))
    return {
        **rates,
        "ratio": rates["lq_spots_per_s"] / rates["picasso_spots_per_s"],
        "max_diff_px": float(apart.max()),
        "spots": len(spots),
        "kept": len(places["lq"]),
    }


def _frames() -> U16:
    return gaussian_frames(
        (FRAME_PX, FRAME_PX), FRAMES, EMITTERS, SPOT_ADU, BACKGROUND_ADU, SPOT_SIGMA_PX, baseline_adu=BASELINE_ADU
    )
