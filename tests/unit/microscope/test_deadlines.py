"""Texts of devices' errors."""

from __future__ import annotations

import pytest

from easyzloc_mm.microscope.deadlines import error_text


@pytest.mark.parametrize("mark", ["", "\tat "], ids=["as Micro-Manager's server writes it", "as Java writes it"])
def test_a_java_stack_trace_is_left_out(mark: str) -> None:
    text = "\n".join(
        [
            "java.lang.Exception: Error in device PIZ (stage)",
            "  (out of range)",
            f"{mark}mmcorej.MMCoreJJNI.CMMCore_setPosition__SWIG_0(Native Method)",
            f"{mark}mmcorej.CMMCore.setPosition(CMMCore.java:3211)",
            f"{mark}java.base/java.lang.Thread.run(Thread.java:829)",
        ]
    )
    assert error_text(Exception(text)) == "java.lang.Exception: Error in device PIZ (stage); (out of range)"


def test_an_error_without_text_is_named() -> None:
    assert error_text(RuntimeError("")) == "RuntimeError"
