"""The Java backend against a server that speaks the bridge's protocol, with MMCore's demo devices behind it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.io.runs.frames import StoredFrames
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.microscope.connect import connect
from tests.helpers.localize_bench import small_bundle
from tests.helpers.microscope_bench import HEIGHT, WIDTH, bench_profile
from tests.helpers.paths import ROOT
from tests.helpers.patience import PATIENCE_S, wait_until


class Served:
    """The server's process, and what its devices are like."""

    def __init__(self, folder: Path, version: str = "5.1.0") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        command = [sys.executable, "-m", "tests.helpers.bridge_server", str(self.port), str(folder), version]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        while self.process.stdout.readline().strip() != "ready":
            assert self.process.poll() is None, "the server did not start"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def state(self) -> dict[str, Any]:
        return self._ask({"command": "test-state"})

    def do(self, name: str, *arguments: object) -> None:
        """Make a call on the core, as Micro-Manager's own windows do."""
        self._ask({"command": "test-do", "name": name, "arguments": arguments})

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        with zmq.Context() as context, context.socket(zmq.REQ) as asked:
            asked.setsockopt(zmq.RCVTIMEO, int(1000 * PATIENCE_S))
            asked.setsockopt(zmq.LINGER, 0)
            asked.connect(f"tcp://127.0.0.1:{self.port}")
            asked.send(json.dumps(message).encode())
            answer: dict[str, Any] = json.loads(asked.recv())
        return answer


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    server.do("set_property", "Camera", "FastImage", "0")  # a black image is a frame that was lost
    yield server
    server.end()


