"""Stores and models that are damaged: one sentence that names the file, whichever library reads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import read_bead_set, write_bead_set
from easyzloc_mm.io.camera_map import read_camera_map, write_camera_map
from easyzloc_mm.io.runs.drift import read_drift, write_drift
from easyzloc_mm.io.runs.ground_truth import read_record
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.model.card import KERAS_FILE, PSF_FILE
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.training.export import load_network
from tests.helpers.localize_bench import small_bundle
from tests.helpers.odd_images import cut
from tests.helpers.paths import DATA

V1 = DATA / "stores" / "v1"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("m") / "model", field=(64, 64))


def predict(model: Path) -> object:
    predictor = Predictor.load(model)
    return predictor.predict(np.ones((2, 15, 15), np.float32), np.array([20.0, 30.0]), np.array([20.0, 30.0]))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
@pytest.mark.parametrize("name", ["model.onnx", "psf.npz", "calibration.json"])
def test_a_file_of_a_model_that_was_cut_off_is_named(name: str, share: float, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "model")
    cut(tmp_path / "model" / name, share)
    with pytest.raises(InputError, match=name) as told:
        predict(tmp_path / "model")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", bytes(range(256))])
def test_a_damaged_network_to_train_further_is_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="check its name"):
        load_network(tmp_path)
    (tmp_path / KERAS_FILE).write_bytes(content)
    with pytest.raises(InputError, match=f"{KERAS_FILE} cannot be read as a Keras network") as told:
        load_network(tmp_path)
    assert "\n" not in str(told.value)


def test_what_libraries_say_to_programmers_is_said_in_plain_words(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "model")
    (tmp_path / "model" / PSF_FILE).write_bytes(bytes(range(200)))
    with pytest.raises(InputError, match="it is no file of arrays") as told:
        predict(tmp_path / "model")
    assert "unsafely" not in str(told.value)
    with pytest.raises(InputError, match="it is no Zarr store"):
        read_camera_map(tmp_path)
    with pytest.raises(InputError, match="it is no Zarr store"):
        Locs.load(tmp_path)


def an_array(store: Path) -> Path:
    return store / ("baseline_adu" if store.name == "camera.zarr" else "z_nm")


def a_chunk(store: Path) -> Path:
    return next(path for path in sorted((an_array(store) / "c").rglob("*")) if path.is_file())


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a chunk is cut off": lambda store: cut(a_chunk(store), 0.5),
    "an array is missing": lambda store: shutil.rmtree(an_array(store)),
    "an array's description is none": lambda store: (an_array(store) / "zarr.json").write_text("{", encoding="utf-8"),
    "its description is none": lambda store: (store / "zarr.json").write_text("[]", encoding="utf-8"),
    "its description is cut off": lambda store: cut(store / "zarr.json", 0.5),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("name", "read"), [("beads.zarr", read_bead_set), ("camera.zarr", read_camera_map)])
def test_a_damaged_store_is_named(name: str, read: Callable[[Path], object], damage: str, tmp_path: Path) -> None:
    shutil.copytree(V1 / name, tmp_path / name)
    read(tmp_path / name)
    DAMAGE[damage](tmp_path / name)
    with pytest.raises(InputError, match=name) as told:
        read(tmp_path / name)
    assert "\n" not in str(told.value)


def run_with_drift(path: Path) -> None:
    shutil.copytree(V1 / "run.undrifted.zarr", path, ignore=shutil.ignore_patterns("drift"))
    write_drift(path, read_drift(V1 / "run.undrifted.zarr"))


STORES: dict[str, tuple[Callable[[Path], None], Callable[[Path], object], str]] = {
    "beads.zarr": (lambda path: write_bead_set(path, read_bead_set(V1 / "beads.zarr")), read_bead_set, "rois"),
    "camera.zarr": (
        lambda path: write_camera_map(path, read_camera_map(V1 / "camera.zarr")), read_camera_map, "read_noise_e",
    ),
    "run.zarr": (run_with_drift, read_drift, "drift/y"),
}  # fmt: skip


@pytest.mark.parametrize("name", STORES)
def test_a_chunk_that_is_missing_is_named_and_not_taken_for_zeros(name: str, tmp_path: Path) -> None:
    write, read, array = STORES[name]
    write(tmp_path / name)
    read(tmp_path / name)
    next(path for path in sorted((tmp_path / name / array / "c").rglob("*")) if path.is_file()).unlink()
    with pytest.raises(InputError, match=rf"{name}.*1 of 1 chunk\(s\) of {Path(array).name} are missing"):
        read(tmp_path / name)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    shutil.copytree(V1 / "run.records", tmp_path / "run.records")
    record = next((tmp_path / "run.records").glob("*.parquet"))
    cut(record, 0.7)
    with pytest.raises(InputError, match=record.name):
        read_record(tmp_path / "run.zarr", record.stem)
