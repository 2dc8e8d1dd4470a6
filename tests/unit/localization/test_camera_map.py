"""Camera maps: molecules on a chip whose pixels differ, against the truth, and maps that do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from easyzloc_mm.acquire.live import run_live
from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.camera_map import read_camera_map, write_camera_map
from easyzloc_mm.io.profiles import load_profile, shipped_profiles
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.localization.detection.gaussian_fit import fit_gaussians
from easyzloc_mm.localization.offline.movie import localize_movie
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import Detection, Fit, LocalizeSettings
from tests.helpers.localize_bench import BASELINE, GAIN, embedded_profile, small_bundle

SHAPE = (96, 128)
FRAMES, SPOTS, PHOTONS = 24, 8, 1500.0
RESPONSE = CameraResponse(baseline_adu=BASELINE, electrons_per_adu=GAIN, read_noise_e=1.5)
SETTINGS = LocalizeSettings(detection=Detection.PICASSO, refine=False)

pytestmark = pytest.mark.usefixtures("localised_here")


@dataclass(frozen=True)
class Scene:
    """The same electrons read by a chip of unlike pixels and by one of like pixels."""

    chip: PixelResponse
    unlike: NDArray[np.uint16]
    like: NDArray[np.uint16]
    places: NDArray[np.float64]


def _read(electrons: NDArray[np.float64], chip: PixelResponse) -> NDArray[np.uint16]:
    return np.clip(np.rint(electrons / chip.electrons_per_adu + chip.baseline_adu), 0, 65535).astype(np.uint16)


def flat_chip(noise: float = 0.0) -> PixelResponse:
    return PixelResponse(*(np.full(SHAPE, value, np.float32) for value in (BASELINE, noise, GAIN)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(4)
    chip = PixelResponse(
        baseline_adu=(BASELINE + 15 * rng.standard_normal(SHAPE)).astype(np.float32),
        read_noise_e=np.full(SHAPE, 1.5, np.float32),
        electrons_per_adu=(GAIN * np.exp(0.2 * rng.standard_normal(SHAPE))).astype(np.float32),
    )
    # At least 14 px apart and from the rim.
    grid = np.stack(np.meshgrid(np.arange(16, 112, 24), np.arange(16, 80, 32)), axis=-1).reshape(-1, 2)
    places = grid[None] + rng.uniform(-4, 4, (FRAMES, SPOTS, 2))
    row, column = np.arange(SHAPE[0]), np.arange(SHAPE[1])
    light = np.full((FRAMES, *SHAPE), 15.0)
    for t in range(FRAMES):
        for x, y in places[t]:
            across, down = np.exp(-((column - x) ** 2) / (2 * 1.3**2)), np.exp(-((row - y) ** 2) / (2 * 1.3**2))
            light[t] += PHOTONS / (2 * np.pi * 1.3**2) * down[:, None] * across[None]
    electrons = rng.poisson(light) + 1.5 * rng.standard_normal(light.shape)
    return Scene(chip, _read(electrons, chip), _read(electrons, flat_chip()), places)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("model") / "m", field=(SHAPE[1], SHAPE[0])))


def stored(path: Path, movie: NDArray[np.uint16]) -> Path:
    writer = FrameWriter(path, movie.shape[1:], pixel_size_nm=110.0, expected=len(movie))
    for number, frame in enumerate(movie):
        writer.append(number, frame)
    writer.close()
    return path


def localized(
    movie: NDArray[np.uint16],
    card: ModelCard,
    place: Path,
    chip: PixelResponse | None = None,
    origin: tuple[int, int] = (0, 0),
    settings: LocalizeSettings = SETTINGS,
) -> pd.DataFrame:
    place.mkdir()
    if chip is not None:
        write_camera_map(place / "camera.zarr", chip)
    localize_movie(
        stored(place / "movie.zarr", movie), card, place / "run.zarr", response=RESPONSE, settings=settings,
        workers=1, origin_px=origin, camera_map=None if chip is None else place / "camera.zarr",
    )  # fmt: skip
    return read_localizations(place / "run.zarr")[0]


@dataclass(frozen=True)
class Localized:
    """The scene's localisations: unlike pixels with their map and without it, and like pixels."""

    tables: dict[str, pd.DataFrame]
    thresholds: dict[str, float]


