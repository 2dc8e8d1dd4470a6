"""`localize --scheduler`: the same rows from the workers of a dask scheduler, and what is said where there is none."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from easyzloc_mm.cli.app import main
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import read_localizations
from tests.helpers.localize_bench import small_bundle, spots_movie

SHAPE = (96, 128)
FRAMES = 100

pytestmark = pytest.mark.usefixtures("localised_here")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    distributed = pytest.importorskip("distributed", reason="package distributed (extra 'cluster') is not installed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    )
    yield cluster.scheduler_address
    cluster.close()


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("cluster")
    movie, _ = spots_movie(FRAMES, SHAPE, spots=8)
    writer = FrameWriter(folder / "movie.zarr", SHAPE, pixel_size_nm=110.0, expected=FRAMES)
    for number, frame in enumerate(movie):
        writer.append(number, frame)
    writer.close()
    model = small_bundle(folder / "model", field=(SHAPE[1], SHAPE[0]))
    return ["localize", str(folder / "movie.zarr"), "--model", str(model)]


@pytest.mark.parametrize("more", [[], pytest.param(["--background-frames", "20"], marks=pytest.mark.slow)])
def test_the_rows_are_the_same_bit_for_bit(
    address: str, call: list[str], tmp_path: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here.zarr", tmp_path / "there.zarr"
    assert main([*call, *more, "--out", str(here), "--workers", "1"]) == 0
    # Paths as users give them: the workers were started elsewhere.
    monkeypatch.chdir(Path(call[1]).parent)
    assert main(["localize", "movie.zarr", "--model", "model", *more, "--out", str(there), "--scheduler", address]) == 0
    table, facts = read_localizations(there)
    expected, _ = read_localizations(here)
    assert len(expected) > 4 * FRAMES
    assert table.equals(expected)
    assert facts.complete is True


def test_a_localiser_that_fails_there_is_said(
    address: str, call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = small_bundle(tmp_path / "broken", field=(SHAPE[1], SHAPE[0]), broken=True)
    out = tmp_path / "run.zarr"
    code = main(["localize", call[1], "--model", str(broken), "--out", str(out), "--scheduler", address])
    assert code not in (0, 1)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the localiser failed at frame" in said
    assert read_localizations(out)[1].complete is False


def test_no_scheduler_is_one_clear_sentence(
    call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="package distributed (extra 'cluster') is not installed")
    monkeypatch.setattr("easyzloc_mm.localization.workers.dask.CONNECT_S", 1.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as something_else:
        silent = f"tcp://127.0.0.1:{something_else.getsockname()[1]}"
        for address in (silent, closed, "nonsense://x", "tcp://127.0.0.1"):
            assert main([*call, "--out", str(tmp_path / "run.zarr"), "--scheduler", address]) == 2
            said = capsys.readouterr().err
            assert address in said.splitlines()[-1]
            assert "dask scheduler" in said.splitlines()[-1]
    assert not (tmp_path / "run.zarr").exists()


def test_without_the_package_it_is_said_how_to_get_it(
    call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*call, "--out", str(tmp_path / "run.zarr"), "--scheduler", "tcp://127.0.0.1:8786"]) == 2
    assert "easyzloc-mm[cluster]" in capsys.readouterr().err
    assert not (tmp_path / "run.zarr").exists()


def test_a_cluster_has_its_own_workers(call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run.zarr")
    assert main([*call, "--out", out, "--scheduler", "tcp://127.0.0.1:8786", "--workers", "2"]) == 2
    assert "--scheduler" in capsys.readouterr().err