def profile_text(folder: Path, port: int) -> Path:
    """The bench profile as a file, for a Micro-Manager that is open."""
    data = bench_profile(folder).model_dump(mode="json", exclude_unset=True)
    data["connection"] = {"backend": "java", "java_port": port, "buffer_size_mb": 64}
    lines = [f"name = {json.dumps(data.pop('name'))}"]
    for section, fields in data.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    (folder / "java.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "java.toml"


def program(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "easyzloc_mm", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def live(folder: Path, port: int, frames: int) -> subprocess.Popen[str]:
    model = small_bundle(folder / "model", field=(WIDTH, HEIGHT))
    return program(
        "live", "--profile", profile_text(folder, port), "--model", model, "--out", folder / "run.zarr",
        "--frames", frames, "--json",
    )  # fmt: skip


def test_a_live_run_over_the_bridge(served: Served, tmp_path: Path) -> None:
    # As somebody left it: another shutter chosen, the light on by hand.
    served.do("set_auto_shutter", False)
    served.do("set_shutter_device", "LED Shutter")
    served.do("set_shutter_open", "White Light Shutter", True)
    served.do("set_property", "Excitation", "State", "5")  # which is no preset of the profile's light
    before = served.state()
    process = live(tmp_path, served.port, 120)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    report = json.loads(out.splitlines()[-1])
    assert (report["frames"], report["frames_lost"]) == (120, 0)
    assert re.search(r"frames come over the bridge.* \d+ MB/s", err)
    stored = StoredFrames(tmp_path / "run.zarr")
    assert stored.shape == (120, HEIGHT, WIDTH)
    assert not stored.missing
    assert read_localizations(tmp_path / "run.zarr")[1].complete is True
    assert served.state() == before


@pytest.mark.slow
def test_a_second_client_that_asks_fifty_times_a_second_costs_no_frame(served: Served, tmp_path: Path) -> None:
    reports, asked = [], 0
    for polled in (False, True):
        process, over = live(tmp_path, served.port, 400), threading.Event()

        def poll(over: threading.Event = over) -> None:
            nonlocal asked
            while not over.wait(1 / 50):
                asked += bool(served.state())

        client = threading.Thread(target=poll)
        if polled:
            client.start()
        out, err = process.communicate(timeout=PATIENCE_S)
        over.set()
        assert process.returncode == 0, err
        reports.append(json.loads(out.splitlines()[-1]))
        shutil.rmtree(tmp_path / "run.zarr")
        shutil.rmtree(tmp_path / "model")
    print([report["frames_per_s"] for report in reports], asked)
    assert asked > 100
    assert [(report["frames"], report["frames_lost"]) for report in reports] == [(400, 0)] * 2


def test_labels_that_the_bridge_cannot_carry_are_refused_before_anything(tmp_path: Path) -> None:
    nobody: dict[str, object] = {"backend": "java", "java_port": 9}
    profile = bench_profile(tmp_path).replace(connection=nobody, devices={"camera": "Kamera µ"})
    with pytest.raises(HardwareError, match="no Micro-Manager answers"), connect(profile):
        pass  # what Latin-1 has comes through
    elsewhere: list[tuple[str, dict[str, object]]] = [
        ("devices.camera", {"devices": {"camera": "相机"}}),
        ("beads.illuminations", {"beads": {"illuminations": ["Low", "弱い相机"]}}),
        ("imaging.bleach_illumination", {"imaging": {"bleach_illumination": "相机"}}),
        ("focus_lock.states", {"focus_lock": {"device": "PFS", "state_property": "S", "states": {"相机": "locked"}}}),
    ]
    for field, change in elsewhere:
        with (
            pytest.raises(InputError, match=rf"{re.escape(field)} = '.*相机': .* does not come through"),
            connect(profile.replace(**change)),  # type: ignore[arg-type]
        ):
            pass


def test_micro_manager_ends_in_the_middle(served: Served, tmp_path: Path) -> None:
    """What came is kept, exit code 3, one line; neither a device call nor the bridge's finalisers hang."""
    process = live(tmp_path, served.port, 100_000)

    def under_way() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return bool(list((tmp_path / "run.zarr" / "frames").glob("0/c/60*")))

    wait_until(under_way, "60 frames are stored", pause_s=0.1)
    served.process.kill()
    try:
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 3, err
    assert "kept in" in err.splitlines()[-1]
    assert "Traceback" not in err
    stored = StoredFrames(tmp_path / "run.zarr")
    assert stored.shape[0] > 60
    facts = read_localizations(tmp_path / "run.zarr")[1]
    assert facts.frames == facts.frames_localized == stored.shape[0]
    assert facts.complete is False


def test_a_server_of_another_version_is_said(tmp_path: Path) -> None:
    server = Served(tmp_path, "4.9.0")
    try:
        process = program("doctor", "--profile", profile_text(tmp_path, server.port))
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        server.end()
    assert "4.9.0" in err
    assert "Traceback" not in err


def test_who_only_looks_changes_nothing_and_a_camera_in_use_is_left_alone(served: Served, tmp_path: Path) -> None:
    profile = profile_text(tmp_path, served.port)
    served.do("set_shutter_open", "White Light Shutter", True)
    before = served.state()
    looks = (
        ("doctor", "--profile", profile),
        ("profile", "new", "--java", "--java-port", served.port, "--out", tmp_path / "new.toml", "--overwrite"),
    )
    for look in looks:
        _, err = program(*look).communicate(timeout=PATIENCE_S)
        assert served.state() == before, err
    served.do("start_continuous_sequence_acquisition", 0)
    in_use = served.state()
    assert in_use["running"]
    for look in looks:
        process = program(*look)
        said = "".join(process.communicate(timeout=PATIENCE_S))
        assert process.returncode == 3
        assert "switch Live off, or wait for the run to end" in said
        assert "Traceback" not in said
        assert served.state() == in_use
    run = live(tmp_path, served.port, 20)
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 3
    assert "switch Live off" in err.splitlines()[-1]
    assert not (tmp_path / "run.zarr").exists()
    assert served.state() == in_use


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\0\0\0\0\0\0\0\x01\x7f"])
def test_another_program_on_the_port_is_said(tmp_path: Path, answer: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """One that says nothing, one that is no ZeroMQ server, and one that greets as one and then hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):  # the server is closed at the end
                while True:
                    held.append(server.accept()[0])
                    held[-1].sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        asked = ("doctor", "--profile", str(profile_text(tmp_path, server.getsockname()[1])))
        if answer.startswith(b"\xff"):  # then threads of the bridge's client hang with it
            process = program(*asked)
            said, code = "".join(process.communicate(timeout=PATIENCE_S)), process.returncode
        else:
            code = main([*asked])
            said = "".join(capsys.readouterr())
        for one in held:
            one.close()
    assert code == 3
    assert "Micro-Manager" in said
    assert "Traceback" not in said
