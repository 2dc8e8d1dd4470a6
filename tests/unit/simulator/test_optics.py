"""The embedded optics against analytic facts and pyotf, and the rendering table against the exact model."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.optics.pupil import image_fields, intensity, make_pupil, phase, zernike
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.simulator.optics import kernels
from easyzloc_mm.simulator.optics.objective import FIELD_MARGIN, Aberrations, OpticsModel
from easyzloc_mm.simulator.optics.psf_table import PsfTable, psf_table
from easyzloc_mm.typing import F64, AnyFloat

OIL = Optics(na=1.46, immersion_index=1.518, sample_index=1.518, emission_nm=680.0, pixel_size_nm=110.0)
PERFECT = Aberrations(0, 0, (0, 0), 0, 0, (0, 0), (0, 0), 0)


@pytest.fixture(scope="module")
def model() -> OpticsModel:
    return OpticsModel(OIL, 512, 512)


@pytest.fixture(scope="module")
def table(model: OpticsModel) -> PsfTable:
    return psf_table(model)


@pytest.fixture(scope="module")
def perfect() -> OpticsModel:
    return OpticsModel(OIL, 512, 512, PERFECT)


def tabulated(
    model: OpticsModel, table: PsfTable, x: float, y: float, dx: float, dy: float, z: float, radius: int
) -> F64:
    side = table.coefficients.shape[-1]
    work, line = np.zeros((side, side), np.float32), np.zeros(side, np.float32)
    out = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    u, v = (float(c) for c in model.field(x, y))
    kernels.emitter_image(
        table.coefficients, table.scale, table.z_start_nm, table.z_step_nm, table.oversampling,
        u, v, FIELD_MARGIN, dx, dy, z, radius, work, line, out,
    )  # fmt: skip
    return out.astype(float)


@pytest.mark.parametrize("sample_index", [1.518, 1.33])
def test_all_photons_are_on_an_infinite_camera(sample_index: float) -> None:
    optics = OIL.model_copy(update={"sample_index": sample_index})
    pupil = make_pupil(optics, 64)
    period = 64 * optics.emission_nm / (2 * optics.na)
    points = np.arange(160) * period / 160
    for z in (0.0, 400.0):
        fields = image_fields(phase(pupil, np.array([0.1, 0.2, 0.1, 0.3, 0.5]), z), points, points, pupil)
        assert intensity(fields, pupil).sum() * (period / 160) ** 2 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("noll", [5, 6, 7, 8, 9, 10, 11, 22])
def test_zernike_terms_have_unit_rms_and_no_piston(noll: int) -> None:
    radius, angle = np.meshgrid(np.sqrt((np.arange(400) + 0.5) / 400), np.arange(90) * 2 * np.pi / 90)
    values = zernike(noll, radius, angle)  # equal areas
    assert values.mean() == pytest.approx(0, abs=1e-3)
    assert np.sqrt((values**2).mean()) == pytest.approx(1, abs=2e-3)


def test_perfect_lens_is_symmetric_and_sharpest_at_zero(perfect: OpticsModel) -> None:
    z = np.array([-800.0, -300.0, -20.0, 0.0, 20.0, 300.0, 800.0])
    images = perfect.psf_stack(40.0, 400.0, z, 21)
    assert np.abs(images - images[::-1]).max() < 1e-6
    for turned in (images[:, ::-1], images[:, :, ::-1], images.transpose(0, 2, 1)):
        assert np.abs(images - turned).max() < 1e-6
    assert np.argmax(images.max(axis=(1, 2))) == 3


def test_perfect_lens_agrees_with_pyotf(perfect: OpticsModel) -> None:
    otf = pytest.importorskip("pyotf.otf")
    step = 110 / 3
    theirs = otf.HanserPSF(
        wl=680, na=1.46, ni=1.518, res=step, size=255, zres=300, zsize=5, vec_corr="total", condition="sine"
    ).PSFi
    theirs = theirs / theirs.sum(axis=(1, 2), keepdims=True)
    focus = int(np.argmax(theirs.max(axis=(1, 2))))
    pupil = make_pupil(OIL, 128)
    grid = (np.arange(45) - 22) * step
    for plane, z in ((focus, 0.0), (focus - 1, -300.0), (focus - 2, -600.0)):
        fields = image_fields(phase(pupil, np.zeros(5), z), grid, grid, pupil)
        ours = intensity(fields, pupil) * step**2
        other = theirs[plane, 105:150, 105:150]
        assert np.corrcoef(ours.ravel(), other.ravel())[0, 1] > 0.999
        # pyotf's hard-edged pupil costs it a little energy.
        assert ours.max() == pytest.approx(other.max(), rel=0.03)


def test_lens_is_as_imperfect_as_a_real_one(model: OpticsModel) -> None:
    u, v = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    rad = np.array([model.zernike_rad(a, b) for a, b in zip(u.ravel(), v.ravel(), strict=True)])
    centre = model.zernike_rad(0, 0)
    assert 0.4 <= rad[:, 4].min() <= rad[:, 4].max() <= 0.7
    assert 0.05 < np.hypot(*centre[:2]) <= 0.2
    field = np.hypot(*(rad[:, :2] - centre[:2]).T)
    assert 0.35 < field.max() <= 0.41
    assert 0.35 < np.hypot(rad[:, 2], rad[:, 3]).max() < 0.5
    surface = model.focal_surface_nm((u + 1) * 255.5, (v + 1) * 255.5)
    assert np.abs(surface).max() <= 150
    assert np.ptp(surface) > 150


@pytest.mark.parametrize(("x", "y"), [(255.5, 255.5), (20.0, 490.0), (500.0, 30.0)])
def test_zero_is_the_sharpest_plane_and_the_middle_of_the_image(model: OpticsModel, x: float, y: float) -> None:
    z = np.arange(-120.0, 121.0, 10.0)
    images = model.psf_stack(x, y, z, 15)
    sharpest = z[np.argmax((images**2).sum(axis=(1, 2)))]
    assert abs(sharpest) <= 15
    focus = model.psf_stack(x, y, np.zeros(1), 15)[0]
    grid = np.arange(15) - 7
    window = focus * np.exp(-(grid[:, None] ** 2 + grid[None, :] ** 2) / (2 * 1.3**2))
    assert abs((window * grid[None, :]).sum() / window.sum()) < 0.05
    assert abs((window * grid[:, None]).sum() / window.sum()) < 0.05


def test_image_tells_above_from_below(model: OpticsModel) -> None:
    """The sign of z: with the stage above focus this lens shows rings, below focus a core in a wide haze."""
    below, above = model.psf_stack(255.5, 255.5, np.array([-700.0, 700.0]), 15)
    assert below[6:9, 6:9].sum() > 0.25 * below.sum()
    assert above[6:9, 6:9].sum() < 0.06 * above.sum()


def test_derivatives_are_those_of_the_images(model: OpticsModel) -> None:
    at = {name: np.array([value]) for name, value in
          {"x_px": 100.0, "y_px": 400.0, "dx_px": 0.2, "dy_px": -0.3, "z_nm": 150.0}.items()}  # fmt: skip

    def image(**changed: F64) -> AnyFloat:
        return model.psf_with_derivatives(**(at | changed), size=15)[0]

    step_nm = 2.0
    psf, *slopes = model.psf_with_derivatives(**at, size=15)
    assert psf.shape == (1, 15, 15)
    for slope, name, step in zip(slopes, ("dx_px", "dy_px", "z_nm"), (1 / 110, 1 / 110, 1.0), strict=True):
        up, down = (image(**{name: at[name] + sign * step_nm * step}) for sign in (1, -1))
        assert np.abs((up - down) / (2 * step_nm) - slope).max() < 1e-3 * np.abs(slope).max()


def test_table_is_the_exact_models_twin(model: OpticsModel, table: PsfTable) -> None:
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(60):
        x, y = rng.uniform(0, 511, 2)
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        z = rng.uniform(-1000, 1000)
        place = [np.array([value]) for value in (x, y, dx, dy, z)]
        exact = model.psf_with_derivatives(place[0], place[1], place[2], place[3], place[4], 15)[0][0]
        errors.append(np.abs(tabulated(model, table, x, y, dx, dy, z, 7) - exact).max() / exact.max())
    assert np.median(errors) < 0.005
    assert max(errors) < 0.025


def z_limit(psf: F64, slopes: list[F64], photons: float, background: float) -> float:
    mean = photons * psf + background
    change = np.stack([*(photons * slope for slope in slopes), psf, np.ones_like(psf)], axis=-1)
    fisher = np.einsum("yxi,yxj->ij", change / mean[..., None], change)
    return float(np.sqrt(np.linalg.inv(fisher)[2, 2]))


def test_table_carries_the_same_information(model: OpticsModel, table: PsfTable) -> None:
    """sqrt(CRLB z) from table images within a few per cent of the exact optics'."""
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(30):
        x, y = rng.uniform(0, 511, 2)
        z = rng.uniform(-700, 700)
        at = np.array([0.1, -0.2, z])
        psf, *slopes = (image[0] for image in model.psf_with_derivatives(
            np.array([x]), np.array([y]), at[:1], at[1:2], at[2:], size=15))  # fmt: skip

        def twin_image(place: F64, x: float = x, y: float = y) -> F64:
            return tabulated(model, table, x, y, float(place[0]), float(place[1]), float(place[2]), radius=7)

        steps = np.diag([0.02, 0.02, 5.0])
        images = [
            (twin_image(at + step) - twin_image(at - step)) / (2 * nm)
            for step, nm in zip(steps, (2.2, 2.2, 5.0), strict=True)
        ]
        twin = z_limit(twin_image(at), images, 2500, 40)
        ratios.append(twin / z_limit(psf, slopes, 2500, 40))
    assert np.median(ratios) == pytest.approx(1, abs=0.01)
    assert np.percentile(np.abs(np.array(ratios) - 1), 90) < 0.05


def test_table_comes_back_from_the_cache_and_survives_a_bad_one(
    model: OpticsModel, table: PsfTable, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from easyzloc_mm.simulator.optics import psf_table as room

    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path))
    key = room._digest(model)
    file = room._cache_file(key)
    room._keep(key, table)
    again = room._from_cache(key)
    assert again is not None
    assert np.array_equal(again.coefficients, table.coefficients)
    assert (again.z_start_nm, again.oversampling) == (table.z_start_nm, table.oversampling)
    file.write_bytes(file.read_bytes()[:1000])
    assert room._from_cache(key) is None
    file.unlink()
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(file / "beneath" / "a" / "file"))
    file.write_bytes(b"in the way")
    assert room._keep(key, table) is table
    assert room._digest(OpticsModel(OIL, 512, 512, PERFECT)) != key