@pytest.fixture(scope="module")
def found(scene: Scene, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Localized:
    folder = tmp_path_factory.mktemp("found")
    tables = {
        "with": localized(scene.unlike, card, folder / "with", scene.chip),
        "without": localized(scene.unlike, card, folder / "without"),
        "like": localized(scene.like, card, folder / "like"),
    }
    thresholds = {name: read_localizations(folder / name / "run.zarr")[1].min_net_gradient or 0.0 for name in tables}
    return Localized(tables, thresholds)


def matched(table: pd.DataFrame, places: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which rows are true spots, and the distances (x, y) to them."""
    truth = np.concatenate([np.column_stack([np.full(SPOTS, 1e4 * t), place]) for t, place in enumerate(places)])
    found = np.column_stack([1e4 * table["frame"], table["x"], table["y"]])
    apart, which = cKDTree(truth).query(found)
    return apart < 1.5, (found - truth[which])[:, 1:]


def test_the_map_brings_molecules_to_where_and_what_they_are(scene: Scene, found: Localized) -> None:
    thresholds = found.thresholds
    xy, photons, z = {}, {}, {}
    z_like = found.tables["like"]
    for name, table in found.tables.items():
        true, error = matched(table, scene.places)
        assert true.sum() >= 0.98 * FRAMES * SPOTS
        assert (~true).sum() <= 2
        xy[name] = float(np.sqrt(np.mean(error[true] ** 2)))
        photons[name] = float(np.std(table["photons"][true]) / np.mean(table["photons"][true]))
        pairs = cKDTree(np.column_stack([1e4 * z_like["frame"], z_like["x"], z_like["y"]]))
        apart, which = pairs.query(np.column_stack([1e4 * table["frame"], table["x"], table["y"]]))
        near = apart < 1.5
        z[name] = float(np.median(np.abs(table["z"][near].to_numpy() - z_like["z"].to_numpy()[which[near]])))
    # As good as a chip of like pixels, which the chip without its map is far from.
    assert xy["with"] < 1.03 * xy["like"]
    assert xy["without"] > 1.25 * xy["like"]
    assert photons["with"] < 1.05 * photons["like"]
    assert photons["without"] > 1.15 * photons["like"]
    assert z["with"] < 0.1 * z["without"]
    # Detection does not take the chip's pattern for noise, which dim molecules would have to rise above.
    assert thresholds["with"] < 1.05 * thresholds["like"]
    assert thresholds["without"] > 1.5 * thresholds["like"]


def test_a_map_of_like_pixels_changes_nothing(scene: Scene, card: ModelCard, found: Localized, tmp_path: Path) -> None:
    assert localized(scene.like, card, tmp_path / "with", flat_chip()).equals(found.tables["like"])


def test_a_camera_roi_takes_its_part_of_the_map(
    scene: Scene, card: ModelCard, found: Localized, tmp_path: Path
) -> None:
    left, top = 20, 10
    whole = found.tables["with"]
    part = localized(scene.unlike[:, top:, left:], card, tmp_path / "part", scene.chip, (left, top))
    inside = whole[(whole["x"] > left + 10) & (whole["y"] > top + 10)].reset_index(drop=True)
    same = part[(part["x"] > left + 10) & (part["y"] > top + 10)].reset_index(drop=True)
    assert len(inside) > 50
    # Positions are counted in 32 bits from another corner.
    assert np.allclose(
        inside[["frame", "x", "y", "photons", "z"]], same[["frame", "x", "y", "photons", "z"]], rtol=1e-4
    )


def test_crops_at_the_rim_repeat_the_nearest_pixel_with_its_own_units(scene: Scene) -> None:
    chip = scene.chip
    corner, inner = crop_photons(scene.unlike, np.array([2, 2]), np.array([0.0, 40.0]), np.array([1.0, 50.0]), chip, 7)
    expected = (scene.unlike[2] - chip.baseline_adu) * chip.electrons_per_adu
    assert np.allclose(inner, expected[47:54, 37:44], rtol=1e-5)
    assert np.allclose(corner, np.pad(expected, 3, mode="edge")[1:8, :7], rtol=1e-5)


def test_a_noisy_pixel_counts_less_in_the_likelihood(scene: Scene) -> None:
    """Against the truth: with its read noise known, a pixel of 60 electrons spoils a fit less (Huang et al. 2013)."""
    rng = np.random.default_rng(9)
    noisy = flat_chip(1.5)
    noisy.read_noise_e[::4, ::4] = 60.0
    movie = scene.like + rng.normal(0, noisy.read_noise_e / GAIN, scene.like.shape)
    frames = np.clip(np.rint(movie), 0, 65535).astype(np.uint16)
    spots = pd.DataFrame(
        {
            "frame": np.repeat(np.arange(FRAMES, dtype=np.uint32), SPOTS),
            "x": np.rint(scene.places[..., 0]).ravel().astype(int),
            "y": np.rint(scene.places[..., 1]).ravel().astype(int),
            "net_gradient": np.full(FRAMES * SPOTS, 5000.0, np.float32),
        }
    )
    error, in_sigmas = {}, {}
    for name, response in (("known", noisy), ("unknown", flat_chip(1.5))):
        table, _ = fit_gaussians(frames, spots, 7, response, Fit.MLE)
        true, apart = matched(table, scene.places)
        error[name] = float(np.median(np.abs(apart[true])))
        in_sigmas[name] = 1.4826 * float(np.median(np.abs(apart[true] / table[["lpx", "lpy"]].to_numpy()[true])))
    assert error["known"] < 0.75 * error["unknown"]
    print(error, in_sigmas)
    assert 0.8 < in_sigmas["known"] < 1.25 < in_sigmas["unknown"]


# --- maps that do not fit, and runs that remember theirs ---


def profile_with_map(folder: Path, shape: tuple[int, int], gain: float = 0.45) -> Path:
    chip = PixelResponse(*(np.full(shape, value, np.float32) for value in (100.0, 1.5, gain)))
    write_camera_map(folder / "camera.zarr", chip)
    text = shipped_profiles()["demo"].read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("width_px", "height_px"))]
    at = lines.index("[camera]") + 1
    lines[at:at] = ["width_px = 192", "height_px = 160", 'map = "camera.zarr"']
    (folder / "p.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "p.toml"


def test_a_map_lies_beside_its_profile(tmp_path: Path) -> None:
    assert load_profile(profile_with_map(tmp_path, (160, 192))).camera.map == tmp_path.absolute() / "camera.zarr"


@pytest.mark.parametrize("fault", ["size", "missing", "no map", "not finite"])
def test_a_map_that_does_not_fit_is_refused_before_anything_moves(
    fault: str, tmp_path: Path, card: ModelCard, capsys: pytest.CaptureFixture[str]
) -> None:
    path = profile_with_map(tmp_path, (160, 191) if fault == "size" else (160, 192))
    camera = tmp_path / "camera.zarr"
    if fault == "missing":
        camera.rename(tmp_path / "elsewhere.zarr")
    elif fault == "no map":
        camera.rename(tmp_path / "elsewhere.zarr")
        stored(camera, np.zeros((1, 160, 192), np.uint16))
    elif fault == "not finite":
        chip = read_camera_map(camera)
        chip.baseline_adu[3, 3] = np.nan
        write_camera_map(camera, chip, if_exists="overwrite")
    out = tmp_path / "run.zarr"
    assert main(["live", "-p", str(path), "-m", str(card.path), "-o", str(out), "-n", "10"]) == 2
    said = capsys.readouterr().err
    assert "camera.zarr" in said
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.filterwarnings("default::easyzloc_mm.errors.EasyZlocWarning")
def test_a_map_of_another_camera_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "check", str(profile_with_map(tmp_path, (160, 192), gain=1.0))]) == 0
    assert "camera.electrons_per_adu" in capsys.readouterr().err


def test_a_movie_beyond_the_map_is_refused(
    scene: Scene, card: ModelCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_camera_map(tmp_path / "camera.zarr", scene.chip)
    movie, out = stored(tmp_path / "movie.zarr", scene.unlike[:2]), tmp_path / "run.zarr"
    call = [
        "localize",
        str(movie),
        "-m",
        str(card.path),
        "-o",
        str(out),
        "--camera-map",
        str(tmp_path / "camera.zarr"),
    ]
    assert main([*call, "--origin-px", "1", "0"]) == 2
    assert "columns 1 to 128" in capsys.readouterr().err
    assert not out.exists()


def test_live_offline_and_resumed_use_the_same_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    profile = embedded_profile(load_profile("demo"))
    # The embedded camera's pixels are alike: a map that differs from it by much would be noise to the molecules.
    chip = PixelResponse(
        (profile.camera.baseline_adu + rng.standard_normal((160, 192))).astype(np.float32),
        np.full((160, 192), profile.camera.read_noise_e, np.float32),
        (profile.camera.electrons_per_adu * np.exp(0.02 * rng.standard_normal((160, 192)))).astype(np.float32),
    )
    write_camera_map(tmp_path / "camera.zarr", chip)
    profile = profile.replace(camera={"map": tmp_path / "camera.zarr"})
    card = ModelCard.load(small_bundle(tmp_path / "model", field=(192, 160)))
    with connect(profile) as microscope:
        run_live(microscope, profile, card, tmp_path / "live.zarr", frames=48)
    live, _ = read_localizations(tmp_path / "live.zarr")
    assert len(live) > 50
    common = ["-m", str(card.path), "--passes", "1", "--workers", "1"]
    # The run says which map it was recorded with.
    again = tmp_path / "again.zarr"
    assert main(["localize", str(tmp_path / "live.zarr"), "-o", str(again), *common]) == 0
    assert read_localizations(again)[0].equals(live)
    write_camera_map(tmp_path / "camera.zarr", flat_like(chip), if_exists="overwrite")
    assert main(["localize", str(tmp_path / "live.zarr"), "-o", str(again), *common, "--resume"]) == 2
    with pytest.raises(InputError, match="is not the camera map"):
        localize_movie(tmp_path / "live.zarr", card, again, response=RESPONSE, if_exists="resume")


def flat_like(chip: PixelResponse) -> PixelResponse:
    return PixelResponse(chip.baseline_adu, chip.read_noise_e, np.full_like(chip.electrons_per_adu, 0.45))
