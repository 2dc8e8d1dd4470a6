"""A program that speaks the pycromanager bridge's protocol, with MMCore's demo devices behind it.

It stands where Micro-Manager would: it serves one Java object, ``mmcorej.CMMCore``, with the signatures of MMCoreJ for
the methods that we call. The client (mmpycorex, pyjavaz) is the real one. That Micro-Manager's own server (ZMQ server
5.1.0) answers alike is read from that client, and was never tried.

Usage: ``python bridge_server.py PORT FOLDER VERSION``
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from easyzloc_mm.microscope.connect import open_core
from tests.helpers.microscope_bench import bench_profile

TEXT, REAL, WHOLE, TRUTH = "java.lang.String", "double", "int", "boolean"
METHODS: dict[str, list[list[str]]] = {
    "getShutterOpen": [[], [TEXT]],
    "getAutoFocusDevice": [[]], "setAutoFocusDevice": [[TEXT]], "isContinuousFocusEnabled": [[]],
    "isContinuousFocusLocked": [[]], "enableContinuousFocus": [[TRUTH]], "fullFocus": [[]],
    "getAutoFocusOffset": [[]], "setAutoFocusOffset": [[REAL]], "getProperty": [[TEXT, TEXT]],
    "hasProperty": [[TEXT, TEXT]],
    "deviceBusy": [[TEXT]], "getAPIVersionInfo": [[]], "getAutoShutter": [[]], "getAvailableConfigGroups": [[]],
    "getAvailableConfigs": [[TEXT]], "getBytesPerPixel": [[]], "getCameraDevice": [[]],
    "getCircularBufferMemoryFootprint": [[]], "getCurrentConfig": [[TEXT]], "getDeviceLibrary": [[TEXT]],
    "getDeviceName": [[TEXT]], "getDeviceType": [[TEXT]], "getExposure": [[], [TEXT]], "getFocusDevice": [[]],
    "getImage": [[], ["long"]], "getImageBitDepth": [[]], "getImageHeight": [[]], "getImageWidth": [[]],
    "getLoadedDevices": [[]], "getNumberOfComponents": [[]], "getPixelSizeUm": [[], [TRUTH]],
    "getPosition": [[], [TEXT]], "getRemainingImageCount": [[]], "getShutterDevice": [[]], "getVersionInfo": [[]],
    "getXPosition": [[], [TEXT]], "getYPosition": [[], [TEXT]], "getXYStageDevice": [[]], "isBufferOverflowed": [[]],
    "isSequenceRunning": [[], [TEXT]], "popNextTaggedImage": [[], [WHOLE]], "setAutoShutter": [[TRUTH]],
    "setCameraDevice": [[TEXT]], "setCircularBufferMemoryFootprint": [["long"]], "setConfig": [[TEXT, TEXT]],
    "setExposure": [[REAL], [TEXT, REAL]], "setPosition": [[REAL], [TEXT, REAL]], "setShutterDevice": [[TEXT]],
    "setShutterOpen": [[TRUTH], [TEXT, TRUTH]], "setXYPosition": [[REAL, REAL], [TEXT, REAL, REAL]],
    "snapImage": [[]], "startSequenceAcquisition": [["long", REAL, TRUTH], [TEXT, "long", REAL, TRUTH]],
    "stopSequenceAcquisition": [[], [TEXT]], "waitForConfig": [[TEXT, TEXT]],
    "getConfigGroupState": [[TEXT]], "setProperty": [[TEXT, TEXT, TEXT]],
}  # fmt: skip


def specs(methods: dict[str, list[list[str]]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "arguments": arguments, "return-type": "java.lang.Object"}
        for name, overloads in methods.items()
        for arguments in overloads
    ]


class Core:
    java_class, fields, api = "mmcorej.CMMCore", (), specs(METHODS)

    def __init__(self, core: Any) -> None:
        self._core = core

    def call(self, name: str, arguments: list[Any]) -> Any:
        if name == "popNextTaggedImage":
            return Image(self._core.pop_next_tagged_image())
        result = getattr(self._core, name)(*arguments)
        if name == "getConfigGroupState":
            return Settings(result)
        if isinstance(result, tuple | list):
            return Vector(result)
        return DeviceType(result) if name == "getDeviceType" else result


class Vector:
    java_class, fields, api = "mmcorej.StrVector", (), specs({"size": [[]], "get": [[WHOLE]]})

    def __init__(self, items: Any) -> None:
        self._items = list(items)

    def call(self, name: str, arguments: list[Any]) -> Any:
        return len(self._items) if name == "size" else self._items[arguments[0]]


class Settings:
    java_class, fields = "mmcorej.Configuration", ()
    api = specs({"size": [[]], "getSetting": [["long"], [TEXT, TEXT]]})

    def __init__(self, state: Any) -> None:
        self._state = state

    def call(self, name: str, arguments: list[Any]) -> Any:
        return self._state.size() if name == "size" else Setting(self._state.getSetting(*arguments))


class Setting:
    java_class, fields = "mmcorej.PropertySetting", ()
    api = specs({"getDeviceLabel": [[]], "getPropertyName": [[]], "getPropertyValue": [[]]})

    def __init__(self, setting: Any) -> None:
        self._setting = setting

    def call(self, name: str, _arguments: list[Any]) -> Any:
        return getattr(self._setting, name)()


class DeviceType:
    java_class, fields, api = "mmcorej.DeviceType", (), specs({"swigValue": [[]]})

    def __init__(self, value: int) -> None:
        self._value = int(value)

    def call(self, _name: str, _arguments: list[Any]) -> int:
        return self._value


class Image:
    java_class, fields, api = "mmcorej.TaggedImage", ("pix", "tags"), specs({"toString": [[]]})

    def __init__(self, image: Any) -> None:
        self.pix = np.asarray(image.pix)
        self.tags = {**image.tags, "Width": int(image.tags["Width"]), "Height": int(image.tags["Height"])}


class Server:
    def __init__(self, core: Any) -> None:
        self._core, self._held, self._numbers = Core(core), dict[int, Any](), itertools.count(1)
        self._binary: list[bytes] = []

    def answer(self, message: dict[str, Any], version: str) -> list[bytes]:
        self._binary = []
        try:
            reply = self._reply(message, version)
        except Exception as error:
            # As the real server writes it: without the "at " of Java's own.
            stack = (
                f"java.lang.Exception: {error}\nmmcorej.MMCoreJJNI.CMMCore_{message.get('name')}(Native Method)\n"
                f"mmcorej.CMMCore.{message.get('name')}(CMMCore.java:1127)\n"
            )
            reply = {"type": "exception", "value": stack}
        # As Java does it: what Latin-1 has not, becomes a question mark.
        return [json.dumps(reply, ensure_ascii=False).encode("iso-8859-1", errors="replace"), *self._binary]

    def _reply(self, message: dict[str, Any], version: str) -> dict[str, Any]:
        command = message["command"]
        if command == "connect":
            return {"type": "none", "version": version}
        if command == "get-constructors":
            return {"type": "none", "api": [{"name": message["classpath"], "arguments": []}]}
        if command == "constructor":
            assert message["classpath"] == Core.java_class
            return self._sent(self._core)
        if command == "destructor":
            self._held.pop(message["hash-code"])
            return {"type": "none"}
        held = self._held[message["hash-code"]]
        if command == "get-field":
            return self._sent(getattr(held, message["name"]))
        assert command == "run-method"
        return self._sent(held.call(message["name"], message["arguments"]))

    def _sent(self, thing: Any) -> dict[str, Any]:
        if thing is None:
            return {"type": "null"}
        if isinstance(thing, str):
            return {"type": "string", "value": thing}
        if isinstance(thing, bool | int | float):
            return {"type": "primitive", "value": thing}
        if isinstance(thing, dict):
            return {"type": "object", "class": "JSONObject", "value": json.dumps(thing)}
        number = next(self._numbers)
        if isinstance(thing, np.ndarray):
            self._binary += [number.to_bytes(4, sys.byteorder), thing.tobytes()]
            return {"type": {1: "byte", 2: "short"}[thing.itemsize] + "-array", "value": f"@{number:x}"}
        self._held[number] = thing
        return {
            "type": "unserialized-object", "class": thing.java_class, "interfaces": [thing.java_class],
            "hash-code": number, "fields": list(thing.fields), "api": thing.api,
        }  # fmt: skip


def main(port: str, folder: str, version: str) -> None:
    with open_core(bench_profile(Path(folder)).connection) as opened, zmq.Context() as context:
        core: Any = opened
        server, sockets = Server(core), context.socket(zmq.REP)
        sockets.bind(f"tcp://127.0.0.1:{port}")
        print("ready", flush=True)
        while True:
            message = json.loads(sockets.recv_multipart()[0].decode("iso-8859-1"))
            if message["command"] == "test-do":
                getattr(core, message["name"])(*message["arguments"])
                sockets.send_multipart([b"{}"])
            elif message["command"] == "test-state":
                state = {
                    "z": core.get_position("Z"),
                    "shutter_open": core.get_shutter_open("White Light Shutter"),
                    "running": core.is_sequence_running(),
                    "exposure": core.get_exposure(),
                    "buffer_mb": core.get_circular_buffer_memory_footprint(),
                    "camera": core.get_camera_device(),
                    "shutter": core.get_shutter_device(),
                    "auto_shutter": core.get_auto_shutter(),
                    "excitation": core.get_property("Excitation", "State"),
                }
                sockets.send_multipart([json.dumps(state).encode()])
            else:
                sockets.send_multipart(server.answer(message, version))


if __name__ == "__main__":
    main(*sys.argv[1:])
