"""From a localisation table to biology: tables in, tables and results out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.run import Run

if TYPE_CHECKING:
    from easyzloc_mm.analysis.npc.measure import PoreResult
    from easyzloc_mm.analysis.resolution import ResolutionResult
    from easyzloc_mm.analysis.scoring.figures import Score
    from easyzloc_mm.rendering.views import RenderedImage


def load_locs(run: Run | str | Path, *, where: str | None = None, pixel_size_nm: float | None = None) -> Locs:
    """Return the localisations of a run, or of a table of any format.

    Parameters
    ----------
    run : Run or path
        ``RUN.zarr``, Picasso ``.hdf5``, ThunderSTORM ``.csv`` or ``.parquet``.
    where : str, optional
        Condition on the rows, as in ``lpz < 40 and z_flag == 0``.
    pixel_size_nm : float, optional
        Camera pixel, for tables that do not say.

    Raises
    ------
    InputError
        There is no such table, or the condition is not understood, or it leaves no row.

    Examples
    --------
    >>> locs = ez.load_locs("run.zarr", where="lpz < 40 and z_flag == 0")
    >>> bool((locs.table["lpz"] < 40).all())
    True
    """
    return Locs.load(run.path if isinstance(run, Run) else Path(run), where=where, pixel_size_nm=pixel_size_nm)


def undrift(
    locs: Locs | Run | str | Path,
    *,
    method: str = "auto",
    z_method: str = "auto",
    fiducials: str | None = None,
) -> Locs:
    """Return the localisations with drift taken out; the drift goes with them, as ``.drift``.

    Parameters
    ----------
    locs : Locs, Run or path
        As they were recorded.
    method : {'auto', 'fiducials', 'rcc', 'aim', 'overlap', 'none'}
        Of x and y.
    z_method : {'auto', 'fiducials', 'paper', 'aim', 'overlap', 'none'}
        Of z.
    fiducials : str, optional
        Markers: a picks file of Picasso (.yaml), or pixels as ``x,y;x,y``.

    Raises
    ------
    InputError
        The table is corrected already, or a method that was asked for cannot work on it.

    References
    ----------
    .. [1] Y. Wang et al., "Localization events-based sample drift correction for localization microscopy with redundant
       cross-correlation algorithm", Optics Express 22 (2014) 15982, doi:10.1364/OE.22.015982 (``rcc``).
    .. [2] H. Ma et al., "Toward drift-free high-throughput nanoscopy through adaptive intersection maximization",
       Science Advances 10 (2024) eadm7765, doi:10.1126/sciadv.adm7765 (``aim``).
    .. [3] J. Cnossen et al., "Drift correction in localization microscopy using entropy minimization", Optics Express
       29 (2021) 27961, doi:10.1364/OE.426620 (near to ``overlap``).

    Examples
    --------
    >>> corrected = ez.undrift("run.zarr")
    >>> sorted(corrected.drift.range_nm(corrected.pixel_size_nm))
    ['x', 'y', 'z']
    """
    from easyzloc_mm.analysis.drift import apply
    from easyzloc_mm.analysis.drift.estimate import estimate

    recorded = _as_locs(locs)
    return apply.undrift(recorded, estimate(recorded, method_xy=method, method_z=z_method, fiducials=fiducials))


def link(locs: Locs | Run | str | Path, *, max_distance_nm: float | None = None, max_dark_frames: int = 1) -> Locs:
    """Return one row for each time an emitter was on, instead of one for each frame.

    Parameters
    ----------
    locs : Locs, Run or path
        With localisation precisions ``lpx``, ``lpy``.
    max_distance_nm : float, optional
        From one row of an event to the next; by the precision if not given.
    max_dark_frames : int
        Frames that an emitter may be missing in between.

    Raises
    ------
    InputError
        The table has no precisions, or a limit is impossible.

    Examples
    --------
    >>> events = ez.link("run.zarr", max_dark_frames=2)
    >>> len(events) < len(ez.load_locs("run.zarr"))
    True
    """
    from easyzloc_mm.locs.linking import link_locs

    return link_locs(_as_locs(locs), max_distance_nm=max_distance_nm, max_dark_frames=max_dark_frames).locs


def render(
    locs: Locs | Run | str | Path,
    *,
    view: str = "xy",
    z_range_nm: tuple[float, float] | None = None,
    region_um: tuple[float, float, float, float] | None = None,
    render_pixel_nm: float | None = None,
    thickness_nm: float = 400.0,
    style: str = "gaussian",
    colormap: str = "depth",
) -> RenderedImage:
    """Return an image of the localisations, each as wide as it is uncertain, depth as colour.

    Parameters
    ----------
    locs : Locs, Run or path
        3D; rows with a `z_flag` are left out.
    view : {'xy', 'xz', 'yz', 'isometric'}
        From above, a slice, or in space.
    z_range_nm : (float, float), optional
        Depths that the colours span; those of all but a few localisations if not given.
    region_um : (float, float, float, float), optional
        Left, right, top, bottom in x and y; the whole field, or its densest part for a slice, if not given.
    render_pixel_nm : float, optional
        Pixel of the image; about 1600 px along the longer edge if not given.
    thickness_nm : float
        Of a slice.
    style : {'gaussian', 'histogram'}
        How a localisation is drawn.
    colormap : str
        ``depth`` (equal lightness), or a map of matplotlib.

    Raises
    ------
    InputError
        The table is 2D or empty, or something of this cannot be drawn.

    Examples
    --------
    >>> image = ez.render("run.zarr", view="xz", thickness_nm=300)
    >>> image.save("slice.png").name
    'slice.png'
    """
    from easyzloc_mm.rendering.views import render_image

    return render_image(
        _as_locs(locs),
        view=view,
        z_range_nm=z_range_nm,
        region_um=region_um,
        render_pixel_nm=render_pixel_nm,
        thickness_nm=thickness_nm,
        style=style,
        colormap=colormap,
    )


def resolution(locs: Locs | Run | str | Path, *, seed: int = 0) -> ResolutionResult:
    """Return precision per axis (NeNA), Fourier ring and shell correlation with their intervals, and density.

    Parameters
    ----------
    locs : Locs, Run or path
    seed : int
        Of the resampling that gives the intervals.

    Raises
    ------
    InputError
        The table has too few localisations.

    References
    ----------
    .. [1] R. P. J. Nieuwenhuizen et al., "Measuring image resolution in optical nanoscopy", Nature Methods 10 (2013)
       557, doi:10.1038/nmeth.2448.
    .. [2] U. Endesfelder et al., "A simple method to estimate the average localization precision of a single-molecule
       localization microscopy experiment", Histochemistry and Cell Biology 141 (2014) 629,
       doi:10.1007/s00418-014-1192-3.

    Examples
    --------
    >>> found = ez.resolution("run.zarr")
    >>> found.axes["z"].nena_nm > 0
    True
    """
    from easyzloc_mm.analysis.resolution import measure_resolution

    return measure_resolution(_as_locs(locs), seed=seed)


def find_pores(
    locs: Locs | Run | str | Path,
    *,
    picks: str | Path | None = None,
    by_group: bool = False,
    diameter_nm: float = 107.0,
    seed: int = 0,
    z_scale_error: float = 0.0,
) -> PoreResult:
    """Return the nuclear pores, and the distance between their two rings beside pores without rings.

    Parameters
    ----------
    locs : Locs, Run or path
        3D; rows with a `z_flag` are left out.
    picks : path, optional
        Picks file of Picasso instead of searching.
    by_group : bool
        The column ``group`` assigns localisations to pores.
    diameter_nm : float
        Of the rings that are searched.
    seed : int
        Of the simulated pores without rings.
    z_scale_error : float
        Relative standard error of the scale of z, which the interval of the spacing includes.

    Returns
    -------
    PoreResult
        ``rings.spacing_nm`` with its interval, ``table`` with one row per pore; ``why_not``: why no rings are shown.

    Raises
    ------
    InputError
        The table has no z, or not the column, or the picks cannot be read.

    References
    ----------
    .. [1] J. V. Thevathasan et al., "Nuclear pores as versatile reference standards for quantitative superresolution
       microscopy", Nature Methods 16 (2019) 1045, doi:10.1038/s41592-019-0574-9.

    Examples
    --------
    >>> pores = ez.find_pores("pores.zarr")
    >>> len(pores.table) > 0
    True
    """
    from easyzloc_mm.analysis.npc.measure import find_in_locs, measure_pores

    chosen = None if picks is None else Path(picks)
    found = find_in_locs(_as_locs(locs), picks=chosen, by_group=by_group, diameter_nm=diameter_nm)
    return measure_pores(found, seed=seed, z_scale_error=z_scale_error)


def score(
    table: Locs | Run | str | Path,
    truth: str | Path | None = None,
    *,
    pixel_size_nm: float | None = None,
    lateral_nm: float = 250.0,
    axial_nm: float = 500.0,
    border_nm: float = 0.0,
    faintest_photons: float = 0.0,
    remove_offset: bool = True,
) -> Score:
    """Return recall, precision and errors against the truth, by the rules of the SMLM Challenge 2016.

    Parameters
    ----------
    table : Locs, Run or path
        ``RUN.zarr``, or a table of any program.
    truth : path, optional
        Every molecule in every frame: what `simulate` writes, a folder ``RUN.records``, or a table of any format; what
        lies beside a simulated run, if not given.
    pixel_size_nm : float, optional
        Camera pixel, for tables that do not say.
    lateral_nm, axial_nm : float
        Largest distance of a localisation from its molecule.
    border_nm : float
        Width of the image's border that does not count.
    faintest_photons : float
        Molecules that gave fewer photons in a frame do not count.
    remove_offset : bool
        Take the median error out of every axis first; it is returned.

    Raises
    ------
    InputError
        A table cannot be read, or pixels and nanometres of the two cannot be compared.

    References
    ----------
    .. [1] D. Sage et al., "Super-resolution fight club: assessment of 2D and 3D single-molecule localization microscopy
       software", Nature Methods 16 (2019) 387, doi:10.1038/s41592-019-0364-4.

    Examples
    --------
    >>> found = ez.score("run.zarr", "truth.parquet")
    >>> found.recall, found.bins[0].recall
    (1.0, 1.0)
    """
    from easyzloc_mm.analysis.scoring.figures import ScoreRules
    from easyzloc_mm.analysis.scoring.run import compare_locs
    from easyzloc_mm.analysis.scoring.score import score as figures_of
    from easyzloc_mm.errors import InputError
    from easyzloc_mm.io.tables.truth import in_pixels, read_truth, truth_of_run

    locs = table if isinstance(table, Locs) else load_locs(table, pixel_size_nm=pixel_size_nm)
    metadata = locs.metadata
    if truth is None:
        if locs.source is None:
            raise InputError("only a run can have its truth beside it: give the table of the true molecules as `truth`")
        emitters = truth_of_run(locs.source)
    else:
        if metadata.pixel_size_assumed and in_pixels(Path(truth)):
            raise InputError(f"{locs.name} counts in nm and {truth} in pixels: give `pixel_size_nm`")
        emitters = read_truth(Path(truth), metadata.pixel_size_nm)
    rules = ScoreRules(
        lateral_nm=lateral_nm,
        axial_nm=axial_nm,
        border_nm=border_nm,
        faintest_photons=faintest_photons,
        remove_offset=remove_offset,
    )
    return figures_of(compare_locs(locs, emitters, rules))


def _as_locs(source: Locs | Run | str | Path) -> Locs:
    return source if isinstance(source, Locs) else load_locs(source)
