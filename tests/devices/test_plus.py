"""The second way to MMCore, by pymmcore-plus: the same instrument as by the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.profile.schema import Profile
from tests.helpers.microscope_bench import HEIGHT, WIDTH, bench_profile

pytest.importorskip("pymmcore_plus", reason="the extra `plus` is not installed")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return bench_profile(tmp_path_factory.mktemp("bench")).replace(connection={"backend": "plus"})


def test_it_moves_lights_and_streams_like_the_first_way(profile: Profile) -> None:
    seen = {}
    for backend in ("python", "plus"):
        with connect(profile.replace(connection={"backend": backend})) as microscope:
            assert microscope.move_z(12.5) == pytest.approx(12.5)
            assert microscope.move_xy(100.0, 30.0) == pytest.approx((100.0, 30.0), abs=0.02)
            microscope.set_illumination("High")
            assert microscope.set_exposure(5.0) == 5.0
            image = microscope.expose()
            assert image.shape == (HEIGHT, WIDTH)
            frames = list(microscope.stream(30))
            assert [frame.index for frame in frames] == list(range(30))
            assert all(frame.pixels.shape == (HEIGHT, WIDTH) for frame in frames)
            assert microscope.lit_ms() > 30 * 5.0
            with pytest.raises(InputError, match="no illumination preset 'Hihg'"):
                microscope.set_illumination("Hihg")
            said = microscope.describe()
            seen[backend] = {key: said[key] for key in ("core", "camera", "adapters", "camera_width_px")}
    assert seen["plus"] == seen["python"]


def test_there_is_one_microscope_at_a_time(profile: Profile) -> None:
    for first, second in (("plus", "python"), ("python", "plus"), ("plus", "plus")):
        one, other = (profile.replace(connection={"backend": backend}) for backend in (first, second))
        with connect(one), pytest.raises(InputError, match="already connected"), connect(other):
            pass
    with connect(profile) as microscope:  # and it was given back
        assert microscope.position().z_um == 0.0


def test_what_does_not_load_is_said_in_a_sentence(profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "wrong.cfg").write_text("Device,Camera,DemoCamera,NoSuchThing\n", encoding="utf-8")
    wrong = profile.replace(connection={"config_file": str(tmp_path / "wrong.cfg")})
    with pytest.raises(HardwareError, match=r"wrong\.cfg could not be loaded"), connect(wrong):
        pass
    with connect(profile):
        pass
