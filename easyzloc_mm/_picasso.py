"""Picasso (Schnitzbauer et al. 2017, doi 10.1038/nprot.2017.024): the only module that imports it.

Picasso ships no types that a checker would read, so that what is called is declared here: one protocol per module of
Picasso, with the functions and parameters that easyzloc_mm uses, and no others.
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Literal, Protocol, overload

import pandas as pd

from easyzloc_mm.typing import F32, F64, I64, U16, AnyFloat

Info = list[dict[str, Any]]
"""Picasso's metadata: a dictionary per processing step; the first has "Width", "Height", "Frames", "Pixelsize"."""

_importing = threading.Lock()


class Localize(Protocol):
    """``picasso.localize``: detection, Gaussian and spline fits."""

    def identify_in_frame(self, frame: U16 | F32, minimum_ng: float, box: int, /) -> tuple[I64, I64, F32]:
        """Return rows, columns and net gradients of local maxima above the threshold."""

    def get_spots(self, movie: U16, identifications: pd.DataFrame, box: int, camera_info: dict[str, Any], /) -> F32:
        """Return crops in photons, shape (n, box, box)."""

    def fit_spots_gauss(self, spots: F32, /, *, mle: bool = False, variance: F32 | None = None) -> F32:
        """Return the parameters of a 2D Gaussian per spot."""

    def locs_from_fits_gauss(
        self,
        identifications: pd.DataFrame,
        theta: F32,
        box: int,
        /,
        *,
        em: bool,
        mle: bool = False,
        variance: F32 | None = None,
    ) -> pd.DataFrame:
        """Return the table of localisations; x, y in camera pixels."""

    def fit_spots_splinefit(
        self, spots: F32, calibration: dict[str, Any], /, *, mle: bool = False, n_z_starts: int | None = None
    ) -> F32:
        """Return the parameters of a cubic spline PSF per spot."""

    def locs_from_fits_spline(
        self,
        identifications: pd.DataFrame,
        theta: F32,
        box: int,
        em: bool,
        calibration: dict[str, Any],
        /,
        *,
        mle: bool = True,
    ) -> pd.DataFrame:
        """Return the table of localisations; x, y in camera pixels, z in nm."""

    def localize_frames(
        self, frames: U16, info: Info, params: dict[str, Any], /, *, camera_info: dict[str, Any]
    ) -> pd.DataFrame:
        """Detect and fit the spots of a whole movie."""


class Spline(Protocol):
    """``picasso.spline``: calibration of a cubic spline PSF."""

    def calibrate_spline(
        self,
        movie: U16,
        info: Info,
        camera_info: dict[str, Any],
        box: int,
        minimum_ng: float,
        d: float,
        /,
        *,
        magnification_factor: float,
    ) -> dict[str, Any]:
        """Return a calibration for `Localize.fit_spots_splinefit`; `d` is the z step, nm."""


class Render(Protocol):
    """``picasso.render``."""

    def render(
        self, locs: pd.DataFrame, info: Info, /, *, disp_px_size: float, blur_method: str | None
    ) -> tuple[int, F32]:
        """Return the number of localisations drawn, and the image; `disp_px_size` in nm."""


class Io(Protocol):
    """``picasso.io``: HDF5 tables and their YAML."""

    def save_locs(self, path: str, locs: pd.DataFrame, info: Info, /) -> None:
        """Write a table."""

    def save_info(self, path: str, info: Info, /) -> None:
        """Write a table's metadata."""

    def load_locs(self, path: str, /) -> tuple[pd.DataFrame, Info]:
        """Read a table and its metadata."""


class Lib(Protocol):
    """``picasso.lib``."""

    def get_from_metadata(self, info: Info, key: str, /) -> Any:
        """Return the value of a key in the last step that has it."""


class Postprocess(Protocol):
    """``picasso.postprocess``: precision, drift, linking."""

    def nena(self, locs: pd.DataFrame, info: Info, /) -> tuple[dict[str, Any], float]:
        """Return the fit, and the precision in camera pixels (Endesfelder et al. 2014)."""

    def undrift(
        self,
        locs: pd.DataFrame,
        info: Info,
        segmentation: int,
        /,
        *,
        display: bool,
        segmentation_callback: Callable[[int], None],
        rcc_callback: Callable[[int], None],
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the drift in camera pixels, and the corrected table, by redundant cross-correlation."""

    def _get_link_groups(
        self, frame: AnyFloat | I64, x: F64, y: F64, d_max: float, max_dark_time: int, group: Any, /
    ) -> I64:
        """Return the event number of each localisation."""

    def link(
        self, locs: pd.DataFrame, info: Info, /, *, r_max: float, max_dark_time: int, remove_ambiguous_lengths: bool
    ) -> pd.DataFrame:
        """Merge localisations of one emitter in consecutive frames."""


class Aim(Protocol):
    """``picasso.aim``: drift by adaptive intersection maximisation."""

    def aim(self, locs: pd.DataFrame, info: Info, /, *, segmentation: int) -> tuple[pd.DataFrame, Info, pd.DataFrame]:
        """Return the corrected table, metadata, and drift per frame: x, y in camera pixels, z in nm."""


@overload
def picasso(module: Literal["localize"]) -> Localize: ...
@overload
def picasso(module: Literal["spline"]) -> Spline: ...
@overload
def picasso(module: Literal["render"]) -> Render: ...
@overload
def picasso(module: Literal["io"]) -> Io: ...
@overload
def picasso(module: Literal["lib"]) -> Lib: ...
@overload
def picasso(module: Literal["postprocess"]) -> Postprocess: ...
@overload
def picasso(module: Literal["aim"]) -> Aim: ...
def picasso(module: str) -> object:
    """Import and return ``picasso.MODULE``.

    Picasso logs about audio devices and changes matplotlib's settings on import; both are suppressed. What numba
    compiles of it is kept, as for this package's own functions.

    Parameters
    ----------
    module : str
        Name below ``picasso``.
    """
    name = f"picasso.{module}"
    # Two threads that saved and restored matplotlib's settings at once would restore each other's.
    with _importing:
        if name in sys.modules:
            return sys.modules[name]
        import matplotlib
        import picasso as _package  # noqa: F401  (a static import, so that import-linter sees who needs Picasso)

        logging.getLogger("playsound3").setLevel(logging.ERROR)
        before = set(sys.modules)
        with matplotlib.rc_context():
            found = importlib.import_module(name)
        _keep_compiled([sys.modules[new] for new in set(sys.modules) - before if new.startswith("picasso.")])
        return found


def _keep_compiled(modules: Iterable[ModuleType]) -> None:
    """Let numba keep on the disk what it compiles of modules: else every process spends seconds on it again."""
    from numba.core.registry import CPUDispatcher

    for module in modules:
        for function in vars(module).values():
            if isinstance(function, CPUDispatcher) and function.py_func.__module__ == module.__name__:
                function.enable_caching()
